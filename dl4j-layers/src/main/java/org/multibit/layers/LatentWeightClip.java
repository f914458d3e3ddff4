package org.multibit.layers;

import java.lang.ref.Reference;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import org.deeplearning4j.nn.api.layers.LayerConstraint;
import org.deeplearning4j.nn.conf.constraint.BaseConstraint;
import org.deeplearning4j.nn.conf.layers.Layer;
import org.multibit.core.Kernels;
import org.multibit.core.Quantization;
import org.nd4j.linalg.api.buffer.DataType;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.nd4j.linalg.ops.transforms.Transforms;
import org.nd4j.shade.jackson.annotation.JsonProperty;

/**
 * Clips latent weights to [-bound, bound], so that the straight-through gradient cannot push them
 * to values where the quantized weights no longer follow (Xu et al., section 3).
 */
public final class LatentWeightClip extends BaseConstraint {
  private double bound;

  /** For JSON only. */
  LatentWeightClip() {}

  /**
   * @param bound above 0; use 1 for a model trained from scratch, max(1, max|w|) for an imported
   *     model
   */
  public LatentWeightClip(@JsonProperty("bound") double bound) {
    if (!(bound > 0)) {
      throw new IllegalArgumentException(
          "The bound of latent weights must be above 0, not " + bound);
    }
    this.bound = bound;
  }

  public double getBound() {
    return bound;
  }

  /** Adds the clip to a layer's weights if it quantizes them. */
  static void addTo(Layer layer, Quantization weights, double bound) {
    if (weights == null) {
      return;
    }
    LatentWeightClip clip = new LatentWeightClip(bound);
    clip.setParams(new HashSet<>(layer.initializer().weightKeys(layer)));
    List<LayerConstraint> constraints =
        layer.getConstraints() == null
            ? new ArrayList<>()
            : new ArrayList<>(layer.getConstraints());
    constraints.add(0, clip); // what the user wants holds after it
    layer.setConstraints(constraints);
  }

  /** Applies the constraint once for each parameter; DL4J's implementation applies it twice. */
  @Override
  public void applyConstraint(org.deeplearning4j.nn.api.Layer layer, int iteration, int epoch) {
    layer
        .paramTable()
        .forEach(
            (key, param) -> {
              if (getParams().contains(key)) {
                apply(param);
              }
            });
  }

  @Override
  public void apply(INDArray param) {
    // Parameters lie in 'c' or in 'f' order without gaps; the order does not matter here.
    INDArray elements = param.ordering() == 'f' ? param.transpose() : param;
    if (param.dataType() == DataType.FLOAT
        && FloatRows.isContiguous(elements)
        && FloatRows.fits(elements)) {
      Kernels.get().clip(FloatRows.of(elements), (float) bound);
      Reference.reachabilityFence(param);
      return;
    }
    Transforms.min(param, bound, false);
    Transforms.max(param, -bound, false);
  }

  @Override
  public LatentWeightClip clone() {
    LatentWeightClip clone = new LatentWeightClip(bound);
    clone.setParams(new HashSet<>(getParams()));
    return clone;
  }

  @Override
  public boolean equals(Object other) {
    return other instanceof LatentWeightClip c && c.bound == bound && super.equals(other);
  }

  @Override
  public int hashCode() {
    return 31 * super.hashCode() + Double.hashCode(bound);
  }

  @Override
  protected boolean canEqual(Object other) {
    return other instanceof LatentWeightClip;
  }
}

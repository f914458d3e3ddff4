package org.multibit.layers;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.deeplearning4j.nn.api.Layer;
import org.deeplearning4j.nn.api.layers.LayerConstraint;
import org.deeplearning4j.nn.conf.constraint.BaseConstraint;
import org.deeplearning4j.nn.conf.layers.BaseLayer;
import org.deeplearning4j.nn.multilayer.MultiLayerNetwork;
import org.multibit.core.MultibitMatrix;
import org.multibit.core.Quantization;
import org.multibit.core.Quantizer;
import org.nd4j.linalg.api.buffer.DataType;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.nd4j.shade.jackson.annotation.JsonProperty;

/**
 * Replaces latent weights by their quantized values after each step (projected gradient descent),
 * which freezes the codes. Only the part of a step that codes can express remains: a step of less
 * than half the gap between two levels only moves coefficients. Use it for a trained model, whose
 * coefficients the quantizer has fitted to the latent weights and not to the loss.
 *
 * <p>{@link #applyTo} adds it to a trained network. A layer that quantizes its weights can have it
 * from the start with {@code constrainWeights(new LatentWeightProjection(quantization))}. It
 * projects the rows that the layer quantizes: for an embedding the rows of [nIn, nOut], one per
 * word; for other layers the columns of [nIn, nOut], one per unit.
 */
public final class LatentWeightProjection extends BaseConstraint {
  @QuantizationJson private Quantization quantization;

  /** By parameter. */
  private transient Map<String, RowQuantizer> quantizers;

  /** For JSON only. */
  LatentWeightProjection() {}

  /**
   * @throws IllegalArgumentException if the quantizer is not a projection ({@link
   *     Quantizer#projects})
   */
  public LatentWeightProjection(@JsonProperty("quantization") Quantization quantization) {
    if (!quantization.quantizer().projects(quantization.bits())) {
      throw new IllegalArgumentException(
          "Weights cannot be held at what they are quantized to by %s: quantized again it is something else"
              .formatted(quantization));
    }
    this.quantization = quantization;
  }

  public Quantization getQuantization() {
    return quantization;
  }

  /**
   * Adds the projection to all layers that quantize their weights and projects the weights at once.
   * Layers inside Bidirectional and layers that already have a projection stay as they are. The
   * projection becomes part of the network's configuration and is saved with it.
   *
   * @throws IllegalArgumentException if a layer's quantizer is not a projection; then the network
   *     is not changed
   */
  public static void applyTo(MultiLayerNetwork network) {
    Map<Layer, LatentWeightProjection> projections = new LinkedHashMap<>();
    for (Layer layer : network.getLayers()) {
      if (layer.conf().getLayer() instanceof BaseLayer conf
          && conf instanceof QuantizesWeights q
          && q.getWeightQuantization() != null
          && constraints(conf).stream().noneMatch(LatentWeightProjection.class::isInstance)) {
        LatentWeightProjection projection = new LatentWeightProjection(q.getWeightQuantization());
        projection.setParams(new HashSet<>(conf.initializer().weightKeys(conf)));
        projections.put(layer, projection);
      }
    }
    projections.forEach(
        (layer, projection) -> {
          BaseLayer conf = (BaseLayer) layer.conf().getLayer();
          List<LayerConstraint> all = others(conf);
          all.add(projection);
          conf.setConstraints(all);
          projection.applyConstraint(layer, network.getIterationCount(), network.getEpochCount());
        });
  }

  /** Removes all projections from a network, so that codes can change again. */
  public static void removeFrom(MultiLayerNetwork network) {
    for (Layer layer : network.getLayers()) {
      if (layer.conf().getLayer() instanceof BaseLayer conf) {
        List<LayerConstraint> others = others(conf);
        conf.setConstraints(others.isEmpty() ? null : others);
      }
    }
  }

  private static List<LayerConstraint> constraints(BaseLayer conf) {
    return conf.getConstraints() == null ? List.of() : conf.getConstraints();
  }

  /** All constraints except projections. */
  private static List<LayerConstraint> others(BaseLayer conf) {
    List<LayerConstraint> others = new ArrayList<>(constraints(conf));
    others.removeIf(LatentWeightProjection.class::isInstance);
    return others;
  }

  /** Applies the constraint once for each parameter; DL4J's implementation applies it twice. */
  @Override
  public void applyConstraint(Layer layer, int iteration, int epoch) {
    boolean words = layer instanceof QuantizedEmbeddingLayer;
    String id = "Layer " + layer.getIndex();
    layer
        .paramTable()
        .forEach(
            (key, param) -> {
              if (getParams().contains(key)) {
                project(words ? param : param.transpose(), key, id);
              }
            });
  }

  /**
   * @param param [nIn, nOut], each column the weights of a unit
   */
  @Override
  public void apply(INDArray param) {
    project(param.transpose(), "weights", "LatentWeightProjection");
  }

  private synchronized void project(INDArray rows, String key, String layer) {
    if (quantizers == null) {
      quantizers = new HashMap<>();
    }
    RowQuantizer quantizer = quantizers.computeIfAbsent(key, RowQuantizer::ofWeights);
    MultibitMatrix codes = quantizer.pack(quantization, rows, layer);
    if (FloatRows.isContiguous(rows) && rows.dataType() == DataType.FLOAT) {
      RowQuantizer.unpack(codes, rows);
    } else {
      rows.assign(QuantizedArrays.unpack(codes));
    }
  }

  @Override
  public LatentWeightProjection clone() {
    LatentWeightProjection clone = new LatentWeightProjection(quantization);
    clone.setParams(new HashSet<>(getParams()));
    return clone;
  }

  @Override
  public boolean equals(Object other) {
    return other instanceof LatentWeightProjection p
        && p.quantization.equals(quantization)
        && super.equals(other);
  }

  @Override
  public int hashCode() {
    return 31 * super.hashCode() + quantization.hashCode();
  }

  @Override
  protected boolean canEqual(Object other) {
    return other instanceof LatentWeightProjection;
  }
}

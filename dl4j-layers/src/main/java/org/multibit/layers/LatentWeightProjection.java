package org.multibit.layers;

import java.util.HashMap;
import java.util.HashSet;
import java.util.Map;
import org.deeplearning4j.nn.api.Layer;
import org.deeplearning4j.nn.conf.constraint.BaseConstraint;
import org.multibit.core.FloatRows;
import org.multibit.core.MultibitMatrix;
import org.multibit.core.Quantization;
import org.nd4j.linalg.api.buffer.DataType;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.nd4j.shade.jackson.annotation.JsonProperty;

/**
 * After each step latent weights become what they are quantized to (projected gradient descent). Of
 * a step only the part remains that codes can express: a step too small to reach other codes moves
 * coefficients alone. For a trained model, whose coefficients the quantizer has fitted to latent
 * weights and not to the loss.
 *
 * <p>Give it to a layer that quantizes its weights, by {@code constrainWeights(new
 * LatentWeightProjection(quantization))}, with the same quantization. Rows are those that the layer
 * quantizes: of an embedding [nIn, nOut] the words', of other layers the units', columns of [nIn,
 * nOut].
 */
public final class LatentWeightProjection extends BaseConstraint {
  private Quantization quantization;

  /** By parameter. */
  private transient Map<String, RowQuantizer> quantizers;

  /** For JSON alone. */
  LatentWeightProjection() {}

  /**
   * @throws IllegalArgumentException if the quantizer does not give codes back as they are
   */
  public LatentWeightProjection(@JsonProperty("quantization") Quantization quantization) {
    if (!quantization.quantizer().projects()) {
      throw new IllegalArgumentException(
          "Weights cannot be held at what they are quantized to by %s: quantized again it is something else"
              .formatted(quantization.quantizer()));
    }
    this.quantization = quantization;
  }

  public Quantization getQuantization() {
    return quantization;
  }

  /** Once for each parameter; DL4J's own implementation applies a constraint twice. */
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
   * @param param [nIn, nOut], a unit's weights in each column
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
      rows.assign(codes.dequantize());
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

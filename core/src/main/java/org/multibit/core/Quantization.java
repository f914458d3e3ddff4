package org.multibit.core;

import java.io.Serializable;
import java.lang.ref.Reference;
import java.util.Arrays;
import java.util.Objects;
import org.nd4j.linalg.api.buffer.DataType;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.nd4j.linalg.factory.Nd4j;
import org.nd4j.shade.jackson.annotation.JsonProperty;

/**
 * A quantizer at a number of bits: what a layer is told to do with its weights or its activations.
 * Immutable.
 */
public final class Quantization implements Serializable {
  private final Quantizer quantizer;
  private final int bits;

  /**
   * @throws IllegalArgumentException if the quantizer does not allow so many bits
   */
  public Quantization(
      @JsonProperty("quantizer") Quantizer quantizer, @JsonProperty("bits") int bits) {
    this.quantizer = Objects.requireNonNull(quantizer, "quantizer");
    quantizer.checkBits(bits);
    this.bits = bits;
  }

  /** Alternating minimization with the paper's two cycles. */
  public static Quantization alternating(int bits) {
    return new Quantization(new Alternating(), bits);
  }

  @JsonProperty("quantizer")
  public Quantizer quantizer() {
    return quantizer;
  }

  @JsonProperty("bits")
  public int bits() {
    return bits;
  }

  /** Shape [rows, cols] in, packed out. */
  public MultibitMatrix quantize(INDArray rows) {
    return quantizer.quantize(rows, bits);
  }

  /**
   * The quantized values as floats: what a layer multiplies with.
   *
   * @param rows shape [rows, cols]; left as it is
   * @param into FLOAT, shape [rows, cols], 'c' order and contiguous; may be {@code rows} itself
   */
  public void quantizeTo(INDArray rows, INDArray into) {
    if (into.dataType() != DataType.FLOAT
        || !FloatRows.isContiguous(into)
        || !into.equalShapes(rows)) {
      throw new IllegalArgumentException(
          "The target must be a contiguous 'c' FLOAT array of shape "
              + Arrays.toString(rows.shape()));
    }
    MultibitMatrix packed = quantize(rows);
    Kernels.get().dequantize(packed, FloatRows.of(into));
    Reference.reachabilityFence(into);
  }

  /** Like {@link #quantizeTo} into a new detached array, shape [rows, cols]. */
  public INDArray quantized(INDArray rows) {
    INDArray out = Nd4j.createUninitializedDetached(DataType.FLOAT, 'c', rows.shape());
    quantizeTo(rows, out);
    return out;
  }

  @Override
  public boolean equals(Object other) {
    return other instanceof Quantization q && q.bits == bits && q.quantizer.equals(quantizer);
  }

  @Override
  public int hashCode() {
    return Objects.hash(quantizer, bits);
  }

  @Override
  public String toString() {
    return quantizer + " " + bits + " bits";
  }
}

package org.multibit.layers;

import java.lang.ref.Reference;
import org.multibit.core.FloatRows;
import org.multibit.core.Kernels;
import org.multibit.core.MultibitMatrix;
import org.multibit.core.Quantization;
import org.nd4j.linalg.api.ndarray.INDArray;

/** Quantizes at one place of a layer; the packed memory is kept from call to call. */
final class RowQuantizer {
  private final String what;
  private MultibitMatrix packed;

  /**
   * @param what is quantized here, for errors
   */
  RowQuantizer(String what) {
    this.what = what;
  }

  /**
   * The quantized values as floats.
   *
   * @param quantization null = a copy
   * @param from [rows, cols]
   * @param into [rows, cols], contiguous in 'c' order; may be {@code from} itself
   * @param layer for errors
   * @throws ArithmeticException if an element is NaN or infinite
   */
  void quantize(Quantization quantization, INDArray from, INDArray into, String layer) {
    if (quantization == null) {
      into.assign(from);
      return;
    }
    int rows = Math.toIntExact(from.size(0));
    int cols = Math.toIntExact(from.size(1));
    if (packed == null
        || packed.rows() != rows
        || packed.cols() != cols
        || packed.bits() != quantization.bits()) {
      packed = MultibitMatrix.weights(rows, cols, quantization.bits());
    }
    try {
      Kernels.get().quantize(quantization.quantizer(), FloatRows.of(from), packed);
    } catch (IllegalArgumentException notFinite) {
      throw new ArithmeticException(
          "%s, %s: %s; training has diverged, use a smaller learning rate"
              .formatted(layer, what, notFinite.getMessage()));
    }
    Kernels.get().dequantize(packed, FloatRows.of(into));
    Reference.reachabilityFence(from);
    Reference.reachabilityFence(into);
  }
}

package org.multibit.layers;

import java.lang.ref.Reference;
import java.nio.FloatBuffer;
import org.multibit.core.Kernels;
import org.multibit.core.MultibitMatrix;
import org.multibit.core.Quantization;
import org.nd4j.linalg.api.ndarray.INDArray;

/** Quantizes at one place of a layer. The packed memory is reused from call to call. */
final class RowQuantizer {
  private static final String DIVERGED = "training has diverged, use a smaller learning rate";

  private final String what;
  private final int lanes;
  private final String remedy;
  private MultibitMatrix packed;

  private RowQuantizer(String what, int lanes, String remedy) {
    this.what = what;
    this.lanes = lanes;
    this.remedy = remedy;
  }

  /**
   * @param what is quantized here, for errors
   */
  static RowQuantizer ofWeights(String what) {
    return new RowQuantizer(what, MultibitMatrix.WEIGHT_LANES, DIVERGED);
  }

  /**
   * @param what is quantized here, for errors
   */
  static RowQuantizer ofActivations(String what) {
    return new RowQuantizer(what, MultibitMatrix.ACTIVATION_LANES, DIVERGED);
  }

  /** Makes the quantizer of a layer's input, which may be the data. */
  static RowQuantizer ofInput() {
    return new RowQuantizer(
        "input",
        MultibitMatrix.ACTIVATION_LANES,
        "if the data holds it, mend or mask the data; if not, " + DIVERGED);
  }

  /** Memory for rows of codes, to be filled by {@link #pack(Quantization, FloatBuffer, ...)}. */
  MultibitMatrix packed(Quantization quantization, long rows, long cols) {
    if (packed == null
        || packed.rows() != rows
        || packed.cols() != cols
        || packed.bits() != quantization.bits()) {
      int r = Math.toIntExact(rows);
      int c = Math.toIntExact(cols);
      packed =
          lanes == MultibitMatrix.WEIGHT_LANES
              ? MultibitMatrix.weights(r, c, quantization.bits())
              : MultibitMatrix.activations(r, c, quantization.bits());
    }
    return packed;
  }

  /**
   * The codes, in memory that the next call reuses.
   *
   * @param from [rows, cols]
   * @param layer for errors
   * @throws ArithmeticException if an element is NaN or infinite
   */
  MultibitMatrix pack(Quantization quantization, INDArray from, String layer) {
    MultibitMatrix into = packed(quantization, from.size(0), from.size(1));
    pack(quantization, FloatRows.of(from), into, layer);
    Reference.reachabilityFence(from);
    return into;
  }

  /** As {@link #pack(Quantization, INDArray, String)}, but into given codes of this quantizer. */
  void pack(Quantization quantization, FloatBuffer from, MultibitMatrix into, String layer) {
    run(layer, () -> Kernels.get().quantize(quantization.quantizer(), from, into));
  }

  /** Runs kernels that quantize here. */
  void run(String layer, Runnable kernels) {
    try {
      kernels.run();
    } catch (IllegalArgumentException notFinite) {
      throw new ArithmeticException(
          "%s, %s: %s; %s".formatted(layer, what, notFinite.getMessage(), remedy));
    }
  }

  /** The values of codes, [rows, cols], contiguous in 'c' order. */
  static void unpack(MultibitMatrix codes, INDArray into) {
    Kernels.get().dequantize(codes, FloatRows.of(into));
    Reference.reachabilityFence(into);
  }
}

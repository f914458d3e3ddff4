package org.multibit.core;

import java.nio.FloatBuffer;
import java.nio.IntBuffer;

/**
 * The inner loops of multi-bit quantization. {@link JavaKernels} is the readable reference and
 * works everywhere; a native implementation, if one is on the class path and loads, is found by
 * {@link java.util.ServiceLoader}. Both give the same codes, coefficients and integer counts, bit
 * for bit (docs/numerics.md).
 *
 * <p>All buffers are direct, in native byte order; each is read and written from its position on,
 * and its position is left alone. Arguments that do not fit together are an
 * IllegalArgumentException ({@link KernelChecks}). Implementations are stateless and may be called
 * by many threads at once.
 */
public interface Kernels {

  /**
   * The kernels in use: native where they load, else Java. Chosen once; one log line says which.
   *
   * @throws IllegalStateException if MULTIBIT_ISA names a tier that is unknown or not supported
   *     here
   */
  static Kernels get() {
    return KernelsChoice.get();
  }

  /** What runs, for example {@code "java"} or {@code "native avx512-vpopcntdq"}. */
  String name();

  /**
   * Quantizes each row by itself.
   *
   * @param rows {@code into.rows() * into.cols()} floats, row-major
   * @param into receives planes and coefficients; everything in it, padding too, is overwritten
   * @throws IllegalArgumentException if an element is NaN or infinite, with the row and column of
   *     the first such one
   */
  void quantize(Quantizer quantizer, FloatBuffer rows, MultibitMatrix into);

  /**
   * Writes {@code matrix.rows() * matrix.cols()} floats, row-major: the sum of +-coefficients of
   * each element.
   */
  void dequantize(MultibitMatrix matrix, FloatBuffer out);

  /**
   * {@code out[b, r] = sum_ij alpha_ri beta_bj (n - 2 popcount(w_ri xor a_bj))}: the product of
   * quantized weights with a batch of quantized activations.
   *
   * @param weights R x n, in {@link MultibitMatrix#WEIGHT_LANES} layout
   * @param activations B x n, in {@link MultibitMatrix#ACTIVATION_LANES} layout
   * @param out B x R, row-major
   */
  void multiply(MultibitMatrix weights, MultibitMatrix activations, FloatBuffer out);

  /**
   * The product of quantized weights (R x n) with full-precision activations.
   *
   * @param activations {@code batch} x n, row-major
   * @param out {@code batch} x R, row-major
   */
  void multiply(MultibitMatrix weights, FloatBuffer activations, int batch, FloatBuffer out);

  /**
   * Softmax and cross-entropy of each row of logits against one label, and the gradient in the
   * logits' place.
   *
   * @param logits {@code labels.remaining()} x {@code classes}, row-major; replaced by
   *     softmax(logits) - onehot(label)
   * @param labels the right class of each row, within 0..classes-1
   * @param losses receives -ln softmax(logits)[label] per row
   */
  void softmaxCrossEntropy(FloatBuffer logits, int classes, IntBuffer labels, FloatBuffer losses);

  /** Replaces each row of {@code rows} x {@code classes} logits by its softmax. */
  void softmax(FloatBuffer logits, int rows, int classes);
}

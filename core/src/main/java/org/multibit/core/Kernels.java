package org.multibit.core;

import java.io.IOException;
import java.nio.FloatBuffer;
import java.nio.IntBuffer;
import java.nio.LongBuffer;
import org.bytedeco.javacpp.Loader;

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
   * The BLAS that full-precision products run on: its version, the kernels that it chose for this
   * CPU, its threads, as far as can be found out. ND4J must have been used before.
   */
  default String blas() {
    try {
      return "OpenBLAS " + Loader.getVersion("org.bytedeco", "openblas");
    } catch (IOException e) {
      return "of unknown version";
    }
  }

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

  /**
   * Distillation: cross-entropy against one label and, by a weight w and at a temperature T,
   * against what a teacher says (Hinton et al. 2015, section 2). The gradient takes the logits'
   * place.
   *
   * @param logits z, {@code labels.remaining()} x {@code classes}, row-major; replaced by {@code
   *     (1-w) (softmax(z) - onehot(label)) + w T (softmax(z/T) - softmax(y/T))}
   * @param teacher y, the teacher's logits, of the same shape; overwritten
   * @param labels as for {@link #softmaxCrossEntropy}
   * @param weight w, from 0 to 1
   * @param temperature T, above 0
   * @param losses receives {@code -(1-w) ln softmax(z)[label] + w T^2 KL(softmax(y/T) ||
   *     softmax(z/T))} per row
   */
  void distill(
      FloatBuffer logits,
      FloatBuffer teacher,
      int classes,
      IntBuffer labels,
      float weight,
      float temperature,
      FloatBuffer losses);

  /** Replaces each row of {@code rows} x {@code classes} logits by its softmax. */
  void softmax(FloatBuffer logits, int rows, int classes);

  // For training. Masks are bits, retained = 1: maskWords words per row, bit j % 64 of word j / 64
  // standing for element j; bits past the last element are 0.

  /** 64-bit words of the masks of so many rows. */
  static int maskWords(int rows, int cols) {
    return Math.multiplyExact(rows, (cols + 63) / 64);
  }

  /**
   * {@code out[b, r] = start[r] + sum_ij alpha_ri beta_bj (n - 2 popcount((w_ri xor a_bj) and
   * m_b))}, n = popcount(m_b): as {@link #multiply(MultibitMatrix, MultibitMatrix, FloatBuffer)},
   * of the retained activations alone, and the same sums to the bit where all are retained.
   *
   * @param masks of the activations, B rows of n; null = all are retained
   * @param start [R]; null = the product is added to {@code out}
   */
  void multiply(
      MultibitMatrix weights,
      MultibitMatrix activations,
      LongBuffer masks,
      FloatBuffer start,
      FloatBuffer out);

  /**
   * Losses of a softmax output layer, of logits {@code start + product}, and the gradient of {@code
   * sum_b factors[b] losses[b]}. Equal to the gradient by products of the dequantized matrices to
   * rounding; the same bits however many threads there are.
   *
   * @param weights as for the masked product, {@code activations}, {@code masks} and {@code start}
   *     too, which must not be null
   * @param labels as for {@link #softmaxCrossEntropy}, {@code losses} too
   * @param factors [B]
   * @param x the values of the activations, 0 where they are dropped, B x n
   * @param memory {@link #softmaxBackwardFloats} floats; overwritten
   * @param weightGradient receives R x n
   * @param startGradient receives [R]; null = it is not wanted
   * @param inputGradient receives the gradient for activations that are all retained, B x n
   */
  void softmaxBackward(
      MultibitMatrix weights,
      MultibitMatrix activations,
      LongBuffer masks,
      FloatBuffer start,
      IntBuffer labels,
      FloatBuffer factors,
      FloatBuffer x,
      FloatBuffer memory,
      FloatBuffer losses,
      FloatBuffer weightGradient,
      FloatBuffer startGradient,
      FloatBuffer inputGradient);

  /**
   * The same in full precision.
   *
   * @param weights R x n, row-major
   * @param panels the same laid out by {@link #makePanels}, transposed
   * @param cols n
   * @param start [R], not null
   * @param x the activations after dropout, B x n
   */
  void softmaxBackward(
      FloatBuffer weights,
      FloatBuffer panels,
      int cols,
      FloatBuffer start,
      IntBuffer labels,
      FloatBuffer factors,
      FloatBuffer x,
      FloatBuffer memory,
      FloatBuffer losses,
      FloatBuffer weightGradient,
      FloatBuffer startGradient,
      FloatBuffer inputGradient);

  /**
   * Floats that {@link #softmaxBackward} works in: B x n activations, R = {@code classes}.
   *
   * @throws IllegalArgumentException if they take 2 GiB or more
   */
  int softmaxBackwardFloats(int batch, int classes, int cols);

  /**
   * Fills masks: the element at position p = row * cols + column is retained if {@code mix(key + p
   * * G) >>> 1 < retain * Long.MAX_VALUE}, G = 0x9E3779B97F4A7C15, mix(z) = SplitMix64's next
   * number in state z.
   *
   * @param retain probability, from 0 to 1
   */
  void dropoutMasks(long key, double retain, int rows, int cols, LongBuffer masks);

  /** Multiplies the retained elements by {@code factor}; the others become 0. */
  void drop(LongBuffer masks, float factor, int rows, int cols, FloatBuffer x);

  /** {@code into[r, c] += row[c]} for {@code into.remaining() / row.remaining()} rows. */
  void addToRows(FloatBuffer row, FloatBuffer into);

  /**
   * {@code into[index[i], c] += rows[i, c]}, in rising i.
   *
   * @param index of a row of {@code into} for each of {@code rows}, in any order, repeated or not
   * @param into whole rows of {@code cols} elements
   */
  void addRows(FloatBuffer rows, IntBuffer index, int cols, FloatBuffer into);

  /** {@code sums[c] = sum_r rows[r, c]}, in rising r; {@code sums.remaining()} columns. */
  void sumRows(FloatBuffer rows, FloatBuffer sums);

  /**
   * The sum of the squares of all elements. The same bits for the same elements, however many
   * threads there are.
   */
  double sumOfSquares(FloatBuffer x);

  /** {@code x *= factor}. */
  void scale(FloatBuffer x, float factor);

  /** {@code x = min(max(x, -bound), bound)}; NaN stays NaN. */
  void clip(FloatBuffer x, float bound);

  /**
   * One time step of an LSTM without its products. B = {@code before.remaining() / units} rows.
   *
   * @param gates [B, 4 units], candidate, forget, output, input: sums including the bias, which
   *     become tanh of the candidate and sigmoid of the others
   * @param before the cell of the step before, [B, units]
   * @param cell [B, units], receives forget * before + input * candidate
   * @param cellTanh [B, units], receives tanh(cell)
   * @param hidden [B, units], receives output * tanh(cell)
   */
  void lstmForward(
      FloatBuffer gates,
      FloatBuffer before,
      int units,
      FloatBuffer cell,
      FloatBuffer cellTanh,
      FloatBuffer hidden);

  /**
   * The gradient of {@link #lstmForward}, from what it left.
   *
   * @param hiddenGradient dL/dhidden [B, units]
   * @param cellGradient [B, units], what flows back into the cell from the step after; becomes what
   *     flows back to the step before
   * @param gateGradients [B, 4 units], receives dL/dsums
   */
  void lstmBackward(
      FloatBuffer gates,
      FloatBuffer before,
      FloatBuffer cellTanh,
      int units,
      FloatBuffer hiddenGradient,
      FloatBuffer cellGradient,
      FloatBuffer gateGradients);

  /**
   * One time step of a GRU without its products, reset after the product. B = {@code
   * before.remaining() / units} rows.
   *
   * @param gates [B, 3 units], reset, update, candidate: sums of the input's product with its bias,
   *     which become r = sigmoid(gates + recurrent), z likewise, n = tanh(gates + r recurrent)
   * @param recurrent [B, 3 units], the product of {@code before} with its bias
   * @param before the hidden state of the step before, [B, units]
   * @param hidden [B, units], receives (1 - z) n + z before
   */
  void gruForward(
      FloatBuffer gates, FloatBuffer recurrent, FloatBuffer before, int units, FloatBuffer hidden);

  /**
   * The gradient of {@link #gruForward}, from what it left.
   *
   * @param hiddenGradient dL/dhidden [B, units], but for what carriedGradient holds
   * @param carriedGradient [B, units], what of it comes from the step after other than by its
   *     products; becomes what goes to the step before so
   * @param gateGradients [B, 3 units], receives dL/dsums of the input's product
   * @param recurrentGradients [B, 3 units], receives dL/dsums of the recurrent product
   */
  void gruBackward(
      FloatBuffer gates,
      FloatBuffer recurrent,
      FloatBuffer before,
      int units,
      FloatBuffer hiddenGradient,
      FloatBuffer carriedGradient,
      FloatBuffer gateGradients,
      FloatBuffer recurrentGradients);

  /** Columns of a panel, see {@link #multiplyPanels}. */
  int PANEL_COLUMNS = 32;

  /** Panels of a matrix with so many columns. */
  static int panels(int cols) {
    return (cols + PANEL_COLUMNS - 1) / PANEL_COLUMNS;
  }

  /** Floats of the panels of a matrix [inner, cols]. */
  static int panelFloats(int inner, int cols) {
    return Math.multiplyExact(Math.multiplyExact(panels(cols), PANEL_COLUMNS), inner);
  }

  /**
   * Whether the full-precision products here are faster than BLAS, {@link #multiplyPanels}, {@link
   * #multiply(FloatBuffer, boolean, FloatBuffer, int, int, int, float, boolean, FloatBuffer)} and
   * those of {@link #softmaxBackward}. Plain Java's are not.
   */
  default boolean productsPay() {
    return false;
  }

  /**
   * {@code c = alpha op(a) b} in full precision, or {@code c += alpha op(a) b}.
   *
   * @param a [rows, inner], or [inner, rows] if {@code transposed}
   * @param b [inner, cols]
   * @param add to c
   * @param c [rows, cols]
   */
  void multiply(
      FloatBuffer a,
      boolean transposed,
      FloatBuffer b,
      int rows,
      int inner,
      int cols,
      float alpha,
      boolean add,
      FloatBuffer c);

  /**
   * Lays out full-precision weights for {@link #multiplyPanels}: panel p holds columns 32p..32p+31,
   * row after row, filled up with zeros.
   *
   * @param w [inner, cols], or [cols, inner] if {@code transposed}
   * @param panels receives {@link #panelFloats} floats
   */
  void makePanels(FloatBuffer w, int inner, int cols, boolean transposed, FloatBuffer panels);

  /**
   * {@code out = start + x w} in full precision, for weights that lie transposed or that many
   * products share.
   *
   * @param x [batch, inner]
   * @param panels of w [inner, cols]
   * @param start [cols]; null = the product is added to {@code out}
   * @param out [batch, cols]
   */
  void multiplyPanels(
      FloatBuffer x,
      int batch,
      int inner,
      FloatBuffer panels,
      int cols,
      FloatBuffer start,
      FloatBuffer out);

  // Whole sequences of an LSTM, time-major: matrices are [steps * batch, .], hidden and cells have
  // one step more, the state that the sequence starts from. The same bits as step by step.

  /**
   * Adds the recurrent product to the sums of each step and computes it ({@link #lstmForward}).
   *
   * @param panels of the recurrent weights [units, 4 units]
   * @param gates [steps * batch, 4 units], the sums without the recurrent product
   * @param hidden [(steps + 1) * batch, units], {@code cells} too
   */
  default void lstmForwardSteps(
      FloatBuffer panels,
      int batch,
      int units,
      FloatBuffer gates,
      FloatBuffer hidden,
      FloatBuffer cells,
      FloatBuffer cellTanh) {
    LstmSteps.forward(this, panels, batch, units, gates, hidden, cells, cellTanh);
  }

  /**
   * The same with quantized weights and a hidden state that is quantized before each step.
   *
   * @param weights [4 units, units]
   * @param codes [steps * batch, units], receives the quantized hidden states
   * @throws IllegalArgumentException if a hidden state is NaN or infinite
   */
  default void lstmForwardSteps(
      Quantizer quantizer,
      MultibitMatrix weights,
      MultibitMatrix codes,
      int batch,
      FloatBuffer gates,
      FloatBuffer hidden,
      FloatBuffer cells,
      FloatBuffer cellTanh) {
    LstmSteps.forward(this, quantizer, weights, codes, batch, gates, hidden, cells, cellTanh);
  }

  /**
   * The gradient of a sequence ({@link #lstmBackward}), from its last step back.
   *
   * @param panels of the recurrent weights, transposed: [4 units, units]
   * @param first step that gradients flow back to; the gradients before it are left alone
   * @param hiddenGradients [steps * batch, units], from above; what flows back is added
   * @param cellGradient [batch, units], as for {@link #lstmBackward}
   */
  default void lstmBackwardSteps(
      FloatBuffer panels,
      int first,
      int batch,
      int units,
      FloatBuffer gates,
      FloatBuffer cells,
      FloatBuffer cellTanh,
      FloatBuffer hiddenGradients,
      FloatBuffer cellGradient,
      FloatBuffer gateGradients) {
    LstmSteps.backward(
        this,
        panels,
        first,
        batch,
        units,
        gates,
        cells,
        cellTanh,
        hiddenGradients,
        cellGradient,
        gateGradients);
  }

  // The same of a GRU; matrices of gates are [steps * batch, 3 units].

  /**
   * Adds the recurrent product to the recurrent sums of each step and computes it ({@link
   * #gruForward}).
   *
   * @param panels of the recurrent weights [units, 3 units]
   * @param gates the sums of the input's product
   * @param recurrent the recurrent bias in each row; becomes the recurrent sums
   * @param hidden [(steps + 1) * batch, units]
   */
  default void gruForwardSteps(
      FloatBuffer panels,
      int batch,
      int units,
      FloatBuffer gates,
      FloatBuffer recurrent,
      FloatBuffer hidden) {
    GruSteps.forward(this, panels, batch, units, gates, recurrent, hidden);
  }

  /**
   * The same with quantized weights and a hidden state that is quantized before each step.
   *
   * @param weights [3 units, units]
   * @param codes [steps * batch, units], receives the quantized hidden states
   * @throws IllegalArgumentException if a hidden state is NaN or infinite
   */
  default void gruForwardSteps(
      Quantizer quantizer,
      MultibitMatrix weights,
      MultibitMatrix codes,
      int batch,
      FloatBuffer gates,
      FloatBuffer recurrent,
      FloatBuffer hidden) {
    GruSteps.forward(this, quantizer, weights, codes, batch, gates, recurrent, hidden);
  }

  /**
   * The gradient of a sequence ({@link #gruBackward}), from its last step back.
   *
   * @param panels of the recurrent weights, transposed: [3 units, units]
   * @param first step that gradients flow back to; the gradients before it are left alone
   * @param hiddenGradients [steps * batch, units], from above; what flows back by products is added
   * @param carriedGradient [batch, units], as for {@link #gruBackward}
   */
  default void gruBackwardSteps(
      FloatBuffer panels,
      int first,
      int batch,
      int units,
      FloatBuffer gates,
      FloatBuffer recurrent,
      FloatBuffer hidden,
      FloatBuffer hiddenGradients,
      FloatBuffer carriedGradient,
      FloatBuffer gateGradients,
      FloatBuffer recurrentGradients) {
    GruSteps.backward(
        this,
        panels,
        first,
        batch,
        units,
        gates,
        recurrent,
        hidden,
        hiddenGradients,
        carriedGradient,
        gateGradients,
        recurrentGradients);
  }
}

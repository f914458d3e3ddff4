package org.multibit.core;

import java.nio.Buffer;
import java.nio.ByteOrder;
import java.nio.FloatBuffer;
import java.nio.IntBuffer;
import java.nio.LongBuffer;
import java.nio.ReadOnlyBufferException;
import java.nio.ShortBuffer;

/**
 * The inner loops of multi-bit quantization. This class checks the arguments and calls an
 * implementation: {@link JavaKernels}, the readable reference that runs everywhere, or a native one
 * that {@link java.util.ServiceLoader} finds. Both give the same codes, coefficients and integer
 * counts, bit for bit (docs/numerics.md).
 *
 * <p>All buffers are direct and in native byte order. Each is read and written from its position
 * on; its position does not change. Matrices are row-major. Arguments that do not fit together
 * throw IllegalArgumentException, and a read-only output throws ReadOnlyBufferException, so native
 * code never accesses memory past a buffer. Many threads may call at once.
 */
public final class Kernels {
  /** Columns of a panel of prepacked weights; see {@link #prepackWeights}. */
  public static final int PANEL_COLUMNS = 32;

  private final JavaKernels implementation;

  public Kernels(JavaKernels implementation) {
    this.implementation = implementation;
  }

  /**
   * The kernels in use: the native ones if they load, or else Java. The first call chooses them and
   * logs its choice.
   *
   * @throws IllegalStateException if MULTIBIT_ISA names a tier that is unknown or not supported
   *     here
   */
  public static Kernels get() {
    return KernelProvider.get();
  }

  /** The kernels in plain Java. */
  public static Kernels java() {
    return new Kernels(new JavaKernels());
  }

  /**
   * The name of the implementation, for example {@code "java"} or {@code "native
   * avx512-vpopcntdq"}.
   */
  public String name() {
    return implementation.name();
  }

  /**
   * Describes the BLAS of full-precision products, as far as it is known: its version, the kernels
   * that it chose for this CPU, its threads. ND4J must have been used before.
   */
  public String blas() {
    return implementation.blas();
  }

  // Quantizing

  /**
   * Quantizes each row separately.
   *
   * @param rows {@code into.rows()} x {@code into.cols()}
   * @param into receives planes and coefficients; everything in it is overwritten, including the
   *     padding
   * @throws IllegalArgumentException if an element is NaN or infinite; the message has the row and
   *     column of the first one
   */
  public void quantize(Quantizer quantizer, FloatBuffer rows, MultibitMatrix into) {
    quantizer.checkBits(into.bits());
    size("The rows", rows, into.rows(), into.cols());
    implementation.quantize(quantizer, rows, into);
  }

  /**
   * Writes the value of each element, the sum of its +-coefficients.
   *
   * @param out {@code matrix.rows()} x {@code matrix.cols()}
   */
  public void dequantize(MultibitMatrix matrix, FloatBuffer out) {
    written("The output", out, matrix.rows(), matrix.cols());
    implementation.dequantize(matrix, out);
  }

  // Products with packed weights

  /**
   * {@code out[b, r] = sum_ij alpha_ri beta_bj (n - 2 popcount(w_ri xor a_bj))}: the product of
   * quantized weights with a batch of quantized activations.
   *
   * @param weights R x n, in {@link MultibitMatrix#WEIGHT_LANES} layout
   * @param activations B x n, in {@link MultibitMatrix#ACTIVATION_LANES} layout
   * @param out B x R
   */
  public void multiply(MultibitMatrix weights, MultibitMatrix activations, FloatBuffer out) {
    operands(weights, activations);
    written("The output", out, activations.rows(), weights.rows());
    implementation.multiply(weights, activations, out);
  }

  /**
   * The product of quantized weights (R x n) with full-precision activations.
   *
   * @param activations {@code batch} x n
   * @param out {@code batch} x R
   */
  public void multiply(
      MultibitMatrix weights, FloatBuffer activations, int batch, FloatBuffer out) {
    lanes("Weights", weights, MultibitMatrix.WEIGHT_LANES);
    size("The activations", activations, batch, weights.cols());
    written("The output", out, batch, weights.rows());
    implementation.multiply(weights, activations, batch, out);
  }

  /**
   * For training: {@code out[b, r] = bias[r] + sum_ij alpha_ri beta_bj (n - 2 popcount((w_ri xor
   * a_bj) and m_b))} with n = popcount(m_b). This is {@link #multiply(MultibitMatrix,
   * MultibitMatrix, FloatBuffer)} over the retained activations. If all are retained, the sums are
   * the same to the bit.
   *
   * @param masks dropout masks of the activations, {@link #maskWords} for B rows of n; null = all
   *     are retained
   * @param bias [R]; null = the product is added to {@code out}
   */
  public void multiply(
      MultibitMatrix weights,
      MultibitMatrix activations,
      LongBuffer masks,
      FloatBuffer bias,
      FloatBuffer out) {
    operands(weights, activations);
    if (masks != null) {
      masks(masks, activations.rows(), activations.cols());
    }
    if (bias != null) {
      size("The bias", bias, weights.rows(), 1);
    }
    written("The output", out, activations.rows(), weights.rows());
    implementation.multiply(weights, activations, masks, bias, out);
  }

  // Products in full precision

  /**
   * Whether {@link #gemm}, {@link #gemmPrepacked} and {@link #fusedLinearCrossEntropy} in full
   * precision are faster than BLAS. Those in plain Java are not.
   */
  public boolean hasFastGemm() {
    return implementation.hasFastGemm();
  }

  /**
   * {@code c = alpha op(a) b}, or {@code c += alpha op(a) b}.
   *
   * @param a [rows, inner], or [inner, rows] if {@code transposed}
   * @param b [inner, cols]
   * @param add whether to add to c
   * @param c [rows, cols]
   */
  public void gemm(
      FloatBuffer a,
      boolean transposed,
      FloatBuffer b,
      int rows,
      int inner,
      int cols,
      float alpha,
      boolean add,
      FloatBuffer c) {
    size("The left matrix", a, rows, inner);
    size("The right matrix", b, inner, cols);
    written("The output", c, rows, cols);
    implementation.gemm(a, transposed, b, rows, inner, cols, alpha, add, c);
  }

  /** The number of panels of a matrix with {@code cols} columns. */
  public static int panels(int cols) {
    return (cols + PANEL_COLUMNS - 1) / PANEL_COLUMNS;
  }

  /** The number of floats in the panels of a matrix [inner, cols]. */
  public static int panelFloats(int inner, int cols) {
    return Math.multiplyExact(Math.multiplyExact(panels(cols), PANEL_COLUMNS), inner);
  }

  /**
   * Prepacks weights for {@link #gemmPrepacked}: panel p holds columns 32p..32p+31, row after row.
   * Zeros fill up the last panel.
   *
   * @param w [inner, cols], or [cols, inner] if {@code transposed}
   * @param panels receives {@link #panelFloats} floats
   */
  public void prepackWeights(
      FloatBuffer w, int inner, int cols, boolean transposed, FloatBuffer panels) {
    size("The weights", w, inner, cols);
    written("The panels", panels, panelFloats(inner, cols), 1);
    implementation.prepackWeights(w, inner, cols, transposed, panels);
  }

  /**
   * {@code out = bias + x w} with prepacked weights. Use it for weights that are stored transposed
   * or that many products share.
   *
   * @param x [batch, inner]
   * @param panels the prepacked w [inner, cols]
   * @param bias [cols]; null = the product is added to {@code out}
   * @param out [batch, cols]
   */
  public void gemmPrepacked(
      FloatBuffer x,
      int batch,
      int inner,
      FloatBuffer panels,
      int cols,
      FloatBuffer bias,
      FloatBuffer out) {
    size("The activations", x, batch, inner);
    if (bias != null) {
      size("The bias", bias, 1, cols);
    }
    size("The panels", panels, panelFloats(inner, cols), 1);
    written("The output", out, batch, cols);
    implementation.gemmPrepacked(x, batch, inner, panels, cols, bias, out);
  }

  // Softmax and losses

  /** Replaces each row of {@code rows} x {@code classes} logits by its softmax. */
  public void softmax(FloatBuffer logits, int rows, int classes) {
    written("The logits", logits, rows, classes);
    implementation.softmax(logits, rows, classes);
  }

  /**
   * Computes the softmax and the cross-entropy of each row of logits against one label, and
   * replaces the logits by the gradient.
   *
   * @param logits {@code labels.remaining()} x {@code classes}; replaced by softmax(logits) -
   *     onehot(label)
   * @param labels the right class of each row, within 0..classes-1
   * @param losses receives -ln softmax(logits)[label] per row
   */
  public void softmaxCrossEntropy(
      FloatBuffer logits, int classes, IntBuffer labels, FloatBuffer losses) {
    labelled(logits, classes, labels, losses);
    implementation.softmaxCrossEntropy(logits, classes, labels, losses);
  }

  /**
   * Distillation (Hinton et al. 2015, section 2): the loss combines cross-entropy against one label
   * with the divergence from a teacher, which has weight w and temperature T. Replaces the logits
   * by the gradient.
   *
   * @param logits z, {@code labels.remaining()} x {@code classes}; replaced by {@code (1-w)
   *     (softmax(z) - onehot(label)) + w T (softmax(z/T) - softmax(y/T))}
   * @param teacher y, the teacher's logits, of the same shape; overwritten
   * @param labels as for {@link #softmaxCrossEntropy}
   * @param weight w, from 0 to 1
   * @param temperature T, above 0
   * @param losses receives {@code -(1-w) ln softmax(z)[label] + w T^2 KL(softmax(y/T) ||
   *     softmax(z/T))} per row
   */
  public void distill(
      FloatBuffer logits,
      FloatBuffer teacher,
      int classes,
      IntBuffer labels,
      float weight,
      float temperature,
      FloatBuffer losses) {
    labelled(logits, classes, labels, losses);
    written("The teacher's logits", teacher, labels.remaining(), classes);
    if (!(weight >= 0 && weight <= 1) || !(temperature > 0 && temperature < Float.MAX_VALUE)) {
      throw new IllegalArgumentException(
          "Distillation takes a weight from 0 to 1 and a temperature above 0, not %s and %s"
              .formatted(weight, temperature));
    }
    implementation.distill(logits, teacher, classes, labels, weight, temperature, losses);
  }

  /**
   * Computes the losses of a softmax output layer and their gradients together with its product, so
   * that memory never holds the logits of a whole batch. Logits are {@code bias + product}. Up to
   * rounding, the results equal those of products of the dequantized matrices. Their bits do not
   * depend on the number of threads.
   *
   * @param weights R x n; {@code weights}, {@code activations} and {@code masks} are those of the
   *     product for training
   */
  public void fusedLinearCrossEntropy(
      MultibitMatrix weights,
      MultibitMatrix activations,
      LongBuffer masks,
      LinearCrossEntropy loss) {
    operands(weights, activations);
    if (masks != null) {
      masks(masks, activations.rows(), activations.cols());
    }
    if (loss.classes() != weights.rows()
        || loss.cols() != weights.cols()
        || loss.labels().remaining() != activations.rows()) {
      throw new IllegalArgumentException(
          "Weights [%s, %s] and %s activation vectors do not fit %s classes, %s columns and %s labels"
              .formatted(
                  weights.rows(),
                  weights.cols(),
                  activations.rows(),
                  loss.classes(),
                  loss.cols(),
                  loss.labels().remaining()));
    }
    check(loss);
    implementation.fusedLinearCrossEntropy(weights, activations, masks, loss);
  }

  /**
   * Fused linear cross-entropy in full precision.
   *
   * @param weights R x n
   * @param panels the same weights transposed and prepacked by {@link #prepackWeights}
   */
  public void fusedLinearCrossEntropy(
      FloatBuffer weights, FloatBuffer panels, LinearCrossEntropy loss) {
    size("The weights", weights, loss.classes(), loss.cols());
    size("The panels", panels, panelFloats(loss.cols(), loss.classes()), 1);
    check(loss);
    implementation.fusedLinearCrossEntropy(weights, panels, loss);
  }

  /**
   * The number of floats of scratch that {@link #fusedLinearCrossEntropy} needs.
   *
   * @throws IllegalArgumentException if they take 2 GiB or more
   */
  public int crossEntropyScratch(int batch, int classes, int cols) {
    return implementation.crossEntropyScratch(batch, classes, cols);
  }

  private void check(LinearCrossEntropy loss) {
    int batch = loss.labels().remaining();
    if (batch == 0) {
      throw new IllegalArgumentException("There are no rows with labels");
    }
    size("The bias", loss.bias(), loss.classes(), 1);
    labels(loss.labels(), loss.classes());
    size("The weights of the losses", loss.lossWeights(), batch, 1);
    size("The activations' values", loss.x(), batch, loss.cols());
    int scratch = crossEntropyScratch(batch, loss.classes(), loss.cols());
    if (scratch > 0) {
      written("The scratch memory", loss.scratch(), scratch, 1);
    }
    written("The losses", loss.losses(), batch, 1);
    written("The weights' gradient", loss.weightGradient(), loss.classes(), loss.cols());
    if (loss.biasGradient() != null) {
      written("The bias's gradient", loss.biasGradient(), loss.classes(), 1);
    }
    written("The input's gradient", loss.inputGradient(), batch, loss.cols());
  }

  // Dropout. Masks are bits, retained = 1: maskWords words per row, bit j % 64 of word j / 64
  // standing for element j; bits past the last element are 0.

  /** The number of 64-bit words in the masks of {@code rows} rows. */
  public static int maskWords(int rows, int cols) {
    return Math.multiplyExact(rows, (cols + 63) / 64);
  }

  /**
   * Fills dropout masks. The element at position p = row * cols + column is retained if {@code
   * mix(key + p * G) >>> 1 < retain * Long.MAX_VALUE}. Here G = 0x9E3779B97F4A7C15, and mix(z) is
   * SplitMix64's next number in state z.
   *
   * @param retain probability, from 0 to 1
   */
  public void dropoutMasks(long key, double retain, int rows, int cols, LongBuffer masks) {
    if (!(retain >= 0 && retain <= 1)) {
      throw new IllegalArgumentException("A probability is from 0 to 1, not " + retain);
    }
    masks(masks, rows, cols);
    requireWritable(masks);
    implementation.dropoutMasks(key, retain, rows, cols, masks);
  }

  /** Multiplies retained elements by {@code factor} and sets the others to 0. */
  public void drop(LongBuffer masks, float factor, int rows, int cols, FloatBuffer x) {
    masks(masks, rows, cols);
    written("The elements", x, rows, cols);
    implementation.drop(masks, factor, rows, cols, x);
  }

  // Rows and elements

  /** {@code into[r, c] += bias[c]} for {@code into.remaining() / bias.remaining()} rows. */
  public void addBias(FloatBuffer bias, FloatBuffer into) {
    wholeRows(bias, into);
    requireWritable(into);
    implementation.addBias(bias, into);
  }

  /**
   * {@code into[index[i], c] += rows[i, c]}, in rising i.
   *
   * @param index for each of {@code rows}, the index of a row of {@code into}; in any order,
   *     repeated or not
   * @param into whole rows of {@code cols} elements
   */
  public void scatterAdd(FloatBuffer rows, IntBuffer index, int cols, FloatBuffer into) {
    size("The rows", rows, index.remaining(), cols);
    int count = into.remaining() / cols;
    written("The sums", into, count, cols);
    for (int i = index.position(); i < index.limit(); i++) {
      if (index.get(i) < 0 || index.get(i) >= count) {
        throw new IllegalArgumentException(
            "Row %s is added to row %s, outside 0..%s"
                .formatted(i - index.position(), index.get(i), count - 1));
      }
    }
    implementation.scatterAdd(rows, index, cols, into);
  }

  /** {@code sums[c] = sum_r rows[r, c]}, in rising r; {@code sums.remaining()} columns. */
  public void columnSums(FloatBuffer rows, FloatBuffer sums) {
    wholeRows(sums, rows);
    requireWritable(sums);
    implementation.columnSums(rows, sums);
  }

  /** The sum of the squares of all elements. Its bits do not depend on the number of threads. */
  public double sumOfSquares(FloatBuffer x) {
    size("The elements", x, x.remaining(), 1);
    return implementation.sumOfSquares(x);
  }

  /** {@code x *= factor}. */
  public void scale(FloatBuffer x, float factor) {
    written("The elements", x, x.remaining(), 1);
    implementation.scale(x, factor);
  }

  /** {@code x = min(max(x, -bound), bound)}; NaN stays NaN. */
  public void clip(FloatBuffer x, float bound) {
    written("The elements", x, x.remaining(), 1);
    implementation.clip(x, bound);
  }

  /**
   * {@code out = x} in bfloat16, the upper half of a float: rounded to nearest, ties to even; NaN
   * becomes a quiet NaN.
   *
   * @param out {@code x.remaining()} elements
   */
  public void roundToBfloat16(FloatBuffer x, ShortBuffer out) {
    size("The elements", x, x.remaining(), 1);
    written("The output", out, x.remaining(), 1);
    implementation.roundToBfloat16(x, out);
  }

  // Recurrent cells

  /**
   * Computes one time step without its products: from sums and states to gates and the next states.
   */
  public void forwardStep(CellStates states, int step) {
    steps(states);
    requireStep(step, states.steps() - 1, states.steps());
    implementation.forwardStep(states, step);
  }

  /** Computes the gradients of {@link #forwardStep} from the arrays that it wrote. */
  public void backwardStep(CellStates states, CellGradients gradients, int step) {
    steps(states);
    gradients(states, gradients);
    requireStep(step, states.steps() - 1, states.steps());
    implementation.backwardStep(states, gradients, step);
  }

  /**
   * Computes a whole sequence: for each step, adds the recurrent product to the sums and computes
   * the step. The results have the same bits as step by step.
   *
   * @param panels the prepacked recurrent weights [units, G units]
   */
  public void forwardSequence(CellStates states, FloatBuffer panels) {
    steps(states);
    size("The panels", panels, panelFloats(states.units(), states.sums()), 1);
    implementation.forwardSequence(states, panels);
  }

  /**
   * Computes a whole sequence with quantized weights and with a hidden state that is quantized
   * before each step.
   *
   * @param weights [G units, units]
   * @param codes [steps * batch, units], receives the quantized hidden states
   * @throws IllegalArgumentException if a hidden state is NaN or infinite
   */
  public void forwardSequence(
      CellStates states, Quantizer quantizer, MultibitMatrix weights, MultibitMatrix codes) {
    steps(states);
    quantizer.checkBits(codes.bits());
    int units = states.units();
    if (codes.lanes() != MultibitMatrix.ACTIVATION_LANES
        || codes.rows() != states.steps() * states.batch()
        || codes.cols() != units
        || weights.lanes() != MultibitMatrix.WEIGHT_LANES
        || weights.rows() != states.sums()
        || weights.cols() != units) {
      throw new IllegalArgumentException(
          "Weights [%s, %s] and codes [%s, %s] do not fit %s steps of a batch of %s with %s units"
              .formatted(
                  weights.rows(),
                  weights.cols(),
                  codes.rows(),
                  codes.cols(),
                  states.steps(),
                  states.batch(),
                  units));
    }
    implementation.forwardSequence(states, quantizer, weights, codes);
  }

  /**
   * Computes the gradients of a sequence, from its last step back.
   *
   * @param gradients {@code hidden} has the gradient from the layer above; the gradient through the
   *     recurrent product is added to it
   * @param panels the transposed recurrent weights [G units, units], prepacked
   * @param first the step at which backpropagation ends; gradients of earlier steps do not change
   */
  public void backwardSequence(
      CellStates states, CellGradients gradients, FloatBuffer panels, int first) {
    steps(states);
    gradients(states, gradients);
    size("The panels", panels, panelFloats(states.sums(), states.units()), 1);
    requireStep(first, states.steps(), states.steps());
    implementation.backwardSequence(states, gradients, panels, first);
  }

  private static void steps(CellStates states) {
    int batch = states.batch();
    int units = states.units();
    if (batch < 1 || units < 1) {
      throw new IllegalArgumentException(
          "A cell has at least one unit and a batch of one, not %s and %s".formatted(units, batch));
    }
    int sums = Math.multiplyExact(states.cell().gates(), units);
    int rows = states.gates().remaining() / sums;
    written("The gates", states.gates(), rows / batch * batch, sums);
    if (states.cell().separateSums() != (states.recurrent() != null)) {
      throw new IllegalArgumentException(
          "The %s cell keeps its sums otherwise".formatted(states.cell()));
    }
    if (states.recurrent() != null) {
      written("The recurrent sums", states.recurrent(), rows, sums);
    }
    written("The hidden states", states.hidden(), rows + batch, units);
    if (states.cell().hasState()) {
      written("The cell's states", states.cellState(), rows + batch, units);
      written("The tanh of the cell's states", states.cellTanh(), rows, units);
    }
  }

  private static void gradients(CellStates states, CellGradients gradients) {
    int rows = states.steps() * states.batch();
    written("The hidden states' gradients", gradients.hidden(), rows, states.units());
    written("The carried gradient", gradients.carried(), states.batch(), states.units());
    written("The gates' gradients", gradients.gates(), rows, states.sums());
    if (states.recurrent() != null) {
      written("The recurrent sums' gradients", gradients.recurrent(), rows, states.sums());
    }
  }

  private static void requireStep(int step, int last, int steps) {
    if (step < 0 || step > last) {
      throw new IllegalArgumentException(
          "Step %s is outside a sequence of %s steps".formatted(step, steps));
    }
  }

  // Checks

  private static void operands(MultibitMatrix weights, MultibitMatrix activations) {
    lanes("Weights", weights, MultibitMatrix.WEIGHT_LANES);
    lanes("Activations", activations, MultibitMatrix.ACTIVATION_LANES);
    if (weights.cols() != activations.cols()) {
      throw new IllegalArgumentException(
          "Weights have %s columns, activations %s".formatted(weights.cols(), activations.cols()));
    }
  }

  private static void lanes(String what, MultibitMatrix matrix, int lanes) {
    if (matrix.lanes() != lanes) {
      throw new IllegalArgumentException(
          "%s must lie in the layout of %s rows side by side, not %s"
              .formatted(what, lanes, matrix.lanes()));
    }
  }

  private static void labelled(
      FloatBuffer logits, int classes, IntBuffer labels, FloatBuffer losses) {
    written("The logits", logits, labels.remaining(), classes);
    written("The losses", losses, labels.remaining(), 1);
    labels(labels, classes);
  }

  private static void labels(IntBuffer labels, int classes) {
    size("The labels", labels, labels.remaining(), 1);
    for (int r = 0; r < labels.remaining(); r++) {
      int label = labels.get(labels.position() + r);
      if (label < 0 || label >= classes) {
        throw new IllegalArgumentException(
            "The label of row %s is %s, outside 0..%s".formatted(r, label, classes - 1));
      }
    }
  }

  private static void masks(LongBuffer masks, int rows, int cols) {
    size("The masks", masks, rows, (cols + 63) / 64);
  }

  /** Checks for whole rows, each as long as {@code row}. */
  private static void wholeRows(FloatBuffer row, FloatBuffer rows) {
    size("The row", row, 1, 1);
    size("The rows", rows, rows.remaining() / row.remaining(), row.remaining());
    if (rows.remaining() % row.remaining() != 0) {
      throw new IllegalArgumentException(
          "%s elements are no whole rows of %s".formatted(rows.remaining(), row.remaining()));
    }
  }

  private static void written(String what, Buffer buffer, int rows, int cols) {
    size(what, buffer, rows, cols);
    requireWritable(buffer);
  }

  private static void requireWritable(Buffer buffer) {
    if (buffer.isReadOnly()) {
      throw new ReadOnlyBufferException();
    }
  }

  private static void size(String what, Buffer buffer, int rows, int cols) {
    if (buffer == null) {
      throw new IllegalArgumentException(what + " are missing");
    }
    if (rows < 0 || cols < 1 || buffer.remaining() < (long) rows * cols) {
      throw new IllegalArgumentException(
          "%s have %s elements, not %s x %s".formatted(what, buffer.remaining(), rows, cols));
    }
    if (!buffer.isDirect() || order(buffer) != ByteOrder.nativeOrder()) {
      throw new IllegalArgumentException(what + " must be in direct memory, in native byte order");
    }
  }

  private static ByteOrder order(Buffer buffer) {
    if (buffer instanceof FloatBuffer floats) {
      return floats.order();
    }
    if (buffer instanceof ShortBuffer shorts) {
      return shorts.order();
    }
    return buffer instanceof IntBuffer ints ? ints.order() : ((LongBuffer) buffer).order();
  }
}

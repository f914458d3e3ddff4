package org.multibit.core;

import java.io.IOException;
import java.nio.FloatBuffer;
import java.nio.IntBuffer;
import java.nio.LongBuffer;
import java.nio.ShortBuffer;
import java.util.Arrays;
import java.util.stream.IntStream;
import org.bytedeco.javacpp.Loader;

/**
 * The kernels in plain Java. They run where there is no native library, and they are the oracle of
 * the tests. A faster implementation extends this class and overrides the kernels that it computes
 * faster; {@link java.util.ServiceLoader} finds it.
 *
 * <p>{@link Kernels} documents each kernel. It is the only caller and has checked the arguments.
 * Implementations are stateless, and many threads call them at once.
 */
public class JavaKernels {
  private static final float LARGEST_UNSCALED = 0x1p60f;
  private static final float SMALLEST_UNSCALED = 0x1p-60f;

  /**
   * The largest sum of coefficients: below the largest float by more than the rounding of 8
   * additions.
   */
  private static final float LARGEST_SUM = 0x1.ffffep127f;

  protected String name() {
    return "java";
  }

  /** See {@link Kernels#blas()}. */
  protected String blas() {
    try {
      return "OpenBLAS " + Loader.getVersion("org.bytedeco", "openblas");
    } catch (IOException e) {
      return "of unknown version";
    }
  }

  /** See {@link Kernels#hasFastGemm()}. */
  protected boolean hasFastGemm() {
    return false;
  }

  protected void quantize(Quantizer quantizer, FloatBuffer rows, MultibitMatrix into) {
    refuseNotFinite(rows, into.rows(), into.cols());
    LongBuffer planes = into.planes();
    FloatBuffer coefficients = into.coefficients();
    int lanes = into.lanes();
    int blocks = (into.rows() + lanes - 1) / lanes;
    IntStream.range(0, blocks)
        .parallel()
        .forEach(
            block -> {
              clear(
                  planes, into.planeIndex(block * lanes, 0, 0), into.words() * into.bits() * lanes);
              clear(coefficients, into.coefficientIndex(block * lanes, 0), into.bits() * lanes);
              float[] w = new float[into.cols()];
              for (int r = block * lanes; r < Math.min(into.rows(), (block + 1) * lanes); r++) {
                rows.get(rows.position() + r * w.length, w);
                quantizeRow(quantizer, w, r, into, planes, coefficients);
              }
            });
  }

  private static void refuseNotFinite(FloatBuffer rows, int count, int cols) {
    IntStream.range(0, count)
        .parallel()
        .filter(r -> firstNotFinite(rows, r, cols) < cols)
        .findFirst()
        .ifPresent(
            r -> {
              int c = firstNotFinite(rows, r, cols);
              throw notFinite(rows.get(rows.position() + r * cols + c), r, c);
            });
  }

  /** The column of the first NaN or infinity, or {@code cols} if there is none. */
  private static int firstNotFinite(FloatBuffer rows, int row, int cols) {
    int start = rows.position() + row * cols;
    int c = 0;
    while (c < cols && Float.isFinite(rows.get(start + c))) {
      c++;
    }
    return c;
  }

  private static void quantizeRow(
      Quantizer quantizer,
      float[] w,
      int row,
      MultibitMatrix into,
      LongBuffer planes,
      FloatBuffer coefficients) {
    int bits = into.bits();
    float max = FixedLevels.maxMagnitude(w);
    // Sums of very large or very small magnitudes would overflow or vanish: work at a power of two
    // times the row. Levels over a range of their own are no sums, and would be scaled with it.
    boolean ownRange = quantizer instanceof FixedLevels levels && levels.range() > 0;
    boolean scaled = !ownRange && max > 0 && (max > LARGEST_UNSCALED || max < SMALLEST_UNSCALED);
    int exponent = scaled ? Math.getExponent((double) max) : 0;
    int half = exponent / 2;
    if (scaled) {
      for (int c = 0; c < w.length; c++) {
        w[c] = w[c] * powerOfTwo(-half) * powerOfTwo(half - exponent);
      }
    }
    byte[] codes = new byte[w.length];
    float[] a = new float[bits];
    quantizer.quantizeRow(w, bits, codes, a);
    if (scaled) {
      float sum = 0;
      for (int i = 0; i < bits; i++) {
        float back = a[i] * powerOfTwo(half) * powerOfTwo(exponent - half);
        a[i] = Math.min(back, Math.max(0, LARGEST_SUM - sum));
        sum += a[i];
      }
    }
    for (int i = 0; i < bits; i++) {
      coefficients.put(into.coefficientIndex(row, i), a[i]);
      for (int word = 0; word < into.words(); word++) {
        long plane = 0;
        for (int c = word * 64; c < Math.min(w.length, word * 64 + 64); c++) {
          plane |= (long) (codes[c] >> i & 1) << c;
        }
        planes.put(into.planeIndex(row, i, word), plane);
      }
    }
  }

  /**
   * The exception for an element that cannot be quantized, with the same text for every
   * implementation.
   */
  public static IllegalArgumentException notFinite(float value, long row, long col) {
    return new IllegalArgumentException(
        "Cannot quantize %s at row %s, column %s".formatted(value, row, col));
  }

  private static float powerOfTwo(int exponent) {
    return Math.scalb(1f, exponent);
  }

  private static void clear(LongBuffer buffer, int from, int count) {
    for (int i = 0; i < count; i++) {
      buffer.put(from + i, 0);
    }
  }

  private static void clear(FloatBuffer buffer, int from, int count) {
    for (int i = 0; i < count; i++) {
      buffer.put(from + i, 0);
    }
  }

  protected void dequantize(MultibitMatrix matrix, FloatBuffer out) {
    IntStream.range(0, matrix.rows())
        .parallel()
        .forEach(
            r -> {
              int start = out.position() + r * matrix.cols();
              float[] a = coefficients(matrix, r);
              for (int c = 0; c < matrix.cols(); c++) {
                int code = 0;
                for (int i = 0; i < matrix.bits(); i++) {
                  code |= matrix.bit(r, i, c) ? 1 << i : 0;
                }
                out.put(start + c, Codes.value(code, a, matrix.bits()));
              }
            });
  }

  private static float[] coefficients(MultibitMatrix matrix, int row) {
    float[] a = new float[matrix.bits()];
    for (int i = 0; i < a.length; i++) {
      a[i] = matrix.coefficient(row, i);
    }
    return a;
  }

  protected void multiply(MultibitMatrix weights, MultibitMatrix activations, FloatBuffer out) {
    LongBuffer w = weights.planes();
    LongBuffer x = activations.planes();
    IntStream.range(0, weights.rows())
        .parallel()
        .forEach(
            r -> {
              for (int b = 0; b < activations.rows(); b++) {
                float y = 0;
                for (int i = 0; i < weights.bits(); i++) {
                  for (int j = 0; j < activations.bits(); j++) {
                    int differ = 0;
                    for (int word = 0; word < weights.words(); word++) {
                      differ +=
                          Long.bitCount(
                              w.get(weights.planeIndex(r, i, word))
                                  ^ x.get(activations.planeIndex(b, j, word)));
                    }
                    y +=
                        weights.coefficient(r, i)
                            * activations.coefficient(b, j)
                            * (weights.cols() - 2 * differ);
                  }
                }
                out.put(out.position() + b * weights.rows() + r, y);
              }
            });
  }

  protected void multiply(
      MultibitMatrix weights, FloatBuffer activations, int batch, FloatBuffer out) {
    int n = weights.cols();
    IntStream.range(0, weights.rows())
        .parallel()
        .forEach(
            r -> {
              for (int b = 0; b < batch; b++) {
                float y = 0;
                for (int i = 0; i < weights.bits(); i++) {
                  float sum = 0;
                  for (int c = 0; c < n; c++) {
                    float x = activations.get(activations.position() + b * n + c);
                    sum += weights.bit(r, i, c) ? x : -x;
                  }
                  y += weights.coefficient(r, i) * sum;
                }
                out.put(out.position() + b * weights.rows() + r, y);
              }
            });
  }

  protected void softmaxCrossEntropy(
      FloatBuffer logits, int classes, IntBuffer labels, FloatBuffer losses) {
    IntStream.range(0, labels.remaining())
        .parallel()
        .forEach(
            r -> {
              int start = logits.position() + r * classes;
              int label = start + labels.get(labels.position() + r);
              float right = logits.get(label);
              double logSum = softmaxRow(logits, start, classes);
              logits.put(label, logits.get(label) - 1);
              losses.put(losses.position() + r, (float) (logSum - right));
            });
  }

  protected void distill(
      FloatBuffer logits,
      FloatBuffer teacher,
      int classes,
      IntBuffer labels,
      float weight,
      float temperature,
      FloatBuffer losses) {
    IntStream.range(0, labels.remaining())
        .parallel()
        .forEach(
            r -> {
              double[] z = row(logits, r, classes);
              double[] y = row(teacher, r, classes);
              int label = labels.get(labels.position() + r);
              double[] hard = logSoftmax(z, 1);
              double[] student = logSoftmax(z, temperature);
              double[] soft = logSoftmax(y, temperature);
              double divergence = 0;
              for (int c = 0; c < classes; c++) {
                double p = Math.exp(soft[c]);
                // What the teacher rules out counts nothing, whatever the student says.
                divergence += p == 0 ? 0 : p * (soft[c] - student[c]);
                double ofLabel = Math.exp(hard[c]) - (c == label ? 1 : 0);
                double ofTeacher = Math.exp(student[c]) - p;
                logits.put(
                    logits.position() + r * classes + c,
                    (float) ((1 - weight) * ofLabel + weight * temperature * ofTeacher));
              }
              double square = (double) temperature * temperature;
              losses.put(
                  losses.position() + r,
                  (float) ((weight - 1) * hard[label] + weight * square * divergence));
            });
  }

  private static double[] row(FloatBuffer rows, int row, int cols) {
    int start = rows.position() + row * cols;
    return IntStream.range(0, cols).mapToDouble(c -> rows.get(start + c)).toArray();
  }

  /** ln softmax(z / temperature). */
  private static double[] logSoftmax(double[] z, double temperature) {
    double max = Arrays.stream(z).max().orElseThrow() / temperature;
    double sum = Arrays.stream(z).map(x -> Math.exp(x / temperature - max)).sum();
    double logSum = max + Math.log(sum);
    return Arrays.stream(z).map(x -> x / temperature - logSum).toArray();
  }

  protected void softmax(FloatBuffer logits, int rows, int classes) {
    IntStream.range(0, rows)
        .parallel()
        .forEach(r -> softmaxRow(logits, logits.position() + r * classes, classes));
  }

  /** Replaces the row by its softmax and returns ln sum exp of the logits. */
  private static double softmaxRow(FloatBuffer logits, int start, int classes) {
    float max = Float.NEGATIVE_INFINITY;
    for (int c = 0; c < classes; c++) {
      max = Math.max(max, logits.get(start + c));
    }
    double sum = 0;
    for (int c = 0; c < classes; c++) {
      double e = Math.exp(logits.get(start + c) - max);
      logits.put(start + c, (float) e);
      sum += e;
    }
    for (int c = 0; c < classes; c++) {
      logits.put(start + c, (float) (logits.get(start + c) / sum));
    }
    return max + Math.log(sum);
  }

  protected void multiply(
      MultibitMatrix weights,
      MultibitMatrix activations,
      LongBuffer masks,
      FloatBuffer bias,
      FloatBuffer out) {
    int words = weights.words();
    long[] x = new long[activations.rows() * words * activations.bits()];
    activations.planes().get(x);
    LongBuffer planes = weights.planes();
    IntStream.range(0, weights.rows())
        .parallel()
        .forEach(
            r -> {
              long[] w = new long[words * weights.bits()];
              for (int i = 0; i < w.length; i++) {
                w[i] = planes.get(weights.planeIndex(r, i % weights.bits(), i / weights.bits()));
              }
              long[] mask = new long[words];
              Arrays.fill(mask, -1L);
              for (int b = 0; b < activations.rows(); b++) {
                int n = weights.cols();
                if (masks != null) {
                  masks.get(masks.position() + b * words, mask);
                  n = Arrays.stream(mask).mapToInt(Long::bitCount).sum();
                }
                float y = 0;
                for (int i = 0; i < weights.bits(); i++) {
                  for (int j = 0; j < activations.bits(); j++) {
                    int differ = 0;
                    for (int word = 0; word < words; word++) {
                      long of = x[(b * words + word) * activations.bits() + j];
                      differ += Long.bitCount((w[word * weights.bits() + i] ^ of) & mask[word]);
                    }
                    y +=
                        weights.coefficient(r, i)
                            * activations.coefficient(b, j)
                            * (n - 2 * differ);
                  }
                }
                int at = out.position() + b * weights.rows() + r;
                float from = bias == null ? out.get(at) : bias.get(bias.position() + r);
                out.put(at, from + y);
              }
            });
  }

  protected int crossEntropyScratch(int batch, int classes, int cols) {
    return 0;
  }

  protected void fusedLinearCrossEntropy(
      MultibitMatrix weights,
      MultibitMatrix activations,
      LongBuffer masks,
      LinearCrossEntropy loss) {
    FloatBuffer logits =
        DirectFloats.allocate(Math.multiplyExact(activations.rows(), weights.rows()));
    multiply(weights, activations, masks, loss.bias(), logits);
    FloatBuffer w = DirectFloats.allocate(Math.multiplyExact(weights.rows(), weights.cols()));
    dequantize(weights, w);
    gradients(logits, w, loss);
  }

  protected void fusedLinearCrossEntropy(
      FloatBuffer weights, FloatBuffer panels, LinearCrossEntropy loss) {
    int batch = loss.labels().remaining();
    FloatBuffer logits = DirectFloats.allocate(Math.multiplyExact(batch, loss.classes()));
    gemmPrepacked(loss.x(), batch, loss.cols(), panels, loss.classes(), loss.bias(), logits);
    gradients(logits, weights, loss);
  }

  /**
   * @param delta the logits; receives their gradient
   */
  private void gradients(FloatBuffer delta, FloatBuffer weights, LinearCrossEntropy loss) {
    int batch = loss.labels().remaining();
    int classes = loss.classes();
    softmaxCrossEntropy(delta, classes, loss.labels(), loss.losses());
    for (int b = 0; b < batch; b++) {
      float weight = loss.lossWeights().get(loss.lossWeights().position() + b);
      scale(delta.slice(b * classes, classes), weight);
    }
    gemm(delta, true, loss.x(), classes, batch, loss.cols(), 1, false, loss.weightGradient());
    gemm(delta, false, weights, batch, classes, loss.cols(), 1, false, loss.inputGradient());
    if (loss.biasGradient() != null) {
      columnSums(delta, loss.biasGradient().slice(loss.biasGradient().position(), classes));
    }
  }

  protected void dropoutMasks(long key, double retain, int rows, int cols, LongBuffer masks) {
    // Compares 63 random bits with the probability.
    long threshold = (long) (retain * Long.MAX_VALUE);
    int words = (cols + 63) / 64;
    IntStream.range(0, rows)
        .parallel()
        .forEach(
            r -> {
              for (int word = 0; word < words; word++) {
                long mask = 0;
                for (int c = word * 64; c < Math.min(cols, word * 64 + 64); c++) {
                  long position = (long) r * cols + c;
                  boolean retained =
                      SplitMix64.mix(key + position * SplitMix64.GOLDEN) >>> 1 < threshold;
                  mask |= (retained ? 1L : 0) << c;
                }
                masks.put(masks.position() + r * words + word, mask);
              }
            });
  }

  protected void drop(LongBuffer masks, float factor, int rows, int cols, FloatBuffer x) {
    int words = (cols + 63) / 64;
    for (int r = 0; r < rows; r++) {
      for (int c = 0; c < cols; c++) {
        int at = x.position() + r * cols + c;
        long mask = masks.get(masks.position() + r * words + c / 64);
        x.put(at, (mask >>> c & 1) != 0 ? x.get(at) * factor : 0);
      }
    }
  }

  protected void addBias(FloatBuffer bias, FloatBuffer into) {
    int cols = bias.remaining();
    for (int i = 0; i < into.remaining(); i++) {
      int at = into.position() + i;
      into.put(at, into.get(at) + bias.get(bias.position() + i % cols));
    }
  }

  protected void scatterAdd(FloatBuffer rows, IntBuffer index, int cols, FloatBuffer into) {
    for (int i = 0; i < index.remaining(); i++) {
      int from = rows.position() + i * cols;
      int to = into.position() + index.get(index.position() + i) * cols;
      for (int c = 0; c < cols; c++) {
        into.put(to + c, into.get(to + c) + rows.get(from + c));
      }
    }
  }

  protected void columnSums(FloatBuffer rows, FloatBuffer sums) {
    int cols = sums.remaining();
    IntStream.range(0, cols)
        .parallel()
        .forEach(
            c -> {
              float sum = 0;
              for (int i = c; i < rows.remaining(); i += cols) {
                sum += rows.get(rows.position() + i);
              }
              sums.put(sums.position() + c, sum);
            });
  }

  protected double sumOfSquares(FloatBuffer x) {
    double sum = 0;
    for (int i = x.position(); i < x.limit(); i++) {
      sum += (double) x.get(i) * x.get(i);
    }
    return sum;
  }

  protected void scale(FloatBuffer x, float factor) {
    for (int i = x.position(); i < x.limit(); i++) {
      x.put(i, x.get(i) * factor);
    }
  }

  protected void clip(FloatBuffer x, float bound) {
    for (int i = x.position(); i < x.limit(); i++) {
      x.put(i, Math.min(Math.max(x.get(i), -bound), bound));
    }
  }

  protected void roundToBfloat16(FloatBuffer x, ShortBuffer out) {
    for (int i = 0; i < x.remaining(); i++) {
      float value = x.get(x.position() + i);
      int bits = Float.floatToRawIntBits(value);
      int below = bits & 0xFFFF;
      int upper = bits >>> 16;
      if (Float.isNaN(value)) {
        upper |= 0x40;
      } else if (below > 0x8000 || (below == 0x8000 && (upper & 1) == 1)) {
        upper++;
      }
      out.put(out.position() + i, (short) upper);
    }
  }

  protected void forwardStep(CellStates states, int step) {
    states.cell().forward(states, step * states.batch(), (step + 1) * states.batch());
  }

  protected void backwardStep(CellStates states, CellGradients gradients, int step) {
    int batch = states.batch();
    states.cell().backward(states, gradients, step * batch, (step + 1) * batch);
  }

  protected void forwardSequence(CellStates states, FloatBuffer panels) {
    for (int t = 0; t < states.steps(); t++) {
      FloatBuffer hidden = step(states.hidden(), t, states.batch() * states.units());
      FloatBuffer sums = step(states.recurrentSums(), t, states.batch() * states.sums());
      gemmPrepacked(hidden, states.batch(), states.units(), panels, states.sums(), null, sums);
      forwardStep(states, t);
    }
  }

  protected void forwardSequence(
      CellStates states, Quantizer quantizer, MultibitMatrix weights, MultibitMatrix codes) {
    int batch = states.batch();
    for (int t = 0; t < states.steps(); t++) {
      MultibitMatrix of = codes.rows(t * batch, (t + 1) * batch);
      quantize(quantizer, step(states.hidden(), t, batch * states.units()), of);
      multiply(weights, of, null, null, step(states.recurrentSums(), t, batch * states.sums()));
      forwardStep(states, t);
    }
  }

  protected void backwardSequence(
      CellStates states, CellGradients gradients, FloatBuffer panels, int first) {
    int steps = states.steps();
    for (int t = steps - 1; t >= first; t--) {
      if (t < steps - 1) {
        FloatBuffer dz = step(gradients.recurrentSums(), t + 1, states.batch() * states.sums());
        FloatBuffer dh = step(gradients.hidden(), t, states.batch() * states.units());
        gemmPrepacked(dz, states.batch(), states.sums(), panels, states.units(), null, dh);
      }
      backwardStep(states, gradients, t);
    }
  }

  private static FloatBuffer step(FloatBuffer rows, int t, int size) {
    return rows.slice(rows.position() + t * size, size);
  }

  protected void gemm(
      FloatBuffer a,
      boolean transposed,
      FloatBuffer b,
      int rows,
      int inner,
      int cols,
      float alpha,
      boolean add,
      FloatBuffer c) {
    for (int r = 0; r < rows; r++) {
      for (int j = 0; j < cols; j++) {
        float sum = 0;
        for (int k = 0; k < inner; k++) {
          sum +=
              a.get(a.position() + (transposed ? k * rows + r : r * inner + k))
                  * b.get(b.position() + k * cols + j);
        }
        int at = c.position() + r * cols + j;
        c.put(at, add ? c.get(at) + alpha * sum : alpha * sum);
      }
    }
  }

  protected void prepackWeights(
      FloatBuffer w, int inner, int cols, boolean transposed, FloatBuffer panels) {
    for (int j = 0; j < Kernels.panels(cols) * Kernels.PANEL_COLUMNS; j++) {
      for (int k = 0; k < inner; k++) {
        float value =
            j >= cols ? 0 : w.get(w.position() + (transposed ? j * inner + k : k * cols + j));
        panels.put(panels.position() + panelIndex(j, k, inner), value);
      }
    }
  }

  private static int panelIndex(int col, int k, int inner) {
    return (col / Kernels.PANEL_COLUMNS * inner + k) * Kernels.PANEL_COLUMNS
        + col % Kernels.PANEL_COLUMNS;
  }

  protected void gemmPrepacked(
      FloatBuffer x,
      int batch,
      int inner,
      FloatBuffer panels,
      int cols,
      FloatBuffer bias,
      FloatBuffer out) {
    for (int b = 0; b < batch; b++) {
      for (int j = 0; j < cols; j++) {
        int at = out.position() + b * cols + j;
        float sum = bias == null ? out.get(at) : bias.get(bias.position() + j);
        for (int k = 0; k < inner; k++) {
          sum +=
              x.get(x.position() + b * inner + k)
                  * panels.get(panels.position() + panelIndex(j, k, inner));
        }
        out.put(at, sum);
      }
    }
  }
}

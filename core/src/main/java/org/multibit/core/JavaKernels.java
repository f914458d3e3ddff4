package org.multibit.core;

import java.nio.FloatBuffer;
import java.nio.IntBuffer;
import java.nio.LongBuffer;
import java.util.stream.IntStream;

/** The kernels in plain Java: what runs without a native library, and the oracle of every test. */
public final class JavaKernels implements Kernels {
  private static final float LARGEST_UNSCALED = 0x1p60f;
  private static final float SMALLEST_UNSCALED = 0x1p-60f;

  /** Of coefficients; below the largest float by more than the rounding of 8 additions. */
  private static final float LARGEST_SUM = 0x1.ffffep127f;

  @Override
  public String name() {
    return "java";
  }

  @Override
  public void quantize(Quantizer quantizer, FloatBuffer rows, MultibitMatrix into) {
    KernelChecks.quantize(quantizer, rows, into);
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

  /** The column, or {@code cols} if there is none. */
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
    float max = Uniform.maxMagnitude(w);
    // Sums of very large or very small magnitudes would overflow or vanish: work at a power of two
    // times the row.
    boolean scaled = max > 0 && (max > LARGEST_UNSCALED || max < SMALLEST_UNSCALED);
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
   * The exception for an element that cannot be quantized; the same text for every implementation.
   */
  public static IllegalArgumentException notFinite(float value, long row, long col) {
    return new IllegalArgumentException(
        "Cannot quantize %s at row %d, column %d".formatted(value, row, col));
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

  @Override
  public void dequantize(MultibitMatrix matrix, FloatBuffer out) {
    KernelChecks.dequantize(matrix, out);
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

  @Override
  public void multiply(MultibitMatrix weights, MultibitMatrix activations, FloatBuffer out) {
    KernelChecks.multiply(weights, activations, out);
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

  @Override
  public void multiply(
      MultibitMatrix weights, FloatBuffer activations, int batch, FloatBuffer out) {
    KernelChecks.multiply(weights, activations, batch, out);
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

  @Override
  public void softmaxCrossEntropy(
      FloatBuffer logits, int classes, IntBuffer labels, FloatBuffer losses) {
    KernelChecks.softmaxCrossEntropy(logits, classes, labels, losses);
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

  @Override
  public void softmax(FloatBuffer logits, int rows, int classes) {
    KernelChecks.softmax(logits, rows, classes);
    IntStream.range(0, rows)
        .parallel()
        .forEach(r -> softmaxRow(logits, logits.position() + r * classes, classes));
  }

  /** Returns ln sum exp of the row before. */
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
}

package org.multibit.core;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.FloatBuffer;
import java.nio.IntBuffer;
import java.nio.LongBuffer;
import java.util.Arrays;
import java.util.Random;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.constraints.IntRange;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * The reference kernels. Column counts: around one word (63, 64, 65) and one byte (7, 8, 9), the
 * paper's 300, and several words with a rest (513). Row counts around the 8 that lie side by side.
 */
class JavaKernelsTest {
  private static final Kernels KERNELS = Kernels.java();

  @ParameterizedTest
  @ValueSource(ints = {1, 7, 8, 9, 63, 64, 65, 300, 513})
  void productsAreThoseOfTheDequantizedMatrices(int cols) {
    for (int rows : new int[] {1, 7, 8, 9, 20}) {
      for (int batch : new int[] {1, 3}) {
        for (int bits = 1; bits <= 4; bits++) {
          float[] w = flat(Samples.GAUSSIAN.rows(rows, cols));
          float[] x = flat(Samples.LAPLACIAN.rows(batch, cols));
          MultibitMatrix weights = MultibitMatrix.weights(rows, cols, bits);
          MultibitMatrix activations = MultibitMatrix.activations(batch, cols, 5 - bits);
          KERNELS.quantize(new Alternating(), Row.direct(w), weights);
          KERNELS.quantize(new Greedy(), Row.direct(x), activations);
          float[] qw = dequantized(weights);
          float[] qx = dequantized(activations);
          FloatBuffer packed = Row.floats(batch * rows);
          KERNELS.multiply(weights, activations, packed);
          assertProduct(qw, qx, rows, batch, cols, packed);
          FloatBuffer floats = Row.floats(batch * rows);
          KERNELS.multiply(weights, Row.direct(x), batch, floats);
          assertProduct(qw, x, rows, batch, cols, floats);
        }
      }
    }
  }

  /** The reference of training's product: the retained activations alone, added to a start. */
  @ParameterizedTest
  @ValueSource(ints = {1, 8, 63, 64, 65, 300})
  void maskedProductsAreThoseOfTheRetainedActivations(int cols) {
    int rows = 9;
    int batch = 3;
    MultibitMatrix weights = MultibitMatrix.weights(rows, cols, 2);
    MultibitMatrix activations = MultibitMatrix.activations(batch, cols, 3);
    KERNELS.quantize(
        new Alternating(), Row.direct(flat(Samples.GAUSSIAN.rows(rows, cols))), weights);
    KERNELS.quantize(
        new Greedy(), Row.direct(flat(Samples.LAPLACIAN.rows(batch, cols))), activations);
    LongBuffer masks =
        ByteBuffer.allocateDirect(8 * Kernels.maskWords(batch, cols))
            .order(ByteOrder.nativeOrder())
            .asLongBuffer();
    KERNELS.dropoutMasks(5, 0.5, batch, cols, masks);
    FloatBuffer retained = Row.direct(dequantized(activations));
    KERNELS.drop(masks, 1, batch, cols, retained);
    float[] x = new float[batch * cols];
    retained.duplicate().get(x);
    FloatBuffer start = Row.floats(rows);
    FloatBuffer product = Row.floats(batch * rows);
    KERNELS.multiply(weights, activations, masks, start, product);
    assertProduct(dequantized(weights), x, rows, batch, cols, product);
    for (int i = 0; i < batch * rows; i++) {
      product.put(i, 0);
    }
    KERNELS.multiply(weights, activations, masks, null, product);
    assertProduct(dequantized(weights), x, rows, batch, cols, product);
  }

  /** Within 1e-5 of sum |w x|. */
  private static void assertProduct(
      float[] w, float[] x, int rows, int batch, int cols, FloatBuffer product) {
    for (int b = 0; b < batch; b++) {
      for (int r = 0; r < rows; r++) {
        double expected = 0;
        double magnitude = 0;
        for (int c = 0; c < cols; c++) {
          double term = (double) w[r * cols + c] * x[b * cols + c];
          expected += term;
          magnitude += Math.abs(term);
        }
        assertEquals(expected, product.get(b * rows + r), 1e-5 * magnitude);
      }
    }
  }

  /** To the bit: y += (a_i c_j) (n - 2 popcount), weights' planes outside (docs/numerics.md). */
  @Property(tries = 200)
  void packedProductsAreExact(
      @ForAll @IntRange(min = 1, max = 20) int rows,
      @ForAll @IntRange(min = 1, max = 4) int batch,
      @ForAll @IntRange(min = 1, max = 200) int cols,
      @ForAll @IntRange(min = 1, max = 8) int weightBits,
      @ForAll @IntRange(min = 1, max = 8) int activationBits,
      @ForAll long seed) {
    Random random = new Random(seed);
    MultibitMatrix weights = random(MultibitMatrix.weights(rows, cols, weightBits), random);
    MultibitMatrix activations =
        random(MultibitMatrix.activations(batch, cols, activationBits), random);
    FloatBuffer out = Row.floats(batch * rows);
    KERNELS.multiply(weights, activations, out);
    for (int b = 0; b < batch; b++) {
      for (int r = 0; r < rows; r++) {
        float y = 0;
        for (int i = 0; i < weightBits; i++) {
          for (int j = 0; j < activationBits; j++) {
            int product = 0;
            for (int c = 0; c < cols; c++) {
              product += weights.bit(r, i, c) == activations.bit(b, j, c) ? 1 : -1;
            }
            float coefficient = weights.coefficient(r, i) * activations.coefficient(b, j);
            y += coefficient * product;
          }
        }
        assertEquals(y, out.get(b * rows + r));
      }
    }
  }

  private static MultibitMatrix random(MultibitMatrix m, Random random) {
    for (int r = 0; r < m.rows(); r++) {
      for (int i = 0; i < m.bits(); i++) {
        m.coefficients().put(m.coefficientIndex(r, i), (float) random.nextGaussian());
        for (int c = 0; c < m.cols(); c++) {
          int index = m.planeIndex(r, i, c / 64);
          long bit = random.nextBoolean() ? 1L << c % 64 : 0;
          m.planes().put(index, m.planes().get(index) | bit);
        }
      }
    }
    return m;
  }

  /** Both layouts, every size; what was in the matrix before does not show through. */
  @ParameterizedTest
  @ValueSource(ints = {1, 7, 8, 9, 63, 64, 65, 300, 513})
  void quantizingOverwritesEverything(int cols) {
    for (int rows : new int[] {1, 7, 8, 9}) {
      for (Quantizer quantizer : Quantizers.METHODS.stream().map(Quantizers::of).toList()) {
        FloatBuffer w = Row.direct(flat(Samples.UNIFORM.rows(rows, cols)));
        for (MultibitMatrix[] pair :
            new MultibitMatrix[][] {
              {MultibitMatrix.weights(rows, cols, 2), MultibitMatrix.weights(rows, cols, 2)},
              {MultibitMatrix.activations(rows, cols, 2), MultibitMatrix.activations(rows, cols, 2)}
            }) {
          MultibitMatrix clean = pair[0];
          MultibitMatrix dirty = pair[1];
          for (int i = 0; i < dirty.planes().capacity(); i++) {
            dirty.planes().put(i, -1);
          }
          for (int i = 0; i < dirty.coefficients().capacity(); i++) {
            dirty.coefficients().put(i, Float.NaN);
          }
          KERNELS.quantize(quantizer, w, clean);
          KERNELS.quantize(quantizer, w, dirty);
          assertEquals(clean.planes(), dirty.planes());
          assertEquals(clean.coefficients(), dirty.coefficients());
          long ones = 0;
          for (int i = 0; i < dirty.planes().capacity(); i++) {
            ones += Long.bitCount(dirty.planes().get(i));
          }
          long expected = 0;
          for (int r = 0; r < rows; r++) {
            for (int c = 0; c < cols; c++) {
              expected += (dirty.bit(r, 0, c) ? 1 : 0) + (dirty.bit(r, 1, c) ? 1 : 0);
            }
          }
          assertEquals(expected, ones, "bits outside the matrix");
          for (int r = rows; r < (rows + 7) / 8 * 8 && dirty.lanes() == 8; r++) {
            assertEquals(0f, dirty.coefficient(r, 0));
            assertEquals(0f, dirty.coefficient(r, 1));
          }
        }
      }
    }
  }

  @Test
  void bothLayoutsHoldTheSame() {
    float[] w = flat(Samples.GAUSSIAN.rows(11, 130));
    MultibitMatrix weights = MultibitMatrix.weights(11, 130, 3);
    MultibitMatrix activations = MultibitMatrix.activations(11, 130, 3);
    KERNELS.quantize(new Alternating(), Row.direct(w), weights);
    KERNELS.quantize(new Alternating(), Row.direct(w), activations);
    for (int r = 0; r < 11; r++) {
      for (int i = 0; i < 3; i++) {
        assertEquals(weights.coefficient(r, i), activations.coefficient(r, i));
        for (int c = 0; c < 130; c++) {
          assertEquals(weights.bit(r, i, c), activations.bit(r, i, c));
        }
      }
    }
  }

  /** Logits that overflow exp by themselves, ties, and one class. */
  @ParameterizedTest
  @CsvSource({"1, 1", "1, 2", "5, 7", "3, 1000", "20, 33"})
  void softmaxAndCrossEntropyEqualADoubleReference(int rows, int classes) {
    Random random = new Random(rows + classes);
    float[] logits = new float[rows * classes];
    int[] labels = new int[rows];
    for (float scale : new float[] {0, 1, 30, 1e4f, 1e30f}) {
      for (int i = 0; i < logits.length; i++) {
        logits[i] = scale * (float) random.nextGaussian();
      }
      for (int r = 0; r < rows; r++) {
        labels[r] = random.nextInt(classes);
      }
      FloatBuffer softmax = Row.direct(logits);
      KERNELS.softmax(softmax, rows, classes);
      FloatBuffer gradient = Row.direct(logits);
      FloatBuffer losses = Row.floats(rows);
      KERNELS.softmaxCrossEntropy(gradient, classes, Row.direct(labels), losses);
      for (int r = 0; r < rows; r++) {
        float[] row = Arrays.copyOfRange(logits, r * classes, (r + 1) * classes);
        double max = Float.NEGATIVE_INFINITY;
        for (float x : row) {
          max = Math.max(max, x);
        }
        double sum = 0;
        for (float x : row) {
          sum += Math.exp(x - max);
        }
        double loss = max - row[labels[r]] + Math.log(sum);
        assertEquals(loss, losses.get(r), 1e-6 * Math.max(1, loss));
        for (int c = 0; c < classes; c++) {
          double p = Math.exp(row[c] - max) / sum;
          // The difference to the maximum is rounded to float first: relative 2^-24 of the scale.
          double tolerance = 1e-6 + 1e-7 * Math.min(scale, 100);
          assertEquals(p, softmax.get(r * classes + c), tolerance);
          assertEquals(p - (c == labels[r] ? 1 : 0), gradient.get(r * classes + c), tolerance);
        }
      }
    }
  }

  /** The loss by its definition, and the gradient by finite differences of it. */
  @ParameterizedTest
  @CsvSource({"0, 1", "1, 1", "0.3, 4", "0.7, 0.5"})
  void distillationEqualsItsDefinition(float weight, float temperature) {
    int classes = 9;
    int rows = 4;
    Random random = new Random(5);
    double[][] student = new double[rows][classes];
    double[][] teacher = new double[rows][classes];
    int[] labels = new int[rows];
    FloatBuffer gradient = Row.floats(rows * classes);
    FloatBuffer soft = Row.floats(rows * classes);
    for (int r = 0; r < rows; r++) {
      labels[r] = random.nextInt(classes);
      for (int c = 0; c < classes; c++) {
        gradient.put(r * classes + c, (float) random.nextGaussian());
        soft.put(r * classes + c, 2 * (float) random.nextGaussian());
        student[r][c] = gradient.get(r * classes + c);
        teacher[r][c] = soft.get(r * classes + c);
      }
    }
    FloatBuffer losses = Row.floats(rows);
    KERNELS.distill(gradient, soft, classes, Row.direct(labels), weight, temperature, losses);
    for (int r = 0; r < rows; r++) {
      double loss = distillationLoss(student[r], teacher[r], labels[r], weight, temperature);
      assertEquals(loss, losses.get(r), 1e-5);
      for (int c = 0; c < classes; c++) {
        double x = student[r][c];
        student[r][c] = x + 1e-5;
        double above = distillationLoss(student[r], teacher[r], labels[r], weight, temperature);
        student[r][c] = x - 1e-5;
        double below = distillationLoss(student[r], teacher[r], labels[r], weight, temperature);
        student[r][c] = x;
        assertEquals((above - below) / 2e-5, gradient.get(r * classes + c), 1e-6);
      }
    }
    assertRefused("weight", () -> distill(-0.1f, 1));
    assertRefused("weight", () -> distill(Float.NaN, 1));
    assertRefused("temperature", () -> distill(0.5f, 0));
    assertRefused("temperature", () -> distill(0.5f, Float.POSITIVE_INFINITY));
  }

  private static void distill(float weight, float temperature) {
    KERNELS.distill(
        Row.floats(4), Row.floats(4), 2, Row.direct(0, 1), weight, temperature, Row.floats(2));
  }

  private static double distillationLoss(
      double[] student, double[] teacher, int label, double weight, double temperature) {
    double[] q = probabilities(student, temperature);
    double[] p = probabilities(teacher, temperature);
    double divergence = 0;
    for (int c = 0; c < p.length; c++) {
      divergence += p[c] * Math.log(p[c] / q[c]);
    }
    return -(1 - weight) * Math.log(probabilities(student, 1)[label])
        + weight * temperature * temperature * divergence;
  }

  private static double[] probabilities(double[] logits, double temperature) {
    double sum = Arrays.stream(logits).map(x -> Math.exp(x / temperature)).sum();
    return Arrays.stream(logits).map(x -> Math.exp(x / temperature) / sum).toArray();
  }

  /** Each buffer is used from its position on, and its position stays. */
  @Test
  void buffersAreUsedFromTheirPositionOn() {
    float[] w = flat(Samples.GAUSSIAN.rows(5, 20));
    MultibitMatrix expected = MultibitMatrix.weights(5, 20, 2);
    KERNELS.quantize(new Greedy(), Row.direct(w), expected);
    MultibitMatrix q = MultibitMatrix.weights(5, 20, 2);
    FloatBuffer shifted = shifted(w);
    KERNELS.quantize(new Greedy(), shifted, q);
    assertEquals(expected.planes(), q.planes());
    assertEquals(expected.coefficients(), q.coefficients());
    assertEquals(3, shifted.position());

    assertShifted(100, out -> KERNELS.dequantize(q, out));
    MultibitMatrix x = MultibitMatrix.activations(2, 20, 2);
    KERNELS.quantize(new Greedy(), Row.direct(Arrays.copyOf(w, 40)), x);
    assertShifted(10, out -> KERNELS.multiply(q, x, out));
    assertShifted(10, out -> KERNELS.multiply(q, Row.direct(Arrays.copyOf(w, 40)), 2, out));
    FloatBuffer plain = Row.floats(10);
    KERNELS.multiply(q, Row.direct(Arrays.copyOf(w, 40)), 2, plain);
    FloatBuffer fromShifted = Row.floats(10);
    KERNELS.multiply(q, shifted(Arrays.copyOf(w, 40)), 2, fromShifted);
    assertEquals(plain, fromShifted);
    assertShifted(100, out -> KERNELS.softmax(out, 5, 20));
    IntBuffer labels = Row.direct(9, 4, 0, 19, 7, 1).position(1);
    assertShifted(100, out -> KERNELS.softmaxCrossEntropy(out, 20, labels, Row.floats(5)));
    assertShifted(5, out -> KERNELS.softmaxCrossEntropy(Row.direct(w), 20, labels, out));
    assertEquals(1, labels.position());
  }

  private interface Kernel {
    void run(FloatBuffer out);
  }

  private static void assertShifted(int count, Kernel kernel) {
    float[] before = flat(Samples.GAUSSIAN.rows(1, count));
    FloatBuffer plain = Row.direct(before);
    kernel.run(plain);
    FloatBuffer shifted = shifted(before);
    kernel.run(shifted);
    assertEquals(3, shifted.position());
    assertEquals(plain, shifted);
    assertEquals(-7, shifted.get(2));
  }

  private static FloatBuffer shifted(float[] values) {
    FloatBuffer buffer = Row.floats(values.length + 3);
    return buffer.put(new float[] {-7, -7, -7}).put(values).position(3);
  }

  @Test
  void argumentsThatDoNotFitAreRefused() {
    MultibitMatrix w = MultibitMatrix.weights(5, 20, 2);
    MultibitMatrix x = MultibitMatrix.activations(2, 20, 2);
    FloatBuffer nine = Row.floats(9);
    FloatBuffer forty = Row.floats(40);
    assertRefused("rows", () -> KERNELS.quantize(new Greedy(), Row.floats(99), w));
    assertRefused(
        "takes 1 to 2 bits",
        () -> KERNELS.quantize(new Optimal(), forty, MultibitMatrix.activations(2, 20, 3)));
    assertRefused("output", () -> KERNELS.dequantize(w, Row.floats(99)));
    assertRefused("output", () -> KERNELS.multiply(w, x, nine));
    assertRefused("output", () -> KERNELS.multiply(w, forty, 2, nine));
    assertRefused("activations", () -> KERNELS.multiply(w, Row.floats(39), 2, forty));
    assertRefused("layout", () -> KERNELS.multiply(x, x, forty));
    assertRefused("layout", () -> KERNELS.multiply(w, w, forty));
    assertRefused(
        "20 columns, activations 21",
        () -> KERNELS.multiply(w, MultibitMatrix.activations(2, 21, 2), forty));
    assertRefused("direct", () -> KERNELS.multiply(w, x, FloatBuffer.allocate(10)));
    assertRefused(
        "label of row 1 is 20, outside 0..19",
        () -> KERNELS.softmaxCrossEntropy(forty, 20, Row.direct(0, 20), nine));
    assertRefused(
        "label of row 0 is -1",
        () -> KERNELS.softmaxCrossEntropy(forty, 20, Row.direct(-1, 2), nine));
    assertRefused("logits", () -> KERNELS.softmax(forty, 2, 21));
    assertRefused("logits", () -> KERNELS.softmax(forty, 1 << 16, 1 << 16));
  }

  private static void assertRefused(String why, Runnable call) {
    String message = assertThrows(IllegalArgumentException.class, call::run).getMessage();
    assertTrue(message.contains(why), message);
  }

  private static float[] dequantized(MultibitMatrix m) {
    FloatBuffer out = Row.floats(m.rows() * m.cols());
    KERNELS.dequantize(m, out);
    return Row.array(out);
  }

  private static float[] flat(float[][] rows) {
    float[] flat = new float[rows.length * rows[0].length];
    for (int r = 0; r < rows.length; r++) {
      System.arraycopy(rows[r], 0, flat, r * rows[r].length, rows[r].length);
    }
    return flat;
  }
}

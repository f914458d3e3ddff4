package org.multibit.runtime;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.FloatBuffer;
import java.nio.IntBuffer;
import java.nio.LongBuffer;
import java.nio.ReadOnlyBufferException;
import java.nio.ShortBuffer;
import java.util.List;
import java.util.Objects;
import java.util.Random;
import java.util.concurrent.ForkJoinPool;
import java.util.function.BiConsumer;
import java.util.function.Supplier;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;
import org.multibit.core.Alternating;
import org.multibit.core.Cell;
import org.multibit.core.CellGradients;
import org.multibit.core.CellStates;
import org.multibit.core.Kernels;
import org.multibit.core.LinearCrossEntropy;
import org.multibit.core.MultibitMatrix;
import org.multibit.core.Quantizer;
import org.multibit.core.Quantizers;

/**
 * Every tier of this CPU against the Java kernels: the same codes, coefficients and products, bit
 * for bit.
 */
class NativeKernelsTest {
  /** Around the widths of vectors, words and the 16 partial sums. */
  private static final int[] COLS = {
    1, 2, 7, 8, 15, 16, 17, 31, 33, 63, 64, 65, 127, 128, 200, 511, 513
  };

  private static final int ROWS = 19;

  private static final ByteOrder BYTE_ORDER_SWAPPED =
      ByteOrder.nativeOrder() == ByteOrder.LITTLE_ENDIAN
          ? ByteOrder.BIG_ENDIAN
          : ByteOrder.LITTLE_ENDIAN;

  private static final Kernels JAVA = Kernels.java();

  static List<String> tiers() {
    return NativeKernels.supportedTiers();
  }

  @Test
  void theServiceLoaderFindsTheBestTier() {
    assertEquals("native " + NativeLibrary.isa(), Kernels.get().name());
    assertTrue(NativeLibrary.isAvailable());
  }

  @Test
  void buffersOfAnotherByteOrderAndReadOnlyOutputsAreRefused() {
    FloatBuffer swapped = ByteBuffer.allocateDirect(32).order(BYTE_ORDER_SWAPPED).asFloatBuffer();
    FloatBuffer x = floats(8).put(0, 3);
    for (Kernels kernels : List.of(JAVA, Kernels.get())) {
      assertThrows(IllegalArgumentException.class, () -> kernels.sumOfSquares(swapped));
      assertThrows(ReadOnlyBufferException.class, () -> kernels.scale(x.asReadOnlyBuffer(), 2));
      assertEquals(9, kernels.sumOfSquares(x.asReadOnlyBuffer()));
    }
  }

  @ParameterizedTest
  @MethodSource("tiers")
  void quantizesAsJava(String tier) {
    Kernels kernels = new Kernels(new NativeKernels(tier));
    for (String method : Quantizers.METHODS) {
      Quantizer quantizer = Quantizers.of(method);
      for (int bits = 1; bits <= quantizer.maxBits(); bits++) {
        for (int cols : COLS) {
          assertQuantizesAsJava(kernels, quantizer, bits, cols);
        }
      }
    }
    for (Quantizer quantizer :
        List.of(new Alternating(0, 1), new Alternating(7, 0.3f), new HalfSigns())) {
      for (int bits : new int[] {3, 4, 6, 8}) {
        assertQuantizesAsJava(kernels, quantizer, bits, 65);
      }
    }
  }

  private static void assertQuantizesAsJava(
      Kernels kernels, Quantizer quantizer, int bits, int cols) {
    FloatBuffer rows = rows(ROWS, cols, 31L * cols + bits);
    MultibitMatrix expected = MultibitMatrix.weights(ROWS, cols, bits);
    MultibitMatrix actual = dirty(MultibitMatrix.weights(ROWS, cols, bits));
    JAVA.quantize(quantizer, rows, expected);
    kernels.quantize(quantizer, rows, actual);
    String what = "%s, %s, %d bits, %d columns".formatted(kernels.name(), quantizer, bits, cols);
    assertEquals(expected.planes(), actual.planes(), what);
    assertSameBits(expected.coefficients(), actual.coefficients(), what);

    expected = MultibitMatrix.activations(ROWS, cols, bits);
    actual = dirty(MultibitMatrix.activations(ROWS, cols, bits));
    JAVA.quantize(quantizer, rows, expected);
    kernels.quantize(quantizer, rows, actual);
    assertEquals(expected.planes(), actual.planes(), what);
    assertSameBits(expected.coefficients(), actual.coefficients(), what);
  }

  @ParameterizedTest
  @MethodSource("tiers")
  void multipliesAndDequantizesAsJava(String tier) {
    Kernels kernels = new Kernels(new NativeKernels(tier));
    Quantizer quantizer = new Alternating();
    for (int cols : COLS) {
      for (int weightBits : new int[] {1, 2, 3, 8}) {
        MultibitMatrix weights = MultibitMatrix.weights(ROWS, cols, weightBits);
        JAVA.quantize(quantizer, rows(ROWS, cols, cols), weights);
        String what = "%s, %d bits, %d columns".formatted(tier, weightBits, cols);

        FloatBuffer expected = floats(ROWS * cols);
        FloatBuffer actual = floats(ROWS * cols);
        JAVA.dequantize(weights, expected);
        kernels.dequantize(weights, actual);
        assertSameBits(expected, actual, what);

        for (int activationBits : new int[] {1, 2, 3, 4}) {
          int batch = activationBits + 2;
          MultibitMatrix activations = MultibitMatrix.activations(batch, cols, activationBits);
          JAVA.quantize(quantizer, rows(batch, cols, cols + 1), activations);
          expected = floats(batch * ROWS);
          actual = floats(batch * ROWS);
          JAVA.multiply(weights, activations, expected);
          kernels.multiply(weights, activations, actual);
          assertSameBits(expected, actual, what + " x " + activationBits);
        }

        FloatBuffer x = rows(3, cols, cols + 2);
        expected = floats(3 * ROWS);
        actual = floats(3 * ROWS);
        JAVA.multiply(weights, x, 3, expected);
        kernels.multiply(weights, x, 3, actual);
        FloatBuffer magnitude = floats(3 * ROWS);
        JAVA.multiply(positive(weights), absolute(x), 3, magnitude);
        for (int i = 0; i < 3 * ROWS; i++) {
          assertEquals(expected.get(i), actual.get(i), 1e-5f * magnitude.get(i) + 1e-30f, what);
        }
      }
    }
  }

  @ParameterizedTest
  @MethodSource("tiers")
  void softmaxIsThatOfJava(String tier) {
    Kernels kernels = new Kernels(new NativeKernels(tier));
    for (int classes : COLS) {
      FloatBuffer expected = floats(ROWS * classes);
      Random random = new Random(classes);
      IntBuffer labels =
          ByteBuffer.allocateDirect(4 * ROWS).order(ByteOrder.nativeOrder()).asIntBuffer();
      for (int r = 0; r < ROWS; r++) {
        labels.put(r, random.nextInt(classes));
        for (int c = 0; c < classes; c++) {
          expected.put(r * classes + c, (float) (10 * random.nextGaussian()));
        }
      }
      FloatBuffer actual = copy(expected);
      FloatBuffer plain = copy(expected);
      FloatBuffer expectedLosses = floats(ROWS);
      FloatBuffer actualLosses = floats(ROWS);
      JAVA.softmaxCrossEntropy(expected, classes, labels, expectedLosses);
      kernels.softmaxCrossEntropy(actual, classes, labels, actualLosses);
      kernels.softmax(plain, ROWS, classes);
      for (int r = 0; r < ROWS; r++) {
        assertEquals(expectedLosses.get(r), actualLosses.get(r), 1e-4);
        for (int i = r * classes; i < (r + 1) * classes; i++) {
          assertEquals(expected.get(i), actual.get(i), 2e-6);
          float oneHot = i - r * classes == labels.get(r) ? 1 : 0;
          assertEquals(expected.get(i) + oneHot, plain.get(i), 2e-6);
        }
      }
    }
  }

  /** Tolerances are relative to what the weight and the temperature multiply by. */
  @ParameterizedTest
  @MethodSource("tiers")
  void distillsAsJava(String tier) {
    Kernels kernels = new Kernels(new NativeKernels(tier));
    int rows = 20;
    for (int classes : new int[] {1, 17, 300, 3001}) {
      IntBuffer labels = ints(rows);
      for (int r = 0; r < rows; r++) {
        labels.put(r, r * 7 % classes);
      }
      for (float temperature : new float[] {0.5f, 1, 4}) {
        for (float weight : new float[] {0, 0.3f, 1}) {
          FloatBuffer[] logits = twice(gaussians(rows * classes, 1));
          FloatBuffer[] teacher = twice(gaussians(rows * classes, 2));
          for (FloatBuffer[] of : new FloatBuffer[][] {logits, teacher}) {
            for (FloatBuffer values : of) {
              JAVA.scale(values, 5);
            }
          }
          for (int k = 0; k < 2 && classes > 1; k++) {
            teacher[k].put(3, Float.NEGATIVE_INFINITY); // a class that the teacher rules out
          }
          FloatBuffer[] losses = twice(floats(rows));
          JAVA.distill(logits[0], teacher[0], classes, labels, weight, temperature, losses[0]);
          kernels.distill(logits[1], teacher[1], classes, labels, weight, temperature, losses[1]);
          String what = "%s, %d classes, %s, %s".formatted(tier, classes, weight, temperature);
          assertClose(losses[0], losses[1], 1e-5, what);
          assertClose(logits[0], logits[1], 2e-6 * Math.max(1, temperature), what);
        }
      }
    }
    assertThrows(
        IllegalArgumentException.class,
        () -> kernels.distill(floats(4), floats(4), 2, ints(2), 2, 1, floats(2)));
    assertThrows(
        IllegalArgumentException.class,
        () -> kernels.distill(floats(4), floats(3), 2, ints(2), 0.5f, 1, floats(2)));
  }

  /**
   * Large enough that rows are shared among threads; buffers that do not start at their position 0.
   */
  @ParameterizedTest
  @MethodSource("tiers")
  void threadsAndBufferPositionsDoNotMatter(String tier) {
    Kernels kernels = new Kernels(new NativeKernels(tier));
    int rows = 1003;
    int cols = 300;
    FloatBuffer shifted = floats(5 + rows * cols).position(5);
    shifted.duplicate().put(rows(rows, cols, 1));
    MultibitMatrix expected = MultibitMatrix.weights(rows, cols, 2);
    MultibitMatrix actual = MultibitMatrix.weights(rows, cols, 2);
    JAVA.quantize(new Alternating(), shifted, expected);
    kernels.quantize(new Alternating(), shifted, actual);
    assertEquals(expected.planes(), actual.planes());
    assertSameBits(expected.coefficients(), actual.coefficients(), tier);
    assertEquals(5, shifted.position());

    MultibitMatrix activations = MultibitMatrix.activations(40, cols, 2);
    JAVA.quantize(new Alternating(), rows(40, cols, 2), activations);
    FloatBuffer javaProduct = floats(3 + 40 * rows).position(3);
    FloatBuffer nativeProduct = floats(3 + 40 * rows).position(3);
    JAVA.multiply(expected, activations, javaProduct);
    kernels.multiply(actual, activations, nativeProduct);
    assertSameBits(javaProduct, nativeProduct, tier);

    shifted.put(5 + 900 * cols + 7, Float.NaN);
    shifted.put(5 + 123 * cols + 45, Float.NEGATIVE_INFINITY);
    assertEquals(refusal(JAVA, shifted, expected), refusal(kernels, shifted, expected));
    assertEquals(
        "Cannot quantize -Infinity at row 123, column 45", refusal(kernels, shifted, expected));
  }

  /** What training adds; large enough, at 300 columns, that rows are shared among threads. */
  @ParameterizedTest
  @MethodSource("tiers")
  void trainsAsJava(String tier) {
    Kernels kernels = new Kernels(new NativeKernels(tier));
    for (int cols : new int[] {1, 17, 64, 65, 300}) {
      assertMultipliesMaskedAsJava(kernels, 70, cols);
      assertUpdatesAsJava(kernels, 90, cols);
      for (Cell cell : Cell.ALL) {
        assertStepsAsJava(kernels, cell, 24, cols);
      }
      assertMultipliesPanelsAsJava(kernels, cols);
    }
  }

  private static void assertMultipliesMaskedAsJava(Kernels kernels, int batch, int cols) {
    int rows = 203;
    String what = "%s, %d columns".formatted(kernels.name(), cols);
    LongBuffer masks = longs(2 + Kernels.maskWords(batch, cols)).position(2);
    LongBuffer expectedMasks = longs(masks.remaining());
    JAVA.dropoutMasks(77, 0.6, batch, cols, expectedMasks);
    kernels.dropoutMasks(77, 0.6, batch, cols, masks);
    assertEquals(expectedMasks, masks, what);

    FloatBuffer dropped = gaussians(batch * cols, 1);
    FloatBuffer expectedDropped = copy(dropped);
    JAVA.drop(masks, 1.5f, batch, cols, expectedDropped);
    kernels.drop(masks, 1.5f, batch, cols, dropped);
    assertSameBits(expectedDropped, dropped, what);

    for (int bits : new int[] {1, 2, 3, 5}) {
      MultibitMatrix weights = MultibitMatrix.weights(rows, cols, bits);
      MultibitMatrix activations = MultibitMatrix.activations(batch, cols, bits);
      JAVA.quantize(new Alternating(), gaussians(rows * cols, 2), weights);
      JAVA.quantize(new Alternating(), gaussians(batch * cols, 3), activations);
      FloatBuffer start = gaussians(rows, 4);
      for (LongBuffer mask : new LongBuffer[] {null, masks}) {
        FloatBuffer expected = gaussians(batch * rows, 5);
        FloatBuffer actual = copy(expected);
        JAVA.multiply(weights, activations, mask, null, expected);
        kernels.multiply(weights, activations, mask, null, actual);
        assertSameBits(expected, actual, what);
        JAVA.multiply(weights, activations, mask, start, expected);
        kernels.multiply(weights, activations, mask, start, actual);
        assertSameBits(expected, actual, what);
      }
      assertThrows(
          IllegalArgumentException.class,
          () -> kernels.multiply(weights, activations, longs(1), start, floats(batch * rows)));
    }
  }

  /** A million words at the default batch: the message says what to lower. */
  @Test
  void softmaxOfTooManyClasses() {
    Kernels kernels = new Kernels(new NativeKernels());
    for (int classes : new int[] {1_000_000, 1 << 24}) {
      String message =
          assertThrows(
                  IllegalArgumentException.class,
                  () -> kernels.crossEntropyScratch(600, classes, 300))
              .getMessage();
      assertTrue(
          message.matches(".* " + classes + " classes .* 600 rows .*: use a smaller batch, .*"),
          message);
    }
    assertTrue(kernels.crossEntropyScratch(40, 1_000_000, 300) > 40_000_000);
  }

  /** Sizes around those of blocks: 320 and 1024 rows, 192 classes. */
  @ParameterizedTest
  @MethodSource("tiers")
  void goesBackThroughTheOutputLayerAsJava(String tier) {
    Kernels kernels = new Kernels(new NativeKernels(tier));
    assertCrossEntropyAsJava(kernels, 1, 1, 1, 1);
    assertCrossEntropyAsJava(kernels, 5, 203, 300, 2);
    assertCrossEntropyAsJava(kernels, 12, 392, 64, 3);
    assertCrossEntropyAsJava(kernels, 650, 392, 65, 2);
    assertCrossEntropyAsJava(kernels, 1100, 203, 17, 5);
  }

  private static void assertCrossEntropyAsJava(
      Kernels kernels, int batch, int classes, int cols, int bits) {
    String what = "%s, %d x %d classes, %d columns".formatted(kernels.name(), batch, classes, cols);
    MultibitMatrix weights = MultibitMatrix.weights(classes, cols, bits);
    MultibitMatrix activations = MultibitMatrix.activations(batch, cols, bits);
    JAVA.quantize(new Alternating(), gaussians(classes * cols, 2), weights);
    JAVA.quantize(new Alternating(), gaussians(batch * cols, 3), activations);
    LongBuffer dropped = longs(2 + Kernels.maskWords(batch, cols)).position(2);
    JAVA.dropoutMasks(77, 0.6, batch, cols, dropped);
    IntBuffer labels = ints(batch);
    FloatBuffer factors = floats(batch);
    for (int b = 0; b < batch; b++) {
      labels.put(b, b * 7 % classes);
      factors.put(b, b % 5 == 4 ? 0 : 0.25f * (b % 3 + 1));
    }
    FloatBuffer start = gaussians(classes, 4);
    for (LongBuffer masks : new LongBuffer[] {null, dropped}) {
      FloatBuffer x = floats(batch * cols);
      JAVA.dequantize(activations, x);
      if (masks != null) {
        JAVA.drop(masks, 1, batch, cols, x);
      }
      assertCrossEntropyAsJava(
          kernels,
          what,
          (of, into) -> into.compute(of, weights, activations, masks, start, labels, factors, x),
          () -> new Gradients(batch, classes, cols));
    }
    FloatBuffer w = gaussians(classes * cols, 2);
    FloatBuffer panels = floats(Kernels.panelFloats(cols, classes));
    JAVA.prepackWeights(w, cols, classes, true, panels);
    FloatBuffer x = gaussians(batch * cols, 3);
    assertCrossEntropyAsJava(
        kernels,
        what + ", full precision",
        (of, into) -> into.compute(of, w, panels, cols, start, labels, factors, x),
        () -> new Gradients(batch, classes, cols));
    Gradients refused = new Gradients(batch, classes, cols);
    assertThrows(
        IllegalArgumentException.class,
        () ->
            refused.compute(
                kernels, weights, activations, longs(0), start, labels, factors, refused.input));
    assertThrows(
        IllegalArgumentException.class,
        () ->
            refused.compute(
                kernels, weights, activations, null, null, labels, factors, refused.input));
    assertThrows(
        IllegalArgumentException.class,
        () -> refused.compute(kernels, w, panels, cols, null, labels, factors, x));
    assertThrows(
        IllegalArgumentException.class,
        () -> refused.compute(kernels, w, w, cols + 1, start, labels, factors, x));
  }

  private static void assertCrossEntropyAsJava(
      Kernels kernels,
      String what,
      BiConsumer<Kernels, Gradients> compute,
      Supplier<Gradients> gradients) {
    Gradients expected = gradients.get();
    compute.accept(JAVA, expected);
    Gradients actual = gradients.get();
    compute.accept(kernels, actual);
    assertClose(expected.losses, actual.losses, 1e-5, what);
    assertClose(expected.weights, actual.weights, 1e-5, what);
    assertClose(expected.start, actual.start, 1e-5, what);
    assertClose(expected.input, actual.input, 1e-5, what);
    for (int threads : new int[] {1, 3}) {
      Gradients again = gradients.get();
      ForkJoinPool pool = new ForkJoinPool(threads);
      pool.submit(() -> compute.accept(kernels, again)).join();
      pool.shutdown();
      assertSameBits(actual.losses, again.losses, what);
      assertSameBits(actual.weights, again.weights, what);
      assertSameBits(actual.start, again.start, what);
      assertSameBits(actual.input, again.input, what);
    }
  }

  /**
   * What {@link Kernels#fusedLinearCrossEntropy} writes; each after an element that it must not
   * touch.
   */
  private static final class Gradients {
    private static final float OUTSIDE = 0.5f;

    final FloatBuffer losses;
    final FloatBuffer weights;
    final FloatBuffer start;
    final FloatBuffer input;

    Gradients(int batch, int classes, int cols) {
      losses = shifted(batch);
      weights = shifted(classes * cols);
      start = shifted(classes);
      input = shifted(batch * cols);
    }

    private static FloatBuffer shifted(int count) {
      return floats(count + 1).put(0, OUTSIDE).position(1);
    }

    void compute(
        Kernels kernels,
        MultibitMatrix w,
        MultibitMatrix activations,
        LongBuffer masks,
        FloatBuffer bias,
        IntBuffer labels,
        FloatBuffer factors,
        FloatBuffer x) {
      kernels.fusedLinearCrossEntropy(
          w, activations, masks, loss(kernels, w.rows(), w.cols(), bias, labels, factors, x));
      assertNothingOutsideWritten();
    }

    void compute(
        Kernels kernels,
        FloatBuffer w,
        FloatBuffer panels,
        int cols,
        FloatBuffer bias,
        IntBuffer labels,
        FloatBuffer factors,
        FloatBuffer x) {
      int classes = w.remaining() / cols;
      kernels.fusedLinearCrossEntropy(
          w, panels, loss(kernels, classes, cols, bias, labels, factors, x));
      assertNothingOutsideWritten();
    }

    private LinearCrossEntropy loss(
        Kernels kernels,
        int classes,
        int cols,
        FloatBuffer bias,
        IntBuffer labels,
        FloatBuffer lossWeights,
        FloatBuffer x) {
      FloatBuffer scratch = floats(kernels.crossEntropyScratch(labels.remaining(), classes, cols));
      return new LinearCrossEntropy(
          classes, cols, bias, labels, lossWeights, x, scratch, losses, weights, start, input);
    }

    private void assertNothingOutsideWritten() {
      for (FloatBuffer written : new FloatBuffer[] {losses, weights, start, input}) {
        assertEquals(OUTSIDE, written.get(0));
      }
    }
  }

  private static void assertUpdatesAsJava(Kernels kernels, int rows, int cols) {
    String what = "%s, %d columns".formatted(kernels.name(), cols);
    FloatBuffer x = gaussians(rows * cols, 1);
    FloatBuffer row = gaussians(cols, 2);
    FloatBuffer expected = copy(x);
    FloatBuffer actual = copy(x);
    JAVA.addBias(row, expected);
    kernels.addBias(row, actual);
    assertSameBits(expected, actual, what);
    FloatBuffer expectedSums = floats(cols);
    FloatBuffer sums = gaussians(cols, 3);
    JAVA.columnSums(x, expectedSums);
    kernels.columnSums(x, sums);
    assertSameBits(expectedSums, sums, what);
    IntBuffer index = ints(rows);
    for (int r = 0; r < rows; r++) {
      index.put(r, r * r % 7);
    }
    JAVA.scatterAdd(x, index, cols, expected);
    kernels.scatterAdd(x, index, cols, actual);
    assertSameBits(expected, actual, what);
    index.put(3, rows);
    assertThrows(
        IllegalArgumentException.class,
        () -> kernels.scatterAdd(x, index, cols, floats(rows * cols)));
    JAVA.scale(expected, 0.7f);
    kernels.scale(actual, 0.7f);
    assertSameBits(expected, actual, what);
    JAVA.clip(expected, 0.4f);
    kernels.clip(actual, 0.4f);
    assertSameBits(expected, actual, what);
    double squares = JAVA.sumOfSquares(x);
    assertEquals(squares, kernels.sumOfSquares(x), 1e-6 * squares, what);
  }

  /** The arrays of a sequence, with random values; the same for the same arguments. */
  private static final class Sequence {
    final CellStates states;
    final CellGradients gradients;

    Sequence(Cell cell, int steps, int batch, int units) {
      int rows = steps * batch;
      int sums = cell.gates() * units;
      states =
          new CellStates(
              cell,
              batch,
              units,
              gaussians(rows * sums, 1),
              cell.separateSums() ? gaussians(rows * sums, 2) : null,
              gaussians((rows + batch) * units, 3),
              cell.hasState() ? gaussians((rows + batch) * units, 4) : null,
              cell.hasState() ? floats(rows * units) : null);
      gradients =
          new CellGradients(
              gaussians(rows * units, 5),
              gaussians(batch * units, 6),
              gaussians(rows * sums, 7),
              cell.separateSums() ? gaussians(rows * sums, 8) : null);
    }

    List<FloatBuffer> arrays() {
      return Stream.of(
              states.gates(),
              states.recurrent(),
              states.hidden(),
              states.cellState(),
              states.cellTanh(),
              gradients.hidden(),
              gradients.carried(),
              gradients.gates(),
              gradients.recurrent())
          .filter(Objects::nonNull)
          .toList();
    }

    /** The tolerance is relative to an array's largest magnitude; 0: the same bits. */
    static void assertSame(Sequence expected, Sequence actual, double tolerance, String what) {
      for (int i = 0; i < expected.arrays().size(); i++) {
        if (tolerance == 0) {
          assertSameBits(expected.arrays().get(i), actual.arrays().get(i), what);
        } else {
          assertClose(expected.arrays().get(i), actual.arrays().get(i), tolerance, what);
        }
      }
    }
  }

  private static void assertStepsAsJava(Kernels kernels, Cell cell, int batch, int units) {
    String what = "%s, %s, %d units".formatted(kernels.name(), cell, units);
    Sequence expected = new Sequence(cell, 2, batch, units);
    Sequence actual = new Sequence(cell, 2, batch, units);
    for (int step : new int[] {1, 0}) {
      JAVA.forwardStep(expected.states, step);
      JAVA.backwardStep(expected.states, expected.gradients, step);
      kernels.forwardStep(actual.states, step);
      kernels.backwardStep(actual.states, actual.gradients, step);
    }
    Sequence.assertSame(expected, actual, 1e-5, what);
    for (int step : new int[] {-1, 2}) {
      assertThrows(
          IllegalArgumentException.class, () -> kernels.forwardStep(actual.states, step), what);
    }
    CellStates s = actual.states;
    for (CellStates bad :
        List.of(
            new CellStates(
                cell, batch, units, s.gates(), s.recurrent(), floats(3), s.cellState(), floats(9)),
            new CellStates(
                cell,
                batch,
                units,
                s.gates(),
                cell.separateSums() ? null : s.gates(),
                s.hidden(),
                s.cellState(),
                s.cellTanh()),
            new CellStates(
                cell, 0, units, s.gates(), s.recurrent(), s.hidden(), s.cellState(), null))) {
      assertThrows(IllegalArgumentException.class, () -> kernels.forwardStep(bad, 0), what);
    }
  }

  private static void assertMultipliesPanelsAsJava(Kernels kernels, int cols) {
    int inner = 130;
    int batch = 23;
    FloatBuffer x = gaussians(batch * inner, 1);
    FloatBuffer w = gaussians(inner * cols, 2);
    for (boolean transposed : new boolean[] {false, true}) {
      FloatBuffer expectedPanels = floats(Kernels.panelFloats(inner, cols));
      FloatBuffer panels = gaussians(expectedPanels.capacity(), 3);
      JAVA.prepackWeights(w, inner, cols, transposed, expectedPanels);
      kernels.prepackWeights(w, inner, cols, transposed, panels);
      assertSameBits(expectedPanels, panels, "panels");
      FloatBuffer expected = gaussians(batch * cols, 4);
      FloatBuffer actual = copy(expected);
      for (FloatBuffer start : new FloatBuffer[] {null, gaussians(cols, 5)}) {
        JAVA.gemmPrepacked(x, batch, inner, panels, cols, start, expected);
        kernels.gemmPrepacked(x, batch, inner, panels, cols, start, actual);
        assertClose(expected, actual, 1e-5, kernels.name());
      }
      for (boolean add : new boolean[] {false, true}) {
        JAVA.gemm(x, transposed, w, batch, inner, cols, 0.5f, add, expected);
        kernels.gemm(x, transposed, w, batch, inner, cols, 0.5f, add, actual);
        assertClose(expected, actual, 1e-5, kernels.name());
      }
    }
  }

  /** Whole sequences are those of single steps, to the bit. */
  @ParameterizedTest
  @ValueSource(ints = {1, 4, 23})
  void sequencesAreTheirSteps(int batch) {
    int units = 70;
    int steps = 3;
    for (String tier : NativeKernels.supportedTiers()) {
      Kernels kernels = new Kernels(new NativeKernels(tier));
      for (Cell cell : Cell.ALL) {
        String what = tier + ", " + cell;
        Weights w = new Weights(kernels, cell, units, 1);
        Sequence expected = new Sequence(cell, steps, batch, units);
        Sequence actual = new Sequence(cell, steps, batch, units);
        MultibitMatrix expectedCodes = MultibitMatrix.activations(steps * batch, units, 3);
        MultibitMatrix codes = MultibitMatrix.activations(steps * batch, units, 3);
        for (int t = 0; t < steps; t++) {
          MultibitMatrix step = expectedCodes.rows(t * batch, (t + 1) * batch);
          kernels.quantize(
              new Alternating(), rows(expected.states.hidden(), t, batch, units), step);
          kernels.multiply(w.packed, step, null, null, recurrentSums(expected.states, t));
          kernels.forwardStep(expected.states, t);
        }
        kernels.forwardSequence(actual.states, new Alternating(), w.packed, codes);
        assertEquals(expectedCodes.planes(), codes.planes(), what);
        Sequence.assertSame(expected, actual, 0, what);

        for (int t = 0; t < steps; t++) {
          FloatBuffer hidden = rows(expected.states.hidden(), t, batch, units);
          FloatBuffer sums = recurrentSums(expected.states, t);
          kernels.gemmPrepacked(hidden, batch, units, w.panels, cell.gates() * units, null, sums);
          kernels.forwardStep(expected.states, t);
        }
        kernels.forwardSequence(actual.states, w.panels);
        Sequence.assertSame(expected, actual, 0, what);

        for (int first : new int[] {0, 1}) {
          int sums = cell.gates() * units;
          CellGradients d = expected.gradients;
          for (int t = steps - 1; t >= first; t--) {
            if (t < steps - 1) {
              FloatBuffer of = cell.separateSums() ? d.recurrent() : d.gates();
              FloatBuffer dh = rows(d.hidden(), t, batch, units);
              FloatBuffer dz = rows(of, t + 1, batch, sums);
              kernels.gemmPrepacked(dz, batch, sums, w.back, units, null, dh);
            }
            kernels.backwardStep(expected.states, d, t);
          }
          kernels.backwardSequence(actual.states, actual.gradients, w.back, first);
          Sequence.assertSame(expected, actual, 0, what + ", from " + first);
        }

        actual.states.hidden().put(3, Float.NaN);
        String message =
            assertThrows(
                    IllegalArgumentException.class,
                    () ->
                        kernels.forwardSequence(actual.states, new Alternating(), w.packed, codes))
                .getMessage();
        assertTrue(message.contains("row 0, column 3"), message);
        assertThrows(
            IllegalArgumentException.class,
            () -> kernels.forwardSequence(actual.states, floats(w.panels.remaining() - 1)));
        assertThrows(
            IllegalArgumentException.class,
            () -> kernels.backwardSequence(actual.states, actual.gradients, w.back, steps + 1));
      }
    }
  }

  private static FloatBuffer rows(FloatBuffer all, int step, int batch, int cols) {
    return all.slice(step * batch * cols, batch * cols);
  }

  private static FloatBuffer recurrentSums(CellStates states, int step) {
    FloatBuffer sums = states.recurrent() == null ? states.gates() : states.recurrent();
    return rows(sums, step, states.batch(), states.cell().gates() * states.units());
  }

  /** Recurrent weights as each kernel takes them. */
  private static final class Weights {
    final FloatBuffer panels;
    final FloatBuffer back;
    final MultibitMatrix packed;

    Weights(Kernels kernels, Cell cell, int units, float scale) {
      int sums = cell.gates() * units;
      FloatBuffer weights = gaussians(sums * units, 1);
      kernels.scale(weights, scale);
      panels = floats(Kernels.panelFloats(units, sums));
      kernels.prepackWeights(weights, units, sums, true, panels);
      back = floats(Kernels.panelFloats(sums, units));
      kernels.prepackWeights(weights, sums, units, false, back);
      packed = MultibitMatrix.weights(sums, units, 2);
      kernels.quantize(new Alternating(), weights, packed);
    }
  }

  /** Each upper half of a float that there is, below, at and above the middle to the next. */
  @ParameterizedTest
  @MethodSource("tiers")
  void roundsToBfloat16AsJava(String tier) {
    int[] below = {0, 1, 0x7FFF, 0x8000, 0x8001, 0xFFFF};
    FloatBuffer x = floats(below.length << 16);
    for (int i = 0; i < x.capacity(); i++) {
      x.put(i, Float.intBitsToFloat(i / below.length << 16 | below[i % below.length]));
    }
    ShortBuffer[] rounded = new ShortBuffer[2];
    for (int k = 0; k < 2; k++) {
      rounded[k] =
          ByteBuffer.allocateDirect(2 * x.capacity())
              .order(ByteOrder.nativeOrder())
              .asShortBuffer();
    }
    JAVA.roundToBfloat16(x, rounded[0]);
    new Kernels(new NativeKernels(tier)).roundToBfloat16(x, rounded[1]);
    assertEquals(rounded[0], rounded[1], tier);
    for (int i = 0; i < x.capacity(); i++) {
      float back = Float.intBitsToFloat(rounded[0].get(i) << 16);
      float value = x.get(i);
      if (Float.isNaN(value)) {
        assertTrue(Float.isNaN(back));
      } else if (Math.abs(value) <= Float.intBitsToFloat(0x7F7F0000)) {
        float down = Float.intBitsToFloat(Float.floatToRawIntBits(value) & 0xFFFF0000);
        float up = Float.intBitsToFloat((Float.floatToRawIntBits(value) & 0xFFFF0000) + 0x10000);
        double least = Math.min(Math.abs((double) value - down), Math.abs((double) up - value));
        assertEquals(least, Math.abs((double) value - back), 0, "" + value);
      }
    }
  }

  /** Whole sequences against plain Java: rounding of 3 steps of 70 sums. */
  @ParameterizedTest
  @MethodSource("tiers")
  void sequencesAreThoseOfJava(String tier) {
    Kernels kernels = new Kernels(new NativeKernels(tier));
    for (Cell cell : Cell.ALL) {
      Weights w = new Weights(JAVA, cell, 70, 0.1f);
      Sequence expected = new Sequence(cell, 3, 5, 70);
      Sequence actual = new Sequence(cell, 3, 5, 70);
      JAVA.forwardSequence(expected.states, w.panels);
      JAVA.backwardSequence(expected.states, expected.gradients, w.back, 0);
      kernels.forwardSequence(actual.states, w.panels);
      kernels.backwardSequence(actual.states, actual.gradients, w.back, 0);
      Sequence.assertSame(expected, actual, 1e-5, tier + ", " + cell);
    }
  }

  /** A user's own cell, which native code does not know, is Java's. */
  @Test
  void othersCellsAreLeftToJava() {
    Cell leaky =
        new Cell("leaky", 1, false, false) {
          @Override
          protected void forward(CellStates s, int first, int last) {
            for (int i = first * s.units(); i < last * s.units(); i++) {
              float h = s.hidden().get(i);
              s.hidden().put(i + s.batch() * s.units(), h / 2 + s.gates().get(i));
            }
          }

          @Override
          protected void backward(CellStates s, CellGradients d, int first, int last) {
            for (int i = first * s.units(); i < last * s.units(); i++) {
              int carried = i % (s.batch() * s.units());
              float dh = d.hidden().get(i) + d.carried().get(carried);
              d.gates().put(i, dh);
              d.carried().put(carried, dh / 2);
            }
          }
        };
    Sequence expected = new Sequence(leaky, 3, 5, 70);
    Sequence actual = new Sequence(leaky, 3, 5, 70);
    Weights w = new Weights(JAVA, leaky, 70, 0.1f);
    for (Kernels kernels : List.of(JAVA, Kernels.get())) {
      Sequence s = kernels == JAVA ? expected : actual;
      kernels.forwardSequence(s.states, w.panels);
      kernels.backwardSequence(s.states, s.gradients, w.back, 0);
    }
    Sequence.assertSame(expected, actual, 1e-5, "a cell of the user's");
  }

  private static FloatBuffer[] twice(FloatBuffer values) {
    return new FloatBuffer[] {values, copy(values)};
  }

  @Test
  void saysWhichBlasRuns() {
    org.bytedeco.javacpp.Loader.load(org.bytedeco.openblas.global.openblas_nolapack.class);
    String blas = Kernels.get().blas();
    assertTrue(blas.matches("OpenBLAS 0\\.3\\.30 .*[1-9][0-9]* threads"), blas);
  }

  private static String refusal(Kernels kernels, FloatBuffer rows, MultibitMatrix into) {
    return assertThrows(
            IllegalArgumentException.class, () -> kernels.quantize(new Alternating(), rows, into))
        .getMessage();
  }

  @Test
  void unknownTiersAreRefused() {
    assertThrows(IllegalStateException.class, () -> new NativeKernels("no-such-tier"));
  }

  /** A user's own method, which native code does not know. */
  private static final class HalfSigns extends Quantizer {
    @Override
    public String method() {
      return "greedy";
    }

    @Override
    protected void quantizeRow(float[] w, int bits, byte[] codes, float[] coefficients) {
      for (int j = 0; j < w.length; j++) {
        codes[j] = (byte) (w[j] > 0.5 ? 1 : 0);
      }
      java.util.Arrays.fill(coefficients, 0.5f);
    }
  }

  /** Gaussian rows; the first ones degenerate, very large and very small. */
  private static FloatBuffer rows(int rows, int cols, long seed) {
    Random random = new Random(seed);
    FloatBuffer w = floats(rows * cols);
    for (int r = 0; r < rows; r++) {
      double scale = r == 3 ? 1e36 : r == 4 ? 1e-36 : r == 5 ? 1e-42 : 1;
      for (int c = 0; c < cols; c++) {
        double x =
            r == 0 ? 0 : r == 1 ? -2.5 : r == 2 ? random.nextInt(3) - 1 : random.nextGaussian();
        w.put(r * cols + c, (float) (x * scale));
      }
    }
    return w;
  }

  private static MultibitMatrix dirty(MultibitMatrix matrix) {
    for (int i = 0; i < matrix.planes().capacity(); i++) {
      matrix.planes().put(i, -1);
    }
    for (int i = 0; i < matrix.coefficients().capacity(); i++) {
      matrix.coefficients().put(i, Float.NaN);
    }
    return matrix;
  }

  /** Every plane +1, every coefficient its magnitude. */
  private static MultibitMatrix positive(MultibitMatrix matrix) {
    MultibitMatrix positive = MultibitMatrix.weights(matrix.rows(), matrix.cols(), matrix.bits());
    for (int i = 0; i < positive.planes().capacity(); i++) {
      positive.planes().put(i, -1);
    }
    positive.coefficients().put(absolute(matrix.coefficients()));
    return positive;
  }

  private static FloatBuffer absolute(FloatBuffer x) {
    FloatBuffer absolute = copy(x);
    for (int i = 0; i < absolute.capacity(); i++) {
      absolute.put(i, Math.abs(absolute.get(i)));
    }
    return absolute;
  }

  private static FloatBuffer copy(FloatBuffer x) {
    return floats(x.remaining()).put(x.duplicate()).flip();
  }

  private static FloatBuffer gaussians(int count, long seed) {
    Random random = new Random(seed);
    FloatBuffer x = floats(count);
    for (int i = 0; i < count; i++) {
      x.put(i, (float) random.nextGaussian());
    }
    return x;
  }

  /** To an error relative to the largest magnitude. */
  private static void assertClose(
      FloatBuffer expected, FloatBuffer actual, double tolerance, String what) {
    double largest = 1;
    for (int i = 0; i < expected.capacity(); i++) {
      largest = Math.max(largest, Math.abs(expected.get(i)));
    }
    for (int i = 0; i < expected.capacity(); i++) {
      assertEquals(expected.get(i), actual.get(i), tolerance * largest, what);
    }
  }

  private static LongBuffer longs(int count) {
    return ByteBuffer.allocateDirect(8 * count).order(ByteOrder.nativeOrder()).asLongBuffer();
  }

  private static IntBuffer ints(int count) {
    return ByteBuffer.allocateDirect(4 * count).order(ByteOrder.nativeOrder()).asIntBuffer();
  }

  private static FloatBuffer floats(int count) {
    return ByteBuffer.allocateDirect(4 * count).order(ByteOrder.nativeOrder()).asFloatBuffer();
  }

  private static void assertSameBits(FloatBuffer expected, FloatBuffer actual, String what) {
    assertEquals(expected.remaining(), actual.remaining(), what);
    for (int i = 0; i < expected.remaining(); i++) {
      float e = expected.get(expected.position() + i);
      float a = actual.get(actual.position() + i);
      if (Float.floatToRawIntBits(e) != Float.floatToRawIntBits(a)) {
        throw new AssertionError("%s: element %d is %a, expected %a".formatted(what, i, a, e));
      }
    }
  }
}

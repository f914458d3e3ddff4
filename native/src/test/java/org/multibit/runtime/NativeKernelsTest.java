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
import java.util.List;
import java.util.Random;
import java.util.concurrent.ForkJoinPool;
import java.util.function.BiConsumer;
import java.util.function.Supplier;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;
import org.multibit.core.Alternating;
import org.multibit.core.GruSteps;
import org.multibit.core.JavaKernels;
import org.multibit.core.Kernels;
import org.multibit.core.LstmSteps;
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

  private static final Kernels JAVA = new JavaKernels();

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
    Kernels kernels = new NativeKernels(tier);
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
    Kernels kernels = new NativeKernels(tier);
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
    Kernels kernels = new NativeKernels(tier);
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
    Kernels kernels = new NativeKernels(tier);
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
    Kernels kernels = new NativeKernels(tier);
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
    Kernels kernels = new NativeKernels(tier);
    for (int cols : new int[] {1, 17, 64, 65, 300}) {
      assertMultipliesMaskedAsJava(kernels, 70, cols);
      assertUpdatesAsJava(kernels, 90, cols);
      assertStepsAsJava(kernels, 24, cols);
      assertGruStepsAsJava(kernels, 24, cols);
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
    Kernels kernels = new NativeKernels();
    for (int classes : new int[] {1_000_000, 1 << 24}) {
      String message =
          assertThrows(
                  IllegalArgumentException.class,
                  () -> kernels.softmaxBackwardFloats(600, classes, 300))
              .getMessage();
      assertTrue(
          message.matches(".* " + classes + " classes .* 600 rows .*: use a smaller batch, .*"),
          message);
    }
    assertTrue(kernels.softmaxBackwardFloats(40, 1_000_000, 300) > 40_000_000);
  }

  /** Sizes around those of blocks: 320 and 1024 rows, 192 classes. */
  @ParameterizedTest
  @MethodSource("tiers")
  void goesBackThroughTheOutputLayerAsJava(String tier) {
    Kernels kernels = new NativeKernels(tier);
    assertSoftmaxBackwardAsJava(kernels, 1, 1, 1, 1);
    assertSoftmaxBackwardAsJava(kernels, 5, 203, 300, 2);
    assertSoftmaxBackwardAsJava(kernels, 12, 392, 64, 3);
    assertSoftmaxBackwardAsJava(kernels, 650, 392, 65, 2);
    assertSoftmaxBackwardAsJava(kernels, 1100, 203, 17, 5);
  }

  private static void assertSoftmaxBackwardAsJava(
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
      assertSoftmaxBackwardAsJava(
          kernels,
          what,
          (of, into) -> into.compute(of, weights, activations, masks, start, labels, factors, x),
          () -> new Gradients(batch, classes, cols));
    }
    FloatBuffer w = gaussians(classes * cols, 2);
    FloatBuffer panels = floats(Kernels.panelFloats(cols, classes));
    JAVA.makePanels(w, cols, classes, true, panels);
    FloatBuffer x = gaussians(batch * cols, 3);
    assertSoftmaxBackwardAsJava(
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

  private static void assertSoftmaxBackwardAsJava(
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

  /** What {@link Kernels#softmaxBackward} writes; each after an element that it must not touch. */
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
      int memory = kernels.softmaxBackwardFloats(activations.rows(), w.rows(), w.cols());
      kernels.softmaxBackward(
          w,
          activations,
          masks,
          bias,
          labels,
          factors,
          x,
          floats(memory),
          losses,
          weights,
          start,
          input);
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
      int memory = kernels.softmaxBackwardFloats(labels.remaining(), classes, cols);
      kernels.softmaxBackward(
          w, panels, cols, bias, labels, factors, x, floats(memory), losses, weights, start, input);
      assertNothingOutsideWritten();
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
    JAVA.addToRows(row, expected);
    kernels.addToRows(row, actual);
    assertSameBits(expected, actual, what);
    FloatBuffer expectedSums = floats(cols);
    FloatBuffer sums = gaussians(cols, 3);
    JAVA.sumRows(x, expectedSums);
    kernels.sumRows(x, sums);
    assertSameBits(expectedSums, sums, what);
    IntBuffer index = ints(rows);
    for (int r = 0; r < rows; r++) {
      index.put(r, r * r % 7);
    }
    JAVA.addRows(x, index, cols, expected);
    kernels.addRows(x, index, cols, actual);
    assertSameBits(expected, actual, what);
    index.put(3, rows);
    assertThrows(
        IllegalArgumentException.class, () -> kernels.addRows(x, index, cols, floats(rows * cols)));
    JAVA.scale(expected, 0.7f);
    kernels.scale(actual, 0.7f);
    assertSameBits(expected, actual, what);
    JAVA.clip(expected, 0.4f);
    kernels.clip(actual, 0.4f);
    assertSameBits(expected, actual, what);
    double squares = JAVA.sumOfSquares(x);
    assertEquals(squares, kernels.sumOfSquares(x), 1e-6 * squares, what);
  }

  private static void assertStepsAsJava(Kernels kernels, int batch, int units) {
    String what = "%s, %d units".formatted(kernels.name(), units);
    FloatBuffer before = gaussians(batch * units, 2);
    FloatBuffer[] gates = {gaussians(batch * 4 * units, 1), gaussians(batch * 4 * units, 1)};
    FloatBuffer[] cells = {floats(batch * units), floats(batch * units)};
    FloatBuffer[] tanhs = {floats(batch * units), floats(batch * units)};
    FloatBuffer[] hiddens = {floats(batch * units), floats(batch * units)};
    FloatBuffer[] cellGradients = {gaussians(batch * units, 3), gaussians(batch * units, 3)};
    FloatBuffer[] gateGradients = {floats(batch * 4 * units), floats(batch * 4 * units)};
    Kernels[] both = {JAVA, kernels};
    for (int k = 0; k < 2; k++) {
      both[k].lstmForward(gates[k], before, units, cells[k], tanhs[k], hiddens[k]);
      both[k].lstmBackward(
          gates[k],
          before,
          tanhs[k],
          units,
          gaussians(batch * units, 4),
          cellGradients[k],
          gateGradients[k]);
    }
    for (FloatBuffer[] pair :
        new FloatBuffer[][] {gates, cells, tanhs, hiddens, cellGradients, gateGradients}) {
      assertClose(pair[0], pair[1], 1e-5, what);
    }
    assertThrows(
        IllegalArgumentException.class,
        () -> kernels.lstmForward(floats(3), before, units, cells[1], tanhs[1], hiddens[1]));
  }

  private static void assertGruStepsAsJava(Kernels kernels, int batch, int units) {
    String what = "%s, %d units".formatted(kernels.name(), units);
    FloatBuffer before = gaussians(batch * units, 2);
    FloatBuffer recurrent = gaussians(batch * 3 * units, 5);
    FloatBuffer[] gates = {gaussians(batch * 3 * units, 1), gaussians(batch * 3 * units, 1)};
    FloatBuffer[] hiddens = {floats(batch * units), floats(batch * units)};
    FloatBuffer[] carried = {gaussians(batch * units, 3), gaussians(batch * units, 3)};
    FloatBuffer[] gateGradients = {floats(batch * 3 * units), floats(batch * 3 * units)};
    FloatBuffer[] recurrentGradients = {floats(batch * 3 * units), floats(batch * 3 * units)};
    Kernels[] both = {JAVA, kernels};
    for (int k = 0; k < 2; k++) {
      both[k].gruForward(gates[k], recurrent, before, units, hiddens[k]);
      both[k].gruBackward(
          gates[k],
          recurrent,
          before,
          units,
          gaussians(batch * units, 4),
          carried[k],
          gateGradients[k],
          recurrentGradients[k]);
    }
    for (FloatBuffer[] pair :
        new FloatBuffer[][] {gates, hiddens, carried, gateGradients, recurrentGradients}) {
      assertClose(pair[0], pair[1], 1e-5, what);
    }
    assertThrows(
        IllegalArgumentException.class,
        () -> kernels.gruForward(floats(3), recurrent, before, units, hiddens[1]));
  }

  private static void assertMultipliesPanelsAsJava(Kernels kernels, int cols) {
    int inner = 130;
    int batch = 23;
    FloatBuffer x = gaussians(batch * inner, 1);
    FloatBuffer w = gaussians(inner * cols, 2);
    for (boolean transposed : new boolean[] {false, true}) {
      FloatBuffer expectedPanels = floats(Kernels.panelFloats(inner, cols));
      FloatBuffer panels = gaussians(expectedPanels.capacity(), 3);
      JAVA.makePanels(w, inner, cols, transposed, expectedPanels);
      kernels.makePanels(w, inner, cols, transposed, panels);
      assertSameBits(expectedPanels, panels, "panels");
      FloatBuffer expected = gaussians(batch * cols, 4);
      FloatBuffer actual = copy(expected);
      for (FloatBuffer start : new FloatBuffer[] {null, gaussians(cols, 5)}) {
        JAVA.multiplyPanels(x, batch, inner, panels, cols, start, expected);
        kernels.multiplyPanels(x, batch, inner, panels, cols, start, actual);
        assertClose(expected, actual, 1e-5, kernels.name());
      }
      for (boolean add : new boolean[] {false, true}) {
        JAVA.multiply(x, transposed, w, batch, inner, cols, 0.5f, add, expected);
        kernels.multiply(x, transposed, w, batch, inner, cols, 0.5f, add, actual);
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
    int rows = steps * batch;
    for (String tier : NativeKernels.supportedTiers()) {
      NativeKernels kernels = new NativeKernels(tier);
      FloatBuffer weights = gaussians(4 * units * units, 1);
      FloatBuffer panels = floats(Kernels.panelFloats(units, 4 * units));
      kernels.makePanels(weights, units, 4 * units, true, panels);
      MultibitMatrix packed = MultibitMatrix.weights(4 * units, units, 2);
      kernels.quantize(new Alternating(), weights, packed);
      FloatBuffer[] gates = twice(gaussians(rows * 4 * units, 2));
      FloatBuffer[] hidden = twice(gaussians((rows + batch) * units, 3));
      FloatBuffer[] cells = twice(gaussians((rows + batch) * units, 4));
      FloatBuffer[] tanh = twice(floats(rows * units));
      MultibitMatrix[] codes = {
        MultibitMatrix.activations(rows, units, 3), MultibitMatrix.activations(rows, units, 3)
      };
      LstmSteps.forward(
          kernels,
          new Alternating(),
          packed,
          codes[0],
          batch,
          gates[0],
          hidden[0],
          cells[0],
          tanh[0]);
      kernels.lstmForwardSteps(
          new Alternating(), packed, codes[1], batch, gates[1], hidden[1], cells[1], tanh[1]);
      assertEquals(codes[0].planes(), codes[1].planes());
      assertSameBits(hidden[0], hidden[1], tier);
      LstmSteps.forward(kernels, panels, batch, units, gates[0], hidden[0], cells[0], tanh[0]);
      kernels.lstmForwardSteps(panels, batch, units, gates[1], hidden[1], cells[1], tanh[1]);
      for (FloatBuffer[] pair : new FloatBuffer[][] {gates, hidden, cells, tanh}) {
        assertSameBits(pair[0], pair[1], tier);
      }
      FloatBuffer back = floats(Kernels.panelFloats(4 * units, units));
      kernels.makePanels(weights, 4 * units, units, false, back);
      for (int first : new int[] {0, 1}) {
        FloatBuffer[] dh = twice(gaussians(rows * units, 5));
        FloatBuffer[] dc = twice(gaussians(batch * units, 6));
        FloatBuffer[] dz = twice(gaussians(rows * 4 * units, 7));
        LstmSteps.backward(
            kernels, back, first, batch, units, gates[0], cells[0], tanh[0], dh[0], dc[0], dz[0]);
        kernels.lstmBackwardSteps(
            back, first, batch, units, gates[1], cells[1], tanh[1], dh[1], dc[1], dz[1]);
        for (FloatBuffer[] pair : new FloatBuffer[][] {dh, dc, dz}) {
          assertSameBits(pair[0], pair[1], tier);
        }
      }
      hidden[1].put(units + 3, Float.NaN);
      if (batch > 1) {
        String message =
            assertThrows(
                    IllegalArgumentException.class,
                    () ->
                        kernels.lstmForwardSteps(
                            new Alternating(),
                            packed,
                            codes[1],
                            batch,
                            gates[1],
                            hidden[1],
                            cells[1],
                            tanh[1]))
                .getMessage();
        assertTrue(message.contains("row 1, column 3"), message);
      }
    }
  }

  /** The same of a GRU. */
  @ParameterizedTest
  @ValueSource(ints = {1, 4, 23})
  void sequencesOfGrusAreTheirSteps(int batch) {
    int units = 70;
    int steps = 3;
    int rows = steps * batch;
    for (String tier : NativeKernels.supportedTiers()) {
      NativeKernels kernels = new NativeKernels(tier);
      FloatBuffer weights = gaussians(3 * units * units, 1);
      FloatBuffer panels = floats(Kernels.panelFloats(units, 3 * units));
      kernels.makePanels(weights, units, 3 * units, true, panels);
      MultibitMatrix packed = MultibitMatrix.weights(3 * units, units, 2);
      kernels.quantize(new Alternating(), weights, packed);
      FloatBuffer[] gates = twice(gaussians(rows * 3 * units, 2));
      FloatBuffer[] sums = twice(gaussians(rows * 3 * units, 4));
      FloatBuffer[] hidden = twice(gaussians((rows + batch) * units, 3));
      MultibitMatrix[] codes = {
        MultibitMatrix.activations(rows, units, 3), MultibitMatrix.activations(rows, units, 3)
      };
      GruSteps.forward(
          kernels, new Alternating(), packed, codes[0], batch, gates[0], sums[0], hidden[0]);
      kernels.gruForwardSteps(
          new Alternating(), packed, codes[1], batch, gates[1], sums[1], hidden[1]);
      assertEquals(codes[0].planes(), codes[1].planes());
      assertSameBits(hidden[0], hidden[1], tier);
      GruSteps.forward(kernels, panels, batch, units, gates[0], sums[0], hidden[0]);
      kernels.gruForwardSteps(panels, batch, units, gates[1], sums[1], hidden[1]);
      for (FloatBuffer[] pair : new FloatBuffer[][] {gates, sums, hidden}) {
        assertSameBits(pair[0], pair[1], tier);
      }
      FloatBuffer back = floats(Kernels.panelFloats(3 * units, units));
      kernels.makePanels(weights, 3 * units, units, false, back);
      for (int first : new int[] {0, 1}) {
        FloatBuffer[] dh = twice(gaussians(rows * units, 5));
        FloatBuffer[] carried = twice(gaussians(batch * units, 6));
        FloatBuffer[] dz = twice(gaussians(rows * 3 * units, 7));
        FloatBuffer[] du = twice(gaussians(rows * 3 * units, 8));
        GruSteps.backward(
            kernels,
            back,
            first,
            batch,
            units,
            gates[0],
            sums[0],
            hidden[0],
            dh[0],
            carried[0],
            dz[0],
            du[0]);
        kernels.gruBackwardSteps(
            back,
            first,
            batch,
            units,
            gates[1],
            sums[1],
            hidden[1],
            dh[1],
            carried[1],
            dz[1],
            du[1]);
        for (FloatBuffer[] pair : new FloatBuffer[][] {dh, carried, dz, du}) {
          assertSameBits(pair[0], pair[1], tier);
        }
      }
      hidden[1].put(3, Float.NaN);
      String message =
          assertThrows(
                  IllegalArgumentException.class,
                  () ->
                      kernels.gruForwardSteps(
                          new Alternating(), packed, codes[1], batch, gates[1], sums[1], hidden[1]))
              .getMessage();
      assertTrue(message.contains("row 0, column 3"), message);
      assertThrows(
          IllegalArgumentException.class,
          () ->
              kernels.gruForwardSteps(
                  panels, batch, units, gates[1], floats(3 * units * (rows - 1)), hidden[1]));
    }
  }

  /**
   * Whole sequences of a GRU against plain Java, each step from the same state: rounding of 3 steps
   * of 70 sums.
   */
  @ParameterizedTest
  @MethodSource("tiers")
  void sequencesOfGrusAreThoseOfJava(String tier) {
    Kernels kernels = new NativeKernels(tier);
    int units = 70;
    int batch = 5;
    int rows = 3 * batch;
    FloatBuffer weights = gaussians(3 * units * units, 1);
    JAVA.scale(weights, 0.1f);
    FloatBuffer panels = floats(Kernels.panelFloats(units, 3 * units));
    FloatBuffer back = floats(Kernels.panelFloats(3 * units, units));
    JAVA.makePanels(weights, units, 3 * units, true, panels);
    JAVA.makePanels(weights, 3 * units, units, false, back);
    FloatBuffer[] gates = twice(gaussians(rows * 3 * units, 2));
    FloatBuffer[] sums = twice(gaussians(rows * 3 * units, 4));
    FloatBuffer[] hidden = twice(gaussians((rows + batch) * units, 3));
    FloatBuffer[] dh = twice(gaussians(rows * units, 5));
    FloatBuffer[] carried = twice(floats(batch * units));
    FloatBuffer[] dz = twice(floats(rows * 3 * units));
    FloatBuffer[] du = twice(floats(rows * 3 * units));
    Kernels[] both = {JAVA, kernels};
    for (int k = 0; k < 2; k++) {
      both[k].gruForwardSteps(panels, batch, units, gates[k], sums[k], hidden[k]);
      both[k].gruBackwardSteps(
          back, 0, batch, units, gates[k], sums[k], hidden[k], dh[k], carried[k], dz[k], du[k]);
    }
    for (FloatBuffer[] pair : new FloatBuffer[][] {gates, sums, hidden, dh, carried, dz, du}) {
      assertClose(pair[0], pair[1], 1e-5, tier);
    }
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

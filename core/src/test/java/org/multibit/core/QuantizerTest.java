package org.multibit.core;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.ObjectInputStream;
import java.io.ObjectOutputStream;
import java.nio.FloatBuffer;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

/** {@link Quantizer#quantize} and {@link Quantization} on whole matrices, and what they refuse. */
class QuantizerTest {
  private static final float[][] W = Samples.GAUSSIAN.rows(11, 70);

  private static FloatBuffer w() {
    FloatBuffer rows = DirectFloats.allocate(11 * 70);
    for (float[] row : W) {
      rows.put(row);
    }
    return rows.flip();
  }

  static Stream<Quantization> quantizations() {
    return Stream.of(
        new Quantization(new Uniform(), 4),
        new Quantization(new Uniform(0.5f), 2),
        new Quantization(new Balanced(), 3),
        new Quantization(new Balanced(2), 3),
        new Quantization(new Greedy(), 1),
        new Quantization(new RefinedGreedy(), 8),
        new Quantization(new Optimal(), 2),
        new Quantization(new Alternating(), 2),
        new Quantization(new Alternating(5, 0.3f), 3));
  }

  /** Rows are quantized each by itself, from the buffer's position on, which stays. */
  @ParameterizedTest
  @MethodSource("quantizations")
  void aMatrixIsItsRows(Quantization quantization) {
    FloatBuffer shifted = DirectFloats.allocate(2 + 11 * 70);
    shifted.put(Float.NaN).put(Float.NaN).put(w());
    FloatBuffer rows = shifted.flip().position(2);
    MultibitMatrix q = quantization.quantize(rows, 70);
    assertEquals(2, rows.position());
    assertEquals(List.of(11, 70, 8), List.of(q.rows(), q.cols(), q.lanes()));
    assertEquals(quantization.bits(), q.bits());
    FloatBuffer values = q.dequantize();
    assertEquals(11 * 70, values.remaining());
    for (int r = 0; r < W.length; r++) {
      float[] row = new float[70];
      values.get(r * 70, row);
      assertArrayEquals(
          Row.quantize(quantization.quantizer(), quantization.bits(), W[r]).values(), row);
    }
  }

  @ParameterizedTest
  @ValueSource(floats = {Float.NaN, Float.POSITIVE_INFINITY, Float.NEGATIVE_INFINITY})
  void theFirstBadElementIsNamed(float bad) {
    FloatBuffer w = DirectFloats.allocate(300 * 40);
    for (int i = 0; i < w.capacity(); i++) {
      w.put(i, i % 7);
    }
    w.put(299 * 40, Float.NaN).put(17 * 40 + 39, Float.NaN).put(17 * 40 + 5, bad);
    for (String method : Quantizers.METHODS) {
      Throwable e =
          assertThrows(
              IllegalArgumentException.class, () -> Quantizers.of(method).quantize(w, 40, 2));
      assertEquals("Cannot quantize " + bad + " at row 17, column 5", e.getMessage());
    }
  }

  @Test
  void bitsOutsideTheRangeAreRefused() {
    Map<String, Integer> most =
        Map.of(
            "uniform", 8, "balanced", 8, "greedy", 8, "refined", 8, "alternating", 8, "optimal", 2);
    most.forEach(
        (method, max) -> {
          Quantizer quantizer = Quantizers.of(method);
          for (int bits : new int[] {Integer.MIN_VALUE, -1, 0, max + 1, 64}) {
            String message =
                "The %s quantizer takes 1 to %d bits, not %d".formatted(method, max, bits);
            assertEquals(
                message,
                assertThrows(
                        IllegalArgumentException.class, () -> quantizer.quantize(w(), 70, bits))
                    .getMessage());
            assertEquals(
                message,
                assertThrows(
                        IllegalArgumentException.class, () -> new Quantization(quantizer, bits))
                    .getMessage());
          }
          assertEquals(max, quantizer.quantize(w(), 70, max).bits());
        });
  }

  @Test
  void whatAreNotRowsIsRefused() {
    for (int cols : new int[] {-1, 0, 69, 11 * 70 + 1}) {
      assertThrows(IllegalArgumentException.class, () -> new Greedy().quantize(w(), cols, 2));
    }
    FloatBuffer none = DirectFloats.allocate(0);
    assertThrows(IllegalArgumentException.class, () -> new Greedy().quantize(none, 70, 2));
    FloatBuffer onHeap = FloatBuffer.allocate(70);
    assertThrows(IllegalArgumentException.class, () -> new Greedy().quantize(onHeap, 70, 2));
  }

  @Test
  void settingsOutsideTheRangeAreRefused() {
    for (float scale : new float[] {0, -1, Float.NaN, Float.POSITIVE_INFINITY}) {
      assertThrows(IllegalArgumentException.class, () -> new Alternating(2, scale));
    }
    assertThrows(IllegalArgumentException.class, () -> new Alternating(-1, 1));
    String message =
        assertThrows(IllegalArgumentException.class, () -> Quantizers.of("ternary")).getMessage();
    assertTrue(message.contains("ternary") && message.contains("alternating"), message);
  }

  @ParameterizedTest
  @MethodSource("quantizations")
  void javaSerializationRoundTrip(Quantization quantization) throws Exception {
    ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    try (ObjectOutputStream out = new ObjectOutputStream(bytes)) {
      out.writeObject(quantization);
    }
    try (ObjectInputStream in =
        new ObjectInputStream(new ByteArrayInputStream(bytes.toByteArray()))) {
      assertEquals(quantization, in.readObject());
    }
  }

  @Test
  void differentSettingsDiffer() {
    List<Quantization> all = quantizations().toList();
    for (int i = 0; i < all.size(); i++) {
      for (int j = 0; j < i; j++) {
        assertNotEquals(all.get(i), all.get(j));
      }
    }
    assertNotEquals(Quantization.alternating(2), Quantization.alternating(3));
    assertNotEquals(new Alternating(2, 1), new Alternating(3, 1));
    for (String method : Quantizers.METHODS) {
      assertEquals(method, Quantizers.of(method).method());
      assertEquals(Quantizers.of(method), Quantizers.of(method, 2, 1));
    }
  }
}

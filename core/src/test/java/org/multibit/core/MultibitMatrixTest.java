package org.multibit.core;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.FloatBuffer;
import java.nio.LongBuffer;
import java.util.HashSet;
import java.util.Random;
import java.util.Set;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.constraints.IntRange;
import org.junit.jupiter.api.Test;

class MultibitMatrixTest {

  /** The places that docs/format.md gives, one for each word and coefficient, and no other. */
  @Property(tries = 200)
  void placesAreThoseOfTheFormat(
      @ForAll @IntRange(min = 1, max = 20) int rows,
      @ForAll @IntRange(min = 1, max = 200) int cols,
      @ForAll @IntRange(min = 1, max = 8) int bits) {
    int words = (cols + 63) / 64;
    int blocks = (rows + 7) / 8;
    MultibitMatrix m = MultibitMatrix.weights(rows, cols, bits);
    assertEquals(8 * bits * words * blocks, m.planes().remaining());
    assertEquals(8 * bits * blocks, m.coefficients().remaining());
    assertEquals(8L * 8 * bits * words * blocks + 4L * 8 * bits * blocks, m.bytes());
    for (int r = 0; r < rows; r++) {
      for (int i = 0; i < bits; i++) {
        for (int w = 0; w < words; w++) {
          assertEquals(((r / 8 * words + w) * bits + i) * 8 + r % 8, m.planeIndex(r, i, w));
        }
        assertEquals((r / 8 * bits + i) * 8 + r % 8, m.coefficientIndex(r, i));
      }
    }
    MultibitMatrix a = MultibitMatrix.activations(rows, cols, bits);
    Set<Integer> places = new HashSet<>();
    for (int r = 0; r < rows; r++) {
      for (int i = 0; i < bits; i++) {
        for (int w = 0; w < words; w++) {
          assertEquals((r * words + w) * bits + i, a.planeIndex(r, i, w));
          places.add(a.planeIndex(r, i, w));
        }
        assertEquals(r * bits + i, a.coefficientIndex(r, i));
      }
    }
    assertEquals(a.planes().remaining(), places.size());
  }

  /** From codes and coefficients by hand to values, in both layouts. */
  @Property(tries = 200)
  void valuesAreSumsOfSignedCoefficients(
      @ForAll @IntRange(min = 1, max = 10) int rows,
      @ForAll @IntRange(min = 1, max = 130) int cols,
      @ForAll @IntRange(min = 1, max = 8) int bits,
      @ForAll boolean weights,
      @ForAll long seed) {
    MultibitMatrix m =
        weights
            ? MultibitMatrix.weights(rows, cols, bits)
            : MultibitMatrix.activations(rows, cols, bits);
    Random random = new Random(seed);
    double[][] expected = new double[rows][cols];
    for (int r = 0; r < rows; r++) {
      for (int i = 0; i < bits; i++) {
        int a = 1 + random.nextInt(1000);
        m.coefficients().put(m.coefficientIndex(r, i), a);
        for (int c = 0; c < cols; c++) {
          boolean plus = random.nextBoolean();
          expected[r][c] += plus ? a : -a;
          if (plus) {
            int index = m.planeIndex(r, i, c / 64);
            m.planes().put(index, m.planes().get(index) | 1L << c % 64);
          }
          assertEquals(plus, m.bit(r, i, c));
        }
        assertEquals(a, m.coefficient(r, i));
      }
    }
    FloatBuffer out = Row.floats(rows * cols);
    Kernels.java().dequantize(m, out);
    for (int r = 0; r < rows; r++) {
      for (int c = 0; c < cols; c++) {
        assertEquals(expected[r][c], out.get(r * cols + c));
      }
    }
  }

  @Test
  void wrappedMemoryIsShared() {
    LongBuffer planes =
        ByteBuffer.allocateDirect(8 * 8 * 2).order(ByteOrder.nativeOrder()).asLongBuffer();
    FloatBuffer coefficients = Row.floats(16);
    MultibitMatrix m = new MultibitMatrix(3, 5, 2, 8, planes, coefficients);
    planes.put(m.planeIndex(2, 1, 0), 0b10010);
    coefficients.put(m.coefficientIndex(2, 1), 0.5f);
    assertTrue(m.bit(2, 1, 4) && m.bit(2, 1, 1) && !m.bit(2, 1, 0) && !m.bit(2, 0, 4));
    assertEquals(0.5f, m.coefficient(2, 1));
    assertEquals(Row.direct(-0.5f, 0.5f, -0.5f, -0.5f, 0.5f), m.dequantize().slice(10, 5));
  }

  @Test
  void impossibleMatricesAreRefused() {
    LongBuffer planes = MultibitMatrix.weights(8, 64, 2).planes();
    FloatBuffer coefficients = MultibitMatrix.weights(8, 64, 2).coefficients();
    new MultibitMatrix(8, 64, 2, 8, planes, coefficients);
    assertThrows(
        IllegalArgumentException.class,
        () -> new MultibitMatrix(9, 64, 2, 8, planes, coefficients));
    assertThrows(
        IllegalArgumentException.class,
        () -> new MultibitMatrix(8, 65, 2, 8, planes, coefficients));
    assertThrows(
        IllegalArgumentException.class,
        () -> new MultibitMatrix(8, 64, 1, 8, planes, coefficients));
    assertThrows(
        IllegalArgumentException.class,
        () -> new MultibitMatrix(8, 64, 2, 4, planes, coefficients));
    assertThrows(
        IllegalArgumentException.class,
        () -> new MultibitMatrix(8, 64, 2, 8, LongBuffer.allocate(16), coefficients));
    assertThrows(IllegalArgumentException.class, () -> MultibitMatrix.weights(0, 64, 2));
    assertThrows(IllegalArgumentException.class, () -> MultibitMatrix.weights(8, 0, 2));
    assertThrows(IllegalArgumentException.class, () -> MultibitMatrix.weights(8, 64, 9));
    assertThrows(IllegalArgumentException.class, () -> MultibitMatrix.activations(8, 64, 0));
    String message =
        assertThrows(
                IllegalArgumentException.class, () -> MultibitMatrix.weights(1 << 20, 1 << 20, 8))
            .getMessage();
    assertTrue(message.endsWith("over 2 GiB"), message);
  }

  /**
   * The largest matrix of the paper: Text8's softmax at 8 bits, 344 MB. Only the index is tried.
   */
  @Test
  void countsOfLargeMatricesDoNotOverflow() {
    assertEquals(42000L * 16 * 8, MultibitMatrix.planeWords(42000, 1024, 8, 8));
    assertEquals(1L << 31, MultibitMatrix.planeWords(1 << 24, 1 << 10, 8, 8));
    assertEquals(1L << 32, MultibitMatrix.coefficientCount(1 << 29, 8, 8));
  }

  @Test
  void relativeErrorIsOverAllRows() {
    float[] values = {1, -1, 1, 2, 2, 4};
    FloatBuffer w = Row.direct(values);
    MultibitMatrix q = new Greedy().quantize(w, 3, 1); // rows of 1 and of 8/3
    double expected = (2 * Math.pow(2 / 3.0, 2) + Math.pow(4 / 3.0, 2)) / 27;
    assertEquals(expected, q.squaredError(w).relative(), 1e-7);
    FloatBuffer row = w.slice(0, 3);
    assertEquals(0, new Greedy().quantize(row, 3, 1).squaredError(row).relative(), 1e-12);
    FloatBuffer zeros = DirectFloats.allocate(6);
    MultibitMatrix zero = new Alternating().quantize(zeros, 3, 3);
    assertEquals(0, zero.squaredError(zeros).relative());
    assertEquals(0, SquaredError.NONE.relative());
    SquaredError both = zero.squaredError(zeros).plus(q.squaredError(w));
    assertEquals(expected, both.relative(), 1e-7);
    FloatBuffer huge = DirectFloats.allocate(6);
    for (int i = 0; i < values.length; i++) {
      huge.put(i, values[i] * 5e37f);
    }
    assertEquals(expected, new Greedy().quantize(huge, 3, 1).squaredError(huge).relative(), 1e-5);
    assertEquals(Double.POSITIVE_INFINITY, q.squaredError(zeros).relative());
    for (int count : new int[] {0, 3, 5, 7}) {
      FloatBuffer bad = DirectFloats.allocate(count);
      assertThrows(IllegalArgumentException.class, () -> q.squaredError(bad));
    }
  }
}

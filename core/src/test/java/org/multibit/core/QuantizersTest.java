package org.multibit.core;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.stream.IntStream;
import net.jqwik.api.Arbitraries;
import net.jqwik.api.Arbitrary;
import net.jqwik.api.Assume;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.Provide;
import net.jqwik.api.constraints.IntRange;
import net.jqwik.api.constraints.Size;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Each quantizer against an oracle that shares no code with it. */
class QuantizersTest {

  @Provide
  Arbitrary<float[]> shortRows() {
    return Arbitraries.floats().between(-8, 8).array(float[].class).ofMinSize(1).ofMaxSize(6);
  }

  @Provide
  Arbitrary<float[]> rows() {
    return Arbitraries.floats().between(-8, 8).array(float[].class).ofMinSize(1).ofMaxSize(80);
  }

  @Property(tries = 400)
  void optimalIsTheBestOfAllCodes(
      @ForAll("shortRows") float[] w, @ForAll @IntRange(min = 1, max = 2) int bits) {
    double best = DoubleReference.exhaustive(w, bits);
    double error = Row.error(new Optimal(), bits, w);
    assertEquals(best, error, 1e-6 * best + 1e-12 * Row.squaredNorm(w));
  }

  @ParameterizedTest
  @ValueSource(ints = {1, 2, 3, 4, 6, 8})
  void greedyRefinedAndAlternatingFollowTheirDefinitions(int bits) {
    for (Samples samples : Samples.values()) {
      for (float[] w : samples.rows(5, 300)) {
        double tolerance = 1e-5 * Row.error(new Greedy(), bits, w);
        assertEquals(
            DoubleReference.greedy(w, bits), Row.error(new Greedy(), bits, w), tolerance, "greedy");
        assertEquals(
            DoubleReference.refined(w, bits),
            Row.error(new RefinedGreedy(), bits, w),
            tolerance,
            "refined");
        assertEquals(
            bits == 1 ? DoubleReference.greedy(w, 1) : DoubleReference.alternating(w, bits, 2),
            Row.error(new PaperAlternating(), bits, w),
            tolerance,
            "alternating from greedy");
        for (int cycles : new int[] {0, 1, 2, 5}) {
          assertEquals(
              bits == 1 || cycles == 0
                  ? DoubleReference.greedy(w, bits)
                  : bits <= 3
                      ? DoubleReference.alternating(w, bits, cycles)
                      : DoubleReference.alternatingFromBestStart(w, bits, cycles),
              Row.error(new Alternating(cycles, 1), bits, w),
              tolerance,
              "alternating");
        }
      }
    }
  }

  /** What the paper's tables and the models in models/ were made with. */
  @Property(tries = 200)
  void alternatingIsThePapersUpToThreeBits(
      @ForAll("rows") float[] w, @ForAll @IntRange(min = 1, max = 3) int bits) {
    Row paper = Row.quantize(new PaperAlternating(), bits, w);
    Row row = Row.quantize(new Alternating(), bits, w);
    assertArrayEquals(paper.coefficients(), row.coefficients());
    assertArrayEquals(paper.planes(), row.planes());
  }

  /** Least squares: what is left over is orthogonal to every plane. */
  @Property(tries = 300)
  void refinedSolvesTheNormalEquations(
      @ForAll("rows") float[] w, @ForAll @IntRange(min = 1, max = 8) int bits) {
    assertNormalEquations(Row.quantize(new RefinedGreedy(), bits, w));
  }

  @ParameterizedTest
  @EnumSource
  void refinedSolvesTheNormalEquationsOfLongRows(Samples samples) {
    for (float[] w : samples.rows(3, 5000)) {
      for (int bits = 1; bits <= 8; bits++) {
        assertNormalEquations(Row.quantize(new RefinedGreedy(), bits, w));
      }
    }
  }

  private static void assertNormalEquations(Row row) {
    for (boolean[] plane : row.planes()) {
      double product = 0;
      double magnitude = 0;
      for (int j = 0; j < plane.length; j++) {
        double residual = (double) row.w()[j] - row.values()[j];
        product += plane[j] ? residual : -residual;
        magnitude += Math.abs(row.w()[j]);
      }
      assertEquals(0, product, 2e-6 * magnitude);
    }
  }

  /** Xu et al.: b_1 = sign(w), b_2 = sign(w - a_1 b_1) for a_1 >= a_2 >= 0, thresholds closed. */
  @Property(tries = 300)
  void alternatingAndOptimalHaveTheClosedFormAtTwoBits(@ForAll("rows") float[] w) {
    for (Quantizer quantizer : new Quantizer[] {new Alternating(), new Optimal()}) {
      Row row = Row.quantize(quantizer, 2, w);
      double a = row.coefficients()[0];
      assertTrue(a >= row.coefficients()[1] && row.coefficients()[1] >= 0);
      for (int j = 0; j < w.length; j++) {
        assertEquals(w[j] >= 0, row.planes()[0][j]);
        assertEquals(w[j] - (w[j] >= 0 ? a : -a) >= 0, row.planes()[1][j]);
      }
    }
  }

  @Property(tries = 300)
  void alternatingTakesTheNearestOfAllValues(
      @ForAll("rows") float[] w,
      @ForAll @IntRange(min = 2, max = 8) int bits,
      @ForAll @IntRange(min = 1, max = 3) int cycles) {
    Row row = Row.quantize(new Alternating(cycles, 1), bits, w);
    double[] a = new double[bits];
    Arrays.setAll(a, i -> row.coefficients()[i]);
    double largest = Arrays.stream(a).sum();
    for (int j = 0; j < w.length; j++) {
      double nearest = DoubleReference.value(DoubleReference.nearest(w[j], a), a);
      assertEquals(Math.abs(w[j] - nearest), Math.abs(w[j] - row.values()[j]), 1e-6 * largest);
    }
  }

  /** What is on codes stays there however often, which is what LatentWeightProjection trains by. */
  @Property(tries = 200)
  void projectionsGiveCodesBack(
      @ForAll("rows") float[] w, @ForAll @IntRange(min = 1, max = 2) int bits) {
    for (String method : Quantizers.METHODS) {
      Quantizer quantizer = Quantizers.of(method);
      if (quantizer.projects(bits)) {
        float[] once = Row.quantize(quantizer, bits, w).values();
        Row again = Row.quantize(quantizer, bits, once);
        for (int i = 0; i < 20; i++) {
          again = Row.quantize(quantizer, bits, again.values());
        }
        float largest = 0;
        for (float x : w) {
          largest = Math.max(largest, Math.abs(x));
        }
        assertArrayEquals(once, again.values(), 2e-6f * largest, method);
      }
    }
  }

  @Property(tries = 200)
  void coefficientsOfRefinedAndAlternatingDescend(
      @ForAll("rows") float[] w, @ForAll @IntRange(min = 1, max = 8) int bits) {
    for (Quantizer quantizer :
        bits == 1
            ? new Quantizer[] {new RefinedGreedy()}
            : new Quantizer[] {new RefinedGreedy(), new Alternating(1, 1), new Alternating()}) {
      float[] a = Row.quantize(quantizer, bits, w).coefficients();
      for (int i = 0; i < bits; i++) {
        assertTrue(a[i] >= 0 && (i == 0 || a[i - 1] >= a[i]), quantizer + Arrays.toString(a));
      }
    }
  }

  /** Least squares can make a coefficient negative; the planes then follow. */
  @Property(tries = 300)
  void normalizingKeepsEveryValue(
      @ForAll @Size(min = 1, max = 8) List<@IntRange(min = -99, max = 99) Integer> integers) {
    int bits = integers.size();
    float[] a = new float[bits];
    byte[] codes = new byte[1 << bits];
    float[] values = new float[1 << bits];
    for (int i = 0; i < bits; i++) {
      a[i] = integers.get(i);
    }
    for (int code = 0; code < codes.length; code++) {
      codes[code] = (byte) code;
      values[code] = Codes.value(code, a, bits);
    }
    Codes.normalize(a, bits, codes);
    for (int i = 0; i < bits; i++) {
      assertTrue(a[i] >= 0 && (i == 0 || a[i - 1] >= a[i]), Arrays.toString(a));
    }
    for (int code = 0; code < codes.length; code++) {
      assertEquals(values[code], Codes.value(codes[code], a, bits));
    }
  }

  @Property(tries = 200)
  void scaleMultipliesTheQuantizedRow(
      @ForAll("rows") float[] w, @ForAll @IntRange(min = 1, max = 8) int bits) {
    Row plain = Row.quantize(new Alternating(), bits, w);
    Row scaled = Row.quantize(new Alternating(2, 0.3f), bits, w);
    for (int i = 0; i < bits; i++) {
      assertArrayEquals(plain.planes()[i], scaled.planes()[i]);
      assertEquals(plain.coefficients()[i] * 0.3f, scaled.coefficients()[i]);
    }
  }

  /** q_k(x) = 2 (round[(2^k - 1)(x + 1) / 2] / (2^k - 1) - 1/2), x = w / max|w|, scaled back. */
  @Property(tries = 300)
  void uniformRoundsToEvenlySpacedLevels(
      @ForAll("rows") float[] w, @ForAll @IntRange(min = 1, max = 8) int bits) {
    double max = IntStream.range(0, w.length).mapToDouble(j -> Math.abs(w[j])).max().orElseThrow();
    int top = (1 << bits) - 1;
    Row row = Row.quantize(new Uniform(), bits, w);
    for (int j = 0; j < w.length; j++) {
      double x = max == 0 ? 0 : w[j] / max;
      double level = top * (x + 1) / 2;
      double distanceToTie = Math.abs(level - Math.floor(level) - 0.5);
      double expected = max * 2 * (Math.floor(level + 0.5) / top - 0.5);
      double other = max * 2 * (Math.ceil(level - 0.5) / top - 0.5);
      double nearTie = distanceToTie < 1e-4 ? Math.abs(expected - other) + 2 * max / top : 0;
      assertEquals(expected, row.values()[j], 1e-6 * max + nearTie);
    }
  }

  /** A range of its own clips what lies outside, and is the row's if that is its magnitude. */
  @Property(tries = 100)
  void levelsOverAGivenRange(
      @ForAll("rows") float[] w, @ForAll @IntRange(min = 1, max = 8) int bits) {
    float max = FixedLevels.maxMagnitude(w);
    Assume.that(max > 0);
    assertArrayEquals(
        Row.quantize(new Uniform(), bits, w).values(),
        Row.quantize(new Uniform(max), bits, w).values());
    assertArrayEquals(
        Row.quantize(new Balanced(), bits, w).values(),
        Row.quantize(new Balanced(max), bits, w).values());
    float[] clipped = w.clone();
    for (int j = 0; j < w.length; j++) {
      clipped[j] = Math.max(-max / 2, Math.min(max / 2, w[j]));
    }
    assertArrayEquals(
        Row.quantize(new Uniform(max / 2), bits, clipped).values(),
        Row.quantize(new Uniform(max / 2), bits, w).values());
    assertArrayEquals(
        new float[] {1, -1}, Row.quantize(new Uniform(1), 1, 0x1p70f, -0x1p70f).values());
  }

  @ParameterizedTest
  @ValueSource(ints = {1, 7, 8, 64, 100, 255, 256, 300, 1000})
  void balancedGivesEachLevelItsShare(int cols) {
    Random random = new Random(cols);
    for (int bits = 1; bits <= 8; bits++) {
      float[] w = new float[cols];
      for (int j = 0; j < cols; j++) {
        w[j] = (float) random.nextGaussian() + j * 1e-3f; // distinct
      }
      Row row = Row.quantize(new Balanced(), bits, w);
      int levels = 1 << bits;
      float max = 0;
      for (float x : w) {
        max = Math.max(max, Math.abs(x));
      }
      int[] counts = new int[levels];
      Integer[] order = new Integer[cols];
      Arrays.setAll(order, j -> j);
      Arrays.sort(order, (i, j) -> Float.compare(w[i], w[j]));
      float previous = Float.NEGATIVE_INFINITY;
      for (int j : order) {
        float value = row.values()[j];
        assertTrue(value >= previous, "a larger weight has a smaller level");
        previous = value;
        double level = (value / max + 1) / 2 * (levels - 1);
        assertEquals(Math.rint(level), level, 1e-3);
        counts[(int) Math.rint(level)]++;
      }
      for (int count : counts) {
        assertTrue(count == cols / levels || count == (cols + levels - 1) / levels);
      }
    }
  }

  /** Where shares cannot be equal the thresholds are at ceil(j n / 2^k); equals stay together. */
  @Test
  void balancedSharesWithARest() {
    float[] five = Row.quantize(new Balanced(), 2, 3, -3, 1, 2, -2).values();
    assertArrayEquals(new float[] {3, -3, -1, 1, -3}, five, 1e-6f);
    float[] ties = Row.quantize(new Balanced(), 1, 0, -0f, 0, 0, 3).values();
    assertArrayEquals(new float[] {3, 3, 3, 3, 3}, ties, 1e-6f);
  }
}

package org.multibit.core;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.Arrays;
import java.util.List;
import java.util.stream.Stream;
import net.jqwik.api.Arbitraries;
import net.jqwik.api.Arbitrary;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.Provide;
import net.jqwik.api.constraints.IntRange;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Rows on which sums vanish, overflow or make singular systems. */
class DegenerateRowsTest {
  private static final List<Quantizer> ALL =
      Quantizers.METHODS.stream().map(Quantizers::of).toList();

  @Test
  void zerosStayZero() {
    for (float[] w : new float[][] {{0}, {-0f}, {0, -0f, 0}, new float[300]}) {
      for (Quantizer quantizer : ALL) {
        for (int bits = 1; bits <= quantizer.maxBits(); bits++) {
          Row row = Row.quantize(quantizer, bits, w);
          assertEquals(0, row.error(), quantizer + " " + bits);
          for (float a : row.coefficients()) {
            assertEquals(0f, a + 0f);
          }
        }
      }
    }
  }

  @Test
  void zerosOfEitherSignArePositive() {
    float[] w = {0, -0f, 1, -1, 0, -0f};
    for (Quantizer quantizer : ALL) {
      boolean[] signs = Row.quantize(quantizer, 1, w).planes()[0];
      assertArrayEquals(new boolean[] {true, true, true, false, true, true}, signs);
    }
  }

  /** One magnitude, whatever the signs: a single plane is exact, further ones add nothing. */
  @ParameterizedTest
  @ValueSource(floats = {Float.MIN_VALUE, 1e-40f, 1e-30f, 0.1f, 1, 3e7f, 1e30f, 1e38f})
  void oneMagnitudeIsExact(float x) {
    for (float[] w : new float[][] {{x}, {-x}, {x, x, x, x}, {x, -x, x, -x, -x}}) {
      for (Quantizer quantizer : ALL) {
        for (int bits = 1; bits <= quantizer.maxBits(); bits++) {
          float[] values = Row.quantize(quantizer, bits, w).values();
          if (!quantizer.method().equals("balanced")) { // equal shares split equal elements too
            assertArrayEquals(w, values, Math.max(x * 1e-6f, bits * Float.MIN_VALUE));
          }
        }
      }
    }
  }

  /** With m magnitudes a row is exact once 2^(k-1) >= m; more planes than that are dependent. */
  @Property
  void twoMagnitudesAreExactFromTwoBits(
      @ForAll("signs") List<Boolean> signs,
      @ForAll("signs") List<Boolean> large,
      @ForAll @IntRange(min = 2, max = 8) int bits) {
    float[] w = new float[Math.min(signs.size(), large.size())];
    for (int j = 0; j < w.length; j++) {
      w[j] = (large.get(j) ? 0.7f : 0.2f) * (signs.get(j) ? 1 : -1);
    }
    assertArrayEquals(w, Row.quantize(new Alternating(), bits, w).values(), 2e-6f);
    assertArrayEquals(w, Row.quantize(new RefinedGreedy(), bits, w).values(), 2e-6f);
    assertArrayEquals(w, Row.quantize(new Optimal(), 2, w).values(), 2e-6f);
  }

  /** Planes that differ in one place of ten thousand are still two planes. */
  @Test
  void oneOutlierAmongManyIsExact() {
    float[] w = new float[10_000];
    Arrays.fill(w, 0.25f);
    w[1234] = -0.75f;
    for (Quantizer quantizer : List.of(new Alternating(), new RefinedGreedy(), new Optimal())) {
      assertArrayEquals(w, Row.quantize(quantizer, 2, w).values(), 1e-3f, quantizer.toString());
    }
  }

  @Provide
  Arbitrary<List<Boolean>> signs() {
    return Arbitraries.of(true, false).list().ofMinSize(1).ofMaxSize(40);
  }

  /** From the smallest denormal to 1e38, alone and mixed. */
  @Provide
  Arbitrary<float[]> extremes() {
    Arbitrary<Float> denormals =
        Arbitraries.integers().between(-1 << 20, 1 << 20).map(i -> i * Float.MIN_VALUE);
    Arbitrary<Float> tiny = Arbitraries.floats().between(-4, 4).map(x -> x * 1e-37f);
    Arbitrary<Float> huge = Arbitraries.floats().between(-1, 1).map(x -> x * 1e38f);
    Arbitrary<Float> border =
        Arbitraries.of(0x1p60f, Math.nextUp(0x1p60f), 0x1p-60f, Math.nextDown(0x1p-60f), -1f, 0f);
    Arbitrary<Float> mixed = Arbitraries.oneOf(denormals, tiny, huge, border, Arbitraries.just(1f));
    return Arbitraries.oneOf(
        Stream.of(denormals, tiny, huge, border, mixed).map(DegenerateRowsTest::rowsOf).toList());
  }

  /** Where coefficients that are not held back would overflow. */
  @Provide
  Arbitrary<float[]> largest() {
    return rowsOf(
        Arbitraries.oneOf(
            Arbitraries.of(Float.MAX_VALUE, -Float.MAX_VALUE, 0x1p127f, -0x1p126f, 1e38f, 0f),
            Arbitraries.floats().between(-1, 1).map(x -> x * Float.MAX_VALUE)));
  }

  private static Arbitrary<float[]> rowsOf(Arbitrary<Float> elements) {
    return elements.array(float[].class).ofMinSize(1).ofMaxSize(50);
  }

  @Property
  void theLargestFloatsHaveFiniteCoefficientsAndValues(
      @ForAll("largest") float[] w, @ForAll @IntRange(min = 1, max = 8) int bits) {
    assertFinite(w, bits);
  }

  @Property
  void extremeRowsHaveFiniteCoefficientsAndValues(
      @ForAll("extremes") float[] w, @ForAll @IntRange(min = 1, max = 8) int bits) {
    assertFinite(w, bits);
  }

  private static void assertFinite(float[] w, int bits) {
    for (Quantizer quantizer : ALL) {
      if (bits <= quantizer.maxBits()) {
        Row row = Row.quantize(quantizer, bits, w);
        for (float a : row.coefficients()) {
          assertTrue(Float.isFinite(a) && a >= 0, quantizer + ": coefficient " + a);
        }
        for (float value : row.values()) {
          assertTrue(Float.isFinite(value), quantizer + ": value " + value);
        }
        double sum = 0; // also of a code that no element has
        for (float a : row.coefficients()) {
          sum += a;
        }
        assertTrue(sum <= Float.MAX_VALUE, () -> quantizer + " of " + Arrays.toString(w));
      }
    }
  }

  @Property
  void extremeRowsAreNeverWorseThanGreedy(
      @ForAll("extremes") float[] w, @ForAll @IntRange(min = 1, max = 8) int bits) {
    double greedy = Row.error(new Greedy(), bits, w);
    double rounding =
        Math.sqrt(Row.squaredNorm(w)) * 0x1p-18 + bits * Math.sqrt(w.length) * Float.MIN_VALUE;
    for (Quantizer quantizer : List.of(new RefinedGreedy(), new Alternating(), new Optimal())) {
      if (bits <= 2 || quantizer.equals(new Alternating())) {
        double error = Row.error(quantizer, bits, w);
        assertTrue(
            Math.sqrt(error) <= Math.sqrt(greedy) * (1 + 1e-6) + rounding,
            () -> quantizer + ": " + error + " > " + greedy + " of " + Arrays.toString(w));
      }
    }
  }

  /** A row multiplied by a power of two has the same codes and multiplied coefficients. */
  @Property
  void powersOfTwoChangeNothing(
      @ForAll("ordinary") float[] w,
      @ForAll @IntRange(min = 1, max = 8) int bits,
      @ForAll @IntRange(min = -100, max = 120) int exponent) {
    float[] scaled = new float[w.length];
    for (int j = 0; j < w.length; j++) {
      scaled[j] = Math.scalb(w[j], exponent);
    }
    for (Quantizer quantizer : ALL) {
      if (bits <= quantizer.maxBits()) {
        Row row = Row.quantize(quantizer, bits, w);
        Row other = Row.quantize(quantizer, bits, scaled);
        for (int i = 0; i < bits; i++) {
          assertArrayEquals(row.planes()[i], other.planes()[i]);
          assertEquals(Math.scalb(row.coefficients()[i], exponent), other.coefficients()[i]);
        }
      }
    }
  }

  @Provide
  Arbitrary<float[]> ordinary() {
    return Arbitraries.integers()
        .between(-1000, 1000)
        .map(i -> i / 256f)
        .array(float[].class)
        .ofMinSize(1)
        .ofMaxSize(100);
  }
}

package org.multibit.core;

import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.function.Function;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import net.jqwik.api.Arbitraries;
import net.jqwik.api.Arbitrary;
import net.jqwik.api.Combinators;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.Provide;
import net.jqwik.api.constraints.IntRange;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** Which method approximates better, and that more bits help. Per row, up to a relative 1e-6. */
class ErrorOrderTest {
  private static final Quantizer UNIFORM = new Uniform();
  private static final Quantizer GREEDY = new Greedy();
  private static final Quantizer REFINED = new RefinedGreedy();
  private static final Quantizer ALTERNATING = new Alternating();
  private static final Quantizer OPTIMAL = new Optimal();

  /** 100 rows of each distribution, and the real ones. */
  static Stream<List<float[]>> samples() {
    return Stream.concat(
        Arrays.stream(Samples.values()).map(s -> List.of(s.rows(100, 300))),
        Stream.of(List.of(Samples.realRows())));
  }

  /** Few distinct values and short rows, where ties and dependent planes are the rule. */
  @Provide
  Arbitrary<float[]> oddRows() {
    Arbitrary<Float> few = Arbitraries.of(-3f, -1f, -0.5f, -0f, 0f, 0.1f, 0.5f, 1f, 2f, 3f);
    Arbitrary<Float> any = Arbitraries.floats().between(-4, 4);
    return Arbitraries.oneOf(few, any, Arbitraries.oneOf(few, any))
        .array(float[].class)
        .ofMinSize(1)
        .ofMaxSize(70);
  }

  @ParameterizedTest
  @MethodSource("samples")
  void methodsAreOrderedPerRow(List<float[]> rows) {
    rows.forEach(ErrorOrderTest::assertOrder);
  }

  @Property(tries = 1000)
  void methodsAreOrderedOnOddRows(@ForAll("oddRows") float[] w) {
    assertOrder(w);
  }

  private static void assertOrder(float[] w) {
    assertOrder(w, 1, OPTIMAL, REFINED, GREEDY);
    assertOrder(w, 1, OPTIMAL, ALTERNATING, GREEDY);
    assertOrder(w, 2, OPTIMAL, ALTERNATING, REFINED, GREEDY);
    for (int bits = 3; bits <= 8; bits++) {
      assertOrder(w, bits, ALTERNATING, GREEDY);
    }
    for (int bits = 4; bits <= 8; bits++) {
      assertOrder(w, bits, ALTERNATING, UNIFORM);
    }
  }

  /** Rows of a few to some thousands of elements of every kind, at any scale. */
  @Provide
  Arbitrary<float[]> anyRows() {
    Arbitrary<Function<Random, Double>> kinds =
        Arbitraries.of(
            random -> 2 * random.nextDouble() - 1,
            Random::nextGaussian,
            random -> (double) Samples.LAPLACIAN.next(random),
            random -> Math.pow(Samples.LAPLACIAN.next(random), 3),
            random -> 5 + random.nextGaussian(),
            random -> random.nextInt(10) > 0 ? 0 : random.nextGaussian(),
            random -> random.nextBoolean() ? 0.7 : -0.2,
            random -> (double) random.nextInt(7) - 3,
            random -> Math.scalb(random.nextGaussian(), random.nextInt(50) - 40),
            random -> -0.3);
    Arbitrary<Integer> sizes =
        Arbitraries.oneOf(
            Arbitraries.integers().between(1, 70),
            Arbitraries.of(127, 128, 129, 300, 1000, 1024, 4097));
    Arbitrary<Integer> exponents = Arbitraries.of(0, 0, -140, -100, -61, -60, 59, 60, 110);
    return Combinators.combine(kinds, sizes, exponents, Arbitraries.longs())
        .as(
            (kind, size, exponent, seed) -> {
              Random random = new Random(seed);
              float[] w = new float[size];
              for (int j = 0; j < size; j++) {
                w[j] = (float) Math.scalb(kind.apply(random), exponent);
              }
              return w;
            });
  }

  @Property(tries = 500)
  void alternatingIsNeverWorseThanUniformGreedyOrFewerBits(@ForAll("anyRows") float[] w) {
    double previous = Row.error(ALTERNATING, 1, w);
    for (int bits = 2; bits <= 8; bits++) {
      double error = Row.error(ALTERNATING, bits, w);
      if (bits >= 4) {
        assertNotAbove(error, Row.error(UNIFORM, bits, w), w, bits + " bits against uniform");
        assertNotAbove(error, Row.error(GREEDY, bits, w), w, bits + " bits against greedy");
        assertNotAbove(error, previous, w, bits + " bits against one bit fewer");
      } else { // Least squares over long rows, which come out almost exact, in floats.
        double rounding = Math.sqrt(Row.squaredNorm(w)) * 0x1p-17;
        assertTrue(Math.sqrt(error) <= Math.sqrt(previous) * (1 + 1e-6) + rounding);
      }
      previous = error;
    }
  }

  /** From the least error to the largest. */
  private static void assertOrder(float[] w, int bits, Quantizer... methods) {
    double[] errors = Arrays.stream(methods).mapToDouble(m -> Row.error(m, bits, w)).toArray();
    for (int i = 1; i < methods.length; i++) {
      assertNotAbove(
          errors[i - 1],
          errors[i],
          w,
          "%d bits, %s against %s".formatted(bits, methods[i - 1], methods[i]));
    }
  }

  /** What the start of {@link Alternating} with more than 3 bits is for. */
  @ParameterizedTest
  @MethodSource("thousandRows")
  void alternatingBeatsRefinedInTheMean(List<float[]> rows) {
    for (int bits = 3; bits <= 8; bits++) {
      double alternating = mean(ALTERNATING, bits, rows);
      double refined = mean(REFINED, bits, rows);
      assertTrue(
          alternating <= refined * (1 + 1e-6),
          "%d bits: %g > %g".formatted(bits, alternating, refined));
    }
  }

  /** The real sample has 48. */
  static Stream<List<float[]>> thousandRows() {
    return Stream.concat(
        Arrays.stream(Samples.values()).map(s -> List.of(s.rows(1000, 300))),
        Stream.of(List.of(Samples.realRows())));
  }

  @ParameterizedTest
  @MethodSource("samples")
  void moreBitsNeverRaiseTheErrorOfARow(List<float[]> rows) {
    rows.forEach(ErrorOrderTest::assertMonotone);
  }

  @Property(tries = 1000)
  void moreBitsNeverRaiseTheErrorOfAnOddRow(@ForAll("oddRows") float[] w) {
    assertMonotone(w);
  }

  private static void assertMonotone(float[] w) {
    for (Quantizer quantizer : List.of(GREEDY, REFINED, ALTERNATING, OPTIMAL)) {
      double previous = Double.POSITIVE_INFINITY;
      for (int bits = 1; bits <= quantizer.maxBits(); bits++) {
        double error = Row.error(quantizer, bits, w);
        assertNotAbove(error, previous, w, quantizer + " with " + bits + " bits");
        previous = error;
      }
    }
  }

  @ParameterizedTest
  @MethodSource("samples")
  void moreBitsLowerTheMeanError(List<float[]> rows) {
    for (Quantizer quantizer : List.of(new Uniform(), new Balanced(), ALTERNATING)) {
      List<Double> means = new ArrayList<>();
      for (int bits = 1; bits <= 8; bits++) {
        means.add(mean(quantizer, bits, rows));
      }
      assertTrue(
          IntStream.range(1, 8).allMatch(i -> means.get(i) <= means.get(i - 1) * (1 + 1e-6)),
          quantizer + ": " + means);
    }
  }

  /**
   * More cycles never raise the error of up to 3 bits either: each half-step only lowers it. With
   * more bits they can lead to another start.
   */
  @Property(tries = 300)
  void moreCyclesNeverRaiseTheError(
      @ForAll("oddRows") float[] w, @ForAll @IntRange(min = 2, max = 3) int bits) {
    double previous = Double.POSITIVE_INFINITY;
    for (int cycles = 0; cycles < 5; cycles++) {
      double error = Row.error(new Alternating(cycles, 1), bits, w);
      assertNotAbove(error, previous, w, cycles + " cycles");
      previous = error;
    }
  }

  private static double mean(Quantizer quantizer, int bits, List<float[]> rows) {
    return rows.stream()
        .mapToDouble(w -> Row.error(quantizer, bits, w) / Row.squaredNorm(w))
        .average()
        .orElseThrow();
  }

  private static void assertNotAbove(double error, double bound, float[] w, String what) {
    // Short rows can come out almost exact; least squares near a singular system, in floats, then
    // leave up to 2^-18 of the norm. Of any row, values are rounded to floats.
    double norm = Math.sqrt(Row.squaredNorm(w));
    double rounding =
        w.length < 100
            ? norm * 0x1p-18
            : Math.sqrt(w.length) * FixedLevels.maxMagnitude(w) * 0x1p-22;
    rounding += 8 * Math.sqrt(w.length) * Float.MIN_VALUE;
    assertTrue(
        Math.sqrt(error) <= Math.sqrt(bound) * (1 + 5e-7) + rounding,
        () -> what + ": " + error + " > " + bound + " of " + Arrays.toString(w));
  }
}

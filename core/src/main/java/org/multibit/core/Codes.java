package org.multibit.core;

import java.util.Arrays;
import java.util.Comparator;

/**
 * The code of an element has one bit per plane, set where the plane is +1. This class computes
 * codes from coefficients and values from codes.
 */
final class Codes {
  private Codes() {}

  /** +1 for zeros of either sign: a code has no zero. */
  static boolean isPositive(float x) {
    return x >= 0;
  }

  /**
   * Makes coefficients non-negative and descending, and flips and reorders the planes with them.
   */
  static void normalize(float[] coefficients, int bits, byte[] codes) {
    int flip = 0;
    for (int i = 0; i < bits; i++) {
      if (coefficients[i] < 0) {
        coefficients[i] = -coefficients[i];
        flip |= 1 << i;
      }
    }
    float[] before = Arrays.copyOf(coefficients, bits);
    Integer[] order = new Integer[bits];
    Arrays.setAll(order, i -> i);
    Arrays.sort(order, Comparator.comparing(i -> 0f - before[i]));
    byte[] renamed = new byte[1 << bits];
    for (int code = 0; code < renamed.length; code++) {
      int flipped = code ^ flip;
      for (int i = 0; i < bits; i++) {
        renamed[code] |= (byte) ((flipped >> order[i] & 1) << i);
      }
    }
    for (int i = 0; i < bits; i++) {
      coefficients[i] = before[order[i]];
    }
    for (int j = 0; j < codes.length; j++) {
      codes[j] = renamed[codes[j] & 0xff];
    }
  }

  /**
   * Finds the nearest of the 2^k values for each element by a binary search over the thresholds
   * between neighbours (Xu et al., algorithm 1). Two bits use the closed form b_1 = sign(w), b_2 =
   * sign(w - a_1 b_1).
   *
   * @param coefficients normalized
   */
  static void nearest(float[] w, float[] coefficients, int bits, byte[] codes) {
    if (bits == 1) {
      for (int j = 0; j < w.length; j++) {
        codes[j] = (byte) (isPositive(w[j]) ? 1 : 0);
      }
    } else if (bits == 2) {
      nearestOfTwoBits(w, coefficients[0], codes);
    } else {
      nearestBySearch(w, coefficients, bits, codes);
    }
  }

  private static void nearestOfTwoBits(float[] w, float a, byte[] codes) {
    for (int j = 0; j < w.length; j++) {
      boolean first = isPositive(w[j]);
      boolean second = isPositive(first ? w[j] - a : w[j] + a);
      codes[j] = (byte) ((first ? 1 : 0) | (second ? 2 : 0));
    }
  }

  private static void nearestBySearch(float[] w, float[] coefficients, int bits, byte[] codes) {
    int count = 1 << bits;
    float[] values = new float[count];
    for (int code = 0; code < count; code++) {
      values[code] = value(code, coefficients, bits);
    }
    Integer[] sorted = new Integer[count];
    Arrays.setAll(sorted, i -> i);
    Arrays.sort(
        sorted,
        Comparator.<Integer>comparingDouble(code -> values[code] + 0.0)
            .thenComparingInt(code -> Integer.reverse(code) >>> (32 - bits)));
    float[] thresholds = new float[count - 1];
    for (int t = 0; t < count - 1; t++) {
      thresholds[t] = values[sorted[t]] * 0.5f + values[sorted[t + 1]] * 0.5f;
    }
    for (int j = 0; j < w.length; j++) {
      codes[j] = (byte) (int) sorted[notAbove(thresholds, w[j])];
    }
  }

  /** How many of the ascending thresholds are <= x. */
  static int notAbove(float[] thresholds, float x) {
    int low = 0;
    int high = thresholds.length;
    while (low < high) {
      int middle = (low + high) >>> 1;
      if (thresholds[middle] <= x) {
        low = middle + 1;
      } else {
        high = middle;
      }
    }
    return low;
  }

  /**
   * w minus the first planes, each times its coefficient, subtracted one after the other in rising
   * i.
   */
  static float[] residual(float[] w, int planes, byte[] codes, float[] coefficients) {
    float[] residual = w.clone();
    for (int j = 0; j < w.length; j++) {
      for (int i = 0; i < planes; i++) {
        residual[j] -= (codes[j] >> i & 1) != 0 ? coefficients[i] : -coefficients[i];
      }
    }
    return residual;
  }

  /**
   * ||w - q||^2 for the values q of the codes. The unit is the square of the largest power of two
   * that is not above max|w|, so that no square overflows or vanishes.
   */
  static float squaredError(float[] w, int bits, byte[] codes, float[] coefficients) {
    float max = FixedLevels.maxMagnitude(w);
    float unit = max == 0 ? 1 : Math.scalb(1f, -Math.getExponent(max));
    float[] differences = new float[w.length];
    for (int j = 0; j < w.length; j++) {
      differences[j] = (w[j] - value(codes[j], coefficients, bits)) * unit;
    }
    return FixedOrderSum.ofSquares(differences);
  }

  /** The value of a code: sum_i +-a_i, added in rising i. */
  static float value(int code, float[] coefficients, int bits) {
    float value = (code & 1) != 0 ? coefficients[0] : -coefficients[0];
    for (int i = 1; i < bits; i++) {
      value += (code >> i & 1) != 0 ? coefficients[i] : -coefficients[i];
    }
    return value;
  }
}

package org.multibit.core;

/**
 * Methods with 2^k levels that are evenly spaced over a range. They differ only in which element
 * gets which level.
 */
abstract class FixedLevels extends Quantizer {
  private final String name;
  private final float range;

  FixedLevels(String name, float range) {
    if (!(range >= 0 && range <= 0x1p60f)) {
      throw new IllegalArgumentException(
          "The range of %s levels is above 0, or 0 for each row's own, not %s"
              .formatted(name, range));
    }
    this.name = name;
    this.range = range;
  }

  /** The levels span [-range, range]; 0: each row's largest magnitude. */
  public float range() {
    return range;
  }

  /** Files and their readers only know levels over each row's own range. */
  @Override
  public String method() {
    return range == 0 ? name : name + " over +-" + range;
  }

  @Override
  public boolean equals(Object other) {
    return super.equals(other) && range == ((FixedLevels) other).range;
  }

  @Override
  public int hashCode() {
    return Float.hashCode(range) + 31 * super.hashCode();
  }

  final float range(float[] w) {
    return range == 0 ? maxMagnitude(w) : range;
  }

  static float maxMagnitude(float[] w) {
    float max = 0;
    for (float x : w) {
      max = Math.max(max, Math.abs(x));
    }
    return max;
  }

  /** The code of a level: plane 0 is its most significant digit. */
  static byte code(int level, int bits) {
    return (byte) (Integer.reverse(level) >>> (32 - bits));
  }

  /** a_i = max 2^(k-1-i) / (2^k - 1). */
  static void coefficients(float max, int bits, float[] coefficients) {
    float top = (1 << bits) - 1;
    for (int i = 0; i < bits; i++) {
      coefficients[i] = max * ((1 << (bits - 1 - i)) / top);
    }
  }
}

package org.multibit.core;

import java.util.Arrays;

/**
 * Splits the row into 2^k intervals with equal shares of its elements and maps them to the uniform
 * levels (Zhou et al. 2017, a baseline of Xu et al.).
 */
public final class Balanced extends FixedLevels {
  /** Spreads the levels over each row's own range. */
  public Balanced() {
    this(0);
  }

  /**
   * @param range the levels span [-range, range] for all rows; 0: each row's largest magnitude
   */
  public Balanced(float range) {
    super("balanced", range);
  }

  @Override
  protected void quantizeRow(float[] w, int bits, byte[] codes, float[] coefficients) {
    float[] sorted = w.clone();
    Arrays.sort(sorted);
    int levels = 1 << bits;
    float[] thresholds = new float[levels - 1];
    for (int t = 1; t < levels; t++) {
      long index = ((long) t * w.length + levels - 1) / levels;
      thresholds[t - 1] = index < w.length ? sorted[(int) index] : Float.POSITIVE_INFINITY;
    }
    for (int j = 0; j < w.length; j++) {
      codes[j] = code(Codes.notAbove(thresholds, w[j]), bits);
    }
    coefficients(range(w), bits, coefficients);
  }
}

package org.multibit.core;

/**
 * 2^k levels evenly spaced over [-max|w|, +max|w|] (Xu et al., equation 1): q_k(x) = 2
 * (round[(2^k-1)(x+1)/2] / (2^k-1) - 1/2). The planes are the binary digits of the level, so each
 * coefficient is half of the one before.
 */
public final class Uniform extends FixedLevels {
  /** Spreads the levels over each row's own range. */
  public Uniform() {
    this(0);
  }

  /**
   * @param range the levels span [-range, range] for all rows, and elements are clipped to it; 0:
   *     each row's largest magnitude
   */
  public Uniform(float range) {
    super("uniform", range);
  }

  @Override
  protected void quantizeRow(float[] w, int bits, byte[] codes, float[] coefficients) {
    float max = range(w);
    int top = (1 << bits) - 1;
    for (int j = 0; j < w.length; j++) {
      float x = max == 0 ? 0 : w[j] / max;
      float level = (float) Math.floor((x + 1) * 0.5f * top + 0.5f);
      codes[j] = code((int) Math.max(0, Math.min(top, level)), bits);
    }
    coefficients(max, bits, coefficients);
  }
}

package org.multibit.core;

/**
 * 2^k levels evenly spaced over [-max|w|, +max|w|] (Xu et al., equation 1): q_k(x) = 2
 * (round[(2^k-1)(x+1)/2] / (2^k-1) - 1/2). The planes are the level's binary digits, the
 * coefficients halve from plane to plane.
 */
public final class Uniform extends Quantizer {
  @Override
  public String method() {
    return "uniform";
  }

  @Override
  protected void quantizeRow(float[] w, int bits, byte[] codes, float[] coefficients) {
    float max = maxMagnitude(w);
    int top = (1 << bits) - 1;
    for (int j = 0; j < w.length; j++) {
      float x = max == 0 ? 0 : w[j] / max;
      float level = (float) Math.floor((x + 1) * 0.5f * top + 0.5f);
      codes[j] = code((int) Math.max(0, Math.min(top, level)), bits);
    }
    coefficients(max, bits, coefficients);
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

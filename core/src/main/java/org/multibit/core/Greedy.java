package org.multibit.core;

import java.util.Arrays;

/**
 * One plane after the other, each the best for what the ones before left over (Guo et al. 2017; Xu
 * et al., equation 3): a_i = ||r_{i-1}||_1 / n, b_i = sign(r_{i-1}), r_i = r_{i-1} - a_i b_i.
 */
public final class Greedy extends Quantizer {
  @Override
  public String method() {
    return "greedy";
  }

  @Override
  protected void quantizeRow(float[] w, int bits, byte[] codes, float[] coefficients) {
    start(w, bits, codes, coefficients);
  }

  static void start(float[] w, int bits, byte[] codes, float[] coefficients) {
    float[] residual = w.clone();
    Arrays.fill(codes, (byte) 0);
    for (int i = 0; i < bits; i++) {
      float a = FixedOrderSum.ofMagnitudes(residual) / w.length;
      for (int j = 0; j < w.length; j++) {
        if (Codes.isPositive(residual[j])) {
          codes[j] |= (byte) (1 << i);
          residual[j] -= a;
        } else {
          residual[j] += a;
        }
      }
      coefficients[i] = a;
    }
  }
}

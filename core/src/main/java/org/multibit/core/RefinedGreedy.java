package org.multibit.core;

import java.util.Arrays;

/**
 * Greedy that recomputes all coefficients by least squares after each plane and keeps the codes
 * (Guo et al. 2017; Xu et al., equation 5).
 */
public final class RefinedGreedy extends Quantizer {
  @Override
  public String method() {
    return "refined";
  }

  @Override
  public boolean projects(int bits) {
    return bits <= 2;
  }

  @Override
  protected void quantizeRow(float[] w, int bits, byte[] codes, float[] coefficients) {
    float[] residual = w;
    Arrays.fill(codes, (byte) 0);
    for (int i = 0; i < bits; i++) {
      for (int j = 0; j < w.length; j++) {
        if (Codes.isPositive(residual[j])) {
          codes[j] |= (byte) (1 << i);
        }
      }
      LeastSquares.solve(w, codes, i + 1, coefficients);
      residual = Codes.residual(w, i + 1, codes, coefficients);
    }
    Codes.normalize(coefficients, bits, codes);
  }
}

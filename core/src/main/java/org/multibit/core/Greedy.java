package org.multibit.core;

import java.util.Arrays;

/**
 * Chooses one plane after the other, each the best for the residual of the planes before it (Guo et
 * al. 2017; Xu et al., equation 3): a_i = ||r_{i-1}||_1 / n, b_i = sign(r_{i-1}), r_i = r_{i-1} -
 * a_i b_i.
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
    Arrays.fill(codes, (byte) 0);
    float[] residual = w.clone();
    for (int i = 0; i < bits; i++) {
      addPlane(i, residual, codes, coefficients);
    }
  }

  /** Adds plane {@code i}, the best for the residual of planes 0..i-1. */
  static void addPlane(float[] w, int i, byte[] codes, float[] coefficients) {
    addPlane(i, Codes.residual(w, i, codes, coefficients), codes, coefficients);
  }

  private static void addPlane(int i, float[] residual, byte[] codes, float[] coefficients) {
    float a = FixedOrderSum.ofMagnitudes(residual) / residual.length;
    for (int j = 0; j < residual.length; j++) {
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

package org.multibit.core;

/**
 * Float sums in the one order that every implementation keeps (docs/numerics.md): 16 strided
 * partial sums, then a fixed tree.
 */
final class FixedOrderSum {
  private static final int LANES = 16;

  private FixedOrderSum() {}

  /** sum |w|. */
  static float ofMagnitudes(float[] w) {
    float[] s = new float[LANES];
    for (int i = 0; i < w.length; i++) {
      s[i & (LANES - 1)] += Math.abs(w[i]);
    }
    return tree(s);
  }

  /** sum w^2. */
  static float ofSquares(float[] w) {
    float[] s = new float[LANES];
    for (int i = 0; i < w.length; i++) {
      s[i & (LANES - 1)] += w[i] * w[i];
    }
    return tree(s);
  }

  /** sum b_plane * w, with b_plane = +1 where the code has the plane's bit. */
  static float ofSigned(float[] w, byte[] codes, int plane) {
    float[] s = new float[LANES];
    for (int i = 0; i < w.length; i++) {
      s[i & (LANES - 1)] += (codes[i] >> plane & 1) != 0 ? w[i] : -w[i];
    }
    return tree(s);
  }

  private static float tree(float[] s) {
    for (int half = LANES / 2; half > 0; half /= 2) {
      for (int l = 0; l < half; l++) {
        s[l] += s[l + half];
      }
    }
    return s[0];
  }
}

package org.multibit.core;

/**
 * The best coefficients for given planes: argmin_a ||w - sum_i a_i b_i||^2 by the normal equations
 * (Xu et al., equation 5).
 *
 * <p>A plane that depends on earlier ones gets coefficient 0, so singular systems also have a
 * finite solution.
 */
final class LeastSquares {
  private static final double DEPENDENT = 1e-9;

  private LeastSquares() {}

  /**
   * @param planes the number m of planes that take part
   * @param coefficients receives a_0..a_{m-1}
   */
  static void solve(float[] w, byte[] codes, int planes, float[] coefficients) {
    int n = w.length;
    double[][] gram = gram(codes, planes);
    double[][] l = new double[planes][planes];
    boolean[] dropped = new boolean[planes];
    for (int j = 0; j < planes; j++) {
      double d = gram[j][j];
      for (int p = 0; p < j; p++) {
        d -= l[j][p] * l[j][p];
      }
      dropped[j] = d <= n * DEPENDENT;
      l[j][j] = dropped[j] ? 1 : Math.sqrt(d);
      for (int i = j + 1; i < planes && !dropped[j]; i++) {
        double s = gram[i][j];
        for (int p = 0; p < j; p++) {
          s -= l[i][p] * l[j][p];
        }
        l[i][j] = s / l[j][j];
      }
    }

    double[] x = new double[planes];
    for (int j = 0; j < planes; j++) {
      double s = FixedOrderSum.ofSigned(w, codes, j);
      for (int p = 0; p < j; p++) {
        s -= l[j][p] * x[p];
      }
      x[j] = dropped[j] ? 0 : s / l[j][j];
    }
    for (int j = planes - 1; j >= 0; j--) {
      double s = x[j];
      for (int p = j + 1; p < planes; p++) {
        s -= l[p][j] * x[p];
      }
      x[j] = dropped[j] ? 0 : s / l[j][j];
      coefficients[j] = (float) x[j];
    }
  }

  /** G_ij = b_i . b_j, exact. */
  private static double[][] gram(byte[] codes, int planes) {
    double[][] gram = new double[planes][planes];
    for (int i = 0; i < planes; i++) {
      for (int j = 0; j <= i; j++) {
        int differ = 0;
        for (byte code : codes) {
          differ += (code >> i ^ code >> j) & 1;
        }
        gram[i][j] = codes.length - 2 * differ;
        gram[j][i] = gram[i][j];
      }
    }
    return gram;
  }
}

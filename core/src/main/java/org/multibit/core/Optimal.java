package org.multibit.core;

import java.util.Arrays;

/**
 * The exact least-squares optimum for one and two bits (LSBQ, Pouransari et al. 2020), in O(n log
 * n).
 *
 * <p>With two bits the values are +-a_1+-a_2, which are symmetric. So the problem is to find the
 * best split of |w| into two groups, each replaced by its mean: a_1 + a_2 and a_1 - a_2. In sorted
 * order the groups are a prefix and the rest; all n splits are tried.
 */
public final class Optimal extends Quantizer {
  @Override
  public String method() {
    return "optimal";
  }

  @Override
  public int maxBits() {
    return 2;
  }

  @Override
  public boolean projects(int bits) {
    return true;
  }

  @Override
  protected void quantizeRow(float[] w, int bits, byte[] codes, float[] coefficients) {
    if (bits == 1) {
      Greedy.start(w, 1, codes, coefficients);
      return;
    }
    int n = w.length;
    float[] u = new float[n];
    for (int j = 0; j < n; j++) {
      u[j] = Math.abs(w[j]);
    }
    Arrays.sort(u);
    double sum = 0;
    for (float x : u) {
      sum += x;
    }
    double best = sum * sum / n;
    double low = sum / n;
    double high = low;
    double prefix = 0;
    for (int s = 1; s < n; s++) {
      prefix += u[s - 1];
      double rest = sum - prefix;
      double gain = prefix * prefix / s + rest * rest / (n - s);
      if (gain > best) {
        best = gain;
        low = prefix / s;
        high = rest / (n - s);
      }
    }
    coefficients[0] = (float) ((high + low) * 0.5);
    coefficients[1] = (float) ((high - low) * 0.5);
    Codes.nearest(w, coefficients, 2, codes);
  }
}

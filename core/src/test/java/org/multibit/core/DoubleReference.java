package org.multibit.core;

import java.util.Arrays;
import java.util.Comparator;
import java.util.stream.Stream;

/**
 * The quantizers from the paper's definitions, in double and without regard for speed: independent
 * of the main code. Each returns the squared error of its approximation.
 */
final class DoubleReference {
  private DoubleReference() {}

  /** The least error over all codes, each with its least-squares coefficients. */
  static double exhaustive(float[] w, int bits) {
    int n = w.length;
    double best = Double.POSITIVE_INFINITY;
    // The first element's codes are +1 without loss of generality: a plane's sign is free.
    for (long all = 0; all < 1L << (n - 1) * bits; all++) {
      int[][] planes = new int[bits][n];
      for (int i = 0; i < bits; i++) {
        planes[i][0] = 1;
        for (int j = 1; j < n; j++) {
          planes[i][j] = (all >> (i * (n - 1) + j - 1) & 1) != 0 ? 1 : -1;
        }
      }
      best = Math.min(best, error(w, planes, leastSquares(w, planes)));
    }
    return best;
  }

  static double greedy(float[] w, int bits) {
    return greedyCodes(w, bits).error(w);
  }

  static double refined(float[] w, int bits) {
    Approximation codes = Approximation.NONE;
    for (int i = 0; i < bits; i++) {
      int[][] planes = codes.withGreedyPlane(w).planes;
      codes = new Approximation(planes, leastSquares(w, planes));
    }
    return codes.error(w);
  }

  /** From greedy codes, as the paper has it. */
  static double alternating(float[] w, int bits, int cycles) {
    return alternatingCodes(w, bits, cycles).error(w);
  }

  /** With more than 3 bits, from the best of three. */
  static double alternatingFromBestStart(float[] w, int bits, int cycles) {
    Approximation codes = alternatingCodes(w, 3, cycles);
    for (int k = 4; k <= bits; k++) {
      codes =
          Stream.of(codes.withGreedyPlane(w), greedyCodes(w, k), uniformCodes(w, k))
              .min(Comparator.comparingDouble(start -> start.error(w)))
              .orElseThrow();
      for (int t = 0; t < cycles; t++) {
        Approximation next = codes.cycle(w);
        codes = next.error(w) < codes.error(w) ? next : codes;
      }
    }
    return codes.error(w);
  }

  private static Approximation greedyCodes(float[] w, int bits) {
    Approximation codes = Approximation.NONE;
    for (int i = 0; i < bits; i++) {
      codes = codes.withGreedyPlane(w);
    }
    return codes;
  }

  private static Approximation alternatingCodes(float[] w, int bits, int cycles) {
    Approximation codes = greedyCodes(w, bits);
    for (int t = 0; t < cycles; t++) {
      codes = codes.cycle(w);
    }
    return codes;
  }

  private static Approximation uniformCodes(float[] w, int bits) {
    double max = Arrays.stream(doubles(w)).map(Math::abs).max().orElseThrow();
    int top = (1 << bits) - 1;
    int[][] planes = new int[bits][w.length];
    double[] a = new double[bits];
    for (int i = 0; i < bits; i++) {
      a[i] = max * (1 << bits - 1 - i) / top;
      for (int j = 0; j < w.length; j++) {
        long level = max == 0 ? 0 : (long) Math.floor(top * (w[j] / max + 1) / 2 + 0.5);
        planes[i][j] = (level >> bits - 1 - i & 1) != 0 ? 1 : -1;
      }
    }
    return new Approximation(planes, a);
  }

  private record Approximation(int[][] planes, double[] a) {
    static final Approximation NONE = new Approximation(new int[0][], new double[0]);

    double error(float[] w) {
      return DoubleReference.error(w, planes, a);
    }

    Approximation withGreedyPlane(float[] w) {
      double[] residual = residual(w, planes, a);
      int[][] more = Arrays.copyOf(planes, a.length + 1);
      double[] moreA = Arrays.copyOf(a, a.length + 1);
      more[a.length] = Arrays.stream(residual).mapToInt(DoubleReference::sign).toArray();
      moreA[a.length] = Arrays.stream(residual).map(Math::abs).average().orElseThrow();
      return new Approximation(more, moreA);
    }

    Approximation cycle(float[] w) {
      double[] best = leastSquares(w, planes);
      int[][] nearest = new int[best.length][w.length];
      for (int j = 0; j < w.length; j++) {
        int code = nearest(w[j], best);
        for (int i = 0; i < best.length; i++) {
          nearest[i][j] = (code >> i & 1) != 0 ? 1 : -1;
        }
      }
      return new Approximation(nearest, best);
    }
  }

  /** By trying all 2^k. */
  static int nearest(double x, double[] a) {
    int best = 0;
    for (int code = 1; code < 1 << a.length; code++) {
      if (Math.abs(x - value(code, a)) < Math.abs(x - value(best, a))) {
        best = code;
      }
    }
    return best;
  }

  static double value(int code, double[] a) {
    double value = 0;
    for (int i = 0; i < a.length; i++) {
      value += (code >> i & 1) != 0 ? a[i] : -a[i];
    }
    return value;
  }

  /** Gauss-Jordan elimination with pivots from the diagonal; 0 where the planes are dependent. */
  static double[] leastSquares(float[] w, int[][] planes) {
    int m = planes.length;
    double[][] g = new double[m][m + 1];
    for (int i = 0; i < m; i++) {
      for (int j = 0; j < w.length; j++) {
        for (int p = 0; p < m; p++) {
          g[i][p] += planes[i][j] * planes[p][j];
        }
        g[i][m] += planes[i][j] * (double) w[j];
      }
    }
    boolean[] done = new boolean[m];
    for (int step = 0; step < m; step++) {
      int pivot = -1;
      for (int i = 0; i < m; i++) {
        if (!done[i] && (pivot < 0 || Math.abs(g[i][i]) > Math.abs(g[pivot][pivot]))) {
          pivot = i;
        }
      }
      if (Math.abs(g[pivot][pivot]) < 1e-6) {
        break;
      }
      done[pivot] = true;
      for (int i = 0; i < m; i++) {
        double factor = g[i][pivot] / g[pivot][pivot];
        for (int c = 0; c <= m && i != pivot; c++) {
          g[i][c] -= factor * g[pivot][c];
        }
      }
    }
    double[] a = new double[m];
    for (int i = 0; i < m; i++) {
      a[i] = done[i] ? g[i][m] / g[i][i] : 0;
    }
    return a;
  }

  private static double error(float[] w, int[][] planes, double[] a) {
    return Arrays.stream(residual(w, planes, a)).map(r -> r * r).sum();
  }

  private static double[] residual(float[] w, int[][] planes, double[] a) {
    double[] residual = doubles(w);
    for (int i = 0; i < a.length; i++) {
      for (int j = 0; j < w.length; j++) {
        residual[j] -= a[i] * planes[i][j];
      }
    }
    return residual;
  }

  private static double[] doubles(float[] w) {
    double[] x = new double[w.length];
    Arrays.setAll(x, j -> w[j]);
    return x;
  }

  private static int sign(double x) {
    return x >= 0 ? 1 : -1;
  }
}

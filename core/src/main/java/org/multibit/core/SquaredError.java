package org.multibit.core;

import java.nio.FloatBuffer;

/**
 * The squared error of values q that approximate w.
 *
 * @param error ||w - q||^2
 * @param norm ||w||^2
 */
public record SquaredError(double error, double norm) {
  /** The error of no values. */
  public static final SquaredError NONE = new SquaredError(0, 0);

  /**
   * Sums in double, in which no square of a float overflows.
   *
   * @param w its remaining elements
   * @param q the same number of values
   */
  public static SquaredError of(FloatBuffer w, FloatBuffer q) {
    double error = 0;
    double norm = 0;
    for (int i = 0; i < w.remaining(); i++) {
      double x = w.get(w.position() + i);
      double d = x - q.get(q.position() + i);
      error += d * d;
      norm += x * x;
    }
    return new SquaredError(error, norm);
  }

  /** The error of these values and those of {@code other} together. */
  public SquaredError plus(SquaredError other) {
    return new SquaredError(error + other.error, norm + other.norm);
  }

  /** {@code error / norm}; 0 for w = 0 quantized to 0. */
  public double relative() {
    return error == 0 ? 0 : error / norm;
  }
}

package org.multibit.core;

import java.io.Serializable;
import java.nio.FloatBuffer;

/**
 * A method that approximates each row w of a matrix by {@code sum_i a_i b_i} with few planes b_i in
 * {-1,+1}^n (Xu et al., section 2). Subclasses hold the algorithm for one row in plain Java; native
 * kernels run the known ones faster, to the same bits. Immutable.
 */
public abstract class Quantizer implements Serializable {

  /** The most planes that a matrix can have. */
  public static final int MAX_BITS = 8;

  /** The method's name on the command line and in files, for example {@code "alternating"}. */
  public abstract String method();

  /** The most bits that this method allows; the least is 1. */
  public int maxBits() {
    return MAX_BITS;
  }

  /**
   * Whether quantizing is a projection: what a row was quantized to, quantized again, is itself. Of
   * more than 2 bits no method is one: codes that greedy does not find again are lost, which at 3
   * bits doubles the error of rows with the tails of a Laplacian.
   */
  public boolean projects(int bits) {
    return false;
  }

  /**
   * Quantizes one row of finite floats whose largest magnitude is 0 or within [2^-60, 2^60].
   *
   * @param w the row
   * @param bits number of planes k
   * @param codes receives, for each element, bit i set where plane i is +1
   * @param coefficients receives a_0..a_{k-1}
   */
  protected abstract void quantizeRow(float[] w, int bits, byte[] codes, float[] coefficients);

  /**
   * Quantizes each row of a matrix by itself.
   *
   * @param rows [rows, cols] row-major, direct, in native byte order; left as it is
   * @return [rows, cols] in the weights' layout
   * @throws IllegalArgumentException if bits are outside 1..{@link #maxBits()}, the floats are not
   *     one or more rows of {@code cols}, or an element is NaN or infinite (with its row and
   *     column)
   */
  public final MultibitMatrix quantize(FloatBuffer rows, int cols, int bits) {
    checkBits(bits);
    if (cols < 1 || rows.remaining() % cols != 0) {
      throw new IllegalArgumentException(
          "%s floats are not rows of %s columns".formatted(rows.remaining(), cols));
    }
    MultibitMatrix matrix = MultibitMatrix.weights(rows.remaining() / cols, cols, bits);
    Kernels.get().quantize(this, rows, matrix);
    return matrix;
  }

  /** Throws IllegalArgumentException if this method does not do {@code bits} bits. */
  public final void checkBits(int bits) {
    if (bits < 1 || bits > maxBits()) {
      throw new IllegalArgumentException(
          "The %s quantizer takes 1 to %s bits, not %s".formatted(method(), maxBits(), bits));
    }
  }

  @Override
  public boolean equals(Object other) {
    return other != null && other.getClass() == getClass();
  }

  @Override
  public int hashCode() {
    return getClass().hashCode();
  }

  @Override
  public String toString() {
    return method();
  }
}

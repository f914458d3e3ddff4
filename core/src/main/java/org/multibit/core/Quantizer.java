package org.multibit.core;

import java.io.Serializable;
import java.nio.FloatBuffer;

/**
 * A method that approximates each row w of a matrix by {@code sum_i a_i b_i} with a few planes b_i
 * in {-1,+1}^n (Xu et al., section 2). Subclasses have the algorithm for one row in plain Java.
 * Native kernels run the known methods faster, with the same results to the bit. Immutable.
 */
public abstract class Quantizer implements Serializable {

  /** The largest number of planes that a matrix can have. */
  public static final int MAX_BITS = 8;

  /** The method's name on the command line and in files, for example {@code "alternating"}. */
  public abstract String method();

  /** The largest number of bits that this method allows; the smallest is 1. */
  public int maxBits() {
    return MAX_BITS;
  }

  /**
   * Whether quantizing is a projection: a quantized row that is quantized again stays the same.
   * With more than 2 bits no method is a projection, because greedy does not find all codes again.
   * At 3 bits this doubles the error of rows with the tails of a Laplacian.
   */
  public boolean projects(int bits) {
    return false;
  }

  /**
   * Quantizes one row of finite floats whose largest magnitude is 0 or within [2^-60, 2^60].
   *
   * @param w the row
   * @param bits number of planes k
   * @param codes receives the code of each element: bit i is set where plane i is +1
   * @param coefficients receives a_0..a_{k-1}
   */
  protected abstract void quantizeRow(float[] w, int bits, byte[] codes, float[] coefficients);

  /**
   * Quantizes each row of a matrix by itself.
   *
   * @param rows [rows, cols] row-major, direct, in native byte order; not changed
   * @return [rows, cols] in the weights' layout
   * @throws IllegalArgumentException if bits are outside 1..{@link #maxBits()}, if the floats are
   *     not one or more rows of {@code cols}, or if an element is NaN or infinite (the message has
   *     its row and column)
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

  /** Throws IllegalArgumentException if this method does not allow {@code bits} bits. */
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

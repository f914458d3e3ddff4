package org.multibit.core.format;

import static org.multibit.core.format.Checks.check;
import static org.multibit.core.format.Checks.checkFinite;

import java.io.IOException;
import java.nio.FloatBuffer;
import java.nio.LongBuffer;
import org.multibit.core.MultibitMatrix;
import org.multibit.core.Quantizer;

/**
 * A weight matrix, multi-bit or full precision.
 *
 * @param packed the planes; null if full precision
 * @param floats rows x cols floats, row-major; null if multi-bit
 * @param activationBits bits of the activations that it is multiplied with; 0 = full precision
 */
public record Matrix(
    int rows, int cols, MultibitMatrix packed, FloatBuffer floats, int activationBits) {
  /**
   * @throws IllegalArgumentException if both or neither are given, or if the size or layout of the
   *     memory is wrong
   */
  public Matrix {
    check((packed == null) != (floats == null), "a matrix is either multi-bit or full precision");
    check(
        packed == null || packed.lanes() == MultibitMatrix.WEIGHT_LANES,
        "a matrix must lie in the weights' layout");
    check(
        floats == null || floats.remaining() == (long) rows * cols,
        "the floats of a matrix are not %s x %s".formatted(rows, cols));
    check(
        activationBits >= 0 && activationBits <= Quantizer.MAX_BITS,
        "activations cannot have " + activationBits + " bits");
  }

  public static Matrix of(MultibitMatrix packed, int activationBits) {
    return new Matrix(packed.rows(), packed.cols(), packed, null, activationBits);
  }

  public static Matrix of(FloatBuffer floats, int rows, int cols, int activationBits) {
    return new Matrix(rows, cols, null, floats, activationBits);
  }

  /** The same weights for another product. A softmax that is tied to the embedding uses this. */
  public Matrix withActivations(int bits) {
    return new Matrix(rows, cols, packed, floats, bits);
  }

  /** Whether both are the same weights in the same memory. */
  boolean isTiedTo(Matrix other) {
    return packed == other.packed && floats == other.floats;
  }

  /** 0 = full precision. */
  public int weightBits() {
    return packed == null ? 0 : packed.bits();
  }

  /** Bytes of the planes and coefficients, or of the floats. */
  public long bytes() {
    return packed == null ? (long) rows * cols * Float.BYTES : packed.bytes();
  }

  void checkShape(String name, long rows, long cols) {
    check(
        this.rows == rows && this.cols == cols,
        "%s is %s x %s, expected %s x %s".formatted(name, this.rows, this.cols, rows, cols));
  }

  /** Checks the shape, that all values are finite, and that padding is zero. */
  void checkValues(String name, long rows, long cols) {
    checkShape(name, rows, cols);
    if (packed == null) {
      checkFinite(name + ".weight", floats);
    } else {
      checkFinite(name + ".coefficients", packed.coefficients());
      check(isPaddingZero(packed), "the padding of " + name + " is not zero");
    }
  }

  /** Kernels rely on zero padding. */
  private static boolean isPaddingZero(MultibitMatrix m) {
    LongBuffer planes = m.planes();
    FloatBuffer coefficients = m.coefficients();
    int last = m.words() - 1;
    long pastColumns = m.cols() % Long.SIZE == 0 ? 0 : -1L << m.cols() % Long.SIZE;
    int paddedRows = (m.rows() + m.lanes() - 1) / m.lanes() * m.lanes();
    long set = 0;
    for (int r = 0; r < paddedRows; r++) {
      for (int i = 0; i < m.bits(); i++) {
        if (r < m.rows()) {
          set |= planes.get(m.planeIndex(r, i, last)) & pastColumns;
          continue;
        }
        for (int w = 0; w <= last; w++) {
          set |= planes.get(m.planeIndex(r, i, w));
        }
        set |= coefficients.get(m.coefficientIndex(r, i)) == 0 ? 0 : 1;
      }
    }
    return set == 0;
  }

  /** Puts the keys for the bits of the weights and of the product's activations. */
  void putBits(GgufWriter out, String name) {
    out.put(weightBits(name), weightBits());
    if (!isLookedUp(name)) {
      out.put(activationBits(name), activationBits);
    }
  }

  void putTensors(GgufWriter out, String name) {
    if (packed == null) {
      out.put(name + ".weight", floats, cols, rows);
    } else {
      int blocks = (rows + MultibitMatrix.WEIGHT_LANES - 1) / MultibitMatrix.WEIGHT_LANES;
      int lanes = MultibitMatrix.WEIGHT_LANES;
      out.put(name + ".planes", packed.planes(), lanes, packed.bits(), packed.words(), blocks);
      out.put(name + ".coefficients", packed.coefficients(), lanes, packed.bits(), blocks);
    }
  }

  static Matrix read(GgufReader in, String name, int rows, int cols) throws IOException {
    int bits = in.u32(weightBits(name), 0, Quantizer.MAX_BITS);
    int activationBits = isLookedUp(name) ? 0 : readActivationBits(in, name);
    if (bits == 0) {
      return of(in.floats(name + ".weight", cols, rows), rows, cols, activationBits);
    }
    int lanes = MultibitMatrix.WEIGHT_LANES;
    int blocks = (rows + lanes - 1) / lanes;
    return of(
        new MultibitMatrix(
            rows,
            cols,
            bits,
            lanes,
            in.longs(name + ".planes", lanes, bits, (cols + 63) / 64, blocks),
            in.floats(name + ".coefficients", lanes, bits, blocks)),
        activationBits);
  }

  static int readActivationBits(GgufReader in, String name) throws IOException {
    return in.u32(activationBits(name), 0, Quantizer.MAX_BITS);
  }

  private static String weightBits(String name) {
    return "multibit." + name + ".weight_bits";
  }

  static String activationBits(String name) {
    return "multibit." + name + ".activation_bits";
  }

  /** Rows of an embedding are looked up, not multiplied. */
  private static boolean isLookedUp(String name) {
    return name.equals("embedding");
  }
}

package org.multibit.core;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.FloatBuffer;
import java.nio.LongBuffer;

/**
 * A matrix whose rows are sums of a few signed planes: {@code M[r, c] = sum_i coefficient(r, i) *
 * (bit(r, i, c) ? +1 : -1)}.
 *
 * <p>Planes are bits in 64-bit words: column 64w+j is bit j of word w, and 1 means +1. Coefficients
 * are floats. Memory is direct and in native order. It interleaves {@code lanes} rows for the
 * kernels (8 for weights, 1 for activations). With {@code words = ceil(cols / 64)}, word w of plane
 * i of row r is element {@code ((r / lanes * words + w) * bits + i) * lanes + r % lanes}, and the
 * coefficient of plane i of row r is element {@code (r / lanes * bits + i) * lanes + r % lanes}.
 * Rows are padded to a multiple of {@code lanes}; padding is zero.
 */
public final class MultibitMatrix {

  /** Interleaved rows of a weight matrix, as in the file (docs/format.md). */
  public static final int WEIGHT_LANES = 8;

  /** Interleaved rows of a batch of activation vectors: each vector is stored by itself. */
  public static final int ACTIVATION_LANES = 1;

  /** In bytes. Kernels take twice as long to read a vector that straddles two lines. */
  private static final int CACHE_LINE = 64;

  private final int rows;
  private final int cols;
  private final int bits;
  private final int lanes;
  private final LongBuffer planes;
  private final FloatBuffer coefficients;

  /**
   * Wraps existing memory without copying it.
   *
   * @param planes direct, native order, {@link #planeWords} elements
   * @param coefficients direct, native order, {@link #coefficientCount} elements
   */
  public MultibitMatrix(
      int rows, int cols, int bits, int lanes, LongBuffer planes, FloatBuffer coefficients) {
    if (rows < 1 || cols < 1 || bits < 1 || bits > Quantizer.MAX_BITS) {
      throw new IllegalArgumentException(
          "No multi-bit matrix has %s rows, %s columns and %s bits".formatted(rows, cols, bits));
    }
    if (lanes != WEIGHT_LANES && lanes != ACTIVATION_LANES) {
      throw new IllegalArgumentException("Rows are interleaved by 8 or 1, not by " + lanes);
    }
    this.rows = rows;
    this.cols = cols;
    this.bits = bits;
    this.lanes = lanes;
    if (planes.remaining() != planeWords(rows, cols, bits, lanes)
        || coefficients.remaining() != coefficientCount(rows, bits, lanes)) {
      throw new IllegalArgumentException(
          "%s plane words and %s coefficients do not make a %sx%s matrix of %s bits"
              .formatted(planes.remaining(), coefficients.remaining(), rows, cols, bits));
    }
    if (!planes.isDirect()
        || !coefficients.isDirect()
        || planes.order() != ByteOrder.nativeOrder()
        || coefficients.order() != ByteOrder.nativeOrder()) {
      throw new IllegalArgumentException(
          "Planes and coefficients must be in direct memory, in native byte order");
    }
    this.planes = planes.slice();
    this.coefficients = coefficients.slice();
  }

  /** A zeroed matrix in the weights' layout. */
  public static MultibitMatrix weights(int rows, int cols, int bits) {
    return allocate(rows, cols, bits, WEIGHT_LANES);
  }

  /** A zeroed batch of activation vectors, one per row. */
  public static MultibitMatrix activations(int batch, int cols, int bits) {
    return allocate(batch, cols, bits, ACTIVATION_LANES);
  }

  private static MultibitMatrix allocate(int rows, int cols, int bits, int lanes) {
    ByteBuffer p = direct(planeWords(rows, cols, bits, lanes), Long.BYTES);
    ByteBuffer c = direct(coefficientCount(rows, bits, lanes), Float.BYTES);
    return new MultibitMatrix(rows, cols, bits, lanes, p.asLongBuffer(), c.asFloatBuffer());
  }

  private static ByteBuffer direct(long elements, int size) {
    long bytes = elements * size;
    // Slices of aligned memory start and end at its lines.
    long room = bytes + 2 * CACHE_LINE;
    if (room > Integer.MAX_VALUE) {
      throw new IllegalArgumentException("The matrix would take " + bytes + " bytes: over 2 GiB");
    }
    return ByteBuffer.allocateDirect((int) room)
        .alignedSlice(CACHE_LINE)
        .limit((int) bytes)
        .slice()
        .order(ByteOrder.nativeOrder());
  }

  /** 64-bit words of all planes, padding included. */
  public static long planeWords(long rows, long cols, int bits, int lanes) {
    return (rows + lanes - 1) / lanes * lanes * ((cols + 63) / 64) * bits;
  }

  /** Coefficients of all rows, padding included. */
  public static long coefficientCount(long rows, int bits, int lanes) {
    return (rows + lanes - 1) / lanes * lanes * bits;
  }

  /**
   * Returns some of the rows, in the same memory.
   *
   * @param from a multiple of {@link #lanes}
   * @param to the row after the last one
   */
  public MultibitMatrix rows(int from, int to) {
    if (from < 0 || from % lanes != 0 || to <= from || to > rows) {
      throw new IllegalArgumentException(
          "Rows %s to %s are no part of %s rows, %s side by side".formatted(from, to, rows, lanes));
    }
    LongBuffer p = planes.duplicate();
    p.position(planeIndex(from, 0, 0));
    p.limit(p.position() + (int) planeWords(to - from, cols, bits, lanes));
    FloatBuffer c = coefficients.duplicate();
    c.position(coefficientIndex(from, 0));
    c.limit(c.position() + (int) coefficientCount(to - from, bits, lanes));
    return new MultibitMatrix(to - from, cols, bits, lanes, p.slice(), c.slice());
  }

  public int rows() {
    return rows;
  }

  public int cols() {
    return cols;
  }

  /** Planes k. */
  public int bits() {
    return bits;
  }

  /** Rows that are interleaved in memory: {@link #WEIGHT_LANES} or {@link #ACTIVATION_LANES}. */
  public int lanes() {
    return lanes;
  }

  /** Words per plane of a row: ceil(cols / 64). */
  public int words() {
    return (cols + 63) / 64;
  }

  /** The planes, interleaved. Not a copy: the memory is shared. */
  public LongBuffer planes() {
    return planes.duplicate();
  }

  /** The coefficients, interleaved. Not a copy: the memory is shared. */
  public FloatBuffer coefficients() {
    return coefficients.duplicate();
  }

  /** Index into {@link #planes()}. */
  public int planeIndex(int row, int plane, int word) {
    return ((row / lanes * words() + word) * bits + plane) * lanes + row % lanes;
  }

  /** Index into {@link #coefficients()}. */
  public int coefficientIndex(int row, int plane) {
    return (row / lanes * bits + plane) * lanes + row % lanes;
  }

  public float coefficient(int row, int plane) {
    return coefficients.get(coefficientIndex(row, plane));
  }

  /** True where the plane is +1. */
  public boolean bit(int row, int plane, int col) {
    return (planes.get(planeIndex(row, plane, col >> 6)) >>> (col & 63) & 1) != 0;
  }

  /**
   * The values, [rows, cols] row-major, in new direct memory.
   *
   * @throws ArithmeticException if they take 2 GiB or more
   */
  public FloatBuffer dequantize() {
    FloatBuffer values = DirectFloats.allocate(Math.multiplyExact(rows, cols));
    Kernels.get().dequantize(this, values);
    return values;
  }

  /**
   * The squared error of the values as an approximation of {@code w}, over all rows.
   *
   * @param w [rows, cols] row-major
   * @throws IllegalArgumentException if {@code w} has another number of elements
   */
  public SquaredError squaredError(FloatBuffer w) {
    if (w.remaining() != (long) rows * cols) {
      throw new IllegalArgumentException(
          "A %sx%s matrix cannot be compared with %s floats".formatted(rows, cols, w.remaining()));
    }
    return SquaredError.of(w, dequantize());
  }

  /** Bytes of planes and coefficients. */
  public long bytes() {
    return (long) planes.capacity() * Long.BYTES + (long) coefficients.capacity() * Float.BYTES;
  }
}

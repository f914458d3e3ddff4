package org.multibit.layers;

import java.lang.ref.Reference;
import java.lang.ref.WeakReference;
import java.nio.FloatBuffer;
import java.nio.LongBuffer;
import java.util.stream.IntStream;
import org.multibit.core.MultibitMatrix;
import org.nd4j.linalg.api.buffer.DataType;
import org.nd4j.linalg.api.ndarray.INDArray;

/**
 * Passes the codes of a quantized embedding's rows to the next layer. Its product with quantized
 * weights is then a product of bits, with the same sums as in the packed runtime. DL4J only passes
 * arrays from layer to layer. So the codes that an embedding looked up last wait here, one set per
 * thread. A layer takes them only if its input has the values of these codes.
 *
 * <p>The embedding and the next layer each have one of these. Its memory is reused from call to
 * call.
 */
final class EmbeddedCodes {
  private static final ThreadLocal<WeakReference<MultibitMatrix>> LAST =
      ThreadLocal.withInitial(() -> new WeakReference<>(null));

  private final Scratch values = new Scratch();
  private MultibitMatrix codes;

  /**
   * Leaves codes to be taken.
   *
   * @param words codes of words
   * @param index of the word in each row of the embedding's output, time-major
   */
  void leave(MultibitMatrix words, int[] index) {
    copy(words, index);
    LAST.set(new WeakReference<>(codes));
  }

  /** Marks the embedding's current output as one without codes. */
  static void leaveNone() {
    LAST.remove();
  }

  /**
   * The codes of some rows of an embedding's output, in memory of this object; null if the rows are
   * not from an embedding with codes.
   *
   * @param rows [n, nIn], contiguous in 'c' order
   * @param first index of the first row in the whole output
   */
  MultibitMatrix take(INDArray rows, long first) {
    MultibitMatrix last = LAST.get().get();
    long end = first + rows.size(0);
    if (last == null
        || rows.dataType() != DataType.FLOAT
        || rows.size(1) != last.cols()
        || end > last.rows()) {
      return null;
    }
    copy(last, IntStream.range((int) first, (int) end).toArray());
    INDArray expected = values.get(DataType.FLOAT, rows.shape());
    RowQuantizer.unpack(codes, expected);
    boolean same = FloatRows.of(expected).mismatch(FloatRows.of(rows)) < 0;
    Reference.reachabilityFence(rows);
    return same ? codes : null;
  }

  private void copy(MultibitMatrix from, int[] index) {
    if (codes == null
        || codes.rows() != index.length
        || codes.cols() != from.cols()
        || codes.bits() != from.bits()) {
      codes = MultibitMatrix.activations(index.length, from.cols(), from.bits());
    }
    int words = from.words() * from.bits();
    LongBuffer planes = codes.planes();
    FloatBuffer coefficients = codes.coefficients();
    for (int row : index) {
      planes.put(from.planes().slice(row * words, words));
      coefficients.put(from.coefficients().slice(row * from.bits(), from.bits()));
    }
  }
}

package org.multibit.layers;

import java.lang.ref.Reference;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.FloatBuffer;
import java.nio.LongBuffer;
import org.deeplearning4j.exception.DL4JInvalidConfigException;
import org.deeplearning4j.nn.conf.dropout.Dropout;
import org.deeplearning4j.nn.conf.dropout.IDropout;
import org.multibit.core.Kernels;
import org.multibit.core.SplitMix64;
import org.nd4j.linalg.api.buffer.DataType;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.nd4j.linalg.factory.Nd4j;

/**
 * Inverted dropout after quantization: elements become 0 or are divided by the probability to
 * retain them.
 *
 * <p>Whether an element is retained is a pure function of (seed, iteration, layer, position), so a
 * resumed run drops the same elements as an uninterrupted one.
 */
final class DropoutMask {
  private LongBuffer memory = LongBuffer.allocate(0);
  private LongBuffer bits;
  private float factor;
  private int rows;
  private int cols;

  /**
   * The probability to retain an element.
   *
   * @param dropout the layer's dropout; null = 1
   * @throws DL4JInvalidConfigException for anything but DL4J's plain dropout of a fixed probability
   */
  static double retain(IDropout dropout) {
    if (dropout == null) {
      return 1;
    }
    if (!(dropout instanceof Dropout plain)
        || plain.getPSchedule() != null
        || !(plain.getP() > 0 && plain.getP() <= 1)) {
      throw new DL4JInvalidConfigException(
          "Quantizing layers take dropOut(p) with a fixed probability to retain, above 0 and up to 1, not "
              + dropout);
    }
    return plain.getP();
  }

  /**
   * Makes the mask of an iteration, in the memory of the previous mask.
   *
   * @param dropout null = nothing is dropped, as in inference
   * @param rows T*B, time-major; an element's position is its index in [rows, cols]
   */
  void draw(IDropout dropout, long rows, long cols, long seed, int iteration, int layer) {
    double retain = retain(dropout);
    if (retain == 1) {
      bits = null;
      factor = 1;
      return;
    }
    this.rows = Math.toIntExact(rows);
    this.cols = Math.toIntExact(cols);
    int words = Kernels.maskWords(this.rows, this.cols);
    if (memory.capacity() < words) {
      ByteBuffer bytes = ByteBuffer.allocateDirect(Math.multiplyExact(words, Long.BYTES));
      memory = bytes.order(ByteOrder.nativeOrder()).asLongBuffer();
    }
    bits = memory.slice(0, words);
    factor = (float) (1 / retain);
    long key = SplitMix64.mix(SplitMix64.mix(SplitMix64.mix(seed) + iteration) + layer);
    Kernels.get().dropoutMasks(key, retain, this.rows, this.cols, bits);
  }

  /** The mask of rows from..to-1, as {@link Kernels} takes it; null if nothing is dropped. */
  LongBuffer bits(long from, long to) {
    if (bits == null) {
      return null;
    }
    int words = Kernels.maskWords(1, cols);
    return bits.slice((int) from * words, (int) (to - from) * words);
  }

  /** The factor of retained elements. */
  float factor() {
    return factor;
  }

  /**
   * Drops out.
   *
   * @param x [T*B, n], contiguous in 'c' order, changed
   */
  void apply(INDArray x) {
    if (bits == null) {
      return;
    }
    if (x.dataType() == DataType.FLOAT) {
      Kernels.get().drop(bits, factor, rows, cols, FloatRows.of(x));
      Reference.reachabilityFence(x);
      return;
    }
    FloatBuffer ones =
        ByteBuffer.allocateDirect(Math.multiplyExact(rows * cols, Float.BYTES))
            .order(ByteOrder.nativeOrder())
            .asFloatBuffer();
    for (int i = 0; i < ones.capacity(); i++) {
      ones.put(i, 1);
    }
    Kernels.get().drop(bits, factor, rows, cols, ones);
    float[] values = new float[ones.capacity()];
    ones.get(values);
    x.muli(Nd4j.createFromArray(values).reshape(rows, cols).castTo(x.dataType()));
  }
}

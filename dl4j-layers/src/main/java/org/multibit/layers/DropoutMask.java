package org.multibit.layers;

import java.nio.FloatBuffer;
import java.util.stream.IntStream;
import org.deeplearning4j.exception.DL4JInvalidConfigException;
import org.deeplearning4j.nn.conf.dropout.Dropout;
import org.deeplearning4j.nn.conf.dropout.IDropout;
import org.multibit.core.FloatRows;
import org.nd4j.linalg.api.buffer.DataType;
import org.nd4j.linalg.api.ndarray.INDArray;

/**
 * Inverted dropout that comes after quantization: elements become 0 or are divided by the
 * probability to retain them.
 *
 * <p>Whether an element is retained is a pure function of (seed, iteration, layer, position), so
 * that a resumed run drops what the uninterrupted one would have.
 */
final class DropoutMask {
  private static final long GOLDEN = 0x9E3779B97F4A7C15L;
  private static final int CHUNK = 1 << 14;

  private DropoutMask() {}

  /**
   * The probability to retain an element.
   *
   * @param dropout what the layer was configured with; null = 1
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
   * Drops elements of rows.
   *
   * @param rows [T*B, n], changed
   * @param memory where the mask is made
   * @return the mask, for the backward pass: 0 and 1/retain, same shape, FLOAT; null if all is
   *     retained
   */
  static INDArray apply(
      IDropout dropout, INDArray rows, Scratch memory, long seed, int iteration, int layer) {
    double retain = retain(dropout);
    if (retain == 1) {
      return null;
    }
    INDArray mask = memory.get(DataType.FLOAT, rows.shape());
    fill(mask, retain, seed, iteration, layer);
    rows.muli(mask.castTo(rows.dataType()));
    return mask;
  }

  /**
   * A mask of 0 and 1/retain.
   *
   * @param into FLOAT, time-major [T*B, n], 'c' order: an element's position is its index
   */
  static void fill(INDArray into, double retain, long seed, int iteration, int layer) {
    int length = Math.toIntExact(into.length());
    long key = mix(mix(mix(seed) + iteration) + layer);
    // Compares 63 random bits with the probability.
    long threshold = (long) (retain * Long.MAX_VALUE);
    float kept = (float) (1 / retain);
    FloatBuffer mask = FloatRows.of(into);
    IntStream.range(0, (length + CHUNK - 1) / CHUNK)
        .parallel()
        .forEach(
            chunk -> {
              int end = Math.min(length, (chunk + 1) * CHUNK);
              for (int i = chunk * CHUNK; i < end; i++) {
                mask.put(i, mix(key + i * GOLDEN) >>> 1 < threshold ? kept : 0);
              }
            });
  }

  /** SplitMix64's finalizer. */
  private static long mix(long z) {
    z += GOLDEN;
    z = (z ^ z >>> 30) * 0xBF58476D1CE4E5B9L;
    z = (z ^ z >>> 27) * 0x94D049BB133111EBL;
    return z ^ z >>> 31;
  }
}

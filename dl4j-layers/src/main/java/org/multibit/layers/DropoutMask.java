package org.multibit.layers;

import java.util.stream.IntStream;
import org.deeplearning4j.nn.conf.dropout.Dropout;
import org.deeplearning4j.nn.conf.dropout.IDropout;
import org.nd4j.linalg.api.buffer.DataType;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.nd4j.linalg.factory.Nd4j;

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
   * @throws IllegalArgumentException for anything but DL4J's plain dropout of a fixed probability
   */
  static double retain(IDropout dropout) {
    if (dropout == null) {
      return 1;
    }
    if (!(dropout instanceof Dropout plain) || plain.getPSchedule() != null) {
      throw new IllegalArgumentException(
          "Quantizing layers take plain dropout of a fixed probability, not " + dropout);
    }
    return plain.getP();
  }

  /**
   * A mask of 0 and 1/retain.
   *
   * @param rows positions, time-major [T*B]
   * @param into FLOAT or DOUBLE, [rows, cols], 'c' order
   */
  static void fill(INDArray into, double retain, long seed, int iteration, int layer) {
    long length = into.length();
    long key = mix(mix(mix(seed) + iteration) + layer);
    // Compares 63 random bits with the probability.
    long threshold = (long) (retain * Long.MAX_VALUE);
    float[] values = new float[Math.toIntExact(length)];
    float kept = (float) (1 / retain);
    IntStream.range(0, (values.length + CHUNK - 1) / CHUNK)
        .parallel()
        .forEach(
            chunk -> {
              int end = Math.min(values.length, (chunk + 1) * CHUNK);
              for (int i = chunk * CHUNK; i < end; i++) {
                values[i] = mix(key + i * GOLDEN) >>> 1 < threshold ? kept : 0;
              }
            });
    INDArray mask = Nd4j.createFromArray(values).reshape('c', into.shape());
    into.assign(into.dataType() == DataType.FLOAT ? mask : mask.castTo(into.dataType()));
  }

  /** SplitMix64's finalizer. */
  private static long mix(long z) {
    z += GOLDEN;
    z = (z ^ z >>> 30) * 0xBF58476D1CE4E5B9L;
    z = (z ^ z >>> 27) * 0x94D049BB133111EBL;
    return z ^ z >>> 31;
  }
}

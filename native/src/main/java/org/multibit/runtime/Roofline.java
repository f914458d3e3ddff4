package org.multibit.runtime;

import java.util.Arrays;
import java.util.function.LongSupplier;
import org.bytedeco.javacpp.LongPointer;

/**
 * What this machine can do at best in one thread, measured with the widest vectors of the tier in
 * use: the bounds that a product of quantized matrices is held against.
 */
public final class Roofline {
  private static final int SAMPLES = 51;

  /** Enough for the clock, little enough for a sample to escape most interruptions. */
  private static final long SAMPLE_NANOS = 500_000;

  private Roofline() {}

  /**
   * The bandwidth of reading warm memory of this size over and over, from the level of the caches
   * that it fits into.
   *
   * @param bytes rounded down to whole 64-bit words
   * @return bytes per second
   * @throws IllegalArgumentException if there is not one word
   */
  public static double readBytesPerSecond(long bytes) {
    long words = bytes / Long.BYTES;
    if (words < 1) {
      throw new IllegalArgumentException("Cannot read " + bytes + " bytes as 64-bit words");
    }
    long kernels = kernels();
    try (LongPointer memory = new LongPointer(words)) {
      for (long i = 0; i < words; i++) {
        memory.put(i, i);
      }
      return words * Long.BYTES / seconds(() -> Bindings.readWords(kernels, memory, words));
    }
  }

  /** How many 64-bit words' bits can be counted, without reading them from memory, per second. */
  public static double popcountWordsPerSecond() {
    long words = 1 << 18;
    long kernels = kernels();
    return words / seconds(() -> Bindings.countBits(kernels, words));
  }

  private static long kernels() {
    return Bindings.supportedTier(NativeKernels.supportedTiers().indexOf(NativeLibrary.isa()));
  }

  /** The median time of a call, after a warm-up. */
  private static double seconds(LongSupplier call) {
    long calls = 1;
    while (nanos(call, calls) < SAMPLE_NANOS) {
      calls *= 2;
    }
    double[] samples = new double[SAMPLES];
    for (int i = 0; i < SAMPLES; i++) {
      samples[i] = nanos(call, calls) * 1e-9 / calls;
    }
    Arrays.sort(samples);
    return samples[SAMPLES / 2];
  }

  private static long nanos(LongSupplier call, long calls) {
    long start = System.nanoTime();
    for (long i = 0; i < calls; i++) {
      call.getAsLong();
    }
    return System.nanoTime() - start;
  }
}

package org.multibit.core;

/** Sebastiano Vigna's generator as a function, so that dropout can draw numbers by position. */
public final class SplitMix64 {
  /** The step from one state to the next. */
  static final long GOLDEN = 0x9E3779B97F4A7C15L;

  private SplitMix64() {}

  /** The next number in state z. */
  public static long mix(long z) {
    z += GOLDEN;
    z = (z ^ z >>> 30) * 0xBF58476D1CE4E5B9L;
    z = (z ^ z >>> 27) * 0x94D049BB133111EBL;
    return z ^ z >>> 31;
  }
}

package org.multibit.training;

/**
 * Bounds the size to which a compressed part of a file may unpack: weights hardly shrink at all.
 */
public final class Unpacking {
  /** Up to this size any compression is plausible. */
  private static final long SMALL = 1 << 26;

  private static final long MAX_RATIO = 100;

  private Unpacking() {}

  /** Whether {@code packed} compressed bytes may unpack to {@code bytes} bytes. */
  public static boolean isPlausible(long bytes, long packed) {
    return bytes >= 0 && bytes <= Math.max(SMALL, MAX_RATIO * packed);
  }
}

package org.multibit.training;

/** How much a packed part of a file may unpack to: weights hardly shrink at all. */
public final class Unpacking {
  /** Up to this size a part may be packed as tightly as it likes. */
  private static final long SMALL = 1 << 26;

  private static final long MAX_RATIO = 100;

  private Unpacking() {}

  /** Whether so many packed bytes may stand for so many. */
  public static boolean isPlausible(long bytes, long packed) {
    return bytes >= 0 && bytes <= Math.max(SMALL, MAX_RATIO * packed);
  }
}

package org.multibit.cli.hostile;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Arrays;
import java.util.Random;

/** Damage to bytes whose meaning nobody knows: what decays, is cut, or is forged. */
final class Mutations {
  /** Numbers at which sums overflow, signs change, or memory ends. */
  private static final long[] EXTREMES = {
    0,
    1,
    -1,
    0x7F,
    0x80,
    0xFF,
    0x7FFF,
    0x8000,
    0xFFFF,
    1 << 20,
    1 << 24,
    1 << 28,
    Integer.MAX_VALUE,
    1L << 31,
    (1L << 32) - 1,
    1L << 32,
    1L << 40,
    1L << 61,
    1L << 62,
    Long.MAX_VALUE,
    Long.MIN_VALUE,
    0x7F800000, // infinity, and not a number
    0x7FC00000
  };

  private Mutations() {}

  /** A copy with one to three kinds of damage. */
  static byte[] of(byte[] seed, Random random) {
    byte[] bytes = seed.clone();
    for (int times = 1 + random.nextInt(3); times > 0 && bytes.length > 0; times--) {
      bytes = once(bytes, random);
    }
    return bytes;
  }

  /** An extreme, or a number near the given one. */
  static long number(long now, Random random) {
    return random.nextBoolean()
        ? EXTREMES[random.nextInt(EXTREMES.length)]
        : now + random.nextInt(17) - 8;
  }

  private static byte[] once(byte[] bytes, Random random) {
    int at = random.nextInt(bytes.length);
    switch (random.nextInt(7)) {
      case 0 -> bytes[at] ^= (byte) (1 << random.nextInt(8));
      case 1 -> bytes[at] = (byte) random.nextInt(256);
      case 2, 3 -> putNumber(bytes, at, random.nextBoolean() ? 4 : 8, random);
      case 4 -> {
        return Arrays.copyOf(bytes, at);
      }
      case 5 -> {
        // Without some bytes.
        int length = 1 + random.nextInt(Math.min(64, bytes.length - at));
        return spliced(bytes, at, at + length, new byte[0]);
      }
      default -> {
        // With some of it once more, elsewhere.
        int from = random.nextInt(bytes.length);
        int to = from + 1 + random.nextInt(Math.min(64, bytes.length - from));
        return spliced(bytes, at, at, Arrays.copyOfRange(bytes, from, to));
      }
    }
    return bytes;
  }

  private static void putNumber(byte[] bytes, int at, int size, Random random) {
    if (at + size > bytes.length) {
      return;
    }
    ByteBuffer buffer = ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN);
    if (size == 4) {
      buffer.putInt(at, (int) number(buffer.getInt(at), random));
    } else {
      buffer.putLong(at, number(buffer.getLong(at), random));
    }
  }

  private static byte[] spliced(byte[] bytes, int from, int to, byte[] with) {
    return ByteBuffer.allocate(bytes.length - (to - from) + with.length)
        .put(bytes, 0, from)
        .put(with)
        .put(bytes, to, bytes.length - to)
        .array();
  }
}

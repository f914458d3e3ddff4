package org.multibit.benchmarks;

import java.util.SplittableRandom;

/** The tokens that are fed to every system, per stream. */
final class Tokens {
  /** Steps after which they repeat. */
  private static final int PERIOD = 1024;

  /** Steps whose logits are compared. */
  static final int COMPARED = 5;

  private Tokens() {}

  /** The tokens of one stream. */
  static int[] of(int stream, int vocab) {
    SplittableRandom random = new SplittableRandom(stream);
    return random.ints(PERIOD, 0, vocab).toArray();
  }
}

package org.multibit.benchmarks;

import java.util.Arrays;
import java.util.SplittableRandom;

/**
 * A text that every system trains on: word k is about as frequent as 1/k, as in natural text, and
 * half of the words follow from the one before, so that there is something to learn.
 */
final class TokenStream {
  private static final long SEED = 1;

  private TokenStream() {}

  /** The first {@code length} tokens of the stream of a vocabulary. */
  static int[] of(int vocab, int length) {
    double[] cumulative = new double[vocab];
    double sum = 0;
    for (int word = 0; word < vocab; word++) {
      sum += 1.0 / (word + 1);
      cumulative[word] = sum;
    }
    SplittableRandom random = new SplittableRandom(SEED);
    int[] successors = new int[vocab];
    for (int word = 0; word < vocab; word++) {
      successors[word] = draw(cumulative, random);
    }
    int[] tokens = new int[length];
    for (int i = 0; i < length; i++) {
      boolean follows = i > 0 && random.nextBoolean();
      tokens[i] = follows ? successors[tokens[i - 1]] : draw(cumulative, random);
    }
    return tokens;
  }

  private static int draw(double[] cumulative, SplittableRandom random) {
    int found =
        Arrays.binarySearch(cumulative, random.nextDouble() * cumulative[cumulative.length - 1]);
    return found < 0 ? -found - 1 : found;
  }
}

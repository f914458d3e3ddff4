package org.multibit.datasets;

import java.util.Arrays;
import java.util.Random;

/**
 * A training text in which some words are replaced, anew for each epoch, so that a model does not
 * memorize it. This is data noising after Xie et al. 2017, "Data Noising as Smoothing in Neural
 * Network Language Models"; their bigram Kneser-Ney scheme determines how often a word is replaced
 * and by which word.
 *
 * <p>A word w is replaced with the probability gamma N(w, .) / c(w). Here c(w) counts its bigrams,
 * and N(w, .) counts the different words that follow it. So a rare word is replaced with a
 * probability near gamma, a frequent one seldom. The replacement is x with a probability
 * proportional to N(., x), the number of different words that x follows.
 *
 * <p>The noise changes the stream, so a replaced word is both read and predicted. In Xie et al.,
 * the word after a replaced word is also replaced, but only as a target; both variants gain equally
 * (docs/results/notes.md).
 */
public final class KneserNeyNoise {
  private final int[] tokens;
  private final double[] replaced; // by token id
  private final long[] cumulative; // of N(., x) over x

  /**
   * @param tokens the text, not copied
   * @param vocabulary size; token ids are below it
   * @param gamma the largest probability to replace a word, 0 to 1
   * @throws IllegalArgumentException if gamma is out of range, or the text has fewer than two words
   */
  public KneserNeyNoise(int[] tokens, int vocabulary, double gamma) {
    if (!(gamma >= 0 && gamma <= 1)) {
      throw new IllegalArgumentException("Noise is a probability, 0 to 1, not " + gamma);
    }
    if (tokens.length < 2) {
      throw new IllegalArgumentException(
          "A text of %s words has no bigrams".formatted(tokens.length));
    }
    this.tokens = tokens;
    long[] bigrams = new long[tokens.length - 1];
    double[] count = new double[vocabulary];
    for (int i = 0; i < bigrams.length; i++) {
      bigrams[i] = (long) tokens[i] << 32 | tokens[i + 1];
      count[tokens[i]]++;
    }
    Arrays.sort(bigrams);
    replaced = new double[vocabulary];
    cumulative = new long[vocabulary];
    for (int i = 0; i < bigrams.length; i++) {
      if (i == 0 || bigrams[i] != bigrams[i - 1]) {
        int first = (int) (bigrams[i] >>> 32);
        replaced[first] += gamma / count[first];
        cumulative[(int) bigrams[i]]++;
      }
    }
    Arrays.parallelPrefix(cumulative, Long::sum);
  }

  /** The text with noise. The same seed gives the same text. */
  public int[] text(long seed) {
    Random random = new Random(seed);
    int[] noised = tokens.clone();
    for (int i = 0; i < noised.length; i++) {
      if (random.nextDouble() < replaced[tokens[i]]) {
        noised[i] = draw(random);
      }
    }
    return noised;
  }

  private int draw(Random random) {
    long total = cumulative[cumulative.length - 1];
    long at = (long) (random.nextDouble() * total);
    int low = 0;
    int high = cumulative.length - 1;
    while (low < high) { // the first x with more than "at" bigrams up to it
      int middle = (low + high) >>> 1;
      if (cumulative[middle] > at) {
        high = middle;
      } else {
        low = middle + 1;
      }
    }
    return low;
  }
}

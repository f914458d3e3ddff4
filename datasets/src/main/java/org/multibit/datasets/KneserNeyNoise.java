package org.multibit.datasets;

import java.util.Arrays;
import java.util.Random;

/**
 * A training text in which some words are others, drawn anew for each epoch, so that a model does
 * not learn it by heart: data noising after Xie et al. 2017, "Data Noising as Smoothing in Neural
 * Network Language Models", whose bigram Kneser-Ney scheme says how often and by what.
 *
 * <p>A word w is replaced with the probability gamma N(w, .) / c(w), where c(w) counts its bigrams
 * and N(w, .) the different words that follow it: a rare word nearly with gamma, a frequent one
 * seldom. What replaces it is x with a probability proportional to N(., x), the number of different
 * words that x follows.
 *
 * <p>It is the stream that changes, where a word is read and where it is to be predicted. In Xie et
 * al. a replaced word has another one drawn for the word after it, as its target alone; both gain
 * as much (docs/results/notes.md).
 */
public final class KneserNeyNoise {
  private final int[] tokens;
  private final double[] replaced; // by token id
  private final long[] cumulative; // of N(., x) over x

  /**
   * @param tokens the text, not copied
   * @param vocabulary size; token ids are below it
   * @param gamma the largest probability to replace a word, 0 to 1
   * @throws IllegalArgumentException if gamma is not, or the text has no two words
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

  /** The text with noise; the same seed gives the same. */
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

package org.multibit.training;

/** Word frequencies only: the baseline that a language model must beat. */
public final class UnigramModel {
  private final long[] counts;
  private final long total;

  /** Counts the words and adds one to each count, so that no word is impossible. */
  public UnigramModel(int[] tokens, int vocabulary) {
    counts = new long[vocabulary];
    for (int token : tokens) {
      counts[token]++;
    }
    total = tokens.length + vocabulary;
  }

  public double perplexity(int[] tokens) {
    double loss = 0;
    for (int token : tokens) {
      loss -= Math.log((counts[token] + 1.0) / total);
    }
    return Math.exp(loss / tokens.length);
  }
}

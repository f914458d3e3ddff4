package org.multibit.core;

/**
 * Algorithm 2 of Xu et al. unchanged: two cycles from a greedy start, at every width. Up to 3 bits
 * {@link Alternating} is the same; with more bits it is better. Use this class for comparisons with
 * the paper.
 */
public final class PaperAlternating extends Quantizer {
  private static final int CYCLES = 2;

  /** Files and their readers do not know this method. */
  @Override
  public String method() {
    return "alternating from greedy";
  }

  @Override
  public boolean projects(int bits) {
    return bits <= 2;
  }

  @Override
  protected void quantizeRow(float[] w, int bits, byte[] codes, float[] coefficients) {
    Alternating.fromGreedy(w, bits, CYCLES, codes, coefficients);
  }
}

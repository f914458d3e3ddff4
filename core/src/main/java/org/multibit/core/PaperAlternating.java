package org.multibit.core;

/**
 * Algorithm 2 of Xu et al. as it stands: two cycles from a greedy start, at every width. Up to 3
 * bits {@link Alternating} is the same. With more it is ahead; this is for comparisons with the
 * paper.
 */
public final class PaperAlternating extends Quantizer {
  private static final int CYCLES = 2;

  /** A method that files and their readers do not know. */
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

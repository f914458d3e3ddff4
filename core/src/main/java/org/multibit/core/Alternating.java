package org.multibit.core;

import java.util.List;
import java.util.Objects;

/**
 * Alternating minimization (Xu et al., algorithm 2): T cycles, each of which computes the best
 * coefficients for the codes and then the best codes for the coefficients.
 *
 * <p>Up to 3 bits this is the paper's algorithm, which starts from greedy codes. With more bits,
 * two cycles do not make up for that start. They then start from the best of three: greedy codes,
 * uniform codes, and this method's own result with one bit fewer plus a greedy plane. So the error
 * of a row is never above that of greedy or uniform codes with as many bits, nor above its own with
 * fewer bits. {@link PaperAlternating} keeps the paper's start at every width.
 */
public final class Alternating extends Quantizer {
  /** Up to this many bits a greedy start is good enough. */
  private static final int GREEDY_START = 3;

  private static final List<Quantizer> STARTS = List.of(new Greedy(), new Uniform());

  private final int cycles;
  private final float scale;

  /** The paper's T = 2. */
  public Alternating() {
    this(2, 1);
  }

  /**
   * @param cycles T >= 0; 0 gives greedy codes
   * @param scale factor of the quantized row; 1 is the paper's, 0.3 that of an unpublished variant
   *     (ProxQuant, footnote 2)
   */
  public Alternating(int cycles, float scale) {
    if (cycles < 0 || cycles > 1000) {
      throw new IllegalArgumentException("Alternating takes 0 to 1000 cycles, not " + cycles);
    }
    if (!(scale > 0) || scale > 1e6f) {
      throw new IllegalArgumentException(
          "Alternating takes a scale above 0, up to 1000000, not " + scale);
    }
    this.cycles = cycles;
    this.scale = scale;
  }

  @Override
  public String method() {
    return "alternating";
  }

  public int cycles() {
    return cycles;
  }

  public float scale() {
    return scale;
  }

  @Override
  public boolean projects(int bits) {
    return cycles > 0 && scale == 1 && bits <= 2;
  }

  @Override
  protected void quantizeRow(float[] w, int bits, byte[] codes, float[] coefficients) {
    if (bits <= GREEDY_START || cycles == 0) {
      fromGreedy(w, bits, cycles, codes, coefficients);
    } else {
      fromBestStart(w, bits, codes, coefficients);
    }
    if (scale != 1) {
      for (int i = 0; i < bits; i++) {
        coefficients[i] *= scale;
      }
    }
  }

  static void fromGreedy(float[] w, int bits, int cycles, byte[] codes, float[] coefficients) {
    Greedy.start(w, bits, codes, coefficients);
    for (int t = 0; t < cycles && bits > 1; t++) {
      cycle(w, bits, codes, coefficients);
    }
  }

  private static void cycle(float[] w, int bits, byte[] codes, float[] coefficients) {
    LeastSquares.solve(w, codes, bits, coefficients);
    Codes.normalize(coefficients, bits, codes);
    Codes.nearest(w, coefficients, bits, codes);
  }

  private void fromBestStart(float[] w, int bits, byte[] codes, float[] coefficients) {
    fromGreedy(w, GREEDY_START, cycles, codes, coefficients);
    byte[] other = new byte[w.length];
    float[] a = new float[bits];
    for (int k = GREEDY_START + 1; k <= bits; k++) {
      Greedy.addPlane(w, k - 1, codes, coefficients);
      float least = Codes.squaredError(w, k, codes, coefficients);
      for (Quantizer start : STARTS) {
        start.quantizeRow(w, k, other, a);
        float error = Codes.squaredError(w, k, other, a);
        if (error < least) {
          least = error;
          take(other, a, codes, coefficients);
        }
      }
      // Rounding can let a cycle end above where it began: then it is not taken, and none follows.
      boolean lower = true;
      for (int t = 0; t < cycles && lower; t++) {
        take(codes, coefficients, other, a);
        cycle(w, k, other, a);
        float error = Codes.squaredError(w, k, other, a);
        lower = error < least;
        if (lower) {
          least = error;
          take(other, a, codes, coefficients);
        }
      }
    }
    Codes.normalize(coefficients, bits, codes);
  }

  private static void take(byte[] codes, float[] a, byte[] intoCodes, float[] intoA) {
    System.arraycopy(codes, 0, intoCodes, 0, codes.length);
    System.arraycopy(a, 0, intoA, 0, a.length);
  }

  @Override
  public boolean equals(Object other) {
    return other instanceof Alternating a && a.cycles == cycles && a.scale == scale;
  }

  @Override
  public int hashCode() {
    return Objects.hash(cycles, scale);
  }

  @Override
  public String toString() {
    return "alternating(cycles=" + cycles + ", scale=" + scale + ")";
  }
}

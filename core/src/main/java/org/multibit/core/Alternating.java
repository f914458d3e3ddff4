package org.multibit.core;

import java.util.Objects;
import org.nd4j.shade.jackson.annotation.JsonProperty;

/**
 * Alternating minimization (Xu et al., algorithm 2): a greedy start, then T times the best
 * coefficients for the codes and the best codes for the coefficients. The error never rises from
 * one half-step to the next.
 */
public final class Alternating extends Quantizer {
  private final int cycles;
  private final float scale;

  /** The paper's T = 2. */
  public Alternating() {
    this(2, 1);
  }

  /**
   * @param cycles T >= 0; 0 is greedy
   * @param scale the quantized row is multiplied by this at the end; 1 is the paper, 0.3 an
   *     unpublished variant (ProxQuant, footnote 2)
   */
  public Alternating(@JsonProperty("cycles") int cycles, @JsonProperty("scale") float scale) {
    if (cycles < 0 || cycles > 1000) {
      throw new IllegalArgumentException("Alternating takes 0 to 1000 cycles, not " + cycles);
    }
    if (!(scale > 0) || scale > 1e6f) {
      throw new IllegalArgumentException("Alternating takes a scale above 0, up to 1000000, not " + scale);
    }
    this.cycles = cycles;
    this.scale = scale;
  }

  @Override
  public String method() {
    return "alternating";
  }

  @JsonProperty("cycles")
  public int cycles() {
    return cycles;
  }

  @JsonProperty("scale")
  public float scale() {
    return scale;
  }

  @Override
  public boolean projects(int bits) {
    return cycles > 0 && scale == 1 && bits <= 2;
  }

  @Override
  protected void quantizeRow(float[] w, int bits, byte[] codes, float[] coefficients) {
    Greedy.start(w, bits, codes, coefficients);
    for (int t = 0; t < cycles && bits > 1; t++) {
      LeastSquares.solve(w, codes, bits, coefficients);
      Codes.normalize(coefficients, bits, codes);
      Codes.nearest(w, coefficients, bits, codes);
    }
    if (scale != 1) {
      for (int i = 0; i < bits; i++) {
        coefficients[i] *= scale;
      }
    }
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

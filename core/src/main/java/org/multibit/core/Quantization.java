package org.multibit.core;

import java.io.Serializable;
import java.nio.FloatBuffer;
import java.util.Objects;

/**
 * A quantizer and a number of bits: how a layer quantizes its weights or its activations.
 * Immutable.
 */
public final class Quantization implements Serializable {
  private final Quantizer quantizer;
  private final int bits;

  /**
   * @throws IllegalArgumentException if the quantizer does not allow this number of bits
   */
  public Quantization(Quantizer quantizer, int bits) {
    this.quantizer = Objects.requireNonNull(quantizer, "quantizer");
    quantizer.checkBits(bits);
    this.bits = bits;
  }

  /** Alternating minimization with the paper's two cycles. */
  public static Quantization alternating(int bits) {
    return new Quantization(new Alternating(), bits);
  }

  public Quantizer quantizer() {
    return quantizer;
  }

  public int bits() {
    return bits;
  }

  /** Calls {@link Quantizer#quantize} with this number of bits. */
  public MultibitMatrix quantize(FloatBuffer rows, int cols) {
    return quantizer.quantize(rows, cols, bits);
  }

  @Override
  public boolean equals(Object other) {
    return other instanceof Quantization q && q.bits == bits && q.quantizer.equals(quantizer);
  }

  @Override
  public int hashCode() {
    return Objects.hash(quantizer, bits);
  }

  @Override
  public String toString() {
    return quantizer + " " + bits + " bits";
  }
}

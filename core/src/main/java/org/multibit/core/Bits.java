package org.multibit.core;

/**
 * Bits of weights and activations, written {@code W/A}, {@code W/fp} or {@code fp}.
 *
 * @param weights 1 to 8, or 0 for full precision
 * @param activations 1 to 8, or 0 for full precision
 */
public record Bits(int weights, int activations) {
  public static final Bits FULL_PRECISION = new Bits(0, 0);

  /** Up to this many pairs of a weight plane and an activation plane, a product is faster. */
  private static final int FASTER_PAIRS = 16;

  /** Up to this many weight planes, a product with full-precision activations is faster. */
  private static final int FASTER_WEIGHTS = 2;

  public Bits {
    if (weights < 0
        || weights > Quantizer.MAX_BITS
        || activations < 0
        || activations > Quantizer.MAX_BITS
        || (weights == 0 && activations > 0)) {
      throw new IllegalArgumentException(
          "Weights and activations take 1 to 8 bits; activations only together with weights");
    }
  }

  /**
   * @throws IllegalArgumentException if the text has none of the three forms or the bits are out of
   *     range
   */
  public static Bits parse(String text) {
    if (text.equals("fp")) {
      return FULL_PRECISION;
    }
    if (!text.matches("[1-8]/([1-8]|fp)")) {
      throw new IllegalArgumentException(
          "\"%s\" are no bits of weights and activations: write W/A (2/2), W/fp or fp, each of 1 to 8 bits"
              .formatted(text));
    }
    String activations = text.substring(2);
    return new Bits(
        text.charAt(0) - '0', activations.equals("fp") ? 0 : activations.charAt(0) - '0');
  }

  /** The quantization of a layer's weights; null for full precision. */
  public Quantization weightsBy(Quantizer quantizer) {
    return weights == 0 ? null : new Quantization(quantizer, weights);
  }

  /** The quantization of a layer's activations; null for full precision. */
  public Quantization activationsBy(Quantizer quantizer) {
    return activations == 0 ? null : new Quantization(quantizer, activations);
  }

  /**
   * Whether native products with these bits take longer than full-precision ones, since each weight
   * plane is combined with each activation plane. The limits were measured
   * (docs/results/measurements.md). A matrix that does not fit into the caches also gains from
   * taking less memory.
   */
  public boolean isSlowerThanFullPrecision() {
    return activations == 0 ? weights > FASTER_WEIGHTS : weights * activations > FASTER_PAIRS;
  }

  @Override
  public String toString() {
    return weights == 0 ? "fp" : weights + "/" + (activations == 0 ? "fp" : activations);
  }
}

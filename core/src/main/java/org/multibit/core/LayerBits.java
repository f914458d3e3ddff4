package org.multibit.core;

import java.util.Map;
import java.util.TreeMap;

/**
 * Bits of a network's layers by their kind. The text has either the same bits for all layers
 * ({@code 2/2}) or bits by kind ({@code embedding=3, lstm=2/2, dense=2/3, output=2/3}); a kind that
 * it does not name stays full precision. {@code gru} means the same as {@code lstm}, and {@code
 * softmax} the same as {@code output}. An embedding has only weight bits.
 */
public record LayerBits(Bits embedding, Bits recurrent, Bits dense, Bits output) {
  private static final String FORMS =
      "write W/A (2/2), W/fp or fp, for all layers or as embedding=W,lstm=W/A,dense=W/A,softmax=W/A (gru for lstm, output for softmax)";

  /** The kind that each name stands for. */
  private static final Map<String, String> KINDS =
      Map.of(
          "embedding", "embedding",
          "lstm", "recurrent",
          "gru", "recurrent",
          "recurrent", "recurrent",
          "dense", "dense",
          "softmax", "output",
          "output", "output");

  public LayerBits {
    if (embedding.activations() > 0) {
      embedding = new Bits(embedding.weights(), 0);
    }
  }

  public static LayerBits all(Bits bits) {
    return new LayerBits(bits, bits, bits, bits);
  }

  /**
   * @throws IllegalArgumentException if the text has neither form, or names a kind twice
   */
  public static LayerBits parse(String text) {
    if (!text.contains("=")) {
      return all(Bits.parse(text));
    }
    Map<String, Bits> bits = new TreeMap<>();
    for (String part : text.split(",")) {
      String[] pair = part.strip().split("\\s*=\\s*", 2);
      String layer = KINDS.get(pair[0]);
      if (pair.length < 2 || layer == null) {
        throw new IllegalArgumentException(
            "\"%s\" in \"%s\" says no layer's bits: %s".formatted(part.strip(), text, FORMS));
      }
      boolean weightsAlone = layer.equals("embedding") && pair[1].matches("[1-8]");
      if (layer.equals("embedding") && pair[1].matches("[1-8]/[1-8]")) {
        throw new IllegalArgumentException(
            "\"%s\": an embedding has weights alone, write embedding=%s"
                .formatted(part.strip(), pair[1].charAt(0)));
      }
      if (bits.put(layer, Bits.parse(weightsAlone ? pair[1] + "/fp" : pair[1])) != null) {
        throw new IllegalArgumentException(
            "\"%s\" gives the bits of a layer twice: %s".formatted(text, FORMS));
      }
    }
    return new LayerBits(
        bits.getOrDefault("embedding", Bits.FULL_PRECISION),
        bits.getOrDefault("recurrent", Bits.FULL_PRECISION),
        bits.getOrDefault("dense", Bits.FULL_PRECISION),
        bits.getOrDefault("output", Bits.FULL_PRECISION));
  }

  /** Whether every layer is full precision. */
  public boolean isFullPrecision() {
    return embedding.weights() == 0
        && recurrent.weights() == 0
        && dense.weights() == 0
        && output.weights() == 0;
  }
}

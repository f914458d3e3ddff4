package org.multibit.core;

import java.util.List;

/** The quantization methods by the names that the command line and the files use. */
public final class Quantizers {
  /** From the simplest to the best. */
  public static final List<String> METHODS =
      List.of("uniform", "balanced", "greedy", "refined", "alternating", "optimal");

  private Quantizers() {}

  /** The method with its default settings. */
  public static Quantizer of(String method) {
    return of(method, 2, 1);
  }

  /**
   * @param cycles used only by "alternating"
   * @param scale used only by "alternating"
   * @throws IllegalArgumentException if there is no such method; the message lists the methods
   */
  public static Quantizer of(String method, int cycles, float scale) {
    return switch (method) {
      case "uniform" -> new Uniform();
      case "balanced" -> new Balanced();
      case "greedy" -> new Greedy();
      case "refined" -> new RefinedGreedy();
      case "alternating" -> new Alternating(cycles, scale);
      case "optimal" -> new Optimal();
      default ->
          throw new IllegalArgumentException(
              "There is no quantization method \"%s\"; there are %s"
                  .formatted(method, String.join(", ", METHODS)));
    };
  }
}

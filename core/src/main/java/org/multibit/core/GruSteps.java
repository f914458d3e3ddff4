package org.multibit.core;

import java.nio.FloatBuffer;

/** Sequences of a GRU step by step, by the kernels of single steps: what the whole ones equal. */
public final class GruSteps {
  private GruSteps() {}

  /** As {@link Kernels#gruForwardSteps(FloatBuffer, int, int, FloatBuffer...)}. */
  public static void forward(
      Kernels kernels,
      FloatBuffer panels,
      int batch,
      int units,
      FloatBuffer gates,
      FloatBuffer recurrent,
      FloatBuffer hidden) {
    int steps = KernelChecks.gruSteps(batch, units, gates, recurrent, hidden);
    int size = batch * units;
    for (int t = 0; t < steps; t++) {
      FloatBuffer sums = step(recurrent, t, 3 * size);
      FloatBuffer before = step(hidden, t, size);
      kernels.multiplyPanels(before, batch, units, panels, 3 * units, null, sums);
      kernels.gruForward(step(gates, t, 3 * size), sums, before, units, step(hidden, t + 1, size));
    }
  }

  /** As {@link Kernels#gruForwardSteps} with quantized weights and hidden states. */
  public static void forward(
      Kernels kernels,
      Quantizer quantizer,
      MultibitMatrix weights,
      MultibitMatrix codes,
      int batch,
      FloatBuffer gates,
      FloatBuffer recurrent,
      FloatBuffer hidden) {
    int units = codes.cols();
    int steps = KernelChecks.gruSteps(batch, units, gates, recurrent, hidden);
    KernelChecks.stepCodes(quantizer, 3, weights, codes, batch, steps);
    int size = batch * units;
    for (int t = 0; t < steps; t++) {
      FloatBuffer sums = step(recurrent, t, 3 * size);
      FloatBuffer before = step(hidden, t, size);
      MultibitMatrix of = codes.rows(t * batch, (t + 1) * batch);
      kernels.quantize(quantizer, before, of);
      kernels.multiply(weights, of, null, null, sums);
      kernels.gruForward(step(gates, t, 3 * size), sums, before, units, step(hidden, t + 1, size));
    }
  }

  /** As {@link Kernels#gruBackwardSteps}. */
  public static void backward(
      Kernels kernels,
      FloatBuffer panels,
      int first,
      int batch,
      int units,
      FloatBuffer gates,
      FloatBuffer recurrent,
      FloatBuffer hidden,
      FloatBuffer hiddenGradients,
      FloatBuffer carriedGradient,
      FloatBuffer gateGradients,
      FloatBuffer recurrentGradients) {
    int steps =
        KernelChecks.gruBackwardSteps(
            first,
            batch,
            units,
            gates,
            recurrent,
            hidden,
            hiddenGradients,
            carriedGradient,
            gateGradients,
            recurrentGradients);
    int size = batch * units;
    for (int t = steps - 1; t >= first; t--) {
      FloatBuffer dh = step(hiddenGradients, t, size);
      if (t < steps - 1) {
        FloatBuffer du = step(recurrentGradients, t + 1, 3 * size);
        kernels.multiplyPanels(du, batch, 3 * units, panels, units, null, dh);
      }
      kernels.gruBackward(
          step(gates, t, 3 * size),
          step(recurrent, t, 3 * size),
          step(hidden, t, size),
          units,
          dh,
          carriedGradient,
          step(gateGradients, t, 3 * size),
          step(recurrentGradients, t, 3 * size));
    }
  }

  private static FloatBuffer step(FloatBuffer rows, int t, int size) {
    return rows.slice(rows.position() + t * size, size);
  }
}

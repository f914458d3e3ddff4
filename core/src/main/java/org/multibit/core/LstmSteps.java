package org.multibit.core;

import java.nio.FloatBuffer;

/** Sequences of an LSTM step by step, by the kernels of single steps: what the whole ones equal. */
public final class LstmSteps {
  private LstmSteps() {}

  /** As {@link Kernels#lstmForwardSteps(FloatBuffer, int, int, FloatBuffer...)}. */
  public static void forward(
      Kernels kernels,
      FloatBuffer panels,
      int batch,
      int units,
      FloatBuffer gates,
      FloatBuffer hidden,
      FloatBuffer cells,
      FloatBuffer cellTanh) {
    int steps = KernelChecks.lstmSteps(batch, units, gates, hidden, cells, cellTanh);
    int size = batch * units;
    for (int t = 0; t < steps; t++) {
      FloatBuffer sums = step(gates, t, 4 * size);
      kernels.multiplyPanels(step(hidden, t, size), batch, units, panels, 4 * units, null, sums);
      kernels.lstmForward(
          sums,
          step(cells, t, size),
          units,
          step(cells, t + 1, size),
          step(cellTanh, t, size),
          step(hidden, t + 1, size));
    }
  }

  /** As {@link Kernels#lstmForwardSteps} with quantized weights and hidden states. */
  public static void forward(
      Kernels kernels,
      Quantizer quantizer,
      MultibitMatrix weights,
      MultibitMatrix codes,
      int batch,
      FloatBuffer gates,
      FloatBuffer hidden,
      FloatBuffer cells,
      FloatBuffer cellTanh) {
    int units = codes.cols();
    int steps = KernelChecks.lstmSteps(batch, units, gates, hidden, cells, cellTanh);
    KernelChecks.stepCodes(quantizer, 4, weights, codes, batch, steps);
    int size = batch * units;
    for (int t = 0; t < steps; t++) {
      FloatBuffer sums = step(gates, t, 4 * size);
      MultibitMatrix of = codes.rows(t * batch, (t + 1) * batch);
      kernels.quantize(quantizer, step(hidden, t, size), of);
      kernels.multiply(weights, of, null, null, sums);
      kernels.lstmForward(
          sums,
          step(cells, t, size),
          units,
          step(cells, t + 1, size),
          step(cellTanh, t, size),
          step(hidden, t + 1, size));
    }
  }

  /** As {@link Kernels#lstmBackwardSteps}. */
  public static void backward(
      Kernels kernels,
      FloatBuffer panels,
      int first,
      int batch,
      int units,
      FloatBuffer gates,
      FloatBuffer cells,
      FloatBuffer cellTanh,
      FloatBuffer hiddenGradients,
      FloatBuffer cellGradient,
      FloatBuffer gateGradients) {
    int steps =
        KernelChecks.lstmBackwardSteps(
            first,
            batch,
            units,
            gates,
            cells,
            cellTanh,
            hiddenGradients,
            cellGradient,
            gateGradients);
    int size = batch * units;
    for (int t = steps - 1; t >= first; t--) {
      FloatBuffer dh = step(hiddenGradients, t, size);
      if (t < steps - 1) {
        FloatBuffer dz = step(gateGradients, t + 1, 4 * size);
        kernels.multiplyPanels(dz, batch, 4 * units, panels, units, null, dh);
      }
      kernels.lstmBackward(
          step(gates, t, 4 * size),
          step(cells, t, size),
          step(cellTanh, t, size),
          units,
          dh,
          cellGradient,
          step(gateGradients, t, 4 * size));
    }
  }

  private static FloatBuffer step(FloatBuffer rows, int t, int size) {
    return rows.slice(rows.position() + t * size, size);
  }
}

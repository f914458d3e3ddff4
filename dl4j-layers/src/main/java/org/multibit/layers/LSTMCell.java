package org.multibit.layers;

import java.nio.FloatBuffer;
import org.multibit.core.Kernels;
import org.multibit.core.MultibitMatrix;
import org.multibit.core.Quantizer;
import org.nd4j.linalg.api.buffer.DataType;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.nd4j.linalg.api.ops.impl.transforms.strict.Sigmoid;
import org.nd4j.linalg.api.ops.impl.transforms.strict.Tanh;
import org.nd4j.linalg.factory.Nd4j;

/**
 * The element-wise arithmetic of an LSTM's time steps, and what a forward pass keeps for its
 * gradient. In FLOAT a step is one call of {@link Kernels}; in DOUBLE (gradient checks) it is ND4J
 * operations.
 */
final class LSTMCell {
  // DL4J's order of the columns; it calls the last one "input modulation".
  private static final int CANDIDATE = 0;
  private static final int FORGET = 1;
  private static final int OUTPUT = 2;
  private static final int INPUT = 3;

  /** The sums that enter the gates, then the gates, [T*B, 4H]. */
  final Steps gates = new Steps();

  /** h_0 .. h_T, [(T+1)*B, H]. */
  final Steps hidden = new Steps();

  /** c_0 .. c_T, [(T+1)*B, H]. */
  final Steps cells = new Steps();

  /** dL/d(sums), [T*B, 4H]. */
  final Steps gateGradients = new Steps();

  /** dL/dh_1 .. dL/dh_T, [T*B, H]. */
  final Steps hiddenGradients = new Steps();

  private final Steps cellTanh = new Steps(); // of c_1 .. c_T, [T*B, H]
  private final Steps cellGradient = new Steps(); // what flows back, [B, H]
  private DataType type;
  private int batch;
  private int units;

  void resize(DataType type, long time, long batch, long units) {
    this.type = type;
    this.batch = Math.toIntExact(batch);
    this.units = Math.toIntExact(units);
    gates.resize(type, time, batch, 4, units);
    hidden.resize(type, time + 1, batch, 1, units);
    cells.resize(type, time + 1, batch, 1, units);
    cellTanh.resize(type, time, batch, 1, units);
  }

  /** Readies the memory of a backward pass of the same shape. */
  void startBackward(long time, long batch) {
    gateGradients.resize(type, time, batch, 4, units);
    hiddenGradients.resize(type, time, batch, 1, units);
    cellGradient.resize(type, 1, batch, 1, units).all().assign(0);
  }

  /**
   * All steps, by whole-sequence kernels; in FLOAT alone.
   *
   * @param panels of the recurrent weights
   */
  void forward(FloatBuffer panels) {
    Kernels.get()
        .lstmForwardSteps(
            panels,
            batch,
            units,
            gates.floats(),
            hidden.floats(),
            cells.floats(),
            cellTanh.floats());
  }

  /**
   * All steps with quantized recurrent weights and hidden states; in FLOAT alone.
   *
   * @param codes receives the quantized hidden states
   */
  void forward(Quantizer quantizer, MultibitMatrix weights, MultibitMatrix codes) {
    Kernels.get()
        .lstmForwardSteps(
            quantizer,
            weights,
            codes,
            batch,
            gates.floats(),
            hidden.floats(),
            cells.floats(),
            cellTanh.floats());
  }

  /**
   * The gradients of all steps from {@code first} on; in FLOAT alone.
   *
   * @param panels of the recurrent weights, transposed
   */
  void backward(FloatBuffer panels, int first) {
    Kernels.get()
        .lstmBackwardSteps(
            panels,
            first,
            batch,
            units,
            gates.floats(),
            cells.floats(),
            cellTanh.floats(),
            hiddenGradients.floats(),
            cellGradient.floats(),
            gateGradients.floats());
  }

  /** Step t, from sums, h_t and c_t to gates, h_t+1 and c_t+1. */
  void forward(int t) {
    if (type == DataType.FLOAT) {
      Kernels.get()
          .lstmForward(
              gates.floats(t),
              cells.floats(t),
              units,
              cells.floats(t + 1),
              cellTanh.floats(t),
              hidden.floats(t + 1));
      return;
    }
    INDArray candidate = gates.part(t, CANDIDATE);
    Nd4j.exec(new Tanh(candidate, candidate));
    for (int gate : new int[] {FORGET, OUTPUT, INPUT}) {
      Nd4j.exec(new Sigmoid(gates.part(t, gate), gates.part(t, gate)));
    }
    INDArray c = cells.step(t + 1);
    cells.step(t).muli(gates.part(t, FORGET), c);
    c.addi(candidate.mul(gates.part(t, INPUT)));
    Nd4j.exec(new Tanh(c, cellTanh.step(t)));
    cellTanh.step(t).muli(gates.part(t, OUTPUT), hidden.step(t + 1));
  }

  /** The gradient of step t, from dL/dh_t+1 and what flows back into c_t+1. */
  void backward(int t) {
    if (type == DataType.FLOAT) {
      Kernels.get()
          .lstmBackward(
              gates.floats(t),
              cells.floats(t),
              cellTanh.floats(t),
              units,
              hiddenGradients.floats(t),
              cellGradient.floats(0),
              gateGradients.floats(t));
      return;
    }
    INDArray candidate = gates.part(t, CANDIDATE);
    INDArray forget = gates.part(t, FORGET);
    INDArray output = gates.part(t, OUTPUT);
    INDArray in = gates.part(t, INPUT);
    INDArray tanh = cellTanh.step(t);
    INDArray dh = hiddenGradients.step(t);
    INDArray dc = tanh.mul(tanh).rsubi(1).muli(output).muli(dh).addi(cellGradient.step(0));
    candidate.mul(candidate).rsubi(1).muli(in).muli(dc, gateGradients.part(t, CANDIDATE));
    forget.rsub(1).muli(forget).muli(cells.step(t)).muli(dc, gateGradients.part(t, FORGET));
    output.rsub(1).muli(output).muli(tanh).muli(dh, gateGradients.part(t, OUTPUT));
    in.rsub(1).muli(in).muli(candidate).muli(dc, gateGradients.part(t, INPUT));
    dc.muli(forget, cellGradient.step(0));
  }
}

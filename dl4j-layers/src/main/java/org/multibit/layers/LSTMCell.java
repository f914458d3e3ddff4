package org.multibit.layers;

import java.util.List;
import org.multibit.core.Kernels;
import org.multibit.core.MultibitMatrix;
import org.multibit.core.Quantizer;
import org.nd4j.linalg.api.buffer.DataType;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.nd4j.linalg.api.ops.impl.transforms.strict.Sigmoid;
import org.nd4j.linalg.api.ops.impl.transforms.strict.Tanh;
import org.nd4j.linalg.factory.Nd4j;

/** An LSTM's arithmetic. One array of sums takes both products. */
final class LSTMCell extends RecurrentCell {
  // DL4J's order of the columns; it calls the last one "input modulation".
  static final int CANDIDATE = 0;
  static final int FORGET = 1;
  static final int OUTPUT = 2;
  static final int INPUT = 3;

  private final Steps cells = new Steps(); // c_0 .. c_T, [(T+1)*B, H]
  private final Steps cellTanh = new Steps(); // of c_1 .. c_T, [T*B, H]

  LSTMCell() {
    super(4);
  }

  @Override
  int floatsPerUnit() {
    return 2 * 4 + 4; // gates and their gradients; cell, its tanh, hidden state and its gradient
  }

  @Override
  Steps recurrentSums() {
    return gates;
  }

  @Override
  Steps recurrentGradients() {
    return gateGradients;
  }

  @Override
  List<Steps> states() {
    return List.of(hidden, cells);
  }

  @Override
  void resize(DataType type, long time, long batch, long units) {
    super.resize(type, time, batch, units);
    cells.resize(type, time + 1, batch, 1, units);
    cellTanh.resize(type, time, batch, 1, units);
  }

  @Override
  void forward(PanelProduct product, int from, int to) {
    if (product.panels() == null) {
      super.forward(product, from, to);
      return;
    }
    Kernels.get()
        .lstmForwardSteps(
            product.panels(),
            batch,
            units,
            gates.floats(from, to),
            hidden.floats(from, to + 1),
            cells.floats(from, to + 1),
            cellTanh.floats(from, to));
  }

  @Override
  void forward(
      Quantizer quantizer, MultibitMatrix weights, MultibitMatrix codes, int from, int to) {
    Kernels.get()
        .lstmForwardSteps(
            quantizer,
            weights,
            codes,
            batch,
            gates.floats(from, to),
            hidden.floats(from, to + 1),
            cells.floats(from, to + 1),
            cellTanh.floats(from, to));
  }

  @Override
  void backward(PanelProduct product, int from, int to) {
    if (product.panels() == null) {
      super.backward(product, from, to);
      return;
    }
    Kernels.get()
        .lstmBackwardSteps(
            product.panels(),
            from,
            batch,
            units,
            gates.floats(0, to),
            cells.floats(0, to + 1),
            cellTanh.floats(0, to),
            hiddenGradients.floats(0, to),
            carriedGradient.floats(0),
            gateGradients.floats(0, to));
  }

  @Override
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

  @Override
  void backward(int t) {
    if (type == DataType.FLOAT) {
      Kernels.get()
          .lstmBackward(
              gates.floats(t),
              cells.floats(t),
              cellTanh.floats(t),
              units,
              hiddenGradients.floats(t),
              carriedGradient.floats(0),
              gateGradients.floats(t));
      return;
    }
    INDArray candidate = gates.part(t, CANDIDATE);
    INDArray forget = gates.part(t, FORGET);
    INDArray output = gates.part(t, OUTPUT);
    INDArray in = gates.part(t, INPUT);
    INDArray tanh = cellTanh.step(t);
    INDArray dh = hiddenGradients.step(t);
    INDArray dc = tanh.mul(tanh).rsubi(1).muli(output).muli(dh).addi(carriedGradient.step(0));
    candidate.mul(candidate).rsubi(1).muli(in).muli(dc, gateGradients.part(t, CANDIDATE));
    forget.rsub(1).muli(forget).muli(cells.step(t)).muli(dc, gateGradients.part(t, FORGET));
    output.rsub(1).muli(output).muli(tanh).muli(dh, gateGradients.part(t, OUTPUT));
    in.rsub(1).muli(in).muli(candidate).muli(dc, gateGradients.part(t, INPUT));
    dc.muli(forget, carriedGradient.step(0));
  }
}

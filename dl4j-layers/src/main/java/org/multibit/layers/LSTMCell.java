package org.multibit.layers;

import org.multibit.core.Cell;
import org.multibit.core.LstmCell;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.nd4j.linalg.api.ops.impl.transforms.strict.Sigmoid;
import org.nd4j.linalg.api.ops.impl.transforms.strict.Tanh;
import org.nd4j.linalg.factory.Nd4j;

/** An LSTM's time steps. */
final class LSTMCell extends RecurrentCell {
  LSTMCell() {
    super(Cell.LSTM);
  }

  @Override
  void forwardInDouble(int t) {
    INDArray candidate = gates.part(t, LstmCell.CANDIDATE);
    Nd4j.exec(new Tanh(candidate, candidate));
    for (int gate : new int[] {LstmCell.FORGET, LstmCell.OUTPUT, LstmCell.INPUT}) {
      Nd4j.exec(new Sigmoid(gates.part(t, gate), gates.part(t, gate)));
    }
    INDArray c = cellState.step(t + 1);
    cellState.step(t).muli(gates.part(t, LstmCell.FORGET), c);
    c.addi(candidate.mul(gates.part(t, LstmCell.INPUT)));
    Nd4j.exec(new Tanh(c, cellTanh.step(t)));
    cellTanh.step(t).muli(gates.part(t, LstmCell.OUTPUT), hidden.step(t + 1));
  }

  @Override
  void backwardInDouble(int t) {
    INDArray candidate = gates.part(t, LstmCell.CANDIDATE);
    INDArray forget = gates.part(t, LstmCell.FORGET);
    INDArray output = gates.part(t, LstmCell.OUTPUT);
    INDArray in = gates.part(t, LstmCell.INPUT);
    INDArray tanh = cellTanh.step(t);
    INDArray dh = hiddenGradients.step(t);
    INDArray dc = tanh.mul(tanh).rsubi(1).muli(output).muli(dh).addi(carriedGradient.step(0));
    candidate.mul(candidate).rsubi(1).muli(in).muli(dc, gateGradients.part(t, LstmCell.CANDIDATE));
    forget
        .rsub(1)
        .muli(forget)
        .muli(cellState.step(t))
        .muli(dc, gateGradients.part(t, LstmCell.FORGET));
    output.rsub(1).muli(output).muli(tanh).muli(dh, gateGradients.part(t, LstmCell.OUTPUT));
    in.rsub(1).muli(in).muli(candidate).muli(dc, gateGradients.part(t, LstmCell.INPUT));
    dc.muli(forget, carriedGradient.step(0));
  }
}

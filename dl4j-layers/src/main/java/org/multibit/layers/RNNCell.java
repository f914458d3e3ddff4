package org.multibit.layers;

import org.multibit.core.Cell;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.nd4j.linalg.api.ops.impl.transforms.strict.Tanh;
import org.nd4j.linalg.factory.Nd4j;

/** A plain recurrent unit's time steps. */
final class RNNCell extends RecurrentCell {
  RNNCell() {
    super(Cell.RNN);
  }

  @Override
  void forwardInDouble(int t) {
    Nd4j.exec(new Tanh(gates.step(t), gates.step(t)));
    hidden.step(t + 1).assign(gates.step(t));
  }

  @Override
  void backwardInDouble(int t) {
    INDArray h = gates.step(t);
    h.mul(h).rsubi(1).muli(hiddenGradients.step(t), gateGradients.step(t));
  }
}

package org.multibit.layers;

import java.util.List;
import org.multibit.core.Cell;
import org.multibit.core.GruCell;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.nd4j.linalg.api.ops.impl.transforms.strict.Sigmoid;
import org.nd4j.linalg.api.ops.impl.transforms.strict.Tanh;
import org.nd4j.linalg.factory.Nd4j;

/**
 * A GRU's time steps. The reset gate comes between the two products, so they have separate sums.
 */
final class GRUCell extends RecurrentCell {
  GRUCell() {
    super(Cell.GRU);
  }

  @Override
  void forwardInDouble(int t) {
    for (int gate : new int[] {GruCell.RESET, GruCell.UPDATE}) {
      INDArray sum = gates.part(t, gate).addi(recurrentSums.part(t, gate));
      Nd4j.exec(new Sigmoid(sum, sum));
    }
    INDArray candidate = gates.part(t, GruCell.CANDIDATE);
    candidate.addi(gates.part(t, GruCell.RESET).mul(recurrentSums.part(t, GruCell.CANDIDATE)));
    Nd4j.exec(new Tanh(candidate, candidate));
    INDArray h = hidden.step(t + 1);
    hidden.step(t).subi(candidate, h);
    h.muli(gates.part(t, GruCell.UPDATE)).addi(candidate);
  }

  @Override
  void backwardInDouble(int t) {
    INDArray reset = gates.part(t, GruCell.RESET);
    INDArray update = gates.part(t, GruCell.UPDATE);
    INDArray candidate = gates.part(t, GruCell.CANDIDATE);
    INDArray dh = hiddenGradients.step(t).add(carriedGradient.step(0));
    INDArray dn = candidate.mul(candidate).rsubi(1).muli(update.rsub(1)).muli(dh);
    INDArray dz = hidden.step(t).sub(candidate).muli(update).muli(update.rsub(1)).muli(dh);
    INDArray dr = dn.mul(recurrentSums.part(t, GruCell.CANDIDATE)).muli(reset).muli(reset.rsub(1));
    for (Steps gradients : List.of(gateGradients, recurrentGradients)) {
      gradients.part(t, GruCell.RESET).assign(dr);
      gradients.part(t, GruCell.UPDATE).assign(dz);
    }
    gateGradients.part(t, GruCell.CANDIDATE).assign(dn);
    recurrentGradients.part(t, GruCell.CANDIDATE).assign(dn.muli(reset));
    dh.muli(update, carriedGradient.step(0));
  }
}

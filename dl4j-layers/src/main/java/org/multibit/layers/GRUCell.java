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

/** A GRU's arithmetic. The reset gate comes between the two products, whose sums are kept apart. */
final class GRUCell extends RecurrentCell {
  private static final int RESET = 0;
  private static final int UPDATE = 1;
  private static final int CANDIDATE = 2;

  private final Steps recurrentSums = new Steps(); // [T*B, 3H]
  private final Steps recurrentGradients = new Steps(); // [T*B, 3H]

  GRUCell() {
    super(3);
  }

  @Override
  int floatsPerUnit() {
    return 4 * 3 + 2; // both sums and their gradients; hidden state and its gradient
  }

  @Override
  Steps recurrentSums() {
    return recurrentSums;
  }

  @Override
  Steps recurrentGradients() {
    return recurrentGradients;
  }

  @Override
  List<Steps> states() {
    return List.of(hidden);
  }

  @Override
  void resize(DataType type, long time, long batch, long units) {
    super.resize(type, time, batch, units);
    recurrentSums.resize(type, time, batch, 3, units);
  }

  @Override
  void startBackward(long time, long batch) {
    super.startBackward(time, batch);
    recurrentGradients.resize(type, time, batch, 3, units);
  }

  @Override
  void forward(PanelProduct product, int from, int to) {
    if (product.panels() == null) {
      super.forward(product, from, to);
      return;
    }
    Kernels.get()
        .gruForwardSteps(
            product.panels(),
            batch,
            units,
            gates.floats(from, to),
            recurrentSums.floats(from, to),
            hidden.floats(from, to + 1));
  }

  @Override
  void forward(
      Quantizer quantizer, MultibitMatrix weights, MultibitMatrix codes, int from, int to) {
    Kernels.get()
        .gruForwardSteps(
            quantizer,
            weights,
            codes,
            batch,
            gates.floats(from, to),
            recurrentSums.floats(from, to),
            hidden.floats(from, to + 1));
  }

  @Override
  void backward(PanelProduct product, int from, int to) {
    if (product.panels() == null) {
      super.backward(product, from, to);
      return;
    }
    Kernels.get()
        .gruBackwardSteps(
            product.panels(),
            from,
            batch,
            units,
            gates.floats(0, to),
            recurrentSums.floats(0, to),
            hidden.floats(0, to + 1),
            hiddenGradients.floats(0, to),
            carriedGradient.floats(0),
            gateGradients.floats(0, to),
            recurrentGradients.floats(0, to));
  }

  @Override
  void forward(int t) {
    if (type == DataType.FLOAT) {
      Kernels.get()
          .gruForward(
              gates.floats(t),
              recurrentSums.floats(t),
              hidden.floats(t),
              units,
              hidden.floats(t + 1));
      return;
    }
    for (int gate : new int[] {RESET, UPDATE}) {
      INDArray sum = gates.part(t, gate).addi(recurrentSums.part(t, gate));
      Nd4j.exec(new Sigmoid(sum, sum));
    }
    INDArray candidate = gates.part(t, CANDIDATE);
    candidate.addi(gates.part(t, RESET).mul(recurrentSums.part(t, CANDIDATE)));
    Nd4j.exec(new Tanh(candidate, candidate));
    INDArray h = hidden.step(t + 1);
    hidden.step(t).subi(candidate, h);
    h.muli(gates.part(t, UPDATE)).addi(candidate);
  }

  @Override
  void backward(int t) {
    if (type == DataType.FLOAT) {
      Kernels.get()
          .gruBackward(
              gates.floats(t),
              recurrentSums.floats(t),
              hidden.floats(t),
              units,
              hiddenGradients.floats(t),
              carriedGradient.floats(0),
              gateGradients.floats(t),
              recurrentGradients.floats(t));
      return;
    }
    INDArray reset = gates.part(t, RESET);
    INDArray update = gates.part(t, UPDATE);
    INDArray candidate = gates.part(t, CANDIDATE);
    INDArray dh = hiddenGradients.step(t).add(carriedGradient.step(0));
    INDArray dn = candidate.mul(candidate).rsubi(1).muli(update.rsub(1)).muli(dh);
    INDArray dz = hidden.step(t).sub(candidate).muli(update).muli(update.rsub(1)).muli(dh);
    INDArray dr = dn.mul(recurrentSums.part(t, CANDIDATE)).muli(reset).muli(reset.rsub(1));
    for (Steps gradients : List.of(gateGradients, recurrentGradients)) {
      gradients.part(t, RESET).assign(dr);
      gradients.part(t, UPDATE).assign(dz);
    }
    gateGradients.part(t, CANDIDATE).assign(dn);
    recurrentGradients.part(t, CANDIDATE).assign(dn.muli(reset));
    dh.muli(update, carriedGradient.step(0));
  }
}

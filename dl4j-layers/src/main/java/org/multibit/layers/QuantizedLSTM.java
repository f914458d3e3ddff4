package org.multibit.layers;

import java.util.Map;
import java.util.Objects;
import org.multibit.core.Cell;
import org.multibit.core.LstmCell;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.nd4j.linalg.indexing.NDArrayIndex;

/**
 * An LSTM, without peepholes, as a {@link QuantizedRecurrent}. Without quantizations it is DL4J's
 * {@link org.deeplearning4j.nn.conf.layers.LSTM}, with the same parameters W [nIn, 4 nOut], RW
 * [nOut, 4 nOut] and b [4 nOut], with columns in the order candidate, forget, output, input gate.
 */
public class QuantizedLSTM extends QuantizedRecurrent {
  private double forgetGateBiasInit;

  /** For JSON. */
  public QuantizedLSTM() {}

  private QuantizedLSTM(Builder builder) {
    super(builder);
    forgetGateBiasInit = builder.forgetGateBiasInit;
  }

  public double getForgetGateBiasInit() {
    return forgetGateBiasInit;
  }

  public void setForgetGateBiasInit(double forgetGateBiasInit) {
    this.forgetGateBiasInit = forgetGateBiasInit;
  }

  @Override
  public Cell cell() {
    return Cell.LSTM;
  }

  @Override
  RecurrentCell newCell() {
    return new LSTMCell();
  }

  @Override
  void initializeBiases(Map<String, INDArray> params) {
    params
        .get(RecurrentParams.BIAS)
        .get(NDArrayIndex.interval(LstmCell.FORGET * nOut, (LstmCell.FORGET + 1) * nOut))
        .assign(forgetGateBiasInit);
  }

  @Override
  public boolean equals(Object other) {
    return other instanceof QuantizedLSTM l
        && super.equals(other)
        && forgetGateBiasInit == l.forgetGateBiasInit;
  }

  @Override
  public int hashCode() {
    return Objects.hash(super.hashCode(), forgetGateBiasInit);
  }

  /** Builds a {@link QuantizedLSTM}; full precision unless told otherwise. */
  public static class Builder extends QuantizedRecurrent.Builder<Builder> {
    private double forgetGateBiasInit = 1;

    /** The forget gate's bias at the start; 1 unless set. */
    public Builder forgetGateBiasInit(double bias) {
      forgetGateBiasInit = bias;
      return this;
    }

    @Override
    @SuppressWarnings("unchecked")
    public QuantizedLSTM build() {
      return new QuantizedLSTM(this);
    }
  }
}

package org.multibit.layers;

import java.util.Map;
import org.multibit.core.Cell;
import org.nd4j.linalg.api.ndarray.INDArray;

/**
 * A plain recurrent layer as a {@link QuantizedRecurrent}: h = tanh(W x + RW h + b). Parameters: W
 * [nIn, nOut], RW [nOut, nOut], b [nOut].
 */
public class QuantizedRNN extends QuantizedRecurrent {
  /** For JSON. */
  public QuantizedRNN() {}

  private QuantizedRNN(Builder builder) {
    super(builder);
  }

  @Override
  public Cell cell() {
    return Cell.RNN;
  }

  @Override
  RecurrentCell newCell() {
    return new RNNCell();
  }

  @Override
  void initializeBiases(Map<String, INDArray> params) {
    // Zeros are what it starts with.
  }

  /** Builds a {@link QuantizedRNN}; full precision unless told otherwise. */
  public static class Builder extends QuantizedRecurrent.Builder<Builder> {
    @Override
    @SuppressWarnings("unchecked")
    public QuantizedRNN build() {
      return new QuantizedRNN(this);
    }
  }
}

package org.multibit.layers;

import java.util.Map;
import org.multibit.core.Cell;
import org.nd4j.linalg.api.ndarray.INDArray;

/**
 * A GRU as a {@link QuantizedRecurrent}, in the form of cuDNN and PyTorch: the reset gate is
 * applied after the recurrent product, which has its own bias.
 *
 * <pre>
 * r = sigmoid(W_r x + b_r + RW_r h + rb_r)
 * z = sigmoid(W_z x + b_z + RW_z h + rb_z)
 * n = tanh(W_n x + b_n + r (RW_n h + rb_n))
 * h = (1 - z) n + z h
 * </pre>
 *
 * The parameters are W [nIn, 3 nOut], RW [nOut, 3 nOut], b [3 nOut] and rb [3 nOut], with columns
 * in the order r, z, n.
 */
public class QuantizedGRU extends QuantizedRecurrent {
  /** For JSON. */
  public QuantizedGRU() {}

  private QuantizedGRU(Builder builder) {
    super(builder);
  }

  @Override
  public Cell cell() {
    return Cell.GRU;
  }

  @Override
  RecurrentCell newCell() {
    return new GRUCell();
  }

  @Override
  void initializeBiases(Map<String, INDArray> params) {
    // Zeros are what a GRU starts with.
  }

  /** Builds a {@link QuantizedGRU}; full precision unless told otherwise. */
  public static class Builder extends QuantizedRecurrent.Builder<Builder> {
    @Override
    @SuppressWarnings("unchecked")
    public QuantizedGRU build() {
      return new QuantizedGRU(this);
    }
  }
}

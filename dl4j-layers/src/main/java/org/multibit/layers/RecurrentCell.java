package org.multibit.layers;

import java.util.List;
import org.multibit.core.MultibitMatrix;
import org.multibit.core.Quantizer;
import org.nd4j.linalg.api.buffer.DataType;

/**
 * The element-wise arithmetic of a recurrent cell's time steps, and what a forward pass keeps for
 * its gradient. In FLOAT a sequence, or a step where BLAS multiplies, is one call of {@link
 * org.multibit.core.Kernels}; in DOUBLE (gradient checks) steps are ND4J operations. G gates have H
 * units each.
 */
abstract class RecurrentCell {
  /** The sums of the input's product, then the gates, [T*B, G H]. */
  final Steps gates = new Steps();

  /** h_0 .. h_T, [(T+1)*B, H]. */
  final Steps hidden = new Steps();

  /** dL/d(sums of the input's product), [T*B, G H]. */
  final Steps gateGradients = new Steps();

  /** dL/dh_1 .. dL/dh_T, but for what {@link #backward} carries on itself, [T*B, H]. */
  final Steps hiddenGradients = new Steps();

  /** What flows back to the state of the step before other than by products, [B, H]. */
  final Steps carriedGradient = new Steps();

  private final int gateCount;
  DataType type;
  int batch;
  int units;

  RecurrentCell(int gateCount) {
    this.gateCount = gateCount;
  }

  /** Floats that it keeps per step and unit in training. */
  abstract int floatsPerUnit();

  /** What the recurrent product is added to, [T*B, G H]. */
  abstract Steps recurrentSums();

  /** dL/d(sums of the recurrent product), [T*B, G H]. */
  abstract Steps recurrentGradients();

  /** What is carried from one step to the next, each [(T+1)*B, H]; the hidden state comes first. */
  abstract List<Steps> states();

  /** Readies the memory of a forward pass. */
  void resize(DataType type, long time, long batch, long units) {
    this.type = type;
    this.batch = Math.toIntExact(batch);
    this.units = Math.toIntExact(units);
    gates.resize(type, time, batch, gateCount, units);
    hidden.resize(type, time + 1, batch, 1, units);
  }

  /** Readies the memory of a backward pass of the same shape. */
  void startBackward(long time, long batch) {
    gateGradients.resize(type, time, batch, gateCount, units);
    hiddenGradients.resize(type, time, batch, 1, units);
    carriedGradient.resize(type, 1, batch, 1, units).all().assign(0);
  }

  /**
   * Steps from..to-1, with the recurrent product before each.
   *
   * @param product with the recurrent weights
   */
  void forward(PanelProduct product, int from, int to) {
    for (int t = from; t < to; t++) {
      product.add(hidden, t, recurrentSums(), t);
      forward(t);
    }
  }

  /**
   * Steps from..to-1 with quantized recurrent weights and hidden states; in FLOAT alone.
   *
   * @param codes [(to - from)*B, H], receives the quantized hidden states
   */
  abstract void forward(
      Quantizer quantizer, MultibitMatrix weights, MultibitMatrix codes, int from, int to);

  /**
   * The gradients of steps from..to-1, the last one first. What flows back to step to-1 from the
   * one after it is in {@link #hiddenGradients} and {@link #carriedGradient} already.
   *
   * @param product with the recurrent weights, transposed
   */
  void backward(PanelProduct product, int from, int to) {
    for (int t = to - 1; t >= from; t--) {
      if (t < to - 1) {
        product.add(recurrentGradients(), t + 1, hiddenGradients, t);
      }
      backward(t);
    }
  }

  /** Step t, from sums and the states at t to gates and the states at t+1. */
  abstract void forward(int t);

  /** The gradient of step t, from dL/dh_t+1 and what is carried. */
  abstract void backward(int t);
}

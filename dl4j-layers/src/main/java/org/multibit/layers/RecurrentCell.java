package org.multibit.layers;

import java.util.List;
import org.multibit.core.Cell;
import org.multibit.core.CellGradients;
import org.multibit.core.CellStates;
import org.multibit.core.Kernels;
import org.multibit.core.MultibitMatrix;
import org.multibit.core.Quantizer;
import org.nd4j.linalg.api.buffer.DataType;

/**
 * A recurrent cell's time steps, and what a forward pass keeps for its gradient. In FLOAT a
 * sequence, or a step where BLAS multiplies, is one call of {@link Kernels}; in DOUBLE (gradient
 * checks) steps are ND4J operations, which a subclass has. G gates have H units each.
 */
abstract class RecurrentCell {
  /** The sums of the input's product, then the gates, [T*B, G H]. */
  final Steps gates = new Steps();

  /** What the recurrent product is added to, [T*B, G H]. */
  final Steps recurrentSums;

  /** h_0 .. h_T, [(T+1)*B, H]. */
  final Steps hidden = new Steps();

  /** c_0 .. c_T, [(T+1)*B, H], and the tanh of c_1 .. c_T, where the cell has such a state. */
  final Steps cellState = new Steps();

  final Steps cellTanh = new Steps();

  /** dL/d(sums of the input's product), [T*B, G H]. */
  final Steps gateGradients = new Steps();

  /** dL/d(sums of the recurrent product), [T*B, G H]. */
  final Steps recurrentGradients;

  /** dL/dh_1 .. dL/dh_T, but for what {@link #backward} carries on itself, [T*B, H]. */
  final Steps hiddenGradients = new Steps();

  /** What flows back to the state of the step before other than by products, [B, H]. */
  final Steps carriedGradient = new Steps();

  private final Cell cell;
  private DataType type;
  private int batch;
  private int units;

  RecurrentCell(Cell cell) {
    this.cell = cell;
    recurrentSums = cell.separateSums() ? new Steps() : gates;
    recurrentGradients = cell.separateSums() ? new Steps() : gateGradients;
  }

  /** Floats that a cell keeps per step and unit in training. */
  static int floatsPerUnit(Cell cell) {
    int sums = cell.gates() * (cell.separateSums() ? 2 : 1);
    int states = cell.hasState() ? 3 : 1;
    return 2 * sums + states + 1; // with the gradients of the sums and of the hidden state
  }

  /** What is carried from one step to the next, each [(T+1)*B, H]; the hidden state comes first. */
  List<Steps> states() {
    return cell.hasState() ? List.of(hidden, cellState) : List.of(hidden);
  }

  /** Readies the memory of a forward pass. */
  void resize(DataType type, long time, long batch, long units) {
    this.type = type;
    this.batch = Math.toIntExact(batch);
    this.units = Math.toIntExact(units);
    gates.resize(type, time, batch, cell.gates(), units);
    recurrentSums.resize(type, time, batch, cell.gates(), units);
    hidden.resize(type, time + 1, batch, 1, units);
    if (cell.hasState()) {
      cellState.resize(type, time + 1, batch, 1, units);
      cellTanh.resize(type, time, batch, 1, units);
    }
  }

  /** Readies the memory of a backward pass of the same shape. */
  void startBackward(long time, long batch) {
    gateGradients.resize(type, time, batch, cell.gates(), units);
    recurrentGradients.resize(type, time, batch, cell.gates(), units);
    hiddenGradients.resize(type, time, batch, 1, units);
    carriedGradient.resize(type, 1, batch, 1, units).all().assign(0);
  }

  /** The arrays of steps from..to-1 as {@link Kernels} take them; in FLOAT alone. */
  private CellStates floats(int from, int to) {
    return new CellStates(
        cell,
        batch,
        units,
        gates.floats(from, to),
        cell.separateSums() ? recurrentSums.floats(from, to) : null,
        hidden.floats(from, to + 1),
        cell.hasState() ? cellState.floats(from, to + 1) : null,
        cell.hasState() ? cellTanh.floats(from, to) : null);
  }

  private CellGradients gradientFloats(int from, int to) {
    return new CellGradients(
        hiddenGradients.floats(from, to),
        carriedGradient.floats(0),
        gateGradients.floats(from, to),
        cell.separateSums() ? recurrentGradients.floats(from, to) : null);
  }

  /**
   * Steps from..to-1, with the recurrent product before each.
   *
   * @param product with the recurrent weights
   */
  void forward(PrepackedProduct product, int from, int to) {
    if (product.panels() != null) {
      Kernels.get().forwardSequence(floats(from, to), product.panels());
      return;
    }
    for (int t = from; t < to; t++) {
      product.add(hidden, t, recurrentSums, t);
      forward(t);
    }
  }

  /**
   * Steps from..to-1 with quantized recurrent weights and hidden states; in FLOAT alone.
   *
   * @param codes [(to - from)*B, H], receives the quantized hidden states
   */
  void forward(
      Quantizer quantizer, MultibitMatrix weights, MultibitMatrix codes, int from, int to) {
    Kernels.get().forwardSequence(floats(from, to), quantizer, weights, codes);
  }

  /**
   * The gradients of steps from..to-1, the last one first. What flows back to step to-1 from the
   * one after it is in {@link #hiddenGradients} and {@link #carriedGradient} already.
   *
   * @param product with the recurrent weights, transposed
   */
  void backward(PrepackedProduct product, int from, int to) {
    if (product.panels() != null) {
      Kernels.get().backwardSequence(floats(0, to), gradientFloats(0, to), product.panels(), from);
      return;
    }
    for (int t = to - 1; t >= from; t--) {
      if (t < to - 1) {
        product.add(recurrentGradients, t + 1, hiddenGradients, t);
      }
      backward(t);
    }
  }

  /** Step t, from sums and the states at t to gates and the states at t+1. */
  final void forward(int t) {
    if (type == DataType.FLOAT) {
      Kernels.get().forwardStep(floats(t, t + 1), 0);
    } else {
      forwardInDouble(t);
    }
  }

  /** The gradient of step t, from dL/dh_t+1 and what is carried. */
  private void backward(int t) {
    if (type == DataType.FLOAT) {
      Kernels.get().backwardStep(floats(t, t + 1), gradientFloats(t, t + 1), 0);
    } else {
      backwardInDouble(t);
    }
  }

  abstract void forwardInDouble(int t);

  abstract void backwardInDouble(int t);
}

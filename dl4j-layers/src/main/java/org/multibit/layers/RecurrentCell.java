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
 * The time steps of a recurrent cell with G gates of H units, and what a forward pass keeps for its
 * gradient. In FLOAT a sequence is one call of {@link Kernels}; if BLAS multiplies, each step is
 * one. In DOUBLE (gradient checks) steps are ND4J operations in a subclass.
 */
abstract class RecurrentCell {
  /** The sums of the input product, later the gates, [T*B, G H]. */
  final Steps gates = new Steps();

  /** The sums to which the recurrent product is added, [T*B, G H]. */
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

  /** dL/dh_1 .. dL/dh_T, without the part that {@link #backward} carries itself, [T*B, H]. */
  final Steps hiddenGradients = new Steps();

  /** The gradient that reaches the state of the previous step other than by products, [B, H]. */
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

  /**
   * The states that are carried from step to step, each [(T+1)*B, H]. The hidden state comes first.
   */
  List<Steps> states() {
    return cell.hasState() ? List.of(hidden, cellState) : List.of(hidden);
  }

  /** Prepares the memory of a forward pass. */
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

  /** Prepares the memory of a backward pass of the same shape. */
  void startBackward(long time, long batch) {
    gateGradients.resize(type, time, batch, cell.gates(), units);
    recurrentGradients.resize(type, time, batch, cell.gates(), units);
    hiddenGradients.resize(type, time, batch, 1, units);
    carriedGradient.resize(type, 1, batch, 1, units).all().assign(0);
  }

  /** The arrays of steps from..to-1 as {@link Kernels} take them; only in FLOAT. */
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
   * Computes steps from..to-1, with the recurrent product before each.
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
   * Computes steps from..to-1 with quantized recurrent weights and hidden states; only in FLOAT.
   *
   * @param codes [(to - from)*B, H], receives the quantized hidden states
   */
  void forward(
      Quantizer quantizer, MultibitMatrix weights, MultibitMatrix codes, int from, int to) {
    Kernels.get().forwardSequence(floats(from, to), quantizer, weights, codes);
  }

  /**
   * Computes the gradients of steps from..to-1, the last one first. {@link #hiddenGradients} and
   * {@link #carriedGradient} already contain the gradient from the step after to-1.
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

  /** Computes step t: from sums and the states at t to gates and the states at t+1. */
  final void forward(int t) {
    if (type == DataType.FLOAT) {
      Kernels.get().forwardStep(floats(t, t + 1), 0);
    } else {
      forwardInDouble(t);
    }
  }

  /** Computes the gradient of step t from dL/dh_t+1 and the carried gradient. */
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

package org.multibit.core;

import java.nio.FloatBuffer;

/**
 * What the time steps of a recurrent cell with G gates read and write in training. Arrays are
 * time-major, with steps * batch rows. {@code hidden} and {@code cellState} have one step more:
 * their first step is the initial state. Row r of the sums reads the state at row r and writes the
 * state at row r + batch. Buffers are direct and start at their position.
 *
 * @param gates [steps * batch, G units], sums with bias, of both products or, if the cell has
 *     separate sums, of the input product; each step replaces them by the gates
 * @param recurrent [steps * batch, G units], the recurrent product with its bias; null unless the
 *     cell has separate sums
 * @param hidden [(steps + 1) * batch, units]
 * @param cellState [(steps + 1) * batch, units]; null if the cell has no such state
 * @param cellTanh [steps * batch, units], receives tanh of each new cell state; null if the cell
 *     has no such state
 */
public record CellStates(
    Cell cell,
    int batch,
    int units,
    FloatBuffer gates,
    FloatBuffer recurrent,
    FloatBuffer hidden,
    FloatBuffer cellState,
    FloatBuffer cellTanh) {

  /** The sums to which the recurrent product is added. */
  FloatBuffer recurrentSums() {
    return recurrent == null ? gates : recurrent;
  }

  /** Elements of a row of sums, G * units. */
  int sums() {
    return cell.gates() * units;
  }

  /** Time steps. */
  int steps() {
    return gates.remaining() / sums() / batch;
  }
}

package org.multibit.core;

import java.nio.FloatBuffer;

/**
 * What a recurrent cell's time steps read and write in training, time-major: arrays have steps *
 * batch rows; {@code hidden} and {@code cellState} have a step more, the first being the state that
 * the sequence starts from. Row r of a step reads the state at row r and writes the one at row r +
 * batch. G gates. Buffers are direct and read from their position on.
 *
 * @param gates [steps * batch, G units], sums with bias, of both products or, where the cell keeps
 *     them apart, of the input's; become the gates
 * @param recurrent [steps * batch, G units], the recurrent product with its bias; null unless the
 *     cell keeps the sums apart
 * @param hidden [(steps + 1) * batch, units]
 * @param cellState [(steps + 1) * batch, units]; null if the cell has none
 * @param cellTanh [steps * batch, units], receives tanh of each new cell state; null if there is
 *     none
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

  /** What the recurrent product is added to. */
  FloatBuffer recurrentSums() {
    return recurrent == null ? gates : recurrent;
  }

  /** Elements of a row of sums: G units. */
  int sums() {
    return cell.gates() * units;
  }

  /** Time steps. */
  int steps() {
    return gates.remaining() / sums() / batch;
  }
}

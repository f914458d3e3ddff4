package org.multibit.core.format;

import static org.multibit.core.format.Checks.checkFinite;

import java.io.IOException;
import java.nio.FloatBuffer;
import org.multibit.core.Cell;

/**
 * A recurrent layer whose cell has G gates. Its rows are grouped by gate, in the file's order.
 *
 * @param input GH x (E or H)
 * @param recurrent GH x H
 * @param bias GH floats
 * @param recurrentBias GH floats, the bias of the recurrent product; null unless the cell has
 *     separate sums
 */
public record Layer(
    Cell cell, Matrix input, Matrix recurrent, FloatBuffer bias, FloatBuffer recurrentBias) {
  /** Makes a layer without a recurrent bias, as an LSTM has it. */
  public Layer(Matrix input, Matrix recurrent, FloatBuffer bias) {
    this(Cell.LSTM, input, recurrent, bias, null);
  }

  /** Checks the sizes, and that all values are finite. */
  void check(String name, int inputSize, int units) {
    long sums = (long) cell.gates() * units;
    input.checkValues(name + ".input", sums, inputSize);
    recurrent.checkValues(name + ".recurrent", sums, units);
    checkBias(name + ".bias", bias, units);
    Checks.check(
        cell.separateSums() == (recurrentBias != null),
        "%s: the %s cell %s"
            .formatted(
                name, cell, cell.separateSums() ? "has a recurrent bias" : "has one bias only"));
    if (recurrentBias != null) {
      checkBias(name + ".recurrent_bias", recurrentBias, units);
    }
  }

  private void checkBias(String name, FloatBuffer values, int units) {
    Checks.check(
        values.remaining() == (long) cell.gates() * units,
        "%s does not have %s x %s elements".formatted(name, cell.gates(), units));
    checkFinite(name, values);
  }

  void putBiases(GgufWriter out, String name) {
    out.put(name + ".bias", bias, bias.remaining());
    if (recurrentBias != null) {
      out.put(name + ".recurrent_bias", recurrentBias, bias.remaining());
    }
  }

  static Layer read(GgufReader in, String name, Cell cell, int inputSize, int units)
      throws IOException {
    int sums = cell.gates() * units;
    return new Layer(
        cell,
        Matrix.read(in, name + ".input", sums, inputSize),
        Matrix.read(in, name + ".recurrent", sums, units),
        in.floats(name + ".bias", sums),
        cell.separateSums() ? in.floats(name + ".recurrent_bias", sums) : null);
  }

  /** The cell that a file names. */
  static Cell readCell(GgufReader in) throws IOException {
    try {
      return Cell.of(in.string("multibit.cell"));
    } catch (IllegalArgumentException e) {
      throw in.damaged("multibit.cell: " + e.getMessage());
    }
  }
}

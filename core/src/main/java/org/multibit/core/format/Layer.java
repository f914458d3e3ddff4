package org.multibit.core.format;

import static org.multibit.core.format.Checks.checkFinite;

import java.io.IOException;
import java.nio.FloatBuffer;

/**
 * A layer of a cell with G gates; rows by gate, in the order of {@link Cell}.
 *
 * @param input GH x (E or H)
 * @param recurrent GH x H
 * @param bias GH floats
 * @param recurrentBias GH floats, of the recurrent product of a GRU; null makes it an LSTM
 */
public record Layer(Matrix input, Matrix recurrent, FloatBuffer bias, FloatBuffer recurrentBias) {
  /** Of an LSTM. */
  public Layer(Matrix input, Matrix recurrent, FloatBuffer bias) {
    this(input, recurrent, bias, null);
  }

  public Cell cell() {
    return recurrentBias == null ? Cell.LSTM : Cell.GRU;
  }

  /** That it fits, and that all values can be run. */
  void check(String name, int inputSize, int units) {
    long sums = (long) cell().gates() * units;
    input.checkValues(name + ".input", sums, inputSize);
    recurrent.checkValues(name + ".recurrent", sums, units);
    checkBias(name + ".bias", bias, units);
    if (recurrentBias != null) {
      checkBias(name + ".recurrent_bias", recurrentBias, units);
    }
  }

  private void checkBias(String name, FloatBuffer values, int units) {
    Checks.check(
        values.remaining() == (long) cell().gates() * units,
        "%s does not have %s x %s elements".formatted(name, cell().gates(), units));
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
        Matrix.read(in, name + ".input", sums, inputSize),
        Matrix.read(in, name + ".recurrent", sums, units),
        in.floats(name + ".bias", sums),
        cell == Cell.GRU ? in.floats(name + ".recurrent_bias", sums) : null);
  }
}

package org.multibit.core;

import java.nio.FloatBuffer;

/** A long short-term memory without peepholes. One array of sums holds both products. */
public final class LstmCell extends Cell {
  // DL4J's order of the gates; it calls the last one "input modulation".
  public static final int CANDIDATE = 0;
  public static final int FORGET = 1;
  public static final int OUTPUT = 2;
  public static final int INPUT = 3;

  LstmCell() {
    super("lstm", 4, false, true, INPUT, FORGET, CANDIDATE, OUTPUT);
  }

  /** The arrays of a sequence. */
  public static CellStates states(
      int batch,
      int units,
      FloatBuffer gates,
      FloatBuffer hidden,
      FloatBuffer cellState,
      FloatBuffer cellTanh) {
    return new CellStates(LSTM, batch, units, gates, null, hidden, cellState, cellTanh);
  }

  @Override
  protected void forward(CellStates s, int first, int last) {
    int units = s.units();
    for (int i = first * units; i < last * units; i++) {
      int z = s.gates().position() + i / units * 4 * units + i % units;
      float candidate = (float) Math.tanh(s.gates().get(z + CANDIDATE * units));
      float forget = sigmoid(s.gates().get(z + FORGET * units));
      float output = sigmoid(s.gates().get(z + OUTPUT * units));
      float input = sigmoid(s.gates().get(z + INPUT * units));
      int c = s.cellState().position() + i;
      int next = s.batch() * units;
      float state = forget * s.cellState().get(c) + input * candidate;
      float tanh = (float) Math.tanh(state);
      s.gates().put(z + CANDIDATE * units, candidate);
      s.gates().put(z + FORGET * units, forget);
      s.gates().put(z + OUTPUT * units, output);
      s.gates().put(z + INPUT * units, input);
      s.cellState().put(c + next, state);
      s.cellTanh().put(s.cellTanh().position() + i, tanh);
      s.hidden().put(s.hidden().position() + i + next, output * tanh);
    }
  }

  @Override
  protected void backward(CellStates s, CellGradients d, int first, int last) {
    int units = s.units();
    for (int i = first * units; i < last * units; i++) {
      int part = i / units * 4 * units + i % units;
      int z = s.gates().position() + part;
      float candidate = s.gates().get(z + CANDIDATE * units);
      float forget = s.gates().get(z + FORGET * units);
      float output = s.gates().get(z + OUTPUT * units);
      float input = s.gates().get(z + INPUT * units);
      float tanh = s.cellTanh().get(s.cellTanh().position() + i);
      float dh = d.hidden().get(d.hidden().position() + i);
      int carried = d.carried().position() + i % (s.batch() * units);
      float dc = dh * output * (1 - tanh * tanh) + d.carried().get(carried);
      float before = s.cellState().get(s.cellState().position() + i);
      int dz = d.gates().position() + part;
      d.gates().put(dz + CANDIDATE * units, dc * input * (1 - candidate * candidate));
      d.gates().put(dz + FORGET * units, dc * before * forget * (1 - forget));
      d.gates().put(dz + OUTPUT * units, dh * tanh * output * (1 - output));
      d.gates().put(dz + INPUT * units, dc * candidate * input * (1 - input));
      d.carried().put(carried, dc * forget);
    }
  }
}

package org.multibit.core;

import java.nio.FloatBuffer;

/** Elman's recurrent unit: h = tanh of the sums of both products. */
public final class RnnCell extends Cell {
  RnnCell() {
    super("rnn", 1, false, false, 0);
  }

  /** The arrays of a sequence. */
  public static CellStates states(int batch, int units, FloatBuffer gates, FloatBuffer hidden) {
    return new CellStates(RNN, batch, units, gates, null, hidden, null, null);
  }

  @Override
  protected void forward(CellStates s, int first, int last) {
    int next = s.batch() * s.units();
    for (int i = first * s.units(); i < last * s.units(); i++) {
      int z = s.gates().position() + i;
      float h = (float) Math.tanh(s.gates().get(z));
      s.gates().put(z, h);
      s.hidden().put(s.hidden().position() + i + next, h);
    }
  }

  @Override
  protected void backward(CellStates s, CellGradients d, int first, int last) {
    for (int i = first * s.units(); i < last * s.units(); i++) {
      float h = s.gates().get(s.gates().position() + i);
      float dh = d.hidden().get(d.hidden().position() + i);
      d.gates().put(d.gates().position() + i, dh * (1 - h * h));
    }
  }
}

package org.multibit.core;

import java.nio.FloatBuffer;

/**
 * A gated recurrent unit in the form of cuDNN and PyTorch: the reset gate is applied after the
 * recurrent product, so this cell has separate sums.
 */
public final class GruCell extends Cell {
  public static final int RESET = 0;
  public static final int UPDATE = 1;
  public static final int CANDIDATE = 2;

  GruCell() {
    super("gru", 3, true, false, RESET, UPDATE, CANDIDATE);
  }

  /** The arrays of a sequence. */
  public static CellStates states(
      int batch, int units, FloatBuffer gates, FloatBuffer recurrent, FloatBuffer hidden) {
    return new CellStates(GRU, batch, units, gates, recurrent, hidden, null, null);
  }

  @Override
  protected void forward(CellStates s, int first, int last) {
    int units = s.units();
    for (int i = first * units; i < last * units; i++) {
      int part = i / units * 3 * units + i % units;
      int z = s.gates().position() + part;
      int u = s.recurrent().position() + part;
      float reset = sigmoid(s.gates().get(z) + s.recurrent().get(u));
      float update =
          sigmoid(s.gates().get(z + UPDATE * units) + s.recurrent().get(u + UPDATE * units));
      float candidate =
          (float)
              Math.tanh(
                  s.gates().get(z + CANDIDATE * units)
                      + reset * s.recurrent().get(u + CANDIDATE * units));
      s.gates().put(z + RESET * units, reset);
      s.gates().put(z + UPDATE * units, update);
      s.gates().put(z + CANDIDATE * units, candidate);
      int h = s.hidden().position() + i;
      float before = s.hidden().get(h);
      s.hidden().put(h + s.batch() * units, candidate + update * (before - candidate));
    }
  }

  @Override
  protected void backward(CellStates s, CellGradients d, int first, int last) {
    int units = s.units();
    for (int i = first * units; i < last * units; i++) {
      int part = i / units * 3 * units + i % units;
      int z = s.gates().position() + part;
      float reset = s.gates().get(z + RESET * units);
      float update = s.gates().get(z + UPDATE * units);
      float candidate = s.gates().get(z + CANDIDATE * units);
      int carried = d.carried().position() + i % (s.batch() * units);
      float dh = d.hidden().get(d.hidden().position() + i) + d.carried().get(carried);
      float dn = dh * (1 - update) * (1 - candidate * candidate);
      float before = s.hidden().get(s.hidden().position() + i);
      float dz = dh * (before - candidate) * update * (1 - update);
      float product = s.recurrent().get(s.recurrent().position() + part + CANDIDATE * units);
      float dr = dn * product * reset * (1 - reset);
      for (FloatBuffer gradients : new FloatBuffer[] {d.gates(), d.recurrent()}) {
        gradients.put(gradients.position() + part + RESET * units, dr);
        gradients.put(gradients.position() + part + UPDATE * units, dz);
      }
      d.gates().put(d.gates().position() + part + CANDIDATE * units, dn);
      d.recurrent().put(d.recurrent().position() + part + CANDIDATE * units, dn * reset);
      d.carried().put(carried, dh * update);
    }
  }
}

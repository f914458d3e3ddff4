package org.multibit.core;

import java.util.List;

/**
 * A recurrent cell: its name in files and on the command line, its gates, and the arithmetic of its
 * time steps in plain Java. Native kernels run the known cells faster; a user's own subclass stays
 * with Java. Immutable.
 */
public abstract class Cell {
  public static final Cell LSTM = new LstmCell();
  public static final Cell GRU = new GruCell();

  /** The cells that files and the native runtime know. */
  public static final List<Cell> ALL = List.of(LSTM, GRU);

  private final String name;
  private final int gates;
  private final boolean separateSums;
  private final boolean hasState;
  private final int[] fileOrder;

  /**
   * @param separateSums whether the sums of the recurrent product are kept apart from those of the
   *     input's product, each with a bias of its own
   * @param hasState whether it carries a state besides the hidden one
   * @param fileOrder the gates in the order of files (docs/format.md), by their places in training
   */
  protected Cell(String name, int gates, boolean separateSums, boolean hasState, int... fileOrder) {
    this.name = name;
    this.gates = gates;
    this.separateSums = separateSums;
    this.hasState = hasState;
    this.fileOrder = fileOrder;
  }

  /**
   * The cell of a name.
   *
   * @throws IllegalArgumentException if there is none
   */
  public static Cell of(String name) {
    return ALL.stream()
        .filter(cell -> cell.name.equals(name))
        .findFirst()
        .orElseThrow(() -> new IllegalArgumentException("there is no cell \"%s\"".formatted(name)));
  }

  /** For example {@code "lstm"}. */
  public final String name() {
    return name;
  }

  /** Gates per unit, which are as many parts of a row of sums. */
  public final int gates() {
    return gates;
  }

  /** Whether both products' sums are kept apart, each with a bias of its own. */
  public final boolean separateSums() {
    return separateSums;
  }

  /** Whether it carries a state besides the hidden one. */
  public final boolean hasState() {
    return hasState;
  }

  /** The place in training of each gate of a file, whose order docs/format.md gives. */
  public final int[] fileOrder() {
    return fileOrder.clone();
  }

  /** The place in a file of each gate of training. */
  public final int[] trainingOrder() {
    int[] order = new int[fileOrder.length];
    for (int i = 0; i < order.length; i++) {
      order[fileOrder[i]] = i;
    }
    return order;
  }

  /** One time step for rows [first, last) of the arrays; see {@link CellStates}. */
  protected abstract void forward(CellStates states, int first, int last);

  /** The gradient of {@link #forward}, from what it left; see {@link CellGradients}. */
  protected abstract void backward(CellStates states, CellGradients gradients, int first, int last);

  /** 1 / (1 + e^-x). */
  protected static float sigmoid(float x) {
    return (float) (1 / (1 + Math.exp(-x)));
  }

  @Override
  public String toString() {
    return name;
  }
}

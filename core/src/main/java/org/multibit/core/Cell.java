package org.multibit.core;

import java.util.List;

/**
 * A recurrent cell: its name in files and on the command line, its gates, and the arithmetic of its
 * time steps in plain Java. Native kernels run the known cells faster; a user's own subclass runs
 * in Java. Immutable.
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
   * @param separateSums whether the input product and the recurrent product have separate sums,
   *     each with its own bias
   * @param hasState whether it carries a state besides the hidden state
   * @param fileOrder for each gate in the order of files (docs/format.md), its place in training
   */
  protected Cell(String name, int gates, boolean separateSums, boolean hasState, int... fileOrder) {
    this.name = name;
    this.gates = gates;
    this.separateSums = separateSums;
    this.hasState = hasState;
    this.fileOrder = fileOrder;
  }

  /**
   * Returns the cell with this name.
   *
   * @throws IllegalArgumentException if there is no such cell
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

  /** The number of gates G per unit: a row of sums has G * units elements. */
  public final int gates() {
    return gates;
  }

  /**
   * Whether the input product and the recurrent product have separate sums, each with its own bias.
   */
  public final boolean separateSums() {
    return separateSums;
  }

  /** Whether it carries a state besides the hidden state. */
  public final boolean hasState() {
    return hasState;
  }

  /** For each gate in the order of files (docs/format.md), its place in training. */
  public final int[] fileOrder() {
    return fileOrder.clone();
  }

  /** For each gate in the order of training, its place in a file. */
  public final int[] trainingOrder() {
    int[] order = new int[fileOrder.length];
    for (int i = 0; i < order.length; i++) {
      order[fileOrder[i]] = i;
    }
    return order;
  }

  /** Computes one time step for rows [first, last) of the arrays; see {@link CellStates}. */
  protected abstract void forward(CellStates states, int first, int last);

  /**
   * Computes the gradients of {@link #forward} from the arrays that it wrote; see {@link
   * CellGradients}.
   */
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

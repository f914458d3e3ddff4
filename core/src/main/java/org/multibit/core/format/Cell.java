package org.multibit.core.format;

import java.io.IOException;

/** A recurrent cell. */
public enum Cell {
  /** Gates input, forget, candidate, output. */
  LSTM("lstm", 4),
  /** Gates reset, update, candidate. */
  GRU("gru", 3);

  private final String key;
  private final int gates;

  Cell(String key, int gates) {
    this.key = key;
    this.gates = gates;
  }

  /** As files and settings name it. */
  @Override
  public String toString() {
    return key;
  }

  public int gates() {
    return gates;
  }

  /**
   * @throws IllegalArgumentException if there is no such cell
   */
  public static Cell of(String key) {
    for (Cell cell : values()) {
      if (cell.key.equals(key)) {
        return cell;
      }
    }
    throw new IllegalArgumentException("there is no cell \"" + key + "\"");
  }

  static Cell read(GgufReader in) throws IOException {
    try {
      return of(in.string("multibit.cell"));
    } catch (IllegalArgumentException e) {
      throw in.damaged("multibit.cell: " + e.getMessage());
    }
  }
}

package org.multibit.datasets;

import java.util.Locale;

/** The three parts of a corpus. */
public enum Split {
  TRAIN,
  VALID,
  TEST;

  /** The name in files and on the command line: train, valid or test. */
  @Override
  public String toString() {
    return name().toLowerCase(Locale.ROOT);
  }
}

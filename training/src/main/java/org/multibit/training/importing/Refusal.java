package org.multibit.training.importing;

import org.multibit.core.Printable;

/** A model that cannot be imported exactly. The message says why. */
final class Refusal extends IllegalArgumentException {
  private static final long serialVersionUID = 1;

  private static final int LONGEST = 500;

  Refusal(String message) {
    this(message, null);
  }

  /** The message may quote the file, so it is made one line of limited length. */
  Refusal(String message, Throwable cause) {
    super(line(message == null ? "it is damaged: " + cause : message), cause);
  }

  private static String line(String message) {
    return Printable.of(message.lines().findFirst().orElse(""), LONGEST);
  }

  /**
   * @throws Refusal with the formatted message if the condition does not hold
   */
  static void unless(boolean holds, String otherwise, Object... arguments) {
    if (!holds) {
      throw new Refusal(otherwise.formatted(arguments));
    }
  }
}

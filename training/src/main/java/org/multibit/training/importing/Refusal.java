package org.multibit.training.importing;

import org.multibit.core.Printable;

/** A model that cannot be imported, or not without changing it; says what is in the way. */
final class Refusal extends IllegalArgumentException {
  private static final long serialVersionUID = 1;

  private static final int LONGEST = 500;

  Refusal(String message) {
    this(message, null);
  }

  /** The message may quote the file: it becomes one line, not too long. */
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

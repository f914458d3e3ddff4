package org.multibit.training.importing;

/** A model that cannot be imported, or not without changing it; says what is in the way. */
final class Refusal extends IllegalArgumentException {
  private static final long serialVersionUID = 1;

  Refusal(String message) {
    super(message);
  }

  Refusal(String message, Throwable cause) {
    super(message, cause);
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

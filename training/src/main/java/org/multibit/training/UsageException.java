package org.multibit.training;

/** The command line asks for something that cannot be: exit code 2. */
public final class UsageException extends IllegalArgumentException {
  public UsageException(String message) {
    super(message);
  }

  /** Throws if the condition does not hold. */
  public static void require(boolean holds, String message) {
    if (!holds) {
      throw new UsageException(message);
    }
  }
}

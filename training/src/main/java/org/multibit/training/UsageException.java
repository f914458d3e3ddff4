package org.multibit.training;

/** The command line asks for something invalid: exit code 2. */
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

  /** Throws unless the option's value is from {@code least} to {@code most}, both included. */
  public static void requireRange(String option, long value, long least, long most) {
    require(value >= least && value <= most, outOfRange(option, value, least, most));
  }

  /** Throws unless the option's value is from {@code least} to {@code most}, both included. */
  public static void requireRange(String option, double value, double least, double most) {
    require(
        value >= least && value <= most, outOfRange(option, text(value), text(least), text(most)));
  }

  private static String outOfRange(String option, Object value, Object least, Object most) {
    return option + " " + value + " is out of range: it takes " + least + " to " + most;
  }

  /** Writes whole numbers without a fraction. */
  private static String text(double value) {
    return value == Math.rint(value) && Math.abs(value) < 1e9
        ? Long.toString((long) value)
        : Double.toString(value);
  }
}

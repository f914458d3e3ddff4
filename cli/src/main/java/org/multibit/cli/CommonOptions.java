package org.multibit.cli;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.Map;
import org.multibit.training.Json;
import picocli.CommandLine.Option;

/** What every command takes. */
public final class CommonOptions {
  @Option(names = "--json", description = "print one line of JSON as the last line")
  boolean json;

  @Option(names = "--debug", description = "print the stack trace of an error")
  boolean debug;

  @Option(
      names = {"-h", "--help"},
      usageHelp = true,
      description = "show this help")
  boolean help;

  /** Prints the result's JSON line if it was asked for. */
  public void print(Map<String, ?> result) {
    if (json) {
      print(Json.line(result) + "\n");
    }
  }

  /** Prints a line for people. */
  public void say(String format, Object... arguments) {
    print((arguments.length == 0 ? format : format.formatted(arguments)) + "\n");
  }

  /**
   * Prints a text as it is.
   *
   * @throws UncheckedIOException if standard output takes no more: the disk is full, or its reader
   *     has gone
   */
  public static void print(String text) {
    System.out.print(text);
    requireWritten();
  }

  /**
   * Asks whether all was written that was printed so far.
   *
   * @throws UncheckedIOException if not
   */
  public static void requireWritten() {
    if (System.out.checkError()) { // It flushes, too.
      throw new UncheckedIOException(
          new IOException(
              "standard output cannot be written (it is closed, its reader has gone, or the disk is full)"));
    }
  }
}

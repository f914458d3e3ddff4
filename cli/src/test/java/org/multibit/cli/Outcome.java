package org.multibit.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.regex.Pattern;
import org.multibit.training.Json;
import org.nd4j.shade.jackson.databind.JsonNode;

/** What a command of the command line left behind. */
public record Outcome(int exitCode, String out, String err) {

  public static Outcome of(String... args) {
    PrintStream stdout = System.out;
    PrintStream stderr = System.err;
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    ByteArrayOutputStream err = new ByteArrayOutputStream();
    try {
      System.setOut(new PrintStream(out, true, StandardCharsets.UTF_8));
      System.setErr(new PrintStream(err, true, StandardCharsets.UTF_8));
      int code = Main.run(args);
      return new Outcome(
          code, out.toString(StandardCharsets.UTF_8), err.toString(StandardCharsets.UTF_8));
    } finally {
      System.setOut(stdout);
      System.setErr(stderr);
    }
  }

  public static Outcome succeed(String... args) {
    Outcome outcome = of(args);
    assertEquals(0, outcome.exitCode, String.join(" ", args) + "\n" + outcome.err);
    return outcome;
  }

  /** Asserts that it failed with this code, and one line on standard error that says so. */
  public void failed(int code, String message) {
    assertEquals(code, exitCode, err);
    List<String> errors = err.lines().filter(l -> l.startsWith("multibit: ")).toList();
    assertEquals(1, errors.size(), err);
    assertTrue(Pattern.compile(message).matcher(errors.get(0)).find(), errors.get(0));
    assertFalse(errors.get(0).contains("unexpected"), errors.get(0));
  }

  public JsonNode json() throws IOException {
    List<String> lines = out.lines().toList();
    return Json.parse(lines.get(lines.size() - 1));
  }
}

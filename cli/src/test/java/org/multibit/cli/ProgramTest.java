package org.multibit.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.BufferedReader;
import java.io.File;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.api.io.TempDir;

/** The program as a process of its own, where its surroundings fail it. */
@EnabledOnOs(OS.LINUX)
class ProgramTest {
  @TempDir static Path folder;

  private static Path text;
  private static Path model;

  @BeforeAll
  static void train() throws IOException {
    text = TinyText.write(folder.resolve("text"), 60);
    Path run = folder.resolve("run");
    Outcome.succeed(
        "train --bits 2/2 --hidden 6 --batch 4 --bptt 5 --epochs 1 --data %s --out %s"
            .formatted(text, run)
            .split(" "));
    model = folder.resolve("model.gguf");
    Outcome.succeed("export --model %s --out %s".formatted(run, model).split(" "));
  }

  private static ProcessBuilder program(List<String> options, String command) {
    return Program.of(options, command).redirectError(folder.resolve("errors").toFile());
  }

  private static void assertEnds(Process process, int code, String error) throws Exception {
    assertTrue(process.waitFor(60, TimeUnit.SECONDS), "it goes on");
    List<String> errors =
        Files.readAllLines(folder.resolve("errors")).stream()
            .filter(line -> line.startsWith("multibit: "))
            .toList();
    assertEquals(code, process.exitValue(), errors.toString());
    assertEquals(error.isEmpty() ? 0 : 1, errors.size(), errors.toString());
    assertTrue(error.isEmpty() || errors.get(0).contains(error), errors.toString());
  }

  @Test
  void outputThatIsLostEndsTheCommand() throws Exception {
    for (String command :
        List.of(
            "evaluate --data %s --model %s".formatted(text, model),
            "info " + model,
            "generate --model " + model,
            "--help",
            "--version")) {
      Process process = program(List.of(), command).redirectOutput(new File("/dev/full")).start();
      assertEnds(process, 1, "standard output cannot be written");
    }
  }

  /** As {@code | head -1} does. */
  @Test
  void aReaderThatGoesEndsTheCommand() throws Exception {
    Process process = program(List.of(), "generate --tokens 1000000 --model " + model).start();
    try (BufferedReader out =
        new BufferedReader(
            new InputStreamReader(process.getInputStream(), StandardCharsets.UTF_8))) {
      assertFalse(out.readLine().isEmpty());
    }
    assertEnds(process, 1, "standard output cannot be written");
  }

  /** Everything is written beside its place. */
  @Test
  void noTemporaryFolderIsNeeded() throws Exception {
    List<String> none = List.of("-Djava.io.tmpdir=" + folder.resolve("none"));
    Path run = folder.resolve("trained");
    for (String command :
        List.of(
            "train --bits 2/2 --hidden 6 --batch 4 --bptt 5 --epochs 1 --checkpoint-minutes 0 --data %s --out %s"
                .formatted(text, run),
            "evaluate --data %s --model %s".formatted(text, run),
            "quantize --bits 3/3 --data %s --model %s".formatted(text, run),
            "export --model %s --out %s".formatted(run, folder.resolve("trained.gguf")))) {
      assertEnds(
          program(none, command).redirectOutput(folder.resolve("out").toFile()).start(), 0, "");
    }
  }
}

package org.multibit.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.BufferedReader;
import java.io.ByteArrayOutputStream;
import java.io.File;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.MappedByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.api.io.TempDir;
import picocli.CommandLine;

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

  /** A name may hold the character that Java puts for bytes that are no text. */
  @Test
  void argumentsAreTextsOfAnyCharacters() throws Exception {
    for (String[] name :
        new String[][] {
          {"\\xef\\xbf\\xbd.gguf", "1", "There is no file"},
          {"\\xff.gguf", "2", "argument 2 is not UTF-8"}
        }) {
      List<String> bash = new ArrayList<>(List.of("bash", "-c", "exec \"$@\" $'%s'"));
      bash.set(2, bash.get(2).formatted(name[0]));
      bash.add("bash");
      bash.addAll(program(List.of(), "info").command());
      ProcessBuilder program =
          new ProcessBuilder(bash).redirectError(folder.resolve("errors").toFile());
      program.environment().put("LC_ALL", "C.UTF-8");
      assertEnds(program.start(), Integer.parseInt(name[1]), name[2]);
    }
  }

  /** Reads a file that somebody cuts. */
  @CommandLine.Command(name = "cut")
  static final class CutCommand implements Callable<Integer> {
    @CommandLine.Parameters Path file;

    @Override
    public Integer call() throws IOException {
      try (FileChannel channel =
          FileChannel.open(file, StandardOpenOption.READ, StandardOpenOption.WRITE)) {
        MappedByteBuffer mapped = channel.map(FileChannel.MapMode.READ_ONLY, 0, 1 << 20);
        channel.truncate(1);
        return (int) mapped.get(1 << 19);
      }
    }
  }

  @Test
  void aFileThatIsCutWhileItIsMappedIsAFailure() throws IOException {
    Path file = Files.write(folder.resolve("cut"), new byte[1 << 20]);
    PrintStream stderr = System.err;
    ByteArrayOutputStream err = new ByteArrayOutputStream();
    System.setErr(new PrintStream(err, true, StandardCharsets.UTF_8));
    try {
      assertEquals(1, Main.run(new CutCommand(), file.toString()));
    } finally {
      System.setErr(stderr);
    }
    assertTrue(
        err.toString(StandardCharsets.UTF_8).contains("a file was cut while it was read"),
        err.toString(StandardCharsets.UTF_8));
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

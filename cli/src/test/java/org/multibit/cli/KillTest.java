package org.multibit.cli;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Random;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledIfSystemProperty;
import org.junit.jupiter.api.condition.EnabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.api.io.TempDir;
import org.multibit.training.Run;

/**
 * Programs that are killed while they write, and two that write one file: what has a final name is
 * whole, and the next program leaves nothing of theirs behind.
 */
@EnabledOnOs(OS.LINUX)
@EnabledIfSystemProperty(named = "multibit.full", matches = "true")
class KillTest {
  private static final int KILLS = 30;
  private static final int PAIRS = 50;

  @TempDir static Path folder;

  private static Path text;
  private static Path run;

  /** Millions of weights, so that writing takes long enough to be killed in it. */
  @BeforeAll
  static void train() throws Exception {
    text = TinyText.write(folder.resolve("text"), 60);
    run = folder.resolve("run");
    String train = "train --bits fp --hidden 900 --batch 4 --bptt 5 --max-tokens 20";
    assertEquals(0, start(train + " --data %s --out %s".formatted(text, run)).waitFor());
  }

  private static Process start(String command) throws IOException {
    return Program.of(List.of(), command)
        .redirectErrorStream(true)
        .redirectOutput(ProcessBuilder.Redirect.appendTo(folder.resolve("log").toFile()))
        .start();
  }

  private static List<String> files(Path of) throws IOException {
    try (Stream<Path> files = Files.list(of)) {
      return files.map(file -> file.getFileName().toString()).sorted().toList();
    }
  }

  private static void assertSucceeds(Process process) throws Exception {
    assertTrue(process.waitFor(120, TimeUnit.SECONDS));
    assertEquals(0, process.exitValue(), () -> log());
  }

  private static String log() {
    try {
      return Files.readString(folder.resolve("log"));
    } catch (IOException e) {
      return e.toString();
    }
  }

  @Test
  void killedExports() throws Exception {
    Path out = Files.createDirectory(folder.resolve("exports"));
    killed("export --model %s --out %s".formatted(run, out.resolve("m.gguf")), out, 11);
  }

  @Test
  void killedQuantizations() throws Exception {
    Path out = Files.createDirectory(folder.resolve("quantizations"));
    killed(
        "quantize --bits 2/2 --data %s --model %s --out %s"
            .formatted(text, run, out.resolve("m.gguf")),
        out,
        12);
  }

  /** Half of the kills come at any moment, half as soon as the file is being written. */
  private static void killed(String command, Path out, long seed) throws Exception {
    Path file = out.resolve("m.gguf");
    long begin = System.nanoTime();
    assertSucceeds(start(command));
    long millis = (System.nanoTime() - begin) / 1_000_000;
    byte[] whole = Files.readAllBytes(file);
    Random random = new Random(seed);
    int cut = 0;
    for (int kill = 0; kill < KILLS; kill++) {
      List<String> before = files(out);
      Process process = start(command);
      long end = System.nanoTime() + (millis / 2 + random.nextLong(millis)) * 1_000_000;
      while (process.isAlive()
          && (kill % 2 == 0 ? System.nanoTime() < end : before.containsAll(files(out)))) {
        Thread.sleep(1);
      }
      if (process.isAlive()) {
        process.destroyForcibly().waitFor();
        cut += before.containsAll(files(out)) ? 0 : 1;
      }
      assertArrayEquals(whole, Files.readAllBytes(file));
    }
    assertTrue(cut > 0, "no kill struck a write");
    assertSucceeds(start(command));
    assertEquals(List.of("m.gguf"), files(out), cut + " of the kills left a temporary file");
    assertArrayEquals(whole, Files.readAllBytes(file));
  }

  @Test
  void killedTraining() throws Exception {
    Path killed = folder.resolve("killed");
    String command =
        "train --resume --bits 2/2 --hidden 300 --batch 4 --bptt 5 --epochs 1000 --checkpoint-minutes 0 --data %s --out %s"
            .formatted(text, killed);
    Random random = new Random(13);
    for (int kill = 0; kill < KILLS; kill++) {
      Process process = start(command);
      assertTrue(!process.waitFor(1000 + random.nextInt(4000), TimeUnit.MILLISECONDS), () -> log());
      process.destroyForcibly().waitFor();
      if (Run.exists(killed)) {
        Run at = Run.open(killed);
        if (at.hasCheckpoint()) {
          at.checkpointNetwork();
          at.isOver();
        }
        if (Files.exists(killed.resolve("model.zip"))) {
          at.model();
        }
        at.ledger();
      }
    }
    assertSucceeds(start(command.replace("--epochs 1000", "--epochs 1")));
    assertEquals(
        List.of(
            ".lock",
            "checkpoint.zip",
            "ledger.jsonl",
            "model.zip",
            "settings.json",
            "vocabulary.txt"),
        files(killed));
  }

  @Test
  void twoWritersOfOneFile() throws Exception {
    Path out = Files.createDirectory(folder.resolve("pairs"));
    Path file = out.resolve("m.gguf");
    String command = "export --model %s --out %s".formatted(run, file);
    assertSucceeds(start(command));
    byte[] whole = Files.readAllBytes(file);
    for (int pair = 0; pair < PAIRS; pair++) {
      Files.delete(file);
      Process first = start(command);
      Process second = start(command);
      assertSucceeds(first);
      assertSucceeds(second);
      assertArrayEquals(whole, Files.readAllBytes(file));
      assertEquals(List.of("m.gguf"), files(out));
    }
  }
}

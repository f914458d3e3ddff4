package org.multibit.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.FileTime;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.concurrent.TimeUnit;
import java.util.zip.ZipFile;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import org.multibit.core.Quantization;
import org.multibit.layers.QuantizedArrays;
import org.multibit.training.Json;
import org.multibit.training.Run;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.nd4j.shade.jackson.databind.JsonNode;

/**
 * A run that is told to end, then killed outright, again and again, ends with the same weights as
 * one that was left alone.
 */
class ResumeTest {
  private static final int ENDED_BY_SIGTERM = 128 + 15;

  @TempDir Path folder;

  @ParameterizedTest
  @ValueSource(
      strings = {
        "train --hidden 32 --cell lstm --freeze-codes 19",
        "train --hidden 32 --cell gru --layers 2 --embedding 20 --average 300 --noise 0.2 --lr-schedule linear",
        "finetune --distill 0.5 --distill-temperature 2 --teacher PARENT --teacher OTHER"
      })
  void killedRunEndsWithTheSameWeights(String command) throws Exception {
    Path text = TinyText.write(folder.resolve("text"), 3000);
    if (command.startsWith("finetune")) {
      Path parent = folder.resolve("parent");
      Path other = folder.resolve("other");
      String train = "train --bits fp --max-tokens 2000 --batch 5 --data " + text + " --out ";
      Outcome.succeed((train + parent + " --layers 2 --hidden 32").split(" "));
      Outcome.succeed((train + other + " --cell gru --hidden 20").split(" "));
      command = command.replace("PARENT", parent.toString()).replace("OTHER", other.toString());
      command += " --model " + parent;
    }
    Path whole = folder.resolve("whole");
    Process process = start(command, text, whole, 0.05);
    process.waitFor(120, TimeUnit.SECONDS);
    assertEquals(0, process.exitValue(), Files.readString(folder.resolve("whole.log")));

    Path killed = folder.resolve("killed");
    JsonNode stopped;
    int stops = 0;
    do { // Until it is stopped within an epoch, not between two.
      process = start(command, text, killed, 1000);
      awaitLine(killed.resolve("ledger.jsonl"), ++stops);
      process.destroy();
      assertTrue(process.waitFor(60, TimeUnit.SECONDS));
      String log = Files.readString(folder.resolve("killed.log"));
      assertEquals(ENDED_BY_SIGTERM, process.exitValue(), log);
      stopped = trainingState(killed);
      assertTrue(
          log.contains("%,d tokens, and saved".formatted(stopped.get("tokens").asLong())), log);
    } while (stopped.get("segments").asInt() == 0 && stops < 5);
    assertNotEquals(0, stopped.get("segments").asInt());

    Random random = new Random(20180430);
    int kills = 0;
    while (true) {
      FileTime before = Files.getLastModifiedTime(killed.resolve("checkpoint.zip"));
      process = start(command, text, killed, 0);
      if (kills < 4) {
        // Once it goes on, so that no machine is too slow or too fast.
        while (process.isAlive()
            && Files.getLastModifiedTime(killed.resolve("checkpoint.zip")).equals(before)) {
          Thread.sleep(5);
        }
      }
      if (kills < 4 && !process.waitFor(random.nextInt(400), TimeUnit.MILLISECONDS)) {
        process.destroyForcibly().waitFor();
        kills++;
      } else {
        assertTrue(process.waitFor(120, TimeUnit.SECONDS));
        assertEquals(0, process.exitValue(), Files.readString(folder.resolve("killed.log")));
        break;
      }
    }
    assertNotEquals(0, kills, "the run ended before it could be killed");
    assertEquals(
        Run.weightsSha256(Run.open(whole).checkpointNetwork()),
        Run.weightsSha256(Run.open(killed).checkpointNetwork()));
    assertEquals(
        Run.weightsSha256(Run.open(whole).model()), Run.weightsSha256(Run.open(killed).model()));
    assertEquals(figures(whole), figures(killed));
    if (command.contains("--freeze-codes")) {
      INDArray words = Run.open(killed).checkpointNetwork().getParam("0_W");
      assertTrue(
          QuantizedArrays.squaredError(
                      QuantizedArrays.pack(Quantization.alternating(2), words), words)
                  .relative()
              < 1e-9);
    }
  }

  /** Where a run's checkpoint stands. */
  private static JsonNode trainingState(Path run) throws IOException {
    try (ZipFile zip = new ZipFile(run.resolve("checkpoint.zip").toFile());
        InputStream state = zip.getInputStream(zip.getEntry("trainingState.json"))) {
      return Json.parse(new String(state.readAllBytes(), StandardCharsets.UTF_8));
    }
  }

  /** Waits until a file has so many lines, and a moment longer. */
  private static void awaitLine(Path file, int lines) throws Exception {
    long begin = System.nanoTime();
    while (!Files.exists(file) || Files.readAllLines(file).size() < lines) {
      assertTrue(System.nanoTime() - begin < 60e9, file + " does not grow");
      Thread.sleep(20);
    }
    Thread.sleep(300);
  }

  /** What the ledger says, without times. */
  private static List<String> figures(Path run) throws IOException {
    List<String> figures = new ArrayList<>();
    for (String line : Files.readAllLines(run.resolve("ledger.jsonl"))) {
      var entry = Json.parse(line);
      figures.add(
          entry.get("epoch")
              + " "
              + entry.get("tokens")
              + " "
              + entry.get("validPerplexityBatched"));
    }
    return figures;
  }

  /**
   * @param checkpointMinutes 0: after each segment
   */
  private Process start(String arguments, Path text, Path run, double checkpointMinutes)
      throws IOException {
    String command =
        arguments
            + " --resume --bits 2/2 --batch 5 --bptt 10 --lr 5 --epochs 20 --max-tokens 50000"
            + " --checkpoint-minutes %s --data %s --out %s".formatted(checkpointMinutes, text, run);
    return Program.of(List.of("-Xmx1g"), command)
        .redirectErrorStream(true)
        .redirectOutput(folder.resolve(run.getFileName() + ".log").toFile())
        .start();
  }
}

package org.multibit.training;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.multibit.training.Outcome.succeed;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.StreamSupport;
import javax.imageio.ImageIO;
import org.junit.jupiter.api.MethodOrderer;
import org.junit.jupiter.api.Order;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestMethodOrder;
import org.junit.jupiter.api.io.TempDir;
import org.nd4j.shade.jackson.databind.JsonNode;

/** The paper's tables, with a small text in place of theirs: one test goes on where one ended. */
@TestMethodOrder(MethodOrderer.OrderAnnotation.class)
class ReproduceTest {
  private static final String PARENT = "ptb-lstm-300-fp";

  @TempDir static Path folder;

  /** With all folders under one, and a text of so many sentences. */
  private static Outcome reproduce(String under, int sentences, String table, String... more)
      throws IOException {
    Path in = folder.resolve(under);
    if (!Files.exists(in)) {
      TinyText.write(in.resolve("text"), sentences);
    }
    List<String> args = new ArrayList<>(List.of("reproduce", table, "--json"));
    for (String name : List.of("data", "runs", "models", "results")) {
      args.add("--" + name);
      args.add(in.resolve(name.equals("data") ? "text" : name).toString());
    }
    args.addAll(List.of(more));
    return succeed(args.toArray(String[]::new));
  }

  private static Outcome reproduceSmall(String table, String... more) throws IOException {
    return reproduce("small", 100, table, more);
  }

  private static List<JsonNode> rows(Outcome outcome) throws IOException {
    return StreamSupport.stream(outcome.json().get("rows").spliterator(), false).toList();
  }

  private static double error(List<JsonNode> rows, String method, int bits) {
    return rows.stream()
        .filter(row -> row.get("method").asText().equals(method))
        .filter(row -> row.get("bits").asInt() == bits)
        .mapToDouble(row -> row.get("ours: error").asDouble())
        .findFirst()
        .orElseThrow();
  }

  @Test
  void aBudgetPausesARunThatGoesOnLater() throws IOException {
    Path run = folder.resolve("large/runs").resolve(PARENT);
    long tokens = 0;
    for (int i = 0; i < 2; i++) {
      List<JsonNode> rows = rows(reproduce("large", 5000, "table3", "--budget-minutes", "0.1"));
      assertEquals("unfinished", rows.get(0).get("state").asText());
      for (JsonNode row : rows.subList(1, rows.size())) {
        assertEquals("not run", row.get("state").asText());
        assertEquals("-", row.get("ours").asText());
      }
      List<JsonNode> ledger = Ledger.read(run.resolve("ledger.jsonl"));
      long before = tokens;
      tokens = ledger.get(ledger.size() - 1).get("tokens").asLong();
      assertTrue(tokens > before);
    }
    assertFalse(Files.exists(folder.resolve("large/models")));
  }

  private static void skipToTheLastEpoch(Run run) throws IOException {
    TrainingState state = run.checkpointState();
    state.startEpoch();
    state.epochs = 79;
    run.saveCheckpoint(run.checkpointNetwork(), state);
  }

  @Test
  @Order(1)
  void aRunsWeightsAreQuantizedByEachMethod() throws IOException {
    reproduceSmall("table1", "--budget-minutes", "0.05");
    skipToTheLastEpoch(Run.open(folder.resolve("small/runs").resolve(PARENT)));
    List<JsonNode> rows = rows(reproduceSmall("table1"));
    assertEquals("full precision", rows.get(0).get("method").asText());
    for (int bits = 2; bits <= 4; bits++) {
      double refined = error(rows, "refined", bits);
      assertTrue(error(rows, "greedy", bits) >= refined);
      assertTrue(refined >= error(rows, "alternating", bits));
    }
    assertTrue(error(rows, "alternating", 2) >= error(rows, "optimal", 2));
    assertEquals("89.8", rows.get(0).get("paper: perplexity").asText());
    Path models = folder.resolve("small/models");
    List<JsonNode> ledger = Ledger.read(models.resolve(PARENT + ".jsonl"));
    assertEquals(80, ledger.get(ledger.size() - 1).get("epoch").asInt());
    assertEquals(
        rows.size() + 1, Files.readAllLines(folder.resolve("small/results/table1.csv")).size());
  }

  @Test
  @Order(2)
  void keptModelsStandForRunsThatAreGone() throws IOException {
    List<JsonNode> before = rows(reproduceSmall("table1"));
    Files.move(folder.resolve("small/runs"), folder.resolve("small/gone"));
    List<JsonNode> after = rows(reproduceSmall("table1"));
    assertFalse(Files.exists(folder.resolve("small/runs")));
    assertEquals(before.get(0), after.get(0));
    for (int bits = 2; bits <= 4; bits++) {
      double error = error(before, "alternating", bits);
      assertEquals(error, error(after, "alternating", bits), 0.001 + 0.01 * error);
    }
  }

  @Test
  @Order(3)
  void quantizedRunsStartFromTheKeptModel() throws IOException {
    List<JsonNode> rows = rows(reproduceSmall("table3", "--budget-minutes", "0.1"));
    assertEquals("finished", rows.get(0).get("state").asText());
    JsonNode gru = rows.get(1);
    assertEquals("GRU", gru.get("cell").asText());
    assertTrue(gru.get("epochs").asInt() > 0);
    assertTrue(ImageIO.read(folder.resolve("small/results/table3.png").toFile()).getWidth() > 0);
  }

  @Test
  void anUnknownTableIsRefused() {
    Outcome.of("reproduce", "table0").failed(2, "There is no table0 to reproduce");
    Outcome.of("reproduce", "table1", "--budget-minutes", "-1").failed(2, "--budget-minutes -1");
  }
}

package org.multibit.cli.reproduce;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.Set;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.BooleanSupplier;
import javax.imageio.ImageIO;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import org.multibit.cli.Outcome;
import org.multibit.cli.TinyText;
import org.multibit.cli.reproduce.Reproduction.Result;
import org.multibit.cli.reproduce.Reproduction.State;
import org.multibit.datasets.Corpora;
import org.multibit.datasets.TextCorpus;
import org.multibit.training.Json;
import org.multibit.training.Run;
import org.multibit.training.SavedModel;
import org.multibit.training.SavedModels;
import org.multibit.training.Settings;
import org.nd4j.shade.jackson.databind.JsonNode;

/** Runs of tables, small: of few units, on a small text. */
class ReproduceTest {
  private static final PlannedRun PARENT = PlannedRun.fullPrecision("tiny", "lstm", 8, 4);
  private static final PlannedRun CHILD =
      new PlannedRun("tiny", "lstm", 8, 4, "alternating", "2/2", false);

  @TempDir static Path folder;
  private static TextCorpus corpus;

  /** Carries out both runs, interrupted once. */
  @BeforeAll
  static void run() throws IOException {
    corpus = Corpora.open(TinyText.write(folder.resolve("text"), 60).toString());
    AtomicInteger asked = new AtomicInteger();
    Reproduction interrupted = reproduction("runs", () -> asked.incrementAndGet() > 20);
    interrupted.train(CHILD);
    Result half = interrupted.result(PARENT);
    assertEquals(State.UNFINISHED, half.state());
    assertTrue(half.epochs().getAsInt() < 80);
    assertEquals(State.NOT_RUN, interrupted.result(CHILD).state());
    assertFalse(Files.exists(folder.resolve("models")));
    // A process that was killed while it kept a model has left this.
    Path models = Files.createDirectory(folder.resolve("models"));
    Files.writeString(models.resolve("." + PARENT.name() + ".jsonl.tmp"), "half");
    reproduction("runs", () -> false).train(CHILD);
  }

  private static Reproduction reproduction(String runs, BooleanSupplier pause) {
    return new Reproduction(corpus, folder.resolve(runs), folder.resolve("models"), pause);
  }

  /** A reproduction that finds no folder of a run and may not train. */
  private static Reproduction ofKeptModels() {
    return reproduction("gone", () -> true);
  }

  @Test
  void anInterruptedRunIsTheSameAsOneInOneGo() throws IOException {
    Path models = folder.resolve("models of another go");
    Path runs = folder.resolve("runs of another go");
    new Reproduction(corpus, runs, models, () -> false).train(PARENT);
    String name = PARENT.name();
    assertEquals(
        Run.weightsSha256(Run.open(runs.resolve(name)).model()),
        Run.weightsSha256(Run.open(folder.resolve("runs").resolve(name)).model()));
  }

  @Test
  void finishedRunsStandInFoldersOfModels() throws IOException {
    Path models = folder.resolve("models");
    SavedModel parent =
        SavedModels.open(
            models.resolve(PARENT.name() + ".safetensors"), models.resolve("tiny-words.txt"));
    Run child = Run.open(folder.resolve("runs").resolve(CHILD.name()));
    assertEquals(Run.weightsSha256(parent.model()), child.settings().parentSha256);
    assertEquals(PARENT.name(), child.settings().parent);
    Result full = ofKeptModels().result(PARENT);
    Result quantized = ofKeptModels().result(CHILD);
    assertEquals(State.FINISHED, full.state());
    assertEquals(State.FINISHED, quantized.state());
    assertEquals(30, quantized.epochs().getAsInt());
    assertEquals(5.0 / 30, quantized.learningRate().getAsDouble(), 1e-12);
    double perplexity = quantized.perplexity().getAsDouble();
    assertTrue(perplexity < 12, "of 18 words: " + perplexity);
    assertEquals(perplexity, quantized.ofLayers().getAsDouble(), 0.0005 * perplexity);
    assertEquals(
        perplexity, reproduction("runs", () -> true).result(CHILD).perplexity().getAsDouble());
  }

  /**
   * What {@code finetune @presets/warm-start} does is what the tables do, the best but for cycles.
   */
  @ParameterizedTest
  @CsvSource({"warm-start, lstm, 2", "warm-start-gru, gru, 2", "best-2-2, lstm, 4"})
  void presetsOfTheTables(String preset, String cell, int cycles) throws IOException {
    Path models = folder.resolve("models");
    Path run = folder.resolve("by-" + preset);
    Outcome.succeed(
        ("finetune @../presets/%s --epochs 7 --bits 2/2 --batch 4 --max-tokens 500 --vocab %s --model %s --data %s --out %s"
                .formatted(
                    preset,
                    models.resolve("tiny-words.txt"),
                    models.resolve(PARENT.name() + ".safetensors"),
                    folder.resolve("text"),
                    run))
            .split(" "));
    Settings settings = Run.open(run).settings();
    assertEquals(7, settings.epochs, "an option after the preset's");
    assertEquals(cycles, settings.cycles);
    settings.cycles = 2;
    settings.cell = cell; // the model is an LSTM, whatever the preset is for
    Set<String> besides =
        Set.of("epochs", "maxTokens", "data", "dataSha256", "parent", "parentSha256");
    PlannedRun plan = new PlannedRun("tiny", cell, 8, 4, "alternating", "2/2", false);
    assertEquals(Optional.empty(), settings.difference(plan.settings(), besides));
  }

  @ParameterizedTest
  @ValueSource(strings = {"uniform", "balanced", "refined", "alternating"})
  void plansAreRunsThatCanBe(String method) {
    Settings settings = new PlannedRun("tiny", "gru", 8, 4, method, "2/3", false).settings();
    settings.check();
    assertEquals(method.equals("refined") || method.equals("alternating"), settings.holdCodes > 0);
  }

  @Test
  void anotherTextIsRefused() throws IOException {
    TextCorpus other = Corpora.open(TinyText.write(folder.resolve("other"), 80).toString());
    Path models = folder.resolve("models");
    Reproduction kept = new Reproduction(other, folder.resolve("gone"), models, () -> false);
    String message = assertThrows(IOException.class, () -> kept.train(CHILD)).getMessage();
    assertTrue(message.contains("was trained on another text than"), message);
    Path runs = folder.resolve("runs");
    Reproduction run = new Reproduction(other, runs, folder.resolve("none"), () -> false);
    message = assertThrows(IOException.class, () -> run.train(PARENT)).getMessage();
    assertTrue(message.contains("it was started with dataSha256"), message);
    message = assertThrows(IOException.class, () -> run.result(PARENT)).getMessage();
    assertTrue(message.endsWith("choose another folder by --runs"), message);
  }

  /** A kept model and a run of an older plan are no rows of a table of the new one. */
  @Test
  void anotherRecipeIsRefused() throws IOException {
    String message =
        refusalOfChild(
            "old",
            "\"learningRate\":5.0,\"learningRateSchedule",
            "\"learningRate\":4.0,\"learningRateSchedule");
    assertTrue(
        message.contains("not trained by the table's recipe (learningRate = 4.0, not 5.0)"),
        message);
    assertTrue(message.endsWith("by --models"), message);
  }

  /** The parent was trained anew: what was made from the one before is no row beside it. */
  @Test
  void anotherParentIsRefused() throws IOException {
    String message = refusalOfChild("orphan", "\"parentSha256\":\"", "\"parentSha256\":\"0");
    assertTrue(message.contains("-2-2.gguf was made from another model than "), message);
  }

  @Test
  void modelsWithoutWhatBelongsToThemAreRefused() throws IOException {
    Reproduction kept = ofChangedLedger("alone", "", "");
    Files.delete(folder.resolve("alone").resolve(PARENT.name() + ".jsonl"));
    String message = assertThrows(IOException.class, () -> kept.result(CHILD)).getMessage();
    assertTrue(message.contains("-2-2.gguf is there without the model that it was"), message);
    Reproduction training =
        new Reproduction(corpus, folder.resolve("gone"), folder.resolve("alone"), () -> false);
    message = assertThrows(IOException.class, () -> training.train(PARENT)).getMessage();
    assertTrue(message.contains("-fp.safetensors is there without its ledger, "), message);
  }

  @Test
  void anotherModelBesideTheLedgerIsRefused() throws IOException {
    String message = refusalOfChild("swapped", "\"seed\":1,", "\"seed\":2,");
    assertTrue(message.contains("not trained by the table's recipe (seed = 2, not 1)"), message);
    message = refusalOfChild("earlier", "\"tokens\":", "\"tokens\":1");
    assertTrue(message.contains("are not of one run"), message);
  }

  @Test
  void anUnfinishedLedgerIsRefused() throws IOException {
    String whole = Files.readString(folder.resolve("models").resolve(CHILD.name() + ".jsonl"));
    String last = whole.lines().toList().get(29) + "\n";
    String message = refusalOfChild("short", last, "");
    assertTrue(message.contains(".jsonl ends before the run does: remove it and "), message);
  }

  @Test
  void anEmptyLedgerIsRefused() throws IOException {
    String whole = Files.readString(folder.resolve("models").resolve(CHILD.name() + ".jsonl"));
    String message = refusalOfChild("truncated", whole, "");
    assertTrue(message.contains(".jsonl is damaged: it has no line"), message);
  }

  /** A run that was begun by {@code finetune}, with the parent's file, is one of the table too. */
  @Test
  void whereTheParentWasIsNoMatter() throws IOException {
    Reproduction kept = ofChangedLedger("begun by hand", "\"parent\":\"", "\"parent\":\"other/");
    assertEquals(State.FINISHED, kept.result(CHILD).state());
  }

  /** What is said of the kept models if the child's ledger had something else in it. */
  private static String refusalOfChild(String name, String trained, String other)
      throws IOException {
    Reproduction kept = ofChangedLedger(name, trained, other);
    return assertThrows(IOException.class, () -> kept.result(CHILD)).getMessage();
  }

  private static Reproduction ofChangedLedger(String name, String trained, String other)
      throws IOException {
    Path models = Files.createDirectories(folder.resolve(name));
    for (String file :
        List.of(
            "tiny-words.txt",
            PARENT.name() + ".safetensors",
            PARENT.name() + ".jsonl",
            CHILD.name() + ".gguf",
            CHILD.name() + ".jsonl")) {
      Files.copy(folder.resolve("models").resolve(file), models.resolve(file));
    }
    Path ledger = models.resolve(CHILD.name() + ".jsonl");
    Files.writeString(ledger, Files.readString(ledger).replace(trained, other));
    return new Reproduction(corpus, folder.resolve("gone"), models, () -> true);
  }

  /** Each method at each width, and by error greedy >= refined >= alternating >= the optimum. */
  @Test
  void weightsQuantizedByEachMethod() throws IOException {
    JsonNode figures =
        Json.parse("{\"uniform\": {\"errors\": [1, 0.5, 0.25], \"perplexities\": [3, 2, 1]}}");
    PaperTables.PostTraining paper =
        new PaperTables.PostTraining("A table", PARENT, 89.8, List.of(2, 3, 4), figures);
    List<Map<String, Object>> rows =
        new PostTrainingTable(paper, ofKeptModels(), corpus).fill("By a test.").json();
    for (int bits = 2; bits <= 4; bits++) {
      double refined = error(rows, "refined", bits);
      assertTrue(error(rows, "greedy", bits) > refined);
      assertTrue(refined > error(rows, "alternating", bits));
      assertEquals(1.0 / (1 << (bits - 2)), row(rows, "uniform", bits).get("paper: error"));
      // A row's own range is never wider than the matrix's.
      assertTrue(error(rows, "uniform over the matrix", bits) > error(rows, "uniform", bits));
    }
    assertTrue(error(rows, "alternating", 2) > error(rows, "optimal", 2));
    double full = (double) rows.get(0).get("ours: perplexity");
    assertEquals(full, ofKeptModels().result(PARENT).perplexity().getAsDouble());
    double four = (double) row(rows, "alternating", 4).get("ours: perplexity");
    assertEquals(full, four, 0.1 * full);
  }

  private static Map<String, Object> row(List<Map<String, Object>> rows, String method, int bits) {
    return rows.stream()
        .filter(row -> method.equals(row.get("method")) && row.get("bits").equals(bits))
        .findFirst()
        .orElseThrow();
  }

  private static double error(List<Map<String, Object>> rows, String method, int bits) {
    return (double) row(rows, method, bits).get("ours: error");
  }

  private static PaperTables.Trained table(PaperTables.Row... rows) {
    return new PaperTables.Trained("A table", "tiny", List.of(rows), Optional.empty());
  }

  private static PaperTables.Row row(PlannedRun run, double perplexity) {
    return new PaperTables.Row(run, OptionalDouble.of(perplexity), OptionalDouble.of(89.8));
  }

  @Test
  void theTableOfTrainedModelsHasAllRows() throws IOException {
    PlannedRun never = new PlannedRun("tiny", "gru", 8, 4, "refined", "3/3", false);
    PaperTables.Trained paper = table(row(PARENT, 89.8), row(CHILD, 95.8), row(never, 95.9));
    Path results = Files.createDirectory(folder.resolve("results"));
    List<Map<String, Object>> rows =
        new TrainedTable(paper, ofKeptModels(), results, "table")
            .fill("By a test.", Set.of(PARENT, CHILD, never))
            .json();
    assertEquals("finished", rows.get(0).get("state").toString());
    assertEquals("2/2", rows.get(1).get("bits"));
    assertEquals(
        100 * (95.8 / 89.8 - 1), (double) rows.get(1).get("paper: % above full precision"), 1e-9);
    double ours = (double) rows.get(1).get("ours") / (double) rows.get(0).get("ours");
    assertEquals(100 * (ours - 1), (double) rows.get(1).get("ours: % above full precision"), 1e-9);
    assertEquals("not run", rows.get(2).get("state").toString());
    assertEquals(null, rows.get(2).get("ours"));
    List<String> values = Files.readAllLines(results.resolve("table.csv"));
    assertEquals(4, values.size());
    assertTrue(values.get(1).endsWith(",By a test."), values.get(1));
    assertTrue(Files.readString(results.resolve("table.md")).contains("| GRU | refined | 3/3 |"));
    for (String plot : List.of("table.png", "table-size-perplexity.png")) {
      assertTrue(ImageIO.read(results.resolve(plot).toFile()).getWidth() > 0, plot);
    }

    Path nowhere = folder.resolve("no models");
    new TrainedTable(
            paper, new Reproduction(corpus, nowhere, nowhere, () -> true), results, "table")
        .fill("By another.", Set.of());
    assertEquals(values, Files.readAllLines(results.resolve("table.csv")));
  }

  /** Only what was asked for is trained, and what that starts from. */
  @Test
  void aTableOfSomeRuns() throws IOException {
    PlannedRun other = new PlannedRun("tiny", "lstm", 8, 4, "greedy", "2/2", false);
    PaperTables.Trained paper = table(row(PARENT, 89.8), row(other, 95.8));
    Path results = Files.createDirectory(folder.resolve("some"));
    AtomicInteger asked = new AtomicInteger();
    Reproduction some =
        new Reproduction(
            corpus,
            folder.resolve("some/runs"),
            folder.resolve("some/models"),
            () -> asked.incrementAndGet() > 20);
    List<Map<String, Object>> rows =
        new TrainedTable(paper, some, results, "table").fill("By a test.", Set.of(PARENT)).json();
    assertEquals("unfinished", rows.get(0).get("state").toString());
    assertEquals("not run", rows.get(1).get("state").toString());
  }

  /** Every row is there, though nothing was run. */
  @Test
  void aTableWithoutTimeSaysThatNothingWasRun() throws IOException {
    Path empty = folder.resolve("empty");
    Files.createDirectories(empty.resolve("m"));
    for (String table : List.of("table1", "table3")) {
      Outcome outcome =
          Outcome.succeed(
              ("reproduce " + table + " --json --budget-minutes 0 --data " + folder + "/text")
                  .concat(" --runs %s/r --models %s/m --results %s".formatted(empty, empty, empty))
                  .split(" "));
      JsonNode rows = outcome.json().get("rows");
      assertTrue(rows.size() > 20);
      for (JsonNode row : rows) {
        assertEquals("not run", row.get("state").asText());
      }
    }
  }

  @Test
  void badUseIsRefused() throws IOException {
    Outcome.of("reproduce", "table0").failed(2, "There is no table0 to reproduce");
    Outcome.of("reproduce", "table3", "--only", "ptb-lstm-300-alternating-2-2", "--only", "lstm")
        .failed(2, "--only lstm: the runs of table3 are ptb-lstm-300-fp, ptb-gru-300-fp, .*");
    Outcome.of("reproduce", "table1", "--only", "ptb-lstm-300-fp")
        .failed(2, "--only is for table3 to table5: table1 trains one run");
    Outcome.of("reproduce", "table1", "--budget-minutes", "-1").failed(2, "--budget-minutes -1");
    Path file = Files.createFile(folder.resolve("file"));
    Outcome.of(
            "reproduce",
            "table1",
            "--models",
            "" + folder,
            "--runs",
            "" + folder,
            "--results",
            file + "/results")
        .failed(1, "Cannot create the folder .*file/results");
  }
}

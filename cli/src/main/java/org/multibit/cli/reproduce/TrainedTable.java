package org.multibit.cli.reproduce;

import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.OptionalDouble;
import java.util.Set;
import java.util.stream.Collectors;
import org.multibit.cli.reproduce.Reproduction.Result;
import org.multibit.training.Settings;

/** Tables 3 to 5: models trained at few bits, one run after the other. */
final class TrainedTable {
  private static final String PERPLEXITIES =
      "Perplexity is that of the whole test text in one stream, for the packed file in its runtime and"
          + " for DL4J's layers. A full-precision figure is that of the saved file, which has half"
          + " precision. Validation perplexity is batched; it is that of the best epoch, whose model is"
          + " kept.";
  private static final String RECIPE =
      "Unless the row says scratch, a quantized run starts from the weights of the full-precision run"
          + " and takes %d epochs. Its learning rate falls linearly from %s to 0, and its latent weights"
          + " are clipped to +-%s (GRUs: %s and +-%s). Its training text has Kneser-Ney noise of %s, and"
          + " its dropout is %s. At 2 bits, refined and alternating runs freeze the codes in the last %d"
          + " epochs. All other runs end after 80 epochs, or when their learning rate is below 0.001. The"
          + " learning rate of those with a GRU starts at %s (notes.md says why). The full-precision models"
          + " had neither the further epochs nor the noise nor the lower dropout. Each row is one run with"
          + " seed 1.";

  private static final String SIZE_NOTE =
      "Perplexity by the size of the kept file: %s-size-perplexity.png, of full precision (in"
          + " 16 bits) and of the alternating runs that start from it.";

  /** The paper's own. */
  private static final String PLOTTED_METHOD = "alternating";

  private final PaperTables.Trained paper;
  private final Reproduction reproduction;
  private final Path folder;
  private final String name;
  private final Map<PlannedRun, Result> results = new LinkedHashMap<>();
  private final Set<PlannedRun> diverged = new HashSet<>();

  /**
   * @param folder where NAME.md, NAME.csv, NAME.png (learning curves) and NAME-size-perplexity.png
   *     are written, anew after each run
   */
  TrainedTable(PaperTables.Trained paper, Reproduction reproduction, Path folder, String name) {
    this.paper = paper;
    this.reproduction = reproduction;
    this.folder = folder;
    this.name = name;
  }

  /**
   * Carries out the runs, as far as the time goes.
   *
   * @param provenance the note that says when and by what the table was written
   * @param wanted which runs to carry out, with those that they start from; the others are shown as
   *     far as they are
   */
  TableReport fill(String provenance, Set<PlannedRun> wanted) throws IOException {
    for (PaperTables.Row row : paper.rows()) {
      results.put(row.run(), reproduction.result(row.run()));
    }
    TableReport report = write(provenance);
    for (PaperTables.Row row : paper.rows()) {
      Result before = results.get(row.run());
      if (before.state() == Reproduction.State.FINISHED
          || !wanted.contains(row.run())
          || diverged.contains(row.run().parent())) {
        continue;
      }
      try {
        reproduction.train(row.run());
      } catch (ArithmeticException e) {
        System.err.printf("%s: %s%n", row.run().name(), e.getMessage());
        diverged.add(row.run());
      }
      Result after = reproduction.result(row.run());
      if (!after.equals(before) || diverged.contains(row.run())) {
        results.put(row.run(), after);
        report = write(provenance);
      }
    }
    return report;
  }

  private TableReport write(String provenance) throws IOException {
    List<String> notes =
        new ArrayList<>(
            List.of(
                PERPLEXITIES,
                RECIPE.formatted(
                    PlannedRun.WARM_START_EPOCHS,
                    PlannedRun.WARM_START_RATE,
                    PlannedRun.WARM_START_BOUND,
                    PlannedRun.GRU_WARM_START_RATE,
                    PlannedRun.GRU_WARM_START_BOUND,
                    PlannedRun.WARM_START_NOISE,
                    PlannedRun.WARM_START_DROPOUT,
                    PlannedRun.WARM_START_HELD_EPOCHS,
                    Settings.GRU_LEARNING_RATE)));
    if (results.values().stream().anyMatch(result -> result.epochs().isPresent())) {
      notes.add("Learning curves: %s.png.".formatted(name));
    }
    if (results.values().stream().anyMatch(result -> result.bytes().isPresent())) {
      notes.add(SIZE_NOTE.formatted(name));
    }
    paper.note().ifPresent(notes::add);
    TableReport report =
        new TableReport(paper.title(), notes, provenance)
            .column("cell", "%s")
            .column("method", "%s")
            .column("bits", "%s")
            .column("paper", "%.1f")
            .column("ours", "%.2f")
            .column("difference %", "%+.1f")
            .column("paper: % above full precision", "%+.1f")
            .column("ours: % above full precision", "%+.1f")
            .column("DL4J's layers", "%.2f")
            .column("validation", "%.1f")
            .column("epochs", "%d")
            .column("learning rate at the end", "%.4g")
            .column("state", "%s")
            .column("commits", "%s");
    LearningCurves curves = new LearningCurves(paper.title(), provenance);
    SizePlot sizes = new SizePlot(paper.title(), provenance);
    for (PaperTables.Row row : paper.rows()) {
      PlannedRun run = row.run();
      Result result = results.get(run);
      curves.add(run.name(), result.ledger());
      OptionalDouble papers = row.perplexity();
      OptionalDouble fullPrecision =
          results.getOrDefault(run.inFullPrecision(), Result.NONE).perplexity();
      if (run.isFullPrecision() || run.parent() != null && run.method().equals(PLOTTED_METHOD)) {
        sizes.add(
            run.cell().toUpperCase(Locale.ROOT),
            run.bits(),
            result.bytes(),
            result.perplexity(),
            papers);
      }
      String method = run.isFullPrecision() ? "full precision" : run.method();
      report.add(
          run.cell().toUpperCase(Locale.ROOT),
          run.scratch() ? method + " from scratch" : method,
          run.bits(),
          papers,
          result.perplexity(),
          TableReport.difference(papers, result.perplexity()),
          run.isFullPrecision() ? null : TableReport.difference(row.fullPrecision(), papers),
          run.isFullPrecision() ? null : TableReport.difference(fullPrecision, result.perplexity()),
          result.ofLayers(),
          result.validationPerplexity(),
          result.epochs(),
          result.learningRate(),
          diverged.contains(run) ? "diverged" : result.state(),
          shortened(result.commits()));
    }
    if (report.write(folder, name)) {
      curves.write(folder.resolve(name + ".png"));
      sizes.write(folder.resolve(name + "-size-perplexity.png"));
    }
    return report;
  }

  /** Ten digits of each; what was not committed stays marked. Null if there is none. */
  private static String shortened(List<String> commits) {
    return commits.isEmpty()
        ? null
        : commits.stream()
            .map(commit -> commit.replaceAll("^([0-9a-f]{10})[0-9a-f]*", "$1"))
            .collect(Collectors.joining(" "));
  }
}

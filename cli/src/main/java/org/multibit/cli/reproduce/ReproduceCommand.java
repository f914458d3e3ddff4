package org.multibit.cli.reproduce;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.LocalDate;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.Callable;
import org.multibit.cli.CommonOptions;
import org.multibit.core.format.AtomicFile;
import org.multibit.datasets.Corpora;
import org.multibit.datasets.TextCorpus;
import org.multibit.runtime.NativeLibrary;
import org.multibit.training.Backend;
import org.multibit.training.Provenance;
import org.multibit.training.UsageException;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

@Command(
    name = "reproduce",
    description = {
      "Carry out the runs of one of the paper's tables and write the table, paper beside ours.",
      "Finished runs are used again, an interrupted one goes on."
    },
    sortOptions = false)
public final class ReproduceCommand implements Callable<Integer> {
  private static final List<String> POST_TRAINING = List.of("table1", "table2");
  private static final List<String> TRAINED = List.of("table3", "table4", "table5");

  /** Two years: no run takes as long. */
  private static final double MOST_MINUTES = 1e6;

  @Parameters(
      paramLabel = "TABLE",
      description =
          "table1, table2 (LSTM, GRU: weights alone, no further training), table3, table4, table5 (trained at 2-4 bits on Penn Treebank, WikiText-2, Text8); table6 (CPU time) has options of its own")
  String table;

  @Option(
      names = "--budget-minutes",
      paramLabel = "N",
      description = "pause training after so many minutes (default: go on to the end)")
  double budgetMinutes = MOST_MINUTES;

  @Option(
      names = "--only",
      paramLabel = "RUN",
      description =
          "of table3 to table5, train only this run, for example ptb-lstm-300-alternating-2-2 (and what it starts from); may be given several times")
  Set<String> only = Set.of();

  @Option(
      names = "--data",
      paramLabel = "DIR",
      description = "a folder with the table's text (default: the corpus by its name)")
  String data;

  @Option(
      names = "--runs",
      paramLabel = "DIR",
      description = "folder of the runs (default: runs/reproduce of this source tree)")
  Path runs = home().resolve("runs/reproduce");

  @Option(
      names = "--models",
      paramLabel = "DIR",
      description =
          "folder of finished models, which must be there (default: models of this source tree)")
  Path models = home().resolve("models");

  @Option(
      names = "--results",
      paramLabel = "DIR",
      description = "folder of the tables (default: docs/results of this source tree)")
  Path results = home().resolve("docs/results");

  @Mixin CommonOptions common;

  private final long begin = System.nanoTime();
  private boolean paused;

  /** The source tree, named by the launcher. */
  private static Path home() {
    return Path.of(System.getProperty("multibit.home", ""));
  }

  @Override
  public Integer call() throws IOException {
    UsageException.require(
        !table.equals("table6"),
        "table6 is measured beside other libraries: ./multibit reproduce table6 does it");
    boolean postTraining = POST_TRAINING.contains(table);
    UsageException.require(
        postTraining || TRAINED.contains(table),
        "There is no %s to reproduce: there are table1 to table6".formatted(table));
    UsageException.requireRange("--budget-minutes", budgetMinutes, 0, MOST_MINUTES);
    UsageException.require(
        only.isEmpty() || !postTraining,
        "--only is for table3 to table5: %s trains one run".formatted(table));
    PaperTables paper = new PaperTables();
    Set<PlannedRun> wanted = postTraining ? Set.of() : wanted(paper.trained(table));
    UsageException.require(
        Files.exists(models),
        "--models: there is no folder %s; make it, for models that are to be trained anew"
            .formatted(models));
    for (Path folder : List.of(runs, models, results)) {
      AtomicFile.createFolder(folder); // Before hours of training, not after.
    }
    Backend.start(0);
    TableReport report =
        postTraining
            ? postTraining(paper.postTraining(table))
            : trained(paper.trained(table), wanted);
    report.markdown().forEach(line -> common.say("%s", line));
    common.say("%s", results.resolve(table + ".md"));
    if (paused) {
      common.say("The time is up: the same command goes on.");
    }
    Map<String, Object> result = new LinkedHashMap<>();
    result.put("table", table);
    result.put("rows", report.json());
    common.print(result);
    return 0;
  }

  private TableReport postTraining(PaperTables.PostTraining paper) throws IOException {
    TextCorpus corpus = corpus(paper.parent().corpus());
    TableReport report =
        new PostTrainingTable(paper, reproduction(corpus), corpus).fill(provenance(corpus));
    report.write(results, table);
    return report;
  }

  /** The runs that are asked for, and those that they start from. */
  private Set<PlannedRun> wanted(PaperTables.Trained paper) {
    Map<String, PlannedRun> named = new LinkedHashMap<>();
    paper.rows().forEach(row -> named.put(row.run().name(), row.run()));
    Set<PlannedRun> wanted = new HashSet<>();
    for (String name : only.isEmpty() ? named.keySet() : only) {
      UsageException.require(
          named.containsKey(name),
          "--only %s: the runs of %s are %s"
              .formatted(name, table, String.join(", ", named.keySet())));
      wanted.add(named.get(name));
      Optional.ofNullable(named.get(name).parent()).ifPresent(wanted::add);
    }
    return wanted;
  }

  private TableReport trained(PaperTables.Trained paper, Set<PlannedRun> wanted)
      throws IOException {
    TextCorpus corpus = corpus(paper.corpus());
    return new TrainedTable(paper, reproduction(corpus), results, table)
        .fill(provenance(corpus), wanted);
  }

  private TextCorpus corpus(String name) throws IOException {
    return Corpora.open(data == null ? name : data);
  }

  /** Whether training is to pause: asked where there is something left to train. */
  private boolean pause() {
    paused |= (System.nanoTime() - begin) * 1e-9 >= 60 * budgetMinutes;
    return paused;
  }

  private Reproduction reproduction(TextCorpus corpus) {
    return new Reproduction(corpus, runs, models, this::pause);
  }

  private String provenance(TextCorpus corpus) {
    return "Written by `./multibit reproduce %s` on %s, commit %s; evaluated by %s; text SHA-256 %s."
        .formatted(
            table,
            LocalDate.now(),
            Provenance.commit(),
            NativeLibrary.isAvailable() ? "the native runtime" : "DL4J's layers",
            corpus.sha256());
  }
}

package org.multibit.training.reproduce;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.LocalDate;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.concurrent.Callable;
import java.util.function.BooleanSupplier;
import org.multibit.core.format.LanguageModelFile;
import org.multibit.datasets.Corpora;
import org.multibit.datasets.TextCorpus;
import org.multibit.training.Provenance;
import org.multibit.training.UsageException;
import org.multibit.training.cli.CommonOptions;
import org.multibit.training.cli.EvaluateCommand;
import org.multibit.training.reproduce.Reproduction.Result;
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

  @Parameters(
      paramLabel = "TABLE",
      description =
          "table1, table2 (LSTM, GRU: weights alone, no further training), table3, table4, table5 (trained at 2-4 bits on Penn Treebank, WikiText-2, Text8), table6 (CPU time)")
  String table;

  @Option(
      names = "--budget-minutes",
      paramLabel = "N",
      description = "pause training after so many minutes (default: go on to the end)")
  double budgetMinutes = Double.POSITIVE_INFINITY;

  @Option(
      names = "--data",
      paramLabel = "DIR",
      description = "a folder with the table's text (default: the corpus by its name)")
  String data;

  @Option(
      names = "--runs",
      paramLabel = "DIR",
      description = "folder of the runs (default ${DEFAULT-VALUE})")
  Path runs = Path.of("runs", "reproduce");

  @Option(
      names = "--models",
      paramLabel = "DIR",
      description = "folder of finished models (default: models of this source tree)")
  Path models = home().resolve("models");

  @Option(
      names = "--results",
      paramLabel = "DIR",
      description = "folder of the tables (default: docs/results of this source tree)")
  Path results = home().resolve("docs/results");

  @Mixin CommonOptions common;

  /** The source tree, named by the launcher. */
  private static Path home() {
    return Path.of(System.getProperty("multibit.home", ""));
  }

  @Override
  public Integer call() throws IOException {
    UsageException.require(
        POST_TRAINING.contains(table) || TRAINED.contains(table),
        "There is no %s to reproduce: there are table1 to table6".formatted(table));
    UsageException.require(
        budgetMinutes >= 0, "--budget-minutes %s: it takes 0 or more".formatted(budgetMinutes));
    CommonOptions.start(0);
    PaperTables paper = new PaperTables();
    TableReport report =
        POST_TRAINING.contains(table)
            ? postTraining(paper.postTraining(table))
            : trained(paper.trained(table));
    report.write(results, table);
    report.markdown().forEach(common::say);
    common.say("%s", results.resolve(table + ".md"));
    Map<String, Object> result = new LinkedHashMap<>();
    result.put("table", table);
    result.put("rows", report.json());
    common.print(result);
    return 0;
  }

  private Reproduction reproduction(TextCorpus corpus) {
    long begin = System.nanoTime();
    BooleanSupplier pause = () -> (System.nanoTime() - begin) * 1e-9 > 60 * budgetMinutes;
    return new Reproduction(corpus, runs, models, pause);
  }

  private TextCorpus corpus(String name) throws IOException {
    return Corpora.open(data == null ? name : data);
  }

  private List<String> notes(TextCorpus corpus, String... more) {
    List<String> notes = new ArrayList<>(List.of(more));
    notes.add(
        "Written by `./multibit reproduce %s` on %s, commit %s; text SHA-256 %s."
            .formatted(table, LocalDate.now(), Provenance.commit(), corpus.sha256()));
    return notes;
  }

  private TableReport postTraining(PaperTables.PostTraining paper) throws IOException {
    TextCorpus corpus = corpus(paper.parent().corpus());
    Reproduction reproduction = reproduction(corpus);
    reproduction.train(paper.parent());
    TableReport report =
        new TableReport(
            paper.title(),
            notes(
                corpus,
                "All weight matrices quantized, nothing trained on; activations in full precision."
                    + " Relative squared error over all matrices together, perplexity of the whole"
                    + " test text in one stream. The paper does not say what uniform and balanced"
                    + " levels spread over: the first rows are scaled by each row's maximum, the"
                    + " last ones otherwise."),
            List.of(
                "method",
                "bits",
                "paper: error",
                "ours: error",
                "difference of error",
                "paper: perplexity",
                "ours: perplexity",
                "difference of perplexity"));
    Optional<Result> parent = reproduction.result(paper.parent());
    OptionalDouble ours =
        parent.isEmpty() ? OptionalDouble.empty() : OptionalDouble.of(parent.get().perplexity());
    OptionalDouble papers = OptionalDouble.of(paper.perplexity());
    report.add(
        "full precision" + progress(parent),
        "-",
        "-",
        "-",
        "-",
        TableReport.figure("%.1f", papers),
        TableReport.figure("%.1f", ours),
        TableReport.difference(papers, ours));
    if (parent.isEmpty()) {
      return report;
    }
    LanguageModelFile model = reproduction.model(paper.parent()).orElseThrow().pack();
    List<PostTrainingMethod> methods = new ArrayList<>(PostTrainingMethod.ofRows());
    methods.addAll(PostTrainingMethod.ofOtherRanges());
    for (PostTrainingMethod method : methods) {
      for (int bits : paper.bits()) {
        if (bits <= method.maxBits()) {
          report.add(postTraining(paper, corpus, model, method, bits));
        }
      }
    }
    return report;
  }

  private String[] postTraining(
      PaperTables.PostTraining paper,
      TextCorpus corpus,
      LanguageModelFile model,
      PostTrainingMethod method,
      int bits)
      throws IOException {
    PostTrainingMethod.Quantized quantized = method.quantize(model, bits);
    Path file = Files.createTempFile("multibit", ".gguf");
    OptionalDouble perplexity;
    try {
      quantized.model().write(file);
      perplexity =
          OptionalDouble.of(
              (double) EvaluateCommand.evaluate(file, corpus, "test").get("perplexity"));
    } finally {
      Files.deleteIfExists(file);
    }
    OptionalDouble error = OptionalDouble.of(quantized.relativeSquaredError());
    OptionalDouble paperError = paper.error(method.inPaper(), bits);
    OptionalDouble paperPerplexity = paper.perplexity(method.inPaper(), bits);
    common.say(
        "%s, %d bits: relative squared error %.4f, perplexity %.1f",
        method.name(), bits, error.getAsDouble(), perplexity.getAsDouble());
    return new String[] {
      method.name().replace(',', ';'),
      "" + bits,
      TableReport.figure("%.3f", paperError),
      TableReport.figure("%.4f", error),
      TableReport.difference(paperError, error),
      TableReport.figure("%.1f", paperPerplexity),
      TableReport.figure("%.1f", perplexity),
      TableReport.difference(paperPerplexity, perplexity)
    };
  }

  private TableReport trained(PaperTables.Trained paper) throws IOException {
    TextCorpus corpus = corpus(paper.corpus());
    Reproduction reproduction = reproduction(corpus);
    TableReport report =
        new TableReport(
            paper.title(),
            notes(
                corpus,
                "Perplexity of the whole test text in one stream: of the packed file in its"
                    + " runtime, and of DL4J's layers. Full precision: of the kept file, in half"
                    + " precision. Quantized runs start from the full-precision run's weights but"
                    + " where it says scratch. Learning curves: "
                    + table
                    + ".png."),
            List.of(
                "cell",
                "method",
                "bits",
                "paper",
                "ours",
                "difference",
                "DL4J's layers",
                "validation",
                "epochs",
                "learning rate at the end",
                "state"));
    LearningCurves curves = new LearningCurves(paper.title());
    for (PaperTables.Row row : paper.rows()) {
      reproduction.train(row.run());
      Optional<Result> result = reproduction.result(row.run());
      result.ifPresent(r -> curves.add(row.run().name(), r.ledger()));
      OptionalDouble ours =
          result.isEmpty() ? OptionalDouble.empty() : OptionalDouble.of(result.get().perplexity());
      String method = row.run().isFullPrecision() ? "full precision" : row.run().method();
      report.add(
          row.run().cell().toUpperCase(java.util.Locale.ROOT),
          row.run().scratch() ? method + " from scratch" : method,
          row.run().bits(),
          TableReport.figure("%.1f", row.perplexity()),
          TableReport.figure("%.2f", ours),
          TableReport.difference(row.perplexity(), ours),
          TableReport.figure(
              "%.2f", result.isEmpty() ? OptionalDouble.empty() : result.get().ofLayers()),
          result.map(r -> "%.1f".formatted(r.validationPerplexity())).orElse("-"),
          result.map(r -> "" + r.epochs()).orElse("0"),
          result.map(r -> "%.4g".formatted(r.learningRate())).orElse("-"),
          state(result));
      report.write(results, table);
    }
    curves.write(results.resolve(table + ".png"));
    return report;
  }

  private static String progress(Optional<Result> result) {
    return result.isPresent() && result.get().finished() ? "" : " (%s)".formatted(state(result));
  }

  private static String state(Optional<Result> result) {
    return result.isEmpty() ? "not run" : result.get().finished() ? "finished" : "unfinished";
  }
}

package org.multibit.training.reproduce;

import java.io.Closeable;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.function.BooleanSupplier;
import org.deeplearning4j.nn.multilayer.MultiLayerNetwork;
import org.multibit.core.format.AtomicFile;
import org.multibit.core.format.GgufReader;
import org.multibit.datasets.TextCorpus;
import org.multibit.training.LanguageModel;
import org.multibit.training.Ledger;
import org.multibit.training.PyTorchExport;
import org.multibit.training.Run;
import org.multibit.training.SavedModel;
import org.multibit.training.Settings;
import org.multibit.training.Trainer;
import org.multibit.training.cli.EvaluateCommand;
import org.multibit.training.cli.TrainingProgress;
import org.nd4j.shade.jackson.databind.JsonNode;

/**
 * Carries out the runs of a table and keeps their models: what is finished is used again, what was
 * interrupted goes on. A finished run leaves its model in the folder of models, packed (full
 * precision: as a PyTorch state dict in half precision, with the words in a file of their own), and
 * its ledger; that stands for the run where its folder is gone.
 */
final class Reproduction {
  private static final Duration CHECKPOINT_EVERY = Duration.ofMinutes(5);
  private static final String TEST = "test";

  private final TextCorpus corpus;
  private final Path runs;
  private final Path models;
  private final BooleanSupplier pause;

  /**
   * @param runs where runs have their folders
   * @param models where models of finished runs are kept
   * @param pause whether the time is up
   */
  Reproduction(TextCorpus corpus, Path runs, Path models, BooleanSupplier pause) {
    this.corpus = corpus;
    this.runs = runs;
    this.models = models;
    this.pause = pause;
  }

  /**
   * What a run came to, so far.
   *
   * @param perplexity of the packed model in its runtime, over the whole test text
   * @param ofLayers what DL4J's layers gave for the same model, if that is known
   * @param ledger a line for each epoch
   */
  record Result(
      PlannedRun run,
      boolean finished,
      double perplexity,
      OptionalDouble ofLayers,
      List<JsonNode> ledger) {

    int epochs() {
      return ledger.get(ledger.size() - 1).get("epoch").asInt();
    }

    /** The learning rate of the last epoch. */
    double learningRate() {
      return ledger.get(ledger.size() - 1).get("learningRate").asDouble();
    }

    double validationPerplexity() {
      return Ledger.best(ledger).orElseThrow().get("validPerplexityBatched").asDouble();
    }
  }

  /** Trains a run, and before it the one that it starts from, as far as the time goes. */
  void train(PlannedRun plan) throws IOException {
    if (isFinished(plan) || pause.getAsBoolean()) {
      return;
    }
    Path folder = runs.resolve(plan.name());
    if (Run.exists(folder)) {
      train(plan, resume(plan, folder));
      return;
    }
    Settings settings = plan.settings();
    settings.dataSha256 = corpus.sha256();
    PlannedRun parent = plan.parent();
    if (parent != null) {
      train(parent);
      if (!isFinished(parent)) {
        return;
      }
      settings.parent = parent.name();
      settings.parentSha256 = Run.weightsSha256(model(parent).orElseThrow().model());
    }
    train(plan, Run.create(folder, settings, corpus.vocabulary()));
  }

  /**
   * @throws IOException if the run there is not as planned, or of another text
   */
  private Run resume(PlannedRun plan, Path folder) throws IOException {
    Settings found = Run.open(folder).settings();
    if (!found.dataSha256.equals(corpus.sha256())) {
      throw new IOException(
          "%s was trained on another text than %s: choose another folder by --runs"
              .formatted(folder, corpus.name()));
    }
    Settings planned = plan.settings();
    planned.data = found.data;
    planned.dataSha256 = found.dataSha256;
    planned.parent = found.parent;
    planned.parentSha256 = found.parentSha256;
    return Run.resume(folder, planned);
  }

  private void train(PlannedRun plan, Run run) throws IOException {
    Settings settings = run.settings();
    run.requireVocabulary(corpus);
    System.err.printf("%s, at most %d epochs%n", plan.name(), settings.epochs);
    boolean over;
    try (Closeable lock = run.lock();
        TrainingProgress progress = new TrainingProgress(settings)) {
      new Trainer(
              run, settings, corpus, () -> start(plan, settings), null, CHECKPOINT_EVERY, progress)
          .train(pause);
      over = run.isOver();
    }
    if (over) {
      keep(plan, run);
    }
  }

  private MultiLayerNetwork start(PlannedRun plan, Settings settings) throws IOException {
    int vocabulary = corpus.vocabulary().size();
    if (plan.parent() == null) {
      return LanguageModel.create(settings, vocabulary);
    }
    return LanguageModel.from(model(plan.parent()).orElseThrow().model(), settings, vocabulary);
  }

  /** Leaves the model of a finished run, and its ledger, in the folder of models. */
  private void keep(PlannedRun plan, Run run) throws IOException {
    Files.createDirectories(models);
    if (plan.isFullPrecision()) {
      corpus.vocabulary().save(words(plan));
      // Its perplexity is that of the file, in half precision: only the file tells it.
      new PyTorchExport(run.pack()).write(modelFile(plan));
      double perplexity = perplexity(SavedModel.open(modelFile(plan), words(plan)));
      new PyTorchExport(run.pack(Map.of("test_perplexity", perplexity))).write(modelFile(plan));
    } else {
      double perplexity = (double) EvaluateCommand.evaluate(run, corpus, TEST).get("perplexity");
      run.pack(Map.of("test_perplexity", perplexity)).write(modelFile(plan));
    }
    // The ledger comes last: a model with a ledger is finished.
    AtomicFile.write(ledgerFile(plan), path -> Files.copy(run.ledgerFile(), path));
  }

  private Path modelFile(PlannedRun plan) {
    return models.resolve(plan.name() + (plan.isFullPrecision() ? ".safetensors" : ".gguf"));
  }

  private Path ledgerFile(PlannedRun plan) {
    return models.resolve(plan.name() + ".jsonl");
  }

  private Path words(PlannedRun plan) {
    return models.resolve(plan.corpus() + "-words.txt");
  }

  private boolean isKept(PlannedRun plan) {
    return Files.exists(modelFile(plan)) && Files.exists(ledgerFile(plan));
  }

  /** Whether nothing is left to train of a run. */
  boolean isFinished(PlannedRun plan) throws IOException {
    Path folder = runs.resolve(plan.name());
    if (!Run.exists(folder) || isKept(plan)) {
      return isKept(plan);
    }
    Run run = Run.open(folder);
    if (run.isOver()) {
      keep(plan, run);
      return true;
    }
    return false;
  }

  /**
   * A run's model, as good as it is now; of a full-precision run that is kept, in half precision.
   */
  Optional<SavedModel> model(PlannedRun plan) throws IOException {
    Path folder = runs.resolve(plan.name());
    if (Run.exists(folder) && !Run.open(folder).ledger().isEmpty()) {
      return Optional.of(Run.open(folder));
    }
    if (plan.isFullPrecision() && isKept(plan)) {
      return Optional.of(SavedModel.open(modelFile(plan), words(plan)));
    }
    return Optional.empty();
  }

  /** What a run came to: by its kept model if it is finished, else by its best so far. */
  Optional<Result> result(PlannedRun plan) throws IOException {
    if (isFinished(plan)) {
      List<JsonNode> ledger = Ledger.read(ledgerFile(plan));
      if (plan.isFullPrecision()) {
        SavedModel model = SavedModel.open(modelFile(plan), words(plan));
        return Optional.of(
            new Result(plan, true, perplexity(model), OptionalDouble.empty(), ledger));
      }
      Object ofLayers =
          new GgufReader(modelFile(plan)).metadata().get("multibit.provenance.test_perplexity");
      return Optional.of(
          new Result(
              plan,
              true,
              perplexity(modelFile(plan)),
              ofLayers == null ? OptionalDouble.empty() : OptionalDouble.of((double) ofLayers),
              ledger));
    }
    Optional<SavedModel> model = model(plan);
    if (model.isEmpty()) {
      return Optional.empty();
    }
    List<JsonNode> ledger = ((Run) model.get()).ledger();
    return Optional.of(
        new Result(plan, false, perplexity(model.get()), OptionalDouble.empty(), ledger));
  }

  /** Of a model as it is packed, over the test text, in the packed file's runtime. */
  private double perplexity(SavedModel model) throws IOException {
    Path file = Files.createTempFile("multibit", ".gguf");
    try {
      model.pack().write(file);
      return perplexity(file);
    } finally {
      Files.deleteIfExists(file);
    }
  }

  private double perplexity(Path packed) throws IOException {
    return (double) EvaluateCommand.evaluate(packed, corpus, TEST).get("perplexity");
  }
}

package org.multibit.cli.reproduce;

import java.io.Closeable;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.OptionalInt;
import java.util.OptionalLong;
import java.util.Set;
import java.util.concurrent.CancellationException;
import java.util.function.BooleanSupplier;
import org.deeplearning4j.nn.multilayer.MultiLayerNetwork;
import org.multibit.cli.EvaluationProgress;
import org.multibit.cli.StopSignal;
import org.multibit.cli.TrainingProgress;
import org.multibit.core.format.AtomicFile;
import org.multibit.core.format.GgufReader;
import org.multibit.datasets.Split;
import org.multibit.datasets.TextCorpus;
import org.multibit.datasets.Vocabulary;
import org.multibit.training.Evaluation;
import org.multibit.training.LanguageModel;
import org.multibit.training.Ledger;
import org.multibit.training.PyTorchExport;
import org.multibit.training.Run;
import org.multibit.training.SavedModel;
import org.multibit.training.SavedModels;
import org.multibit.training.Settings;
import org.multibit.training.Trainer;
import org.nd4j.shade.jackson.databind.JsonNode;

/**
 * Carries out the runs of a table and keeps their models: what is finished is used again, what was
 * interrupted goes on. A finished run leaves its model in the folder of models, packed (full
 * precision: as a PyTorch state dict in half precision, with the words in a file of their own), and
 * its ledger. From then on that stands for the run, so that it gives the same figures where the
 * run's folder is gone.
 */
final class Reproduction {
  private static final Duration CHECKPOINT_EVERY = Duration.ofMinutes(5);

  /** Settings that say on what text and from what parent. */
  private static final Set<String> BESIDES_THE_RECIPE =
      Set.of("data", "dataSha256", "parent", "parentSha256", "maxTokens");

  private final TextCorpus corpus;
  private final Path runs;
  private final Path models;
  private final BooleanSupplier pause;

  /** Of the weights of kept full-precision models. */
  private final Map<PlannedRun, String> keptSha256 = new HashMap<>();

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

  /** How far a run is. */
  enum State {
    NOT_RUN("not run"),
    UNFINISHED("unfinished"),
    FINISHED("finished");

    private final String words;

    State(String words) {
      this.words = words;
    }

    @Override
    public String toString() {
      return words;
    }
  }

  /**
   * What a run came to, so far.
   *
   * @param perplexity of the packed model over the whole test text; empty before the first epoch
   * @param ofLayers what DL4J's layers gave for the same model, if that is known
   * @param bytes of the kept model's file; empty before the run is finished
   * @param ledger a line for each epoch
   */
  record Result(
      State state,
      OptionalDouble perplexity,
      OptionalDouble ofLayers,
      OptionalLong bytes,
      List<JsonNode> ledger) {

    static final Result NONE = withoutModel(State.NOT_RUN);

    private static Result withoutModel(State state) {
      return new Result(
          state, OptionalDouble.empty(), OptionalDouble.empty(), OptionalLong.empty(), List.of());
    }

    private Optional<JsonNode> last() {
      return ledger.isEmpty() ? Optional.empty() : Optional.of(ledger.get(ledger.size() - 1));
    }

    OptionalInt epochs() {
      return last().stream().mapToInt(line -> line.path("epoch").asInt()).findFirst();
    }

    /** The learning rate of the last epoch. */
    OptionalDouble learningRate() {
      return last().stream().mapToDouble(line -> line.path("learningRate").asDouble()).findFirst();
    }

    OptionalDouble validationPerplexity() {
      return Ledger.best(ledger).stream()
          .mapToDouble(line -> line.path("validPerplexityBatched").asDouble())
          .findFirst();
    }

    /** What trained it, in order; a run that was interrupted may have gone on with another. */
    List<String> commits() {
      return ledger.stream().map(line -> line.path("commit").asText()).distinct().toList();
    }
  }

  /**
   * Trains a run, and before it the one that it starts from, as far as the time goes.
   *
   * @throws IOException if the run that is there is not as planned, or is of another text
   * @throws ArithmeticException if training diverges
   * @throws CancellationException if the process is told to end
   */
  void train(PlannedRun plan) throws IOException {
    if (isFinished(plan) || pause.getAsBoolean()) {
      return;
    }
    Settings settings = plan.settings();
    settings.dataSha256 = corpus.sha256();
    PlannedRun parent = plan.parent();
    MultiLayerNetwork start = null;
    if (parent != null) {
      train(parent);
      if (!isFinished(parent)) {
        return;
      }
      start = kept(parent).model();
      settings.parent = parent.name();
      settings.parentSha256 = Run.weightsSha256(start);
    }
    requireWords(plan);
    Trainer.requireEnough(corpus, settings);
    Path folder = runs.resolve(plan.name());
    if (Files.exists(modelFile(plan)) && !Run.exists(folder)) {
      throw new IOException(
          "%s is there without its ledger, %s: put that back, or remove the model to train it anew"
              .formatted(modelFile(plan), ledgerFile(plan)));
    }
    Run run =
        Run.exists(folder)
            ? Run.resume(folder, settings)
            : Run.create(folder, settings, corpus.vocabulary());
    run.requireVocabulary(corpus);
    train(plan, run, settings, start);
    if (run.isOver()) {
      keep(plan, run);
    }
  }

  private void train(PlannedRun plan, Run run, Settings settings, MultiLayerNetwork start)
      throws IOException {
    int vocabulary = corpus.vocabulary().size();
    try (Closeable lock = run.lock();
        StopSignal stop = new StopSignal();
        TrainingProgress progress = new RunProgress(plan, settings)) {
      new Trainer(
              run,
              settings,
              corpus,
              () ->
                  start == null
                      ? LanguageModel.create(settings, vocabulary)
                      : LanguageModel.from(start, settings, vocabulary),
              List.of(),
              CHECKPOINT_EVERY,
              progress)
          .train(() -> stop.getAsBoolean() || pause.getAsBoolean());
      if (stop.getAsBoolean() && !run.isOver()) {
        throw new CancellationException(
            plan.name() + ": stopped, and saved; the same command goes on");
      }
    }
  }

  /** Shows an epoch as it goes, and after it how long the run may yet take. */
  private static final class RunProgress extends TrainingProgress {
    private final PlannedRun plan;
    private final int epochs;
    private final long begin = System.nanoTime();
    private double done; // epochs; the first may have been resumed in its middle

    RunProgress(PlannedRun plan, Settings settings) {
      super(settings);
      this.plan = plan;
      this.epochs = settings.epochs;
      System.err.printf("%s: at most %d epochs%n", plan.name(), epochs);
    }

    @Override
    public void epochStarted(int epoch, long tokens, long total) {
      super.epochStarted(epoch, tokens, total);
      done += 1 - (double) tokens / total;
    }

    @Override
    public void epochFinished(Map<String, Object> entry) {
      super.epochFinished(entry);
      int left = epochs - (int) entry.get("epoch");
      System.err.printf("%s: %d of at most %d epochs to go", plan.name(), left, epochs);
      if (done > 0) {
        System.err.printf(", %.0f minutes", left * (System.nanoTime() - begin) / 60e9 / done);
      }
      System.err.println();
    }
  }

  /** Leaves the model of a finished run, and its ledger, in the folder of models. */
  private void keep(PlannedRun plan, Run run) throws IOException {
    run.requireVocabulary(corpus);
    AtomicFile.createFolder(models);
    if (plan.isFullPrecision()) {
      requireWords(plan);
      run.vocabulary().save(wordsFile(plan));
      // The perplexity is that of the file, in half precision, which only the file can tell.
      new PyTorchExport(run.pack()).write(modelFile(plan));
      double perplexity = perplexity(kept(plan));
      new PyTorchExport(run.pack(Map.of("test_perplexity", perplexity))).write(modelFile(plan));
    } else {
      double perplexity =
          Evaluation.of(run, corpus, Split.TEST, new EvaluationProgress()).perplexity();
      run.pack(Map.of("test_perplexity", perplexity)).write(modelFile(plan));
    }
    // The ledger comes last: a model with a ledger is finished.
    AtomicFile.write(ledgerFile(plan), out -> Files.copy(run.ledgerFile(), out));
  }

  private Path modelFile(PlannedRun plan) {
    return models.resolve(plan.name() + (plan.isFullPrecision() ? ".safetensors" : ".gguf"));
  }

  private Path ledgerFile(PlannedRun plan) {
    return models.resolve(plan.name() + ".jsonl");
  }

  private Path wordsFile(PlannedRun plan) {
    return models.resolve(plan.corpus() + "-words.txt");
  }

  /** All full-precision models of a corpus share a file of words. */
  private void requireWords(PlannedRun plan) throws IOException {
    Path words = wordsFile(plan);
    if (Files.exists(words) && !Vocabulary.load(words).equals(corpus.vocabulary())) {
      throw new IOException(
          "%s has other words than the text %s: choose another folder by --models"
              .formatted(words, corpus.name()));
    }
  }

  /**
   * Refuses what an older plan, or another text, has left: a table is of one recipe and text.
   *
   * @param place what holds the run: its folder, or the kept model
   * @throws IOException naming the first setting that differs
   */
  private void requireRecipe(PlannedRun plan, Settings trained, Path place, String option)
      throws IOException {
    if (!corpus.sha256().equals(trained.dataSha256)) {
      throw new IOException(
          "%s was trained on another text than %s: choose another folder by %s"
              .formatted(place, corpus.name(), option));
    }
    Settings planned = plan.settings();
    if (!planned.isLinear()) {
      // It may have been stopped early first: the learning rate does not go by the number of
      // epochs.
      planned.epochs = Math.min(planned.epochs, trained.epochs);
    }
    Optional<String> difference = trained.difference(planned, BESIDES_THE_RECIPE);
    if (difference.isPresent()) {
      throw new IOException(
          "%s was not trained by the table's recipe (%s): remove it, or choose another folder by %s"
              .formatted(place, difference.get(), option));
    }
  }

  /**
   * Whether nothing is left to train of a run.
   *
   * @throws IOException if its kept model is of another text, recipe or parent
   */
  boolean isFinished(PlannedRun plan) throws IOException {
    if (Files.exists(modelFile(plan)) && Files.exists(ledgerFile(plan))) {
      List<JsonNode> ledger = Ledger.read(ledgerFile(plan));
      List<Settings> settings = Ledger.settings(ledger, ledgerFile(plan));
      for (Settings trained : settings) {
        requireRecipe(plan, trained, modelFile(plan), "--models");
      }
      if (!Ledger.isOver(ledger, plan.settings())) {
        throw new IOException(
            "%s ends before the run does: remove it and %s, or choose another folder by --models"
                .formatted(ledgerFile(plan), modelFile(plan)));
      }
      requireParent(plan, ledger);
      requireOneRun(plan, ledger, settings.get(settings.size() - 1));
      return true;
    }
    return false;
  }

  /**
   * Refuses a packed model that is not of the run beside it, for example one of an earlier epoch.
   *
   * @param trained what the ledger ends with
   * @throws IOException if the file's provenance has other settings or another epoch than the
   *     ledger's best, or none
   */
  private void requireOneRun(PlannedRun plan, List<JsonNode> ledger, Settings trained)
      throws IOException {
    if (plan.isFullPrecision()) {
      return;
    }
    JsonNode best = Ledger.best(ledger).orElseThrow();
    Object settings = provenance(plan, "settings");
    if (settings == null
        || trained
            .difference(Settings.parse(settings.toString(), modelFile(plan)), Run.MAY_CHANGE)
            .isPresent()
        || !best.path("tokens").asText().equals(String.valueOf(provenance(plan, "tokens")))) {
      throw new IOException(
          "%s and %s are not of one run: remove both, or choose another folder by --models"
              .formatted(modelFile(plan), ledgerFile(plan)));
    }
  }

  /** What a kept packed model says of itself; null if it does not. */
  private Object provenance(PlannedRun plan, String key) throws IOException {
    return new GgufReader(modelFile(plan)).metadata().get("multibit.provenance." + key);
  }

  /**
   * Refuses what was made from a parent that is gone, or has been trained anew since.
   *
   * @throws IOException if the parent is not finished, or has other weights
   */
  private void requireParent(PlannedRun plan, List<JsonNode> ledger) throws IOException {
    PlannedRun parent = plan.parent();
    if (parent == null) {
      return;
    }
    if (!isFinished(parent)) {
      throw new IOException(
          "%s is there without the model that it was made from, %s: remove it, or choose another folder by --models"
              .formatted(modelFile(plan), modelFile(parent)));
    }
    if (!keptSha256.containsKey(parent)) {
      keptSha256.put(parent, Run.weightsSha256(kept(parent).model()));
    }
    for (JsonNode line : ledger) {
      String madeFrom = line.path("settings").path("parentSha256").asText();
      if (!madeFrom.equals(keptSha256.get(parent))) {
        throw new IOException(
            "%s was made from another model than %s: remove it, or choose another folder by --models"
                .formatted(modelFile(plan), modelFile(parent)));
      }
    }
  }

  /** A kept full-precision model. */
  private SavedModel kept(PlannedRun plan) throws IOException {
    return SavedModels.open(modelFile(plan), wordsFile(plan));
  }

  /** A full-precision run's model: the kept one, or the best so far; empty before that. */
  Optional<SavedModel> fullPrecisionModel(PlannedRun plan) throws IOException {
    return isFinished(plan) ? Optional.of(kept(plan)) : unfinished(plan).map(run -> run);
  }

  /** A run that has a model already. */
  private Optional<Run> unfinished(PlannedRun plan) throws IOException {
    Path folder = runs.resolve(plan.name());
    if (!Run.exists(folder)) {
      return Optional.empty();
    }
    Run run = Run.open(folder);
    List<JsonNode> ledger = run.ledger();
    if (ledger.isEmpty()) {
      return Optional.empty();
    }
    for (Settings trained : Ledger.settings(ledger, run.ledgerFile())) {
      requireRecipe(plan, trained, folder, "--runs");
    }
    return Optional.of(run);
  }

  /** What a run came to: by its kept model if it is finished, else by its best so far. */
  Result result(PlannedRun plan) throws IOException {
    if (isFinished(plan)) {
      List<JsonNode> ledger = Ledger.read(ledgerFile(plan));
      OptionalLong bytes = OptionalLong.of(Files.size(modelFile(plan)));
      if (plan.isFullPrecision()) {
        OptionalDouble perplexity = OptionalDouble.of(perplexity(kept(plan)));
        return new Result(State.FINISHED, perplexity, OptionalDouble.empty(), bytes, ledger);
      }
      double perplexity =
          Evaluation.of(modelFile(plan), corpus, Split.TEST, new EvaluationProgress()).perplexity();
      Object ofLayers = provenance(plan, "test_perplexity");
      return new Result(
          State.FINISHED,
          OptionalDouble.of(perplexity),
          ofLayers instanceof Double d ? OptionalDouble.of(d) : OptionalDouble.empty(),
          bytes,
          ledger);
    }
    Optional<Run> run = unfinished(plan);
    if (run.isPresent()) {
      return new Result(
          State.UNFINISHED,
          OptionalDouble.of(perplexity(run.get())),
          OptionalDouble.empty(),
          OptionalLong.empty(),
          run.get().ledger());
    }
    return Run.exists(runs.resolve(plan.name()))
        ? Result.withoutModel(State.UNFINISHED)
        : Result.NONE;
  }

  /** Of a model as it is packed, over the test text, in the packed file's runtime. */
  private double perplexity(SavedModel model) throws IOException {
    return Evaluation.of(model.pack(), model.path(), corpus, Split.TEST, new EvaluationProgress())
        .perplexity();
  }
}

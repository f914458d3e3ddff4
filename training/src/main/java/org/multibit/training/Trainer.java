package org.multibit.training;

import java.io.IOException;
import java.time.Duration;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.function.BooleanSupplier;
import org.deeplearning4j.nn.multilayer.MultiLayerNetwork;
import org.multibit.datasets.KneserNeyNoise;
import org.multibit.datasets.TextCorpus;
import org.multibit.datasets.TokenIterator;
import org.multibit.layers.Distillation;
import org.multibit.layers.LatentWeightProjection;
import org.multibit.layers.QuantizedRecurrentLayer;
import org.multibit.layers.WeightAverage;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.nd4j.linalg.dataset.DataSet;
import org.nd4j.linalg.factory.Nd4j;

/**
 * Trains by the paper's recipe (section 5): SGD with a clipped gradient over contiguous segments.
 * After each epoch the validation text decides whether the learning rate is divided, or the rate
 * falls by a schedule. Training continues from the run's checkpoint, to the bit.
 */
public final class Trainer {
  /** Streams of the batched validation, whose perplexity shows progress and is not a result. */
  private static final int VALIDATION_STREAMS = 10;

  /** Receives the progress of the run. */
  public interface Listener {
    /** An epoch begins or goes on, at {@code done} of {@code total} tokens. */
    void epochStarted(int epoch, long done, long total);

    /** A segment is done; its loss is the cross-entropy, or that of distillation. */
    void trained(long tokens, double lossPerToken);

    /** Validation begins, over so many tokens. */
    void validationStarted(long total);

    void validated(long tokens);

    /** An epoch ended, with its line of the ledger. */
    void epochFinished(Map<String, Object> entry);
  }

  /** Makes the network from which a new run starts. */
  @FunctionalInterface
  public interface Start {
    MultiLayerNetwork network() throws IOException;
  }

  private final Run run;
  private final Settings settings;
  private final TextCorpus corpus;
  private final Duration checkpointEvery;
  private final Listener listener;
  private final Ledger ledger;
  private final MultiLayerNetwork network;
  private final Distillation distillation; // null = none
  private final KneserNeyNoise noise; // null = none
  private final WeightAverage average; // null = none
  private final TrainingState state;
  private long savedAt = System.nanoTime();

  /**
   * Trains a run that is locked ({@link Run#lock}), so that no other process trains it. The run
   * takes these settings.
   *
   * @param start makes the initial network if the run has no checkpoint
   * @param teachers full-precision networks with the same words, for {@link Settings#distill};
   *     empty if that is 0
   * @param checkpointEvery interval of checkpoints, in addition to the one after each epoch
   */
  public Trainer(
      Run run,
      Settings settings,
      TextCorpus corpus,
      Start start,
      List<MultiLayerNetwork> teachers,
      Duration checkpointEvery,
      Listener listener)
      throws IOException {
    this.run = run;
    this.settings = settings;
    this.corpus = corpus;
    this.checkpointEvery = checkpointEvery;
    this.listener = listener;
    if (run.hasCheckpoint()) {
      network = run.checkpointNetwork();
      state = run.checkpointState();
      if (state.segments > 0
          && (state.model == null || settings.distill > 0 && state.teachers == null)) {
        throw new IOException(
            "%s was stopped within an epoch by an older version, without its hidden states: remove it, or choose another folder"
                .formatted(run.path()));
      }
    } else {
      network = start.network();
      state = new TrainingState(settings.learningRate);
    }
    if (settings.distill > 0) {
      distillation = new Distillation(teachers, settings.distill, settings.distillTemperature);
      distillation.applyTo(network);
    } else {
      distillation = null;
    }
    noise =
        settings.noise == 0
            ? null
            : new KneserNeyNoise(corpus.train(), corpus.vocabulary().size(), settings.noise);
    average = settings.average > 0 ? new WeightAverage(settings.average) : null;
    followSchedule();
    try {
      restoreAverage();
      restoreHiddenState();
    } catch (RuntimeException e) {
      throw run.damagedCheckpoint(e); // Arrays that do not fit the network.
    }
    if (average != null) {
      network.addListeners(average);
    }
    ledger = new Ledger(run.ledgerFile(), state.tokens);
    run.saveSettings(settings);
  }

  /**
   * Trains until the epochs or tokens are used up or the learning rate is too small. Returns the
   * final network.
   */
  public MultiLayerNetwork train() throws IOException {
    return train(() -> false);
  }

  /**
   * As {@link #train()}, but stops when {@code pause}, which it asks before each segment, returns
   * true. A pause only writes a checkpoint; the result of the run does not change.
   */
  public MultiLayerNetwork train(BooleanSupplier pause) throws IOException {
    BooleanSupplier enough = () -> state.tokens >= settings.maxTokens || pause.getAsBoolean();
    while (!state.isOver(settings) && (state.segments > 0 || !enough.getAsBoolean())) {
      if (!trainEpoch(segments(), enough)) {
        break;
      }
      // Validation may take minutes, within which it may be stopped for good.
      saveCheckpointWithinEpoch();
      finishEpoch();
    }
    if (state.tokens >= settings.maxTokens && state.segments > 0) {
      pauseEpoch();
    } else if (!state.isOver(settings)) {
      saveCheckpointWithinEpoch();
    }
    return network;
  }

  /** The training text of the current epoch. */
  private TokenIterator segments() {
    int[] text =
        noise == null ? corpus.train() : noise.text(settings.seed * 1_000_003 + state.epochs);
    TokenIterator segments = new TokenIterator(text, settings.batch, settings.unroll);
    segments.setPreProcessor(distillation);
    return segments;
  }

  private boolean trainEpoch(TokenIterator segments, BooleanSupplier enough) throws IOException {
    // The segment that reaches --max-tokens is the last.
    long each = (long) settings.batch * settings.unroll;
    long left = segments.labels() - state.epochTokens;
    long rest = Math.min(left, settings.maxTokens - state.tokens);
    long total = state.epochTokens + Math.min(left, (rest + each - 1) / each * each);
    listener.epochStarted(state.epochs + 1, state.epochTokens, total);
    segments.seek(state.segments);
    while (segments.hasNext() && !enough.getAsBoolean()) {
      long begin = System.nanoTime();
      DataSet segment = segments.next();
      network.fit(segment);
      long tokens = segment.getFeatures().length();
      double loss = network.score();
      requireFinite(loss, "loss");
      double seconds = (System.nanoTime() - begin) * 1e-9;
      state.segments++;
      state.tokens += tokens;
      state.epochTokens += tokens;
      state.epochLoss += loss * tokens;
      state.epochSeconds += seconds;
      state.seconds += seconds;
      listener.trained(tokens, loss);
      if (System.nanoTime() - savedAt > checkpointEvery.toNanos()) {
        saveCheckpointWithinEpoch();
      }
    }
    // Before a checkpoint is made of it.
    if (state.epochTokens > 0) {
      requireFinite(Math.exp(state.epochLoss / state.epochTokens), "training perplexity");
    }
    return !segments.hasNext();
  }

  private void finishEpoch() throws IOException {
    double validation = validateAndKeep();
    Map<String, Object> entry = entry(validation);
    if (validation < state.bestValidation) {
      state.bestValidation = validation;
    } else if (!settings.isLinear()) {
      setLearningRate(state.learningRate / settings.learningRateDecay);
    }
    ledger.append(entry);
    state.epochs++;
    followSchedule();
    state.startEpoch();
    restoreHiddenState();
    network.incrementEpochCount();
    saveCheckpoint();
    listener.epochFinished(entry);
  }

  /**
   * Sets what depends on the number of the current epoch: the rate of the linear schedule, and
   * whether codes are frozen. If a run continues with more epochs, its rate rises again and codes
   * can change again.
   */
  private void followSchedule() {
    if (settings.isLinear()) {
      setLearningRate(settings.learningRate * (1 - (double) state.epochs / settings.epochs));
    }
    if (settings.holdCodes > 0
        && !state.isOver(settings)
        && state.epochs >= settings.epochs - settings.holdCodes) {
      LatentWeightProjection.applyTo(network);
    } else {
      LatentWeightProjection.removeFrom(network);
    }
  }

  private void setLearningRate(double rate) {
    state.learningRate = rate;
    network.setLearningRate(rate);
  }

  /**
   * Handles the end of the tokens within an epoch. The checkpoint is in the middle of the epoch, so
   * the run can continue with more tokens. The learning rate does not change.
   */
  private void pauseEpoch() throws IOException {
    saveCheckpointWithinEpoch();
    double validation = validateAndKeep();
    Map<String, Object> entry = entry(validation);
    ledger.append(entry);
    saveCheckpoint();
    listener.epochFinished(entry);
  }

  private void saveCheckpointWithinEpoch() throws IOException {
    recordHiddenState();
    saveCheckpoint();
  }

  private void saveCheckpoint() throws IOException {
    if (average != null && !average.isEmpty()) {
      state.average = average.getAverage().data().asFloat();
      state.averagedSteps = average.getSteps();
    }
    run.saveCheckpoint(network, state);
    savedAt = System.nanoTime();
  }

  private void restoreAverage() {
    if (average != null && state.average != null) {
      average.restore(
          Nd4j.create(state.average, network.params().shape(), 'c'), state.averagedSteps);
    }
  }

  /** Validates and keeps the best model, or the best average of the weights if the run has one. */
  private double validateAndKeep() throws IOException {
    if (average != null) {
      average.exchange(network);
    }
    try {
      double validation = validate();
      if (validation < state.savedValidation) {
        run.saveModel(network);
        state.savedValidation = validation;
      }
      return validation;
    } finally {
      if (average != null) {
        average.exchange(network);
      }
    }
  }

  private double validate() {
    TokenIterator segments = validation(corpus, settings);
    listener.validationStarted(segments.labels());
    double perplexity = Evaluator.evaluate(network, segments, listener::validated).perplexity();
    requireFinite(perplexity, "validation perplexity");
    return perplexity;
  }

  private void requireFinite(double value, String what) {
    if (!Double.isFinite(value)) {
      throw new ArithmeticException(
          "Training diverged in epoch %s: the %s is %s; use a smaller --lr or --clip"
              .formatted(state.epochs + 1, what, value));
    }
  }

  /**
   * The segments [B, 1, T] on which a run with these settings validates; a short text has fewer
   * streams.
   */
  public static TokenIterator validation(TextCorpus corpus, Settings settings) {
    int streams = corpus.valid().length / Math.max(2, settings.unroll);
    return new TokenIterator(
        corpus.valid(), Math.max(1, Math.min(VALIDATION_STREAMS, streams)), settings.unroll);
  }

  /**
   * @throws IllegalArgumentException if the corpus is too short to train or validate on
   */
  public static void requireEnough(TextCorpus corpus, Settings settings) {
    new TokenIterator(corpus.train(), settings.batch, settings.unroll);
    validation(corpus, settings);
  }

  private Map<String, Object> entry(double validation) {
    Map<String, Object> entry = new LinkedHashMap<>();
    entry.put("epoch", state.epochs + 1);
    entry.put("tokens", state.tokens);
    double loss = state.epochLoss / state.epochTokens;
    if (distillation == null) {
      entry.put("trainPerplexity", Math.exp(loss));
    } else {
      entry.put("trainDistillationLoss", loss);
    }
    entry.put("validPerplexityBatched", validation);
    entry.put("learningRate", state.learningRate);
    entry.put("tokensPerSecond", Math.round(state.epochTokens / state.epochSeconds));
    entry.put("seconds", Math.round(state.seconds * 10) / 10.0);
    entry.put("commit", Provenance.commit());
    entry.put("settings", settings);
    return entry;
  }

  /** Whether nothing is left to train. */
  public boolean isOver() {
    return state.isOver(settings) || state.tokens >= settings.maxTokens;
  }

  /** The number of finished epochs. */
  public int epochs() {
    return state.epochs;
  }

  /** The best validation perplexity so far, batched. */
  public double bestValidation() {
    return state.savedValidation;
  }

  /** The number of tokens trained on in the whole run. */
  public long tokens() {
    return state.tokens;
  }

  /** Seconds of training in the whole run, without validation. */
  public double seconds() {
    return state.seconds;
  }

  private List<QuantizedRecurrentLayer> recurrentLayers() {
    return Arrays.stream(network.getLayers())
        .filter(QuantizedRecurrentLayer.class::isInstance)
        .map(QuantizedRecurrentLayer.class::cast)
        .toList();
  }

  private void recordHiddenState() {
    state.model =
        floats(recurrentLayers().stream().map(QuantizedRecurrentLayer::getCarriedState).toList());
    if (distillation != null) {
      state.teachers = floats(distillation.getTeacherState());
    }
  }

  /** Restores the hidden states of the layers and of the teachers. */
  private void restoreHiddenState() {
    List<QuantizedRecurrentLayer> layers = recurrentLayers();
    layers.forEach(QuantizedRecurrentLayer::clearCarriedState);
    if (state.model != null) {
      List<INDArray[]> states = arrays(state.model);
      for (int l = 0; l < layers.size(); l++) {
        layers.get(l).setCarriedState(states.get(l));
      }
    }
    if (distillation == null) {
      return;
    }
    distillation.clearTeacherState();
    if (state.teachers != null) {
      distillation.setTeacherState(arrays(state.teachers));
    }
  }

  /** The states of each layer as floats; null if there are none. */
  private static float[][][] floats(List<INDArray[]> ofLayers) {
    if (ofLayers.stream().anyMatch(Objects::isNull)) {
      return null;
    }
    return ofLayers.stream()
        .map(
            states ->
                Arrays.stream(states).map(s -> s.dup('c').data().asFloat()).toArray(float[][]::new))
        .toArray(float[][][]::new);
  }

  /** The states of each layer as arrays [B, H]. */
  private List<INDArray[]> arrays(float[][][] ofLayers) {
    return Arrays.stream(ofLayers)
        .map(states -> Arrays.stream(states).map(this::array).toArray(INDArray[]::new))
        .toList();
  }

  /** [B, H] */
  private INDArray array(float[] values) {
    return Nd4j.create(values, new long[] {settings.batch, values.length / settings.batch}, 'c');
  }
}

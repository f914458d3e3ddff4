package org.multibit.cli;

import org.multibit.training.Settings;
import picocli.CommandLine.Option;

/** The {@link Settings} that every command that trains takes. */
final class TrainingOptions {
  private static final Settings DEFAULTS = new Settings();

  @Option(
      names = "--data",
      required = true,
      paramLabel = "ptb|wikitext-2|text8|DIR",
      description = "the corpus: one by name, or a folder with train/valid/test text")
  String data;

  @Option(
      names = "--bits",
      required = true,
      paramLabel = "BITS",
      description =
          "W/A (2/2), W/fp or fp, or for each layer: embedding=3,lstm=2/2,softmax=2/3 (gru for lstm; a layer that is not named stays full precision)")
  String bits;

  @Option(
      names = "--method",
      paramLabel = "METHOD",
      description =
          "how to quantize: uniform, balanced, greedy, refined, alternating, optimal (default ${DEFAULT-VALUE})")
  String method = DEFAULTS.method;

  @Option(
      names = "--cycles",
      description = "alternating cycles, 0 or more; 0 is greedy (default ${DEFAULT-VALUE})")
  int cycles = DEFAULTS.cycles;

  @Option(
      names = "--scale",
      description = "multiplies what alternating quantizes weights to (default ${DEFAULT-VALUE})")
  float scale = DEFAULTS.scale;

  @Option(
      names = "--seed",
      description = "of initialization, dropout and noise (default ${DEFAULT-VALUE})")
  long seed = DEFAULTS.seed;

  @Option(
      names = "--lr",
      paramLabel = "RATE",
      description =
          "learning rate at the start, for the mean loss per token (default ${DEFAULT-VALUE}; train --cell gru: 10)")
  double learningRate = DEFAULTS.learningRate;

  @Option(
      names = "--lr-schedule",
      paramLabel = "plateau|linear",
      description =
          "how the rate falls: by --lr-decay when validation is not better, or by the same amount after each of --epochs, to 0 (default ${DEFAULT-VALUE})")
  String learningRateSchedule = DEFAULTS.learningRateSchedule;

  @Option(
      names = "--lr-decay",
      paramLabel = "D",
      description =
          "the rate is divided by this when validation is not better (default ${DEFAULT-VALUE})")
  double learningRateDecay = DEFAULTS.learningRateDecay;

  @Option(
      names = "--clip",
      paramLabel = "NORM",
      description = "largest norm of the whole gradient (default ${DEFAULT-VALUE})")
  double clip = DEFAULTS.clip;

  @Option(
      names = "--weight-bound",
      paramLabel = "B",
      description =
          "quantized layers' latent weights are clipped to +-B (default: 1, or the largest magnitude of those that fine-tuning starts from)")
  double weightBound = DEFAULTS.weightBound;

  @Option(
      names = "--average",
      paramLabel = "STEPS",
      description =
          "validate and keep the moving average of the weights that so many steps began with (default: 0, the weights as they are)")
  int average = DEFAULTS.average;

  @Option(
      names = "--dropout",
      paramLabel = "P",
      description = "probability to drop a unit (default ${DEFAULT-VALUE})")
  double dropout = DEFAULTS.dropout;

  @Option(
      names = "--noise",
      paramLabel = "P",
      description =
          "replace words of the training text at random, other ones in each epoch, each with at most this probability: Kneser-Ney noise (default: 0)")
  double noise = DEFAULTS.noise;

  @Option(names = "--batch", description = "streams side by side (default ${DEFAULT-VALUE})")
  int batch = DEFAULTS.batch;

  @Option(
      names = "--bptt",
      paramLabel = "STEPS",
      description =
          "truncated BPTT: gradients flow back through segments of so many steps (default ${DEFAULT-VALUE})")
  int bptt = DEFAULTS.unroll;

  @Option(names = "--unroll", hidden = true, description = "the name of --bptt until version 0.1")
  void unroll(int steps) {
    bptt = steps;
  }

  @Option(
      names = "--epochs",
      description = "passes over the training text at most (default ${DEFAULT-VALUE})")
  int epochs = DEFAULTS.epochs;

  @Option(
      names = "--freeze-codes",
      paramLabel = "EPOCHS",
      description =
          "freeze the codes of quantized weights in the last epochs, this many: training then moves their coefficients, and what is not quantized (default: 0)")
  int freezeCodes = DEFAULTS.holdCodes;

  @Option(
      names = "--hold-codes",
      hidden = true,
      description = "the name of --freeze-codes until version 0.1")
  void holdCodes(int epochs) {
    freezeCodes = epochs;
  }

  @Option(
      names = "--max-tokens",
      paramLabel = "N",
      description =
          "stop after the segment (--batch x --bptt tokens) that makes it so many training tokens")
  long maxTokens = DEFAULTS.maxTokens;

  /** Settings of these options; the others are the defaults. */
  Settings settings() {
    Settings settings = new Settings();
    settings.data = data;
    settings.bits = bits;
    settings.method = method;
    settings.cycles = cycles;
    settings.scale = scale;
    settings.seed = seed;
    settings.learningRate = learningRate;
    settings.learningRateSchedule = learningRateSchedule;
    settings.learningRateDecay = learningRateDecay;
    settings.clip = clip;
    settings.weightBound = weightBound;
    settings.average = average;
    settings.dropout = dropout;
    settings.noise = noise;
    settings.batch = batch;
    settings.unroll = bptt;
    settings.epochs = epochs;
    settings.holdCodes = freezeCodes;
    settings.maxTokens = maxTokens;
    return settings;
  }
}

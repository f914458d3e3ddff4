package org.multibit.cli.reproduce;

import org.multibit.core.Bits;
import org.multibit.training.Settings;

/**
 * A training run that a table needs, with the paper's recipe (section 5), a GRU's from a lower
 * learning rate. A fine-tuned run has one of its own: the rate falls on a line, latent weights are
 * in closer bounds, noise in the text takes the place of some dropout, and in the last epochs the
 * codes of methods that allow it are held.
 *
 * @param corpus by the name that {@code --data} takes
 * @param cell lstm or gru
 * @param hidden units
 * @param batch streams side by side
 * @param method how it is quantized; null in full precision
 * @param bits W/A or fp
 * @param scratch a quantized run that starts from new weights, not from the full-precision run's
 */
record PlannedRun(
    String corpus,
    String cell,
    int hidden,
    int batch,
    String method,
    String bits,
    boolean scratch) {

  // The paper does not say how fine-tuning starts. With weights of up to 4, as a parent's come, it
  // stays where it is: docs/results/notes.md.
  static final double WARM_START_RATE = 5;
  static final double WARM_START_BOUND = 0.4;
  // A trained GRU's weights are 0.56 times as wide as an LSTM's, and so are its steps and bounds.
  static final double GRU_WARM_START_RATE = 2.8;
  static final double GRU_WARM_START_BOUND = 0.23;
  static final double WARM_START_NOISE = 0.2;
  static final double WARM_START_DROPOUT = 0.3;
  static final int WARM_START_EPOCHS = 30;
  static final int WARM_START_HELD_EPOCHS = 4;

  static PlannedRun fullPrecision(String corpus, String cell, int hidden, int batch) {
    return new PlannedRun(corpus, cell, hidden, batch, null, Bits.FULL_PRECISION.toString(), false);
  }

  boolean isFullPrecision() {
    return method == null;
  }

  /** The run of the same shape in full precision. */
  PlannedRun inFullPrecision() {
    return fullPrecision(corpus, cell, hidden, batch);
  }

  /** The run whose weights this one starts from; null if it starts from new ones. */
  PlannedRun parent() {
    return isFullPrecision() || scratch ? null : inFullPrecision();
  }

  /** The name of its folder and its files, for example {@code ptb-lstm-300-alternating-2-2}. */
  String name() {
    String name = "%s-%s-%s-".formatted(corpus, cell, hidden);
    name += isFullPrecision() ? bits : method + "-" + bits.replace('/', '-');
    return scratch ? name + "-scratch" : name;
  }

  Settings settings() {
    Settings settings = new Settings();
    settings.data = corpus;
    settings.cell = cell;
    settings.hidden = hidden;
    settings.batch = batch;
    settings.bits = bits;
    boolean gru = cell.equals("gru");
    if (gru) {
      settings.learningRate = Settings.GRU_LEARNING_RATE;
    }
    if (!isFullPrecision()) {
      settings.method = method;
    }
    if (parent() != null) {
      settings.learningRate = gru ? GRU_WARM_START_RATE : WARM_START_RATE;
      settings.learningRateSchedule = Settings.LINEAR;
      settings.weightBound = gru ? GRU_WARM_START_BOUND : WARM_START_BOUND;
      settings.noise = WARM_START_NOISE;
      settings.dropout = WARM_START_DROPOUT;
      settings.epochs = WARM_START_EPOCHS;
      boolean projects = settings.weightQuantizer().projects(Bits.parse(bits).weights());
      settings.holdCodes = projects ? WARM_START_HELD_EPOCHS : 0;
    }
    return settings;
  }
}

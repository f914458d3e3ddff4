package org.multibit.training;

import java.io.Serializable;

/**
 * Where a run stands: with the network and the hidden state, all that is needed to go on to the
 * bit.
 */
final class TrainingState implements Serializable {
  private static final long serialVersionUID = 2;

  /** Finished epochs. */
  int epochs;

  /** Segments of the running epoch that are done. */
  int segments;

  /** Tokens trained on since the run began. */
  long tokens;

  /** Tokens of the running epoch, and their summed loss. */
  long epochTokens;

  double epochLoss;

  /** Seconds spent on the running epoch, and on the whole run. */
  double epochSeconds;

  double seconds;

  double learningRate;

  /** The best validation perplexity of a whole epoch so far: what the learning rate follows. */
  double bestValidation = Double.POSITIVE_INFINITY;

  /** The validation perplexity of the saved model, which may be of a paused epoch. */
  double savedValidation = Double.POSITIVE_INFINITY;

  /**
   * h and, of LSTMs, c of each recurrent layer after the last segment, [B, H] row-major; null at
   * the start of an epoch.
   */
  float[][][] model;

  /** The same of the teachers that the run distils from; null too if there are none. */
  float[][][] teachers;

  /** The average of the weights, and the steps that are in it; null if none is kept. */
  float[] average;

  long averagedSteps;

  TrainingState(double learningRate) {
    this.learningRate = learningRate;
  }

  /** Whether nothing is left to train. */
  boolean isOver(Settings settings) {
    return settings.areOver(epochs, learningRate);
  }

  void startEpoch() {
    segments = 0;
    epochTokens = 0;
    epochLoss = 0;
    epochSeconds = 0;
    model = null;
    teachers = null;
  }
}

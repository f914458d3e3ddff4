package org.multibit.layers;

import org.deeplearning4j.nn.api.Model;
import org.deeplearning4j.optimize.api.BaseTrainingListener;
import org.nd4j.linalg.api.memory.MemoryWorkspace;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.nd4j.linalg.factory.Nd4j;

/**
 * A moving average of all parameters of a network in training (Polyak and Juditsky, 1992). It is
 * the mean of the parameters at the beginning of each step, so it does not contain the last step's
 * result. After more steps than its window it is an exponential average.
 *
 * <p>It is a listener: {@code network.addListeners(average)}. To use the average, {@link #exchange}
 * it with the network's parameters; exchange them again before you continue training.
 */
public final class WeightAverage extends BaseTrainingListener {
  /** Samples per window. Parameters of neighbouring steps are similar, so this number suffices. */
  private static final int SAMPLES = 100;

  private final int samples;
  private final int stride;
  private INDArray average; // [parameters]; null before the first step
  private long steps;

  /**
   * @param window the number of steps that it averages over; at least 1
   */
  public WeightAverage(int window) {
    if (window < 1) {
      throw new IllegalArgumentException(
          "An average of weights is over at least 1 step, not " + window);
    }
    stride = Math.max(1, window / SAMPLES);
    samples = window / stride;
  }

  // Not iterationDone: DL4J calls that before it applies constraints.
  @Override
  public void onGradientCalculation(Model model) {
    if (steps++ % stride > 0) {
      return;
    }
    try (MemoryWorkspace none = Nd4j.getWorkspaceManager().scopeOutOfWorkspaces()) {
      INDArray params = model.params();
      if (average == null) {
        average = params.dup();
        return;
      }
      double weight = 1.0 / Math.min((steps - 1) / stride + 1, samples);
      average.muli(1 - weight).addi(params.mul(weight));
    }
  }

  /** Whether there was no step yet. */
  public boolean isEmpty() {
    return average == null;
  }

  /**
   * Exchanges the average and the network's parameters.
   *
   * @throws IllegalStateException if there was no step yet
   */
  public void exchange(Model model) {
    if (average == null) {
      throw new IllegalStateException("There is no average of weights before the first step");
    }
    INDArray params = model.params().dup();
    model.params().assign(average);
    average.assign(params);
  }

  /**
   * The number of steps so far. Together with {@link #getAverage} it is the whole state of this
   * object.
   */
  public long getSteps() {
    return steps;
  }

  /** The average [parameters], not copied; null before the first step. */
  public INDArray getAverage() {
    return average;
  }

  /** Continues from an average of {@code steps} steps. */
  public void restore(INDArray average, long steps) {
    this.average = average;
    this.steps = steps;
  }
}

package org.multibit.layers;

import org.deeplearning4j.nn.api.Model;
import org.deeplearning4j.optimize.api.BaseTrainingListener;
import org.nd4j.linalg.api.memory.MemoryWorkspace;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.nd4j.linalg.factory.Nd4j;

/**
 * A moving average of all parameters of a network in training (Polyak and Juditsky, 1992): the mean
 * of those that each step began with, so without the last step's result; an exponential one when
 * there were more steps than its window.
 *
 * <p>A listener: {@code network.addListeners(average)}. To use it, {@link #exchange} it with the
 * network's parameters, and again to train on.
 */
public final class WeightAverage extends BaseTrainingListener {
  /** Parameters of neighbouring steps are much alike: so many samples in a window will do. */
  private static final int SAMPLES = 100;

  private final int samples;
  private final int stride;
  private INDArray average; // [parameters]; null before the first step
  private long steps;

  /**
   * @param window steps that it reaches back over; at least 1
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

  /** Whether there was a step yet. */
  public boolean isEmpty() {
    return average == null;
  }

  /**
   * Makes the average the network's parameters, and those the average.
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

  /** Steps so far: with {@link #getAverage}, all there is to go on with. */
  public long getSteps() {
    return steps;
  }

  /** [parameters], live; null before the first step. */
  public INDArray getAverage() {
    return average;
  }

  /** Goes on from an average of so many steps. */
  public void restore(INDArray average, long steps) {
    this.average = average;
    this.steps = steps;
  }
}

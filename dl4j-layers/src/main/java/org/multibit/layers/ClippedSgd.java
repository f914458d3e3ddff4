package org.multibit.layers;

import java.lang.ref.Reference;
import java.util.Map;
import java.util.Objects;
import org.multibit.core.Kernels;
import org.nd4j.linalg.api.buffer.DataType;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.nd4j.linalg.learning.GradientUpdater;
import org.nd4j.linalg.learning.config.IUpdater;
import org.nd4j.linalg.schedule.ISchedule;
import org.nd4j.shade.jackson.annotation.JsonProperty;

/**
 * SGD on a gradient whose norm, over the whole network, is clipped: update = learningRate * g *
 * min(1, maxNorm / ||g||). DL4J clips by layer or parameter only.
 *
 * <p>The gradient is the one that DL4J passes to updaters, divided by the batch. All parameters
 * must have this same updater, so that they form one block. The first update throws if there are
 * several blocks.
 */
public final class ClippedSgd implements IUpdater {
  private double learningRate;
  private ISchedule learningRateSchedule;
  private double maxNorm;

  /**
   * @param maxNorm the largest norm of the whole gradient; above 0
   */
  public ClippedSgd(double learningRate, double maxNorm) {
    this(learningRate, null, maxNorm);
  }

  private ClippedSgd(
      @JsonProperty("learningRate") double learningRate,
      @JsonProperty("learningRateSchedule") ISchedule learningRateSchedule,
      @JsonProperty("maxNorm") double maxNorm) {
    if (!(maxNorm > 0)) {
      throw new IllegalArgumentException("The norm to clip to must be above 0, not " + maxNorm);
    }
    this.learningRate = learningRate;
    this.learningRateSchedule = learningRateSchedule;
    this.maxNorm = maxNorm;
  }

  public double getMaxNorm() {
    return maxNorm;
  }

  @Override
  public long stateSize(long numParams) {
    return 0;
  }

  @Override
  public GradientUpdater<ClippedSgd> instantiate(INDArray viewArray, boolean initializeViewArray) {
    return new Updater(this);
  }

  @Override
  public GradientUpdater<ClippedSgd> instantiate(
      Map<String, INDArray> updaterState, boolean initializeStateArrays) {
    return new Updater(this);
  }

  @Override
  public double getLearningRate(int iteration, int epoch) {
    return learningRateSchedule == null
        ? learningRate
        : learningRateSchedule.valueAt(iteration, epoch);
  }

  @Override
  public boolean hasLearningRate() {
    return true;
  }

  @Override
  public void setLrAndSchedule(double lr, ISchedule lrSchedule) {
    learningRate = lr;
    learningRateSchedule = lrSchedule;
  }

  @Override
  public ClippedSgd clone() {
    return new ClippedSgd(learningRate, learningRateSchedule, maxNorm);
  }

  @Override
  public boolean equals(Object other) {
    // With a schedule the learning rate is NaN, which must equal itself: blocks merge by equality.
    return other instanceof ClippedSgd c
        && Double.compare(c.learningRate, learningRate) == 0
        && Objects.equals(c.learningRateSchedule, learningRateSchedule)
        && c.maxNorm == maxNorm;
  }

  @Override
  public int hashCode() {
    return Objects.hash(learningRate, learningRateSchedule, maxNorm);
  }

  @Override
  public String toString() {
    return "ClippedSgd(learningRate="
        + (learningRateSchedule == null ? learningRate : learningRateSchedule)
        + ", maxNorm="
        + maxNorm
        + ")";
  }

  private static final class Updater implements GradientUpdater<ClippedSgd> {
    private final ClippedSgd config;

    Updater(ClippedSgd config) {
      this.config = config;
    }

    @Override
    public ClippedSgd getConfig() {
      return config;
    }

    @Override
    public void setState(Map<String, INDArray> stateMap, boolean initialize) {
      if (stateMap != null && !stateMap.isEmpty()) {
        throw new IllegalStateException("ClippedSgd has no state to set");
      }
    }

    @Override
    public Map<String, INDArray> getState() {
      return Map.of();
    }

    @Override
    public void setStateViewArray(
        INDArray viewArray, long[] gradientShape, char gradientOrder, boolean initialize) {
      // There is no state.
    }

    @Override
    public void applyUpdater(INDArray gradient, int iteration, int epoch) {
      // A block is a view into the gradient of the whole network: shorter memory than that means
      // other blocks.
      if (gradient.length() != gradient.data().underlyingLength()) {
        throw new IllegalStateException(
            "ClippedSgd clips the gradient of the whole network, but sees %s of its %s values: give every layer and bias this same updater"
                .formatted(gradient.length(), gradient.data().underlyingLength()));
      }
      boolean floats = gradient.dataType() == DataType.FLOAT && FloatRows.fits(gradient);
      double norm =
          floats
              ? Math.sqrt(Kernels.get().sumOfSquares(FloatRows.of(gradient)))
              : gradient.norm2Number().doubleValue();
      if (!Double.isFinite(norm)) {
        throw new ArithmeticException(
            "Training diverged at iteration %s: the norm of the gradient is %s; use a smaller learning rate"
                .formatted(iteration, norm));
      }
      double scale = norm > config.maxNorm ? config.maxNorm / norm : 1;
      double factor = config.getLearningRate(iteration, epoch) * scale;
      if (floats) {
        Kernels.get().scale(FloatRows.of(gradient), (float) factor);
        Reference.reachabilityFence(gradient);
      } else {
        gradient.muli(factor);
      }
    }
  }
}

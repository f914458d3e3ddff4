package org.multibit.layers;

import org.nd4j.linalg.api.buffer.DataType;
import org.nd4j.linalg.api.ndarray.INDArray;

/**
 * The soft targets of {@link Distillation}: logits that are computed from the teachers' hidden
 * states.
 */
final class SoftTargets {
  private final INDArray weights;
  private final INDArray bias;
  private final double weight;
  private final double temperature;
  private final PrepackedProduct product = new PrepackedProduct();

  /**
   * @param weights [V, H], with H the sum over all teachers
   * @param bias [1, V]
   * @param weight of the soft targets in the loss
   * @param temperature divides logits
   */
  SoftTargets(INDArray weights, INDArray bias, double weight, double temperature) {
    this.weights = weights;
    this.bias = bias;
    this.weight = weight;
    this.temperature = temperature;
    product.start(weights, true);
  }

  DataType dataType() {
    return bias.dataType();
  }

  /** V, the number of classes. */
  long classes() {
    return weights.size(0);
  }

  /** H, the size of the hidden states that follow the labels. */
  long hiddenSize() {
    return weights.size(1);
  }

  double weight() {
    return weight;
  }

  double temperature() {
    return temperature;
  }

  /**
   * Computes the mean of the teachers' logits.
   *
   * @param hidden [N, H]
   * @param into [N, V]
   */
  void logits(INDArray hidden, INDArray into) {
    product.multiply(hidden, bias, into);
  }
}

package org.multibit.training;

import java.io.Serializable;
import java.util.List;
import java.util.Locale;
import org.nd4j.evaluation.BaseEvaluation;
import org.nd4j.evaluation.IEvaluation;
import org.nd4j.evaluation.IMetric;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.nd4j.shade.jackson.annotation.JsonProperty;

/**
 * Perplexity of a language model over a stream: exp of the mean negative natural log of the
 * probability of each target, summed in float64. It is a DL4J evaluation that takes segments one by
 * one, in constant memory.
 */
public final class Perplexity extends BaseEvaluation<Perplexity> {
  /**
   * Below this a float softmax underflows to 0. The ln of the smallest float bounds the loss, which
   * would otherwise be infinite.
   */
  private static final double SMALLEST = Float.MIN_VALUE;

  @JsonProperty private double loss;
  @JsonProperty private long tokens;

  /** The values of this evaluation. */
  public enum Metric implements IMetric {
    PERPLEXITY,
    LOSS_PER_TOKEN;

    @Override
    public Class<? extends IEvaluation> getEvaluationClass() {
      return Perplexity.class;
    }

    @Override
    public boolean minimize() {
      return true;
    }
  }

  /**
   * @param labels token ids, shape [B, 1, T]
   * @param predictions probabilities, shape [B, V, T]
   * @param mask 0 where a target does not count, shape [B, T]; or null
   */
  @Override
  public void eval(
      INDArray labels,
      INDArray predictions,
      INDArray mask,
      List<? extends Serializable> recordMetaData) {
    if (labels.rank() != 3 || predictions.rank() != 3 || labels.size(1) != 1) {
      throw new IllegalArgumentException(
          "Perplexity takes labels [B,1,T] and probabilities [B,V,T], not %s and %s"
              .formatted(labels.shapeInfoToString(), predictions.shapeInfoToString()));
    }
    for (long b = 0; b < labels.size(0); b++) {
      for (long t = 0; t < labels.size(2); t++) {
        if (mask == null || mask.getDouble(b, t) != 0) {
          double probability = predictions.getDouble(b, labels.getLong(b, 0, t), t);
          if (Double.isNaN(probability)) {
            throw new ArithmeticException("The model's probabilities are NaN: it has diverged");
          }
          add(-Math.log(Math.max(probability, SMALLEST)), 1);
        }
      }
    }
  }

  /** Adds the summed loss of {@code count} targets that other code has computed. */
  public void add(double summedLoss, long count) {
    loss += summedLoss;
    tokens += count;
  }

  @Override
  public void eval(INDArray labels, INDArray predictions, INDArray mask) {
    eval(labels, predictions, mask, null);
  }

  @Override
  public void eval(INDArray labels, INDArray predictions) {
    eval(labels, predictions, null, null);
  }

  @Override
  public void merge(Perplexity other) {
    add(other.loss, other.tokens);
  }

  @Override
  public void reset() {
    loss = 0;
    tokens = 0;
  }

  /** The number of targets so far. */
  public long tokens() {
    return tokens;
  }

  /** exp(mean loss); NaN before the first target. */
  public double perplexity() {
    return Math.exp(loss / tokens);
  }

  @Override
  public double getValue(IMetric metric) {
    if (metric == Metric.PERPLEXITY) {
      return perplexity();
    } else if (metric == Metric.LOSS_PER_TOKEN) {
      return loss / tokens;
    }
    throw new IllegalStateException("Perplexity has no metric " + metric);
  }

  @Override
  public String stats() {
    return String.format(Locale.ROOT, "perplexity %.2f over %s tokens", perplexity(), tokens);
  }

  @Override
  public Perplexity newInstance() {
    return new Perplexity();
  }
}

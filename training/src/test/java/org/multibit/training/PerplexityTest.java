package org.multibit.training;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import org.junit.jupiter.api.Test;
import org.nd4j.evaluation.BaseEvaluation;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.nd4j.linalg.factory.Nd4j;

class PerplexityTest {
  /** Two segments of one stream: exp of the mean of -ln p over all targets, computed by hand. */
  @Test
  void isTheMeanOverAllSegments() {
    Perplexity perplexity = new Perplexity();
    perplexity.eval(labels(0, 1), predictions(new float[][] {{0.5f, 0.5f}, {0.75f, 0.25f}}));
    perplexity.eval(labels(1), predictions(new float[][] {{0.9f, 0.1f}}));
    double expected = Math.exp(-(Math.log(0.5) + Math.log(0.25) + Math.log((double) 0.1f)) / 3);
    assertEquals(expected, perplexity.perplexity(), 1e-12);
    assertEquals(3, perplexity.tokens());
    Perplexity copy = BaseEvaluation.fromJson(perplexity.toJson(), Perplexity.class);
    assertEquals(expected, copy.getValue(Perplexity.Metric.PERPLEXITY), 1e-12);
  }

  @Test
  void maskedTargetsDoNotCount() {
    Perplexity perplexity = new Perplexity();
    INDArray mask = Nd4j.createFromArray(new float[][] {{1, 0}});
    perplexity.eval(labels(0, 1), predictions(new float[][] {{0.5f, 0.5f}, {0.75f, 0.25f}}), mask);
    assertEquals(2, perplexity.perplexity(), 1e-12);
  }

  @Test
  void divergedModelIsAnError() {
    assertThrows(
        ArithmeticException.class,
        () -> new Perplexity().eval(labels(0), predictions(new float[][] {{Float.NaN, 0}})));
  }

  private static INDArray labels(float... ids) {
    return Nd4j.create(ids, new long[] {1, 1, ids.length}, 'c');
  }

  /** From [time][word] to [1, V, T]. */
  private static INDArray predictions(float[][] byTime) {
    return Nd4j.createFromArray(byTime).transpose().reshape(1, byTime[0].length, byTime.length);
  }
}

package org.multibit.training;

import java.util.function.LongConsumer;
import org.deeplearning4j.nn.multilayer.MultiLayerNetwork;
import org.nd4j.linalg.dataset.DataSet;
import org.nd4j.linalg.dataset.api.iterator.DataSetIterator;

/** Perplexity of a network over a stream of segments, state carried from one to the next. */
public final class Evaluator {
  private Evaluator() {}

  /**
   * @param segments features and labels [B, 1, T], in order
   * @param progress told the number of targets of each segment
   */
  public static Perplexity evaluate(
      MultiLayerNetwork network, DataSetIterator segments, LongConsumer progress) {
    Perplexity perplexity = new Perplexity();
    network.rnnClearPreviousState();
    while (segments.hasNext()) {
      DataSet segment = segments.next();
      perplexity.eval(segment.getLabels(), network.rnnTimeStep(segment.getFeatures()));
      progress.accept(segment.getLabels().length());
    }
    network.rnnClearPreviousState();
    return perplexity;
  }
}

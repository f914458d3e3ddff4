package org.multibit.training;

import java.util.function.LongConsumer;
import org.deeplearning4j.nn.multilayer.MultiLayerNetwork;
import org.nd4j.linalg.api.memory.MemoryWorkspace;
import org.nd4j.linalg.api.memory.conf.WorkspaceConfiguration;
import org.nd4j.linalg.api.memory.enums.AllocationPolicy;
import org.nd4j.linalg.api.memory.enums.LearningPolicy;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.nd4j.linalg.dataset.DataSet;
import org.nd4j.linalg.dataset.api.iterator.DataSetIterator;
import org.nd4j.linalg.factory.Nd4j;

/**
 * Perplexity of a network over a stream of segments, with the state carried from segment to
 * segment.
 */
public final class Evaluator {
  /**
   * Reuses the memory of the probabilities, V per token, for each segment: new memory takes longer.
   */
  private static final WorkspaceConfiguration MEMORY =
      WorkspaceConfiguration.builder()
          .policyAllocation(AllocationPolicy.STRICT)
          .policyLearning(LearningPolicy.FIRST_LOOP)
          .build();

  private static final String WORKSPACE = "EVALUATION";

  private Evaluator() {}

  /**
   * @param segments features and labels [B, 1, T], in order
   * @param progress receives the number of targets of each segment
   */
  public static Perplexity evaluate(
      MultiLayerNetwork network, DataSetIterator segments, LongConsumer progress) {
    Perplexity perplexity = new Perplexity();
    network.rnnClearPreviousState();
    while (segments.hasNext()) {
      DataSet segment = segments.next();
      try (MemoryWorkspace workspace =
          Nd4j.getWorkspaceManager().getAndActivateWorkspace(MEMORY, WORKSPACE)) {
        INDArray probabilities = network.rnnTimeStep(segment.getFeatures(), workspace);
        perplexity.eval(segment.getLabels(), probabilities);
      }
      progress.accept(segment.getLabels().length());
    }
    network.rnnClearPreviousState();
    return perplexity;
  }
}

package org.multibit.layers;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.multibit.layers.Networks.E;
import static org.multibit.layers.Networks.H;
import static org.multibit.layers.Networks.T;
import static org.multibit.layers.Networks.V;
import static org.multibit.layers.Networks.assertClose;
import static org.multibit.layers.Networks.assertIdentical;
import static org.multibit.layers.Networks.data;
import static org.multibit.layers.Networks.gradient;
import static org.multibit.layers.Networks.network;

import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import org.deeplearning4j.datasets.iterator.utilty.ListDataSetIterator;
import org.deeplearning4j.earlystopping.EarlyStoppingConfiguration;
import org.deeplearning4j.earlystopping.EarlyStoppingResult;
import org.deeplearning4j.earlystopping.saver.InMemoryModelSaver;
import org.deeplearning4j.earlystopping.scorecalc.DataSetLossCalculator;
import org.deeplearning4j.earlystopping.termination.MaxEpochsTerminationCondition;
import org.deeplearning4j.earlystopping.trainer.EarlyStoppingTrainer;
import org.deeplearning4j.exception.DL4JInvalidConfigException;
import org.deeplearning4j.nn.api.Model;
import org.deeplearning4j.nn.conf.BackpropType;
import org.deeplearning4j.nn.conf.layers.Layer;
import org.deeplearning4j.nn.multilayer.MultiLayerNetwork;
import org.deeplearning4j.optimize.api.BaseTrainingListener;
import org.deeplearning4j.parallelism.ParallelWrapper;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import org.multibit.core.Quantization;
import org.nd4j.linalg.api.buffer.DataType;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.nd4j.linalg.dataset.DataSet;
import org.nd4j.linalg.learning.config.Adam;
import org.nd4j.linalg.learning.config.IUpdater;
import org.nd4j.linalg.learning.config.Nesterovs;
import org.nd4j.linalg.learning.config.Sgd;

/** What works with any DL4J layer works with these, fast path or not. */
class OrdinaryLayersTest {

  /** Quantized, without dropout and without a state that is carried on. */
  private static Layer[] layers() {
    Quantization two = Quantization.alternating(2);
    return new Layer[] {
      new QuantizedEmbedding.Builder().nIn(V).nOut(E).weights(two).build(),
      new QuantizedLSTM.Builder().nIn(E).nOut(H).weights(two).recurrentActivations(two).build(),
      new QuantizedSoftmaxOutput.Builder().nIn(H).nOut(V).weights(two).activations(two).build()
    };
  }

  /**
   * Two workers on the same batch learn about as fast as one alone. (To the bit they cannot: DL4J's
   * second worker may copy the parameters while the first one trains.)
   */
  @Test
  void parallelWrapper() throws Exception {
    MultiLayerNetwork alone = network(b -> b.updater(new ClippedSgd(0.5, 1)), l -> l, layers());
    MultiLayerNetwork shared = alone.clone();
    DataSet data = data(1);
    double before = alone.score(data);
    for (int i = 0; i < 20; i++) {
      alone.fit(data);
    }
    try (ParallelWrapper wrapper =
        new ParallelWrapper.Builder<>(shared)
            .workers(2)
            .averagingFrequency(1)
            .prefetchBuffer(0)
            .trainingMode(ParallelWrapper.TrainingMode.AVERAGING)
            .build()) {
      wrapper.fit(new ListDataSetIterator<>(Collections.nCopies(40, data), 1));
    }
    double gain = before - shared.score(data);
    assertTrue(gain > 0.5 * (before - alone.score(data)), "gain " + gain + " from " + before);
  }

  @Test
  void earlyStopping() {
    MultiLayerNetwork network = network(b -> b.updater(new Sgd(0.1)), l -> l, layers());
    DataSet data = data(1);
    double before = network.score(data);
    EarlyStoppingResult<MultiLayerNetwork> result =
        new EarlyStoppingTrainer(
                new EarlyStoppingConfiguration.Builder<MultiLayerNetwork>()
                    .epochTerminationConditions(new MaxEpochsTerminationCondition(5))
                    .scoreCalculator(
                        new DataSetLossCalculator(
                            new ListDataSetIterator<>(List.of(data), 1), true))
                    .modelSaver(new InMemoryModelSaver<>())
                    .build(),
                network,
                new ListDataSetIterator<>(List.of(data), 1))
            .fit();
    assertEquals(5, result.getTotalEpochs());
    double best = Collections.min(result.getScoreVsEpoch().values());
    assertTrue(best < before);
    assertEquals(best, result.getBestModel().score(data), 1e-4);
  }

  @Test
  void listenersSeeEachIteration() {
    MultiLayerNetwork network = network(layers());
    List<Double> scores = new ArrayList<>();
    List<Long> gradients = new ArrayList<>();
    network.setListeners(
        new BaseTrainingListener() {
          @Override
          public void onGradientCalculation(Model model) {
            gradients.add(model.gradient().gradient().length());
          }

          @Override
          public void iterationDone(Model model, int iteration, int epoch) {
            scores.add(model.score());
          }
        });
    DataSet data = data(1);
    network.fit(new ListDataSetIterator<>(List.of(data, data, data), 1));
    assertEquals(3, scores.size());
    assertTrue(scores.get(2) < scores.get(0), "scores " + scores);
    assertEquals(List.of(network.numParams(), network.numParams(), network.numParams()), gradients);
  }

  /**
   * Updaters with a state write other values than zeros into the gradient of words that a batch
   * lacks; the next batch's gradient must not keep them.
   */
  @Test
  void gradientsStartAnew() {
    for (IUpdater updater : new IUpdater[] {new Adam(0.01), new Nesterovs(0.1, 0.9)}) {
      MultiLayerNetwork network = network(b -> b.updater(updater), l -> l, layers());
      network.fit(data(1));
      network.fit(data(2));
      MultiLayerNetwork fresh = network(b -> b.updater(updater), l -> l, layers());
      fresh.setParams(network.params());
      Map<String, INDArray> expected = gradient(fresh, data(3));
      Map<String, INDArray> actual = gradient(network, data(3));
      expected.forEach((key, g) -> assertIdentical(g, actual.get(key)));
    }
  }

  @Test
  void truncatedBackpropagation() {
    MultiLayerNetwork network =
        network(
            b -> b.updater(new Sgd(0.1)),
            l -> l.backpropType(BackpropType.TruncatedBPTT).tBPTTLength(T),
            layers());
    DataSet data = data(DataType.FLOAT, 1, 3, 3 * T);
    INDArray before = network.params().dup();
    network.fit(data);
    assertEquals(3, network.getIterationCount());
    assertNotEquals(before, network.params());
  }

  /** More rows of logits than are computed at a time. */
  @ParameterizedTest
  @ValueSource(ints = {0, 2})
  void longSequences(int bits) {
    Quantization quantization = bits == 0 ? null : Quantization.alternating(bits);
    Layer[] layers = Networks.quantized(quantization, quantization);
    MultiLayerNetwork whole = network(layers);
    int half = 400;
    DataSet data = data(DataType.FLOAT, 1, 4, half);
    // Twice the batch, each stream twice: no other score, twice the sum of the gradient.
    DataSet twice =
        new DataSet(
            org.nd4j.linalg.factory.Nd4j.concat(0, data.getFeatures(), data.getFeatures()),
            org.nd4j.linalg.factory.Nd4j.concat(0, data.getLabels(), data.getLabels()));
    MultiLayerNetwork plain = network(withoutDropout(quantization));
    Map<String, INDArray> once = gradient(plain, data);
    double score = plain.score();
    ((QuantizedRecurrentLayer) plain.getLayer(1)).clearCarriedState();
    Map<String, INDArray> doubled = gradient(plain, twice);
    assertEquals(score, plain.score(), 1e-5 * score);
    once.forEach(
        (key, g) ->
            assertClose(
                g.mul(2), doubled.get(key), 1e-4 * g.amaxNumber().doubleValue() + 1e-6, key));
    assertTrue(Double.isFinite(whole.score(twice)));
  }

  private static Layer[] withoutDropout(Quantization quantization) {
    return new Layer[] {
      new QuantizedEmbedding.Builder().nIn(V).nOut(E).weights(quantization).build(),
      new QuantizedLSTM.Builder()
          .nIn(E)
          .nOut(H)
          .weights(quantization)
          .recurrentActivations(quantization)
          .build(),
      new QuantizedSoftmaxOutput.Builder()
          .nIn(H)
          .nOut(V)
          .weights(quantization)
          .activations(quantization)
          .averageOverTime(true)
          .build()
    };
  }

  /** The same mean, whether DL4J's updater or the output layer divides by the batch. */
  @Test
  void averageOverBatch() {
    MultiLayerNetwork dl4j =
        network(b -> b.updater(new ClippedSgd(1, 0.5)), l -> l, softmax(false));
    MultiLayerNetwork ours =
        network(b -> b.updater(new ClippedSgd(1, 0.5)).miniBatch(false), l -> l, softmax(true));
    DataSet data = data(1);
    for (int i = 0; i < 3; i++) {
      dl4j.fit(data);
      ours.fit(data);
      assertEquals(dl4j.score(), ours.score(), 1e-6);
      assertClose(dl4j.params(), ours.params(), 1e-6, "parameters");
    }
    assertEquals(dl4j.score(data), ours.score(data), 1e-6);
    Exception twice = assertThrows(DL4JInvalidConfigException.class, () -> network(softmax(true)));
    assertTrue(twice.getMessage().contains("miniBatch(false)"), twice.getMessage());
  }

  private static Layer[] softmax(boolean averageOverBatch) {
    Layer[] layers = Networks.ours(1);
    layers[2] =
        new QuantizedSoftmaxOutput.Builder()
            .nIn(H)
            .nOut(V)
            .averageOverTime(true)
            .averageOverBatch(averageOverBatch)
            .build();
    return layers;
  }
}

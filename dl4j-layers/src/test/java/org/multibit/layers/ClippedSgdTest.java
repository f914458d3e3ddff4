package org.multibit.layers;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.multibit.layers.Networks.B;
import static org.multibit.layers.Networks.assertClose;
import static org.multibit.layers.Networks.assertIdentical;
import static org.multibit.layers.Networks.data;
import static org.multibit.layers.Networks.network;
import static org.multibit.layers.Networks.saved;

import java.io.IOException;
import org.deeplearning4j.nn.conf.ComputationGraphConfiguration;
import org.deeplearning4j.nn.conf.NeuralNetConfiguration;
import org.deeplearning4j.nn.conf.inputs.InputType;
import org.deeplearning4j.nn.conf.layers.Layer;
import org.deeplearning4j.nn.graph.ComputationGraph;
import org.deeplearning4j.nn.multilayer.MultiLayerNetwork;
import org.deeplearning4j.nn.updater.BaseMultiLayerUpdater;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.nd4j.linalg.learning.config.Sgd;
import org.nd4j.linalg.schedule.MapSchedule;
import org.nd4j.linalg.schedule.ScheduleType;

class ClippedSgdTest {

  private static MultiLayerNetwork with(ClippedSgd updater) {
    return network(b -> b.updater(updater), l -> l, Networks.ours(2));
  }

  /** One step is the plain one, scaled so that the whole gradient has at most the norm. */
  @ParameterizedTest
  @ValueSource(doubles = {0.01, 0.25, 1e6})
  void clipsTheWholeNorm(double maxNorm) {
    MultiLayerNetwork network = with(new ClippedSgd(2, maxNorm));
    INDArray before = network.params().dup();
    Networks.gradient(network, data(1));
    INDArray gradient = network.gradient().gradient().dup().divi(B);
    double norm = 0;
    for (double g : gradient.data().asDouble()) {
      norm += g * g;
    }
    norm = Math.sqrt(norm);
    assertTrue(norm > 0.25 && norm < 1e6, "both cases are tried: " + norm);
    network.fit(data(1));
    INDArray expected = before.sub(gradient.mul(2 * Math.min(1, maxNorm / norm)));
    assertClose(expected, network.params(), 1e-6, "parameters");
    assertEquals(1, ((BaseMultiLayerUpdater<?>) network.getUpdater()).getUpdaterBlocks().size());
  }

  @Test
  void severalBlocksAreRefused() {
    Layer[] layers = Networks.ours(1);
    ((QuantizedLSTM) layers[1]).setIUpdater(new Sgd(1));
    assertRefused(network(b -> b.updater(new ClippedSgd(1, 1)), l -> l, layers));
    assertRefused(
        network(
            b -> b.updater(new ClippedSgd(1, 1)).biasUpdater(new Sgd(1)),
            l -> l,
            Networks.ours(1)));
    MultiLayerNetwork network = with(new ClippedSgd(1, 1));
    network.fit(data(1));
    network.setLearningRate(2, 0.5);
    assertRefused(network);
  }

  private static void assertRefused(MultiLayerNetwork network) {
    Exception e = assertThrows(IllegalStateException.class, () -> network.fit(data(1)));
    assertTrue(e.getMessage().contains("whole network"), e.getMessage());
  }

  @Test
  void inAComputationGraph() {
    ComputationGraphConfiguration conf =
        new NeuralNetConfiguration.Builder()
            .updater(new ClippedSgd(1, 1e-3))
            .graphBuilder()
            .addInputs("in")
            .addLayer("words", Networks.ours(1)[0], "in")
            .addLayer("lstm", Networks.ours(1)[1], "words")
            .addLayer("out", Networks.ours(1)[2], "lstm")
            .setOutputs("out")
            .setInputTypes(InputType.recurrent(Networks.V, Networks.T))
            .build();
    ComputationGraph graph = new ComputationGraph(conf);
    graph.init();
    INDArray before = graph.params().dup();
    graph.fit(data(1));
    assertEquals(1e-3, graph.params().distance2(before), 1e-5);
  }

  @Test
  void learningRateIsSetScheduledAndSaved() throws IOException {
    MultiLayerNetwork network = with(new ClippedSgd(2, 0.25));
    network.setLearningRate(0);
    INDArray before = network.params().dup();
    network.fit(data(1));
    assertIdentical(before, network.params());
    network.setLearningRate(0.5);
    MultiLayerNetwork read = saved(network);
    assertEquals(0.5, read.getLearningRate(1));
    assertEquals(
        0.25,
        ((ClippedSgd) read.getLayer(1).conf().getLayer().getUpdaterByParam("W")).getMaxNorm());
    network.setLearningRate(
        new MapSchedule(ScheduleType.ITERATION, java.util.Map.of(0, 0.1, 2, 0.2)));
    assertEquals(0.1, network.getLearningRate(0));
    network.fit(data(1));
    assertEquals(0.2, saved(network).getLearningRate(0));
  }

  @Test
  void divergenceIsAnError() {
    MultiLayerNetwork network = with(new ClippedSgd(1, 1));
    network.getParam("3_b").putScalar(0, Float.NaN);
    Exception e = assertThrows(ArithmeticException.class, () -> network.fit(data(1)));
    assertTrue(e.getMessage().contains("diverged"), e.getMessage());
  }

  @Test
  void settingsAreChecked() {
    for (double bad : new double[] {0, -1, Double.NaN}) {
      assertThrows(IllegalArgumentException.class, () -> new ClippedSgd(1, bad));
    }
  }
}

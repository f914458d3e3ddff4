package org.multibit.layers;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.Map;
import java.util.Random;
import org.deeplearning4j.gradientcheck.GradientCheckUtil;
import org.deeplearning4j.nn.conf.BackpropType;
import org.deeplearning4j.nn.conf.MultiLayerConfiguration;
import org.deeplearning4j.nn.conf.NeuralNetConfiguration;
import org.deeplearning4j.nn.conf.WorkspaceMode;
import org.deeplearning4j.nn.conf.distribution.UniformDistribution;
import org.deeplearning4j.nn.conf.inputs.InputType;
import org.deeplearning4j.nn.conf.layers.EmbeddingSequenceLayer;
import org.deeplearning4j.nn.conf.layers.LSTM;
import org.deeplearning4j.nn.conf.layers.Layer;
import org.deeplearning4j.nn.conf.layers.RnnOutputLayer;
import org.deeplearning4j.nn.multilayer.MultiLayerNetwork;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.nd4j.linalg.activations.Activation;
import org.nd4j.linalg.api.buffer.DataType;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.nd4j.linalg.dataset.DataSet;
import org.nd4j.linalg.factory.Nd4j;
import org.nd4j.linalg.indexing.NDArrayIndex;
import org.nd4j.linalg.learning.config.Sgd;
import org.nd4j.linalg.lossfunctions.impl.LossSparseMCXENT;

/** Quantizers off, our layers are DL4J's own, from the same parameters. */
class StockEqualityTest {
  private static final int V = 11;
  private static final int E = 5;
  private static final int H = 7;
  private static final int B = 3;
  private static final int T = 6;

  private static MultiLayerNetwork network(
      DataType type, WorkspaceMode mode, int segment, Layer... layers) {
    NeuralNetConfiguration.ListBuilder list =
        new NeuralNetConfiguration.Builder()
            .seed(3)
            .dataType(type)
            .updater(new Sgd(1))
            .weightInit(new UniformDistribution(-0.8, 0.8))
            .trainingWorkspaceMode(mode)
            .inferenceWorkspaceMode(mode)
            .list(layers);
    if (segment > 0) {
      list.backpropType(BackpropType.TruncatedBPTT).tBPTTLength(segment);
    }
    MultiLayerConfiguration conf = list.setInputType(InputType.recurrent(V, T)).build();
    MultiLayerNetwork network = new MultiLayerNetwork(conf);
    network.init();
    return network;
  }

  private static MultiLayerNetwork ours(DataType type, WorkspaceMode mode, int segment) {
    return network(
        type,
        mode,
        segment,
        new QuantizedEmbedding.Builder().nIn(V).nOut(E).build(),
        new QuantizedLSTM.Builder().nIn(E).nOut(H).build(),
        new QuantizedLSTM.Builder().nIn(H).nOut(H).build(),
        new QuantizedSoftmaxOutput.Builder().nIn(H).nOut(V).build());
  }

  private static MultiLayerNetwork stock(DataType type, WorkspaceMode mode, int segment) {
    return network(
        type,
        mode,
        segment,
        new EmbeddingSequenceLayer.Builder().nIn(V).nOut(E).inferInputLength(true).build(),
        new LSTM.Builder().nIn(E).nOut(H).activation(Activation.TANH).build(),
        new LSTM.Builder().nIn(H).nOut(H).activation(Activation.TANH).build(),
        new RnnOutputLayer.Builder(new LossSparseMCXENT()).nIn(H).nOut(V).build());
  }

  private static void copyParameters(MultiLayerNetwork from, MultiLayerNetwork to) {
    for (Map.Entry<String, INDArray> entry : from.paramTable().entrySet()) {
      to.getParam(entry.getKey()).assign(entry.getValue());
    }
  }

  private static DataSet data(DataType type, long seed, int time) {
    Random random = new Random(seed);
    INDArray x = Nd4j.create(type, B, 1, time);
    INDArray y = Nd4j.create(type, B, 1, time);
    for (int b = 0; b < B; b++) {
      for (int t = 0; t < time; t++) {
        x.putScalar(b, 0, t, random.nextInt(V));
        y.putScalar(b, 0, t, random.nextInt(V));
      }
    }
    return new DataSet(x, y);
  }

  private static void assertClose(INDArray expected, INDArray actual, double tolerance) {
    assertTrue(expected.equalShapes(actual));
    double difference = expected.sub(actual.castTo(expected.dataType())).amaxNumber().doubleValue();
    assertTrue(difference <= tolerance, "differs by " + difference);
  }

  @ParameterizedTest
  @EnumSource(
      value = DataType.class,
      names = {"FLOAT", "DOUBLE"})
  void outputGradientAndScore(DataType type) {
    MultiLayerNetwork ours = ours(type, WorkspaceMode.ENABLED, 0);
    MultiLayerNetwork stock = stock(type, WorkspaceMode.ENABLED, 0);
    copyParameters(stock, ours);
    double tolerance = type == DataType.DOUBLE ? 1e-12 : 2e-6;
    DataSet data = data(type, 1, T);
    assertClose(stock.output(data.getFeatures()), ours.output(data.getFeatures()), tolerance);
    for (MultiLayerNetwork network : new MultiLayerNetwork[] {ours, stock}) {
      network.setInput(data.getFeatures());
      network.setLabels(data.getLabels());
      network.computeGradientAndScore();
    }
    assertEquals(stock.score(), ours.score(), 1e-5);
    stock
        .gradient()
        .gradientForVariable()
        .forEach(
            (key, expected) ->
                assertClose(expected, ours.gradient().getGradientFor(key), 10 * tolerance));
    for (int i = 0; i < 5; i++) {
      ours.fit(data(type, i, T));
      stock.fit(data(type, i, T));
    }
    copiesAgree(stock, ours, 50 * tolerance);
  }

  private static void copiesAgree(
      MultiLayerNetwork expected, MultiLayerNetwork actual, double tolerance) {
    expected
        .paramTable()
        .forEach((key, values) -> assertClose(values, actual.getParam(key), tolerance));
  }

  @Test
  void finiteDifferences() {
    DataType before = Nd4j.defaultFloatingPointType();
    Nd4j.setDefaultDataTypes(DataType.DOUBLE, DataType.DOUBLE);
    MultiLayerNetwork ours = ours(DataType.DOUBLE, WorkspaceMode.NONE, 0);
    DataSet data = data(DataType.DOUBLE, 2, T);
    assertTrue(
        GradientCheckUtil.checkGradients(
            new GradientCheckUtil.MLNConfig()
                .net(ours)
                .epsilon(1e-6)
                .maxRelError(1e-5)
                .minAbsoluteError(1e-8)
                .subset(true)
                .maxPerParam(25)
                .print(GradientCheckUtil.PrintMode.FAILURES_ONLY)
                .input(data.getFeatures())
                .labels(data.getLabels())));
    Nd4j.setDefaultDataTypes(before, before);
  }

  /** Step by step, in pieces, and at once. */
  @Test
  void rnnTimeStep() {
    MultiLayerNetwork ours = ours(DataType.FLOAT, WorkspaceMode.ENABLED, 0);
    MultiLayerNetwork stock = stock(DataType.FLOAT, WorkspaceMode.ENABLED, 0);
    copyParameters(stock, ours);
    INDArray x = data(DataType.FLOAT, 4, T).getFeatures();
    INDArray whole = ours.output(x);
    for (int t = 0; t < T; t++) {
      INDArray step =
          x.get(NDArrayIndex.all(), NDArrayIndex.all(), NDArrayIndex.interval(t, t + 1));
      INDArray expected = stock.rnnTimeStep(step);
      INDArray actual = ours.rnnTimeStep(step);
      assertClose(expected, actual, 2e-6);
      assertClose(
          whole.get(NDArrayIndex.all(), NDArrayIndex.all(), NDArrayIndex.interval(t, t + 1)),
          actual,
          2e-6);
    }
  }

  @Test
  void workspacesMakeNoDifference() {
    MultiLayerNetwork with = ours(DataType.FLOAT, WorkspaceMode.ENABLED, 0);
    MultiLayerNetwork without = ours(DataType.FLOAT, WorkspaceMode.NONE, 0);
    copyParameters(with, without);
    for (int i = 0; i < 4; i++) {
      with.fit(data(DataType.FLOAT, i, T));
      without.fit(data(DataType.FLOAT, i, T));
    }
    assertEquals(with.params(), without.params());
  }
}

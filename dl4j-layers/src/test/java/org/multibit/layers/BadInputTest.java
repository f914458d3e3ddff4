package org.multibit.layers;

import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.multibit.layers.Networks.B;
import static org.multibit.layers.Networks.E;
import static org.multibit.layers.Networks.H;
import static org.multibit.layers.Networks.T;
import static org.multibit.layers.Networks.V;
import static org.multibit.layers.Networks.data;
import static org.multibit.layers.Networks.network;

import org.deeplearning4j.exception.DL4JInvalidConfigException;
import org.deeplearning4j.nn.conf.NeuralNetConfiguration;
import org.deeplearning4j.nn.conf.RNNFormat;
import org.deeplearning4j.nn.conf.inputs.InputType;
import org.deeplearning4j.nn.conf.layers.Layer;
import org.deeplearning4j.nn.multilayer.MultiLayerNetwork;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.multibit.core.Quantization;
import org.multibit.layers.Networks.Cell;
import org.nd4j.linalg.activations.Activation;
import org.nd4j.linalg.api.buffer.DataType;
import org.nd4j.linalg.dataset.DataSet;
import org.nd4j.linalg.factory.Nd4j;
import org.nd4j.linalg.lossfunctions.LossFunctions.LossFunction;

/** What was wrong, where, and what to do. */
class BadInputTest {

  private static void assertSays(
      Class<? extends Exception> type, Executable executable, String... parts) {
    String message = assertThrows(type, executable).getMessage();
    for (String part : parts) {
      assertTrue(message.contains(part), "\"" + part + "\" in: " + message);
    }
  }

  @Test
  void tokensAndLabels() {
    MultiLayerNetwork network = network(Networks.ours(1));
    for (double bad : new double[] {V, -1, 0.5, Double.NaN, 1e12}) {
      DataSet tokens = data(1);
      tokens.getFeatures().putScalar(2, 0, 4, bad);
      assertSays(
          IllegalArgumentException.class,
          () -> network.fit(tokens),
          "layer index: 0",
          "token",
          "batch 2, time 4",
          "0 to 10");
      DataSet labels = data(1);
      labels.getLabels().putScalar(1, 0, 3, bad);
      assertSays(
          IllegalArgumentException.class,
          () -> network.fit(labels),
          "layer index: 2",
          "label",
          "batch 1, time 3",
          "0 to 10");
    }
  }

  @Test
  void shapes() {
    MultiLayerNetwork network = network(Networks.ours(1));
    assertSays(
        IllegalArgumentException.class,
        () -> network.output(Nd4j.zeros(B, 2, T)),
        "[batch, 1, time]",
        "[3, 2, 6]");
    assertSays(
        IllegalArgumentException.class,
        () -> network.fit(new DataSet(data(1).getFeatures(), Nd4j.zeros(B, V, T))),
        "labels [3, 1, 6] of class ids",
        "[3, 11, 6]");
    DataSet masked = data(1);
    masked.setLabelsMaskArray(Nd4j.ones(B, T + 1));
    assertSays(IllegalArgumentException.class, () -> network.fit(masked), "[3, 6]", "[3, 7]");
  }

  @Test
  void quantizingIsDoneInFloat() {
    Quantization q = Quantization.alternating(2);
    for (Layer[] layers :
        new Layer[][] {
          Networks.quantized(q, null),
          Networks.quantized(null, q),
          Networks.quantized(Cell.GRU, q, null)
        }) {
      assertSays(
          DL4JInvalidConfigException.class,
          () -> network(b -> b.dataType(DataType.DOUBLE), l -> l, layers),
          "alternating",
          "DOUBLE",
          "set dataType(DataType.FLOAT)",
          "convertDataType(DataType.FLOAT)");
    }
  }

  @Test
  void settingsThatTheLayersDoNotHave() {
    assertSays(
        DL4JInvalidConfigException.class,
        () -> new QuantizedLSTM.Builder().activation(Activation.RELU).build(),
        "relu",
        "tanh");
    assertSays(
        DL4JInvalidConfigException.class,
        () -> new QuantizedGRU.Builder().activation(Activation.RELU).build(),
        "QuantizedGRU",
        "relu",
        "tanh");
    assertSays(
        DL4JInvalidConfigException.class,
        () -> new QuantizedGRU.Builder().nIn(E).nOut(H).dataFormat(RNNFormat.NWC).build(),
        "QuantizedGRU",
        "NCW");
    assertSays(
        DL4JInvalidConfigException.class,
        () -> new QuantizedEmbedding.Builder().activation(Activation.TANH).build(),
        "tanh");
    assertSays(
        DL4JInvalidConfigException.class,
        () -> new QuantizedSoftmaxOutput.Builder().activation(Activation.SIGMOID).build(),
        "sigmoid");
    assertSays(
        DL4JInvalidConfigException.class,
        () -> new QuantizedSoftmaxOutput.Builder().lossFunction(LossFunction.MSE).build(),
        "cross-entropy",
        "LossMSE");
    assertSays(
        DL4JInvalidConfigException.class,
        () -> new QuantizedLSTM.Builder().nIn(E).nOut(H).dataFormat(RNNFormat.NWC).build(),
        "NCW");
    for (InputType type :
        new InputType[] {InputType.recurrent(V, T, RNNFormat.NWC), InputType.feedForward(V)}) {
      assertSays(
          DL4JInvalidConfigException.class,
          () ->
              new NeuralNetConfiguration.Builder()
                  .list(Networks.ours(1))
                  .setInputType(type)
                  .build(),
          "InputType.recurrent");
    }
  }

  /** Not a quantizer's row and column alone: which layer, which of its inputs, and why. */
  @ParameterizedTest
  @EnumSource(Cell.class)
  void divergence(Cell cell) {
    Quantization q = Quantization.alternating(2);
    MultiLayerNetwork network = Networks.network(Networks.quantized(cell, q, q));
    network.getParam("1_b").putScalar(2, Float.NaN);
    assertSays(
        ArithmeticException.class,
        () -> network.fit(data(1)),
        "layer index: 1",
        "hidden state",
        "NaN",
        "diverged");
    network.getParam("1_W").putScalar(0, 0, Float.POSITIVE_INFINITY);
    assertSays(
        ArithmeticException.class, () -> network.output(data(1).getFeatures()), "input weights");
  }
}

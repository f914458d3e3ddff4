package org.multibit.layers;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.util.Map;
import java.util.Random;
import java.util.function.UnaryOperator;
import org.deeplearning4j.nn.conf.MultiLayerConfiguration;
import org.deeplearning4j.nn.conf.NeuralNetConfiguration;
import org.deeplearning4j.nn.conf.distribution.UniformDistribution;
import org.deeplearning4j.nn.conf.inputs.InputType;
import org.deeplearning4j.nn.conf.layers.EmbeddingSequenceLayer;
import org.deeplearning4j.nn.conf.layers.LSTM;
import org.deeplearning4j.nn.conf.layers.Layer;
import org.deeplearning4j.nn.conf.layers.RnnOutputLayer;
import org.deeplearning4j.nn.multilayer.MultiLayerNetwork;
import org.deeplearning4j.util.ModelSerializer;
import org.multibit.core.Quantization;
import org.nd4j.linalg.activations.Activation;
import org.nd4j.linalg.api.buffer.DataType;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.nd4j.linalg.dataset.DataSet;
import org.nd4j.linalg.factory.Nd4j;
import org.nd4j.linalg.learning.config.Sgd;
import org.nd4j.linalg.lossfunctions.impl.LossSparseMCXENT;

/** Small language models, their data and their comparison. */
final class Networks {
  static final int V = 11;
  static final int E = 5;
  static final int H = 7;
  static final int B = 3;
  static final int T = 6;

  private Networks() {}

  /** Each layer one after the other, with SGD and wide weights unless changed. */
  static MultiLayerNetwork network(
      UnaryOperator<NeuralNetConfiguration.Builder> settings,
      UnaryOperator<MultiLayerConfiguration.Builder> listSettings,
      Layer... layers) {
    NeuralNetConfiguration.Builder builder =
        settings.apply(
            new NeuralNetConfiguration.Builder()
                .seed(3)
                .updater(new Sgd(1))
                .weightInit(new UniformDistribution(-0.8, 0.8)));
    MultiLayerNetwork network =
        new MultiLayerNetwork(
            listSettings
                .apply(builder.list(layers))
                .setInputType(InputType.recurrent(V, T))
                .build());
    network.init();
    return network;
  }

  static MultiLayerNetwork network(Layer... layers) {
    return network(b -> b, l -> l, layers);
  }

  enum Cell {
    LSTM,
    GRU;

    QuantizedRecurrent.Builder<?> builder() {
      return this == LSTM ? new QuantizedLSTM.Builder() : new QuantizedGRU.Builder();
    }
  }

  /** Embedding, LSTMs and softmax of ours, in full precision. */
  static Layer[] ours(int lstms) {
    return ours(Cell.LSTM, lstms);
  }

  static Layer[] ours(Cell cell, int count) {
    Layer[] layers = new Layer[count + 2];
    layers[0] = new QuantizedEmbedding.Builder().nIn(V).nOut(E).build();
    for (int i = 1; i <= count; i++) {
      layers[i] = cell.builder().nIn(i == 1 ? E : H).nOut(H).build();
    }
    layers[count + 1] = new QuantizedSoftmaxOutput.Builder().nIn(H).nOut(V).build();
    return layers;
  }

  /** The same of DL4J's own. */
  static Layer[] stock(int lstms) {
    Layer[] layers = new Layer[lstms + 2];
    layers[0] = new EmbeddingSequenceLayer.Builder().nIn(V).nOut(E).inferInputLength(true).build();
    for (int i = 1; i <= lstms; i++) {
      layers[i] =
          new LSTM.Builder().nIn(i == 1 ? E : H).nOut(H).activation(Activation.TANH).build();
    }
    layers[lstms + 1] = new RnnOutputLayer.Builder(new LossSparseMCXENT()).nIn(H).nOut(V).build();
    return layers;
  }

  /** The paper's model in small: quantized everywhere, stateful, with dropout. */
  static Layer[] quantized(Quantization weights, Quantization activations) {
    return quantized(Cell.LSTM, weights, activations);
  }

  static Layer[] quantized(Cell cell, Quantization weights, Quantization activations) {
    return new Layer[] {
      new QuantizedEmbedding.Builder().nIn(V).nOut(E).weights(weights).build(),
      cell.builder()
          .nIn(E)
          .nOut(H)
          .weights(weights)
          .recurrentActivations(activations)
          .stateful(true)
          .dropOut(0.5)
          .build(),
      new QuantizedSoftmaxOutput.Builder()
          .nIn(H)
          .nOut(V)
          .weights(weights)
          .activations(activations)
          .averageOverTime(true)
          .dropOut(0.5)
          .build()
    };
  }

  static void copyParameters(Map<String, INDArray> from, Map<String, INDArray> to) {
    from.forEach((key, values) -> to.get(key).assign(values));
  }

  /** Random tokens and labels, [batch, 1, time]. */
  static DataSet data(DataType type, long seed, int batch, int time) {
    Random random = new Random(seed);
    INDArray x = Nd4j.create(type, batch, 1, time);
    INDArray y = Nd4j.create(type, batch, 1, time);
    for (int b = 0; b < batch; b++) {
      for (int t = 0; t < time; t++) {
        x.putScalar(b, 0, t, random.nextInt(V));
        y.putScalar(b, 0, t, random.nextInt(V));
      }
    }
    return new DataSet(x, y);
  }

  static DataSet data(long seed) {
    return data(DataType.FLOAT, seed, B, T);
  }

  /** A copy of the gradient by parameter, summed over the batch. */
  static Map<String, INDArray> gradient(MultiLayerNetwork network, DataSet data) {
    network.setInput(data.getFeatures());
    network.setLabels(data.getLabels());
    network.setLayerMaskArrays(data.getFeaturesMaskArray(), data.getLabelsMaskArray());
    network.computeGradientAndScore();
    network.clearLayerMaskArrays();
    Map<String, INDArray> copy = new java.util.LinkedHashMap<>();
    network.gradient().gradientForVariable().forEach((key, g) -> copy.put(key, g.dup()));
    return copy;
  }

  /** Through DL4J's zip and back. */
  static MultiLayerNetwork saved(MultiLayerNetwork network) throws IOException {
    ByteArrayOutputStream zip = new ByteArrayOutputStream();
    ModelSerializer.writeModel(network, zip, true);
    return ModelSerializer.restoreMultiLayerNetwork(new ByteArrayInputStream(zip.toByteArray()));
  }

  static void assertClose(INDArray expected, INDArray actual, double tolerance, String what) {
    assertTrue(expected.equalShapes(actual), what);
    double difference =
        expected
            .castTo(DataType.DOUBLE)
            .sub(actual.castTo(DataType.DOUBLE))
            .amaxNumber()
            .doubleValue();
    assertTrue(difference <= tolerance, what + " differs by " + difference);
  }

  static void assertClose(
      Map<String, INDArray> expected, Map<String, INDArray> actual, double tolerance) {
    assertTrue(!expected.isEmpty() && expected.keySet().equals(actual.keySet()));
    expected.forEach((key, values) -> assertClose(values, actual.get(key), tolerance, key));
  }

  /** The same bits; INDArray.equals would let 1e-5 pass. */
  static void assertIdentical(INDArray expected, INDArray actual) {
    assertEquals(expected.dataType(), actual.dataType());
    assertArrayEquals(expected.shape(), actual.shape());
    assertArrayEquals(
        expected.dup('c').data().asDouble(), actual.dup('c').data().asDouble(), 0, "bits");
  }
}

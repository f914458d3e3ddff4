package org.multibit.layers;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import org.deeplearning4j.nn.conf.MultiLayerConfiguration;
import org.deeplearning4j.nn.conf.NeuralNetConfiguration;
import org.deeplearning4j.nn.conf.distribution.UniformDistribution;
import org.deeplearning4j.nn.conf.dropout.AlphaDropout;
import org.deeplearning4j.nn.conf.inputs.InputType;
import org.deeplearning4j.nn.conf.layers.BaseLayer;
import org.deeplearning4j.nn.conf.layers.DenseLayer;
import org.deeplearning4j.nn.conf.layers.GravesLSTM;
import org.deeplearning4j.nn.conf.layers.LSTM;
import org.deeplearning4j.nn.conf.layers.Layer;
import org.deeplearning4j.nn.conf.layers.OutputLayer;
import org.deeplearning4j.nn.conf.layers.RnnOutputLayer;
import org.deeplearning4j.nn.conf.layers.recurrent.Bidirectional;
import org.deeplearning4j.nn.conf.layers.recurrent.LastTimeStep;
import org.deeplearning4j.nn.graph.ComputationGraph;
import org.deeplearning4j.nn.multilayer.MultiLayerNetwork;
import org.junit.jupiter.api.Test;
import org.multibit.core.Quantization;
import org.nd4j.linalg.activations.Activation;
import org.nd4j.linalg.api.buffer.DataType;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.nd4j.linalg.dataset.DataSet;
import org.nd4j.linalg.factory.Nd4j;
import org.nd4j.linalg.learning.config.Adam;
import org.nd4j.linalg.lossfunctions.LossFunctions;

/** Trained networks of DL4J's layers become ours, with what was trained and configured. */
class NetworkQuantizerTest {
  private static final String SPEC = "embedding=3, lstm=2/2, softmax=2/3";

  private static Layer conf(MultiLayerNetwork network, int layer) {
    return network.getLayerWiseConfigurations().getConf(layer).getLayer();
  }

  @Test
  void withoutBitsNothingChangesButTheLayers() {
    MultiLayerNetwork stock = Networks.network(Networks.stock(2));
    stock.fit(Networks.data(1));
    MultiLayerNetwork ours = NetworkQuantizer.convert(stock, "fp");
    assertInstanceOf(QuantizedEmbedding.class, conf(ours, 0));
    assertInstanceOf(QuantizedLSTM.class, conf(ours, 1));
    assertInstanceOf(QuantizedSoftmaxOutput.class, conf(ours, 3));
    INDArray features = Networks.data(1).getFeatures();
    assertTrue(stock.output(features).equalsWithEps(ours.output(features), 1e-5));
    assertEquals(stock.paramTable(), ours.paramTable());
  }

  @Test
  void eachLayerHasItsBits() throws IOException {
    MultiLayerNetwork stock =
        Networks.network(
            b -> b.updater(new Adam(0.01)).dropOut(0.8).l2(1e-4), l -> l, Networks.stock(2));
    MultiLayerNetwork ours = NetworkQuantizer.convert(stock, SPEC);
    QuantizedEmbedding embedding = (QuantizedEmbedding) conf(ours, 0);
    QuantizedLSTM first = (QuantizedLSTM) conf(ours, 1);
    QuantizedLSTM second = (QuantizedLSTM) conf(ours, 2);
    QuantizedSoftmaxOutput softmax = (QuantizedSoftmaxOutput) conf(ours, 3);
    assertEquals(Quantization.alternating(3), embedding.getWeightQuantization());
    assertEquals(Quantization.alternating(2), first.getWeightQuantization());
    assertEquals(null, first.getInputActivationQuantization(), "the embedding's rows are codes");
    assertEquals(Quantization.alternating(2), first.getRecurrentActivationQuantization());
    assertEquals(Quantization.alternating(2), second.getInputActivationQuantization());
    assertEquals(Quantization.alternating(2), softmax.getWeightQuantization());
    assertEquals(Quantization.alternating(3), softmax.getActivationQuantization());
    assertEquals(new Adam(0.01), first.getIUpdater());
    assertEquals(((LSTM) conf(stock, 1)).getRegularization(), first.getRegularization());
    assertEquals(((LSTM) conf(stock, 1)).getIDropout(), first.getIDropout());
    assertEquals(stock.paramTable(), ours.paramTable());
    // It trains on, also after it was saved.
    MultiLayerNetwork restored = Networks.saved(ours);
    DataSet data = Networks.data(1);
    double before = restored.score(data);
    for (int i = 0; i < 30; i++) {
      restored.fit(data);
    }
    assertTrue(restored.score(data) < before);
  }

  @Test
  void whatIsNotKnownStays() {
    Layer[] layers = Networks.stock(2);
    layers[1] =
        new GravesLSTM.Builder()
            .nIn(Networks.E)
            .nOut(Networks.H)
            .activation(Activation.TANH)
            .build();
    layers[2] =
        new LSTM.Builder().nIn(Networks.H).nOut(Networks.H).activation(Activation.SOFTSIGN).build();
    layers[3] =
        new RnnOutputLayer.Builder(LossFunctions.LossFunction.MCXENT)
            .nIn(Networks.H)
            .nOut(Networks.V)
            .activation(Activation.SOFTMAX)
            .build();
    MultiLayerNetwork ours = NetworkQuantizer.convert(Networks.network(layers), SPEC);
    assertInstanceOf(QuantizedEmbedding.class, conf(ours, 0));
    assertInstanceOf(GravesLSTM.class, conf(ours, 1));
    assertInstanceOf(LSTM.class, conf(ours, 2));
    assertInstanceOf(RnnOutputLayer.class, conf(ours, 3));
  }

  @Test
  void graph() {
    Layer[] layers = Networks.stock(1);
    ComputationGraph stock =
        new ComputationGraph(
            new NeuralNetConfiguration.Builder()
                .seed(3)
                .weightInit(new UniformDistribution(-0.8, 0.8))
                .graphBuilder()
                .addInputs("tokens")
                .addLayer("embedding", layers[0], "tokens")
                .addLayer("lstm", layers[1], "embedding")
                .addLayer("words", layers[2], "lstm")
                .setOutputs("words")
                .setInputTypes(InputType.recurrent(Networks.V, Networks.T))
                .build());
    stock.init();
    ComputationGraph ours = NetworkQuantizer.convert(stock, SPEC);
    QuantizedLSTM lstm = (QuantizedLSTM) ours.getLayer("lstm").conf().getLayer();
    assertEquals(null, lstm.getInputActivationQuantization());
    assertEquals(Quantization.alternating(2), lstm.getRecurrentActivationQuantization());
    INDArray features = Networks.data(1).getFeatures();
    ComputationGraph exact = NetworkQuantizer.convert(stock, "fp");
    assertTrue(stock.outputSingle(features).equalsWithEps(exact.outputSingle(features), 1e-5));
    assertEquals(stock.paramTable(), ours.paramTable());
    ours.fit(Networks.data(1));
    assertEquals(1, ours.getIterationCount());
  }

  /** A classifier of sequences: LSTMs, the last step, dense layers. */
  private static Layer[] classifier() {
    return new Layer[] {
      new LSTM.Builder().nOut(Networks.H).build(),
      new LastTimeStep(new LSTM.Builder().nOut(8).dropOut(0.8).build()),
      new DenseLayer.Builder().nOut(6).activation(Activation.RELU).hasBias(false).build(),
      new OutputLayer.Builder(LossFunctions.LossFunction.XENT)
          .nOut(3)
          .activation(Activation.SIGMOID)
          .build()
    };
  }

  private static NeuralNetConfiguration.Builder settings() {
    return new NeuralNetConfiguration.Builder()
        .seed(3)
        .updater(new Adam(0.02))
        .activation(Activation.TANH)
        .weightInit(new UniformDistribution(-0.8, 0.8));
  }

  private static DataSet sequences() {
    Nd4j.getRandom().setSeed(5);
    INDArray labels = Nd4j.rand(DataType.FLOAT, 7, 3).gt(0.5).castTo(DataType.FLOAT);
    return new DataSet(Nd4j.rand(DataType.FLOAT, 7, 4, 9).subi(0.3), labels);
  }

  @Test
  void classifierOfSequences() throws IOException {
    MultiLayerNetwork stock =
        new MultiLayerNetwork(
            settings().list(classifier()).setInputType(InputType.recurrent(4, 9)).build());
    stock.init();
    stock.fit(sequences());
    MultiLayerNetwork exact = NetworkQuantizer.convert(stock, "fp");
    INDArray features = sequences().getFeatures();
    assertTrue(stock.output(features).equalsWithEps(exact.output(features), 1e-5));
    Networks.assertClose(
        Networks.gradient(withoutDropout(stock), sequences()),
        Networks.gradient(withoutDropout(exact), sequences()),
        1e-5);

    exact.setLearningRate(0.5);
    assertEquals(0.5, exact.getLearningRate(1));
    for (int layer = 0; layer < 4; layer++) {
      assertEquals(0.02, stock.getLearningRate(layer), "it is left as it is");
    }
    assertInstanceOf(LSTM.class, ((LastTimeStep) conf(stock, 1)).getUnderlying());

    MultiLayerNetwork ours =
        Networks.saved(NetworkQuantizer.convert(stock, "lstm=2/3, dense=1/2, output=3/fp"));
    Quantization two = Quantization.alternating(2);
    Quantization three = Quantization.alternating(3);
    QuantizedLSTM first = (QuantizedLSTM) conf(ours, 0);
    assertEquals(three, first.getInputActivationQuantization());
    QuantizedLSTM last = (QuantizedLSTM) ((LastTimeStep) conf(ours, 1)).getUnderlying();
    assertEquals(two, last.getWeightQuantization());
    assertEquals(three, last.getInputActivationQuantization());
    assertEquals(three, last.getRecurrentActivationQuantization());
    assertEquals(0.8, DropoutMask.retain(last.getIDropout()));
    assertEquals(new Adam(0.02), last.getIUpdater());
    QuantizedDense dense = (QuantizedDense) conf(ours, 2);
    assertEquals(Quantization.alternating(1), dense.getWeightQuantization());
    assertEquals(two, dense.getActivationQuantization());
    assertEquals(Activation.RELU.getActivationFunction(), dense.getActivationFn());
    assertEquals(false, dense.hasBias());
    QuantizedOutput output = (QuantizedOutput) conf(ours, 3);
    assertEquals(three, output.getWeightQuantization());
    assertEquals(null, output.getActivationQuantization());
    assertEquals(Activation.SIGMOID.getActivationFunction(), output.getActivationFn());
    assertEquals(LossFunctions.LossFunction.XENT.getILossFunction(), output.getLossFn());
    assertEquals(stock.paramTable(), ours.paramTable());
    double before = ours.score(sequences());
    for (int i = 0; i < 30; i++) {
      ours.fit(sequences());
    }
    assertTrue(ours.score(sequences()) < before);
  }

  /** Sequences of several lengths, padded at the end, as DL4J's own layers take them. */
  @Test
  void paddedSequences() {
    Layer[] layers = classifier();
    layers[0] =
        new Bidirectional(Bidirectional.Mode.CONCAT, new QuantizedLSTM.Builder().nOut(5).build());
    Layer[] stockLayers = classifier();
    stockLayers[0] =
        new Bidirectional(Bidirectional.Mode.CONCAT, new LSTM.Builder().nOut(5).build());
    MultiLayerNetwork[] networks = new MultiLayerNetwork[2];
    for (int i = 0; i < 2; i++) {
      networks[i] =
          new MultiLayerNetwork(
              settings()
                  .dataType(DataType.DOUBLE)
                  .list(i == 0 ? layers : stockLayers)
                  .setInputType(InputType.recurrent(4, 9))
                  .build());
      networks[i].init();
    }
    networks[0].setParams(networks[1].params());
    MultiLayerNetwork ours = withoutDropout(NetworkQuantizer.convert(networks[0], "fp"));
    MultiLayerNetwork stock = withoutDropout(networks[1]);
    DataSet data = sequences();
    data.setFeatures(data.getFeatures().castTo(DataType.DOUBLE));
    data.setLabels(data.getLabels().castTo(DataType.DOUBLE));
    INDArray mask = Nd4j.ones(DataType.DOUBLE, 7, 9);
    mask.putScalar(1, 8, 0).putScalar(4, 7, 0).putScalar(4, 8, 0);
    data.setFeaturesMaskArray(mask);
    Networks.assertClose(Networks.gradient(stock, data), Networks.gradient(ours, data), 1e-12);
    Networks.assertClose(
        stock.output(data.getFeatures(), false, mask, null),
        ours.output(data.getFeatures(), false, mask, null),
        1e-12,
        "output");
    // What the padding holds does not matter.
    data.getFeatures().putScalar(4, 2, 8, 100);
    Networks.assertClose(Networks.gradient(stock, data), Networks.gradient(ours, data), 1e-12);
  }

  private static MultiLayerNetwork withoutDropout(MultiLayerNetwork network) {
    MultiLayerNetwork plain =
        new MultiLayerNetwork(
            // A clone would share what a wrapper holds.
            MultiLayerConfiguration.fromJson(network.getLayerWiseConfigurations().toJson()));
    ((BaseLayer) ((LastTimeStep) conf(plain, 1)).getUnderlying()).setIDropout(null);
    plain.init();
    plain.setParams(network.params());
    return plain;
  }

  @Test
  void classifierAsAGraph() {
    Layer[] layers = classifier();
    ComputationGraph stock =
        new ComputationGraph(
            settings()
                .graphBuilder()
                .addInputs("rows")
                .addLayer("first", layers[0], "rows")
                .addLayer("last", layers[1], "first")
                .addLayer("hidden", layers[2], "last")
                .addLayer("classes", layers[3], "hidden")
                .setOutputs("classes")
                .setInputTypes(InputType.recurrent(4, 9))
                .build());
    stock.init();
    ComputationGraph ours = NetworkQuantizer.convert(stock, "2/2");
    for (String name : new String[] {"first", "last"}) {
      assertInstanceOf(QuantizedLSTM.class, ours.getLayer(name).conf().getLayer());
    }
    assertInstanceOf(QuantizedDense.class, ours.getLayer("hidden").conf().getLayer());
    assertInstanceOf(QuantizedOutput.class, ours.getLayer("classes").conf().getLayer());
    INDArray features = sequences().getFeatures();
    ComputationGraph exact = NetworkQuantizer.convert(stock, "fp");
    assertTrue(stock.outputSingle(features).equalsWithEps(exact.outputSingle(features), 1e-5));
    assertEquals(stock.paramTable(), ours.paramTable());
    ours.fit(sequences());
    assertEquals(1, ours.getIterationCount());
    ours.setLearningRate(0.5);
    for (String name : new String[] {"first", "last", "hidden", "classes"}) {
      assertEquals(0.02, stock.getLearningRate(name), "it is left as it is");
    }
  }

  @Test
  void whatDenseLayersCannotKeepStays() {
    MultiLayerNetwork stock =
        new MultiLayerNetwork(
            settings()
                .list(
                    new LastTimeStep(new GravesLSTM.Builder().nOut(5).build()),
                    new DenseLayer.Builder().nOut(6).hasLayerNorm(true).build(),
                    new OutputLayer.Builder().nOut(3).dropOut(new AlphaDropout(0.5)).build())
                .setInputType(InputType.recurrent(4, 9))
                .build());
    stock.init();
    String message =
        assertThrows(IllegalArgumentException.class, () -> NetworkQuantizer.convert(stock, "2/2"))
            .getMessage();
    for (String part :
        new String[] {
          "Nothing in the network was converted: layer0 (LastTimeStep(GravesLSTM)): full precision,",
          "; layer1 (DenseLayer): full precision, it has layer normalization",
          "; layer2 (OutputLayer): full precision, its dropout is "
        }) {
      assertTrue(message.contains(part), message);
    }
    assertEquals(1, message.lines().count());
  }

  @Test
  void badSpecs() {
    MultiLayerNetwork stock = Networks.network(Networks.stock(1));
    for (String spec :
        new String[] {
          "2", "lstm", "lstm=9/9", "rnn=2/2", "lstm=2/2,gru=2/2", "softmax=2/2,output=2/2", ""
        }) {
      assertThrows(
          IllegalArgumentException.class, () -> NetworkQuantizer.convert(stock, spec), spec);
    }
  }
}

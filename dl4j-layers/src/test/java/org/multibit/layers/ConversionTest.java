package org.multibit.layers;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.util.List;
import org.deeplearning4j.exception.DL4JInvalidInputException;
import org.deeplearning4j.nn.api.layers.LayerConstraint;
import org.deeplearning4j.nn.conf.NeuralNetConfiguration;
import org.deeplearning4j.nn.conf.constraint.MaxNormConstraint;
import org.deeplearning4j.nn.conf.distribution.UniformDistribution;
import org.deeplearning4j.nn.conf.inputs.InputType;
import org.deeplearning4j.nn.conf.layers.ActivationLayer;
import org.deeplearning4j.nn.conf.layers.BaseLayer;
import org.deeplearning4j.nn.conf.layers.BatchNormalization;
import org.deeplearning4j.nn.conf.layers.Convolution1DLayer;
import org.deeplearning4j.nn.conf.layers.ConvolutionLayer;
import org.deeplearning4j.nn.conf.layers.DenseLayer;
import org.deeplearning4j.nn.conf.layers.DropoutLayer;
import org.deeplearning4j.nn.conf.layers.EmbeddingLayer;
import org.deeplearning4j.nn.conf.layers.GlobalPoolingLayer;
import org.deeplearning4j.nn.conf.layers.LSTM;
import org.deeplearning4j.nn.conf.layers.Layer;
import org.deeplearning4j.nn.conf.layers.LossLayer;
import org.deeplearning4j.nn.conf.layers.OutputLayer;
import org.deeplearning4j.nn.conf.layers.misc.FrozenLayer;
import org.deeplearning4j.nn.conf.layers.recurrent.Bidirectional;
import org.deeplearning4j.nn.conf.layers.recurrent.LastTimeStep;
import org.deeplearning4j.nn.conf.layers.recurrent.TimeDistributed;
import org.deeplearning4j.nn.conf.layers.util.MaskZeroLayer;
import org.deeplearning4j.nn.graph.ComputationGraph;
import org.deeplearning4j.nn.multilayer.MultiLayerNetwork;
import org.deeplearning4j.nn.transferlearning.TransferLearning;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.multibit.core.Quantization;
import org.multibit.layers.ConversionReport.Outcome;
import org.nd4j.linalg.activations.Activation;
import org.nd4j.linalg.api.buffer.DataType;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.nd4j.linalg.dataset.DataSet;
import org.nd4j.linalg.factory.Nd4j;
import org.nd4j.linalg.learning.config.Adam;
import org.nd4j.linalg.lossfunctions.LossFunctions.LossFunction;

/** A conversion says what became of each layer, and it is so. */
class ConversionTest {
  private static final int N = 4;
  private static final int TIME = 9;
  private static final Quantization TWO = Quantization.alternating(2);
  private static final Quantization THREE = Quantization.alternating(3);

  private static NeuralNetConfiguration.Builder settings() {
    return new NeuralNetConfiguration.Builder()
        .seed(3)
        .updater(new Adam(0.02))
        .activation(Activation.TANH)
        .weightInit(new UniformDistribution(-0.8, 0.8));
  }

  private static MultiLayerNetwork network(InputType input, Layer... layers) {
    MultiLayerNetwork network =
        new MultiLayerNetwork(settings().list(layers).setInputType(input).build());
    network.init();
    return network;
  }

  private static MultiLayerNetwork network(Layer... layers) {
    return network(InputType.recurrent(N, TIME), layers);
  }

  private static OutputLayer output() {
    return new OutputLayer.Builder().nOut(3).activation(Activation.SOFTMAX).build();
  }

  private static Layer conf(MultiLayerNetwork network, int layer) {
    return network.getLayerWiseConfigurations().getConf(layer).getLayer();
  }

  private static INDArray sequences() {
    Nd4j.getRandom().setSeed(5);
    return Nd4j.rand(DataType.FLOAT, 7, N, TIME).subi(0.3);
  }

  private static DataSet data() {
    INDArray labels = Nd4j.zeros(DataType.FLOAT, 7, 3);
    for (int i = 0; i < 7; i++) {
      labels.putScalar(i, i % 3, 1);
    }
    return new DataSet(sequences(), labels);
  }

  private static String refusal(MultiLayerNetwork network, String spec) {
    String message =
        assertThrows(IllegalArgumentException.class, () -> NetworkQuantizer.convert(network, spec))
            .getMessage();
    assertEquals(1, message.lines().count(), message);
    return message;
  }

  private static List<String> lines(ConversionReport report) {
    return report.toString().lines().toList();
  }

  @Test
  void everyLayerIsReported() {
    Conversion<MultiLayerNetwork> conversion =
        NetworkQuantizer.convertAndReport(
            network(
                InputType.convolutional(8, 8, 2),
                new ConvolutionLayer.Builder(3, 3).nOut(4).build(),
                new ConvolutionLayer.Builder(3, 3)
                    .nOut(4)
                    .weightNoise(new WeightQuantization(THREE))
                    .build(),
                new BatchNormalization(),
                new DropoutLayer(0.5),
                new DenseLayer.Builder().name("hidden").nOut(6).build(),
                new ActivationLayer(Activation.RELU),
                new QuantizedDense.Builder().nOut(5).weights(THREE).activations(THREE).build(),
                new QuantizedDense.Builder().nOut(5).weights(TWO).activations(TWO).build(),
                new OutputLayer.Builder().nOut(3).activation(Activation.SOFTMAX).build()),
            "dense=2/2");
    assertEquals(
        List.of(
            "layer0 (ConvolutionLayer): full precision, it is no EmbeddingSequenceLayer, LSTM, DenseLayer, OutputLayer or RnnOutputLayer; weightNoise(new WeightQuantization(...)) would quantize its weights",
            "layer1 (ConvolutionLayer): weight noise, WeightQuantization("
                + THREE
                + ") quantizes its weights; it is no EmbeddingSequenceLayer, LSTM, DenseLayer, OutputLayer or RnnOutputLayer",
            "layer2 (BatchNormalization): no weights",
            "layer3 (DropoutLayer): no weights",
            "hidden (DenseLayer): converted, QuantizedDense at 2/2 bits by " + TWO.quantizer(),
            "layer5 (ActivationLayer): no weights",
            "layer6 (QuantizedDense): requantized, QuantizedDense at 2/2 bits by "
                + TWO.quantizer()
                + ", before at 3/3 bits by "
                + TWO.quantizer(),
            "layer7 (QuantizedDense): unchanged, QuantizedDense at 2/2 bits by " + TWO.quantizer(),
            "layer8 (OutputLayer): converted, QuantizedOutput at full precision"),
        lines(conversion.report()));
    assertEquals(
        List.of("layer0"),
        conversion.report().of(Outcome.FULL_PRECISION).stream()
            .map(ConversionReport.Layer::name)
            .toList());
    assertThrows(UnsupportedOperationException.class, () -> conversion.report().layers().remove(0));
  }

  /** DL4J asks no weight noise for the weights of these, so that it cannot be what quantizes. */
  @Test
  void weightNoiseThatIsNeverAskedIsNoQuantization() {
    WeightQuantization noise = new WeightQuantization(TWO);
    ConversionReport report =
        NetworkQuantizer.convertAndReport(
                network(
                    new Convolution1DLayer.Builder(3).nOut(4).weightNoise(noise).build(),
                    new LastTimeStep(new LSTM.Builder().nOut(5).build()),
                    output()),
                "2/2")
            .report();
    assertEquals(Outcome.FULL_PRECISION, report.layers().get(0).outcome());
    String embedding =
        refusal(
            network(
                InputType.feedForward(6),
                new EmbeddingLayer.Builder().nIn(6).nOut(4).weightNoise(noise).build(),
                new LossLayer.Builder(LossFunction.MSE).build()),
            "2/2");
    assertTrue(embedding.contains("layer0 (EmbeddingLayer): full precision"), embedding);
    assertFalse(embedding.contains("WeightQuantization"), embedding);
  }

  @Test
  void aLayerThatQuantizesItselfNeedsNoWeightNoise() {
    MultiLayerNetwork stock =
        network(
            new LastTimeStep(
                new LSTM.Builder().nOut(5).weightNoise(new WeightQuantization(THREE)).build()),
            output());
    MultiLayerNetwork ours = NetworkQuantizer.convert(stock, "2/2");
    BaseLayer lstm = (BaseLayer) ((LastTimeStep) conf(ours, 0)).getUnderlying();
    assertEquals(TWO, ((QuantizedLSTM) lstm).getWeightQuantization());
    assertNull(lstm.getWeightNoise());
    assertEquals(stock.paramTable(), ours.paramTable());
  }

  @Test
  void networksInWhichNothingIsConvertedAreRefused() {
    assertEquals(
        "Nothing in the network was converted: no layer has weights",
        refusal(
            network(new GlobalPoolingLayer(), new LossLayer.Builder(LossFunction.MSE).build()),
            "2/2"));
    String other =
        refusal(
            network(new LastTimeStep(new LSTM.Builder().nOut(5).build()), output()), "dense=2/2");
    assertTrue(
        other.startsWith(
            "Nothing in the network was quantized, since the bits name none of its layers: layer0 (LastTimeStep(LSTM)): converted, QuantizedLSTM at full precision; layer1"),
        other);
    MultiLayerNetwork uninitialized =
        new MultiLayerNetwork(
            settings().list(output()).setInputType(InputType.feedForward(4)).build());
    assertTrue(refusal(uninitialized, "2/2").contains("call init()"));
  }

  @ParameterizedTest
  @EnumSource
  void ourNetworksConvertToOtherBits(Networks.Cell cell) throws IOException {
    MultiLayerNetwork before = Networks.network(Networks.quantized(cell, THREE, TWO));
    before.fit(Networks.data(1));
    MultiLayerNetwork after =
        Networks.saved(NetworkQuantizer.convert(before, "embedding=2, lstm=2/3, softmax=3/2"));
    assertEquals(before.paramTable(), after.paramTable());
    QuantizedRecurrent was = (QuantizedRecurrent) conf(before, 1);
    QuantizedRecurrent is = (QuantizedRecurrent) conf(after, 1);
    assertEquals(was.getClass(), is.getClass());
    assertEquals(TWO, is.getWeightQuantization());
    assertEquals(THREE, is.getRecurrentActivationQuantization());
    assertNull(is.getInputActivationQuantization(), "the embedding's rows are codes");
    assertEquals(was.getConstraints(), is.getConstraints());
    assertTrue(is.isStateful());
    assertEquals(was.getIDropout(), is.getIDropout());
    assertEquals(THREE, was.getWeightQuantization(), "it is left as it is");
    INDArray features = Networks.data(1).getFeatures();
    assertNotEquals(before.output(features), after.output(features));

    // There and back again, through full precision too.
    for (String way : new String[] {"3/2", "fp"}) {
      MultiLayerNetwork there = NetworkQuantizer.convert(after, way);
      if (way.equals("fp")) {
        assertNull(((BaseLayer) conf(there, 1)).getConstraints(), "nothing is left to clip");
      }
      MultiLayerNetwork back =
          NetworkQuantizer.convert(there, "embedding=3, recurrent=3/2, softmax=3/2");
      assertEquals(before.output(features), back.output(features), way);
    }
    ConversionReport same =
        NetworkQuantizer.convertAndReport(after, "embedding=2, lstm=2/3, softmax=3/2").report();
    assertEquals(3, same.of(Outcome.UNCHANGED).size(), same.toString());
  }

  /** Latent weights that are held at codes of 2 bits are not held there at 3. */
  @Test
  void projectionsOntoOtherCodesGo() {
    MultiLayerNetwork network = Networks.network(Networks.quantized(TWO, TWO));
    LatentWeightProjection.applyTo(network);
    assertEquals(1, projections(NetworkQuantizer.convert(network, "2/3")).size());
    assertEquals(0, projections(NetworkQuantizer.convert(network, "3/3")).size());
    assertEquals(0, projections(NetworkQuantizer.convert(network, "fp")).size());
  }

  private static List<LayerConstraint> projections(MultiLayerNetwork network) {
    List<LayerConstraint> constraints = conf(network, 1).getConstraints();
    return constraints == null
        ? List.of()
        : constraints.stream().filter(LatentWeightProjection.class::isInstance).toList();
  }

  @Test
  void theBoundComesBeforeTheUsersConstraints() {
    MultiLayerNetwork stock =
        network(
            new LastTimeStep(
                new LSTM.Builder().nOut(5).constrainWeights(new MaxNormConstraint(0.5, 1)).build()),
            output());
    BaseLayer lstm =
        (BaseLayer)
            ((LastTimeStep) conf(NetworkQuantizer.convert(stock, "2/2"), 0)).getUnderlying();
    assertInstanceOf(LatentWeightClip.class, lstm.getConstraints().get(0));
    assertInstanceOf(MaxNormConstraint.class, lstm.getConstraints().get(1));
  }

  private static Layer[] wrapped() {
    return new Layer[] {
      new TimeDistributed(new DenseLayer.Builder().nOut(6).build()),
      new Bidirectional(Bidirectional.Mode.ADD, new LSTM.Builder().nOut(5).build()),
      new MaskZeroLayer(new LSTM.Builder().nOut(5).build(), 0),
      new LastTimeStep(new Bidirectional(new LSTM.Builder().nOut(5).build())),
      output()
    };
  }

  @Test
  void wrappersStayAroundWhatIsConverted() throws IOException {
    MultiLayerNetwork stock = network(wrapped());
    stock.fit(data());
    // The two directions have weights of different sizes.
    stock.getParam("1_bW").muli(3);
    MultiLayerNetwork exact = NetworkQuantizer.convert(stock, "fp");
    INDArray features = sequences();
    Networks.assertClose(stock.output(features), exact.output(features), 1e-5, "output");
    Networks.assertClose(Networks.gradient(stock, data()), Networks.gradient(exact, data()), 1e-5);

    Conversion<MultiLayerNetwork> conversion = NetworkQuantizer.convertAndReport(stock, "2/2");
    assertEquals(
        List.of(
            "TimeDistributed(DenseLayer)",
            "Bidirectional(LSTM)",
            "MaskZeroLayer(LSTM)",
            "LastTimeStep(Bidirectional(LSTM))",
            "OutputLayer"),
        conversion.report().layers().stream().map(ConversionReport.Layer::kind).toList());
    assertEquals(5, conversion.report().of(Outcome.CONVERTED).size());
    MultiLayerNetwork ours = Networks.saved(conversion.network());
    assertEquals(stock.paramTable(), ours.paramTable());
    Bidirectional both = (Bidirectional) conf(ours, 1);
    for (Layer direction : new Layer[] {both.getFwd(), both.getBwd()}) {
      assertEquals(TWO, ((QuantizedLSTM) direction).getWeightQuantization());
      assertEquals("layer1", direction.getLayerName());
      LatentWeightClip clip =
          (LatentWeightClip) ((QuantizedLSTM) direction).getConstraints().get(0);
      double largest = stock.getParam("1_bW").amaxNumber().doubleValue();
      assertTrue(clip.getBound() >= largest, clip.getBound() + " bounds " + largest);
    }
    double before = ours.score(data());
    for (int i = 0; i < 30; i++) {
      ours.fit(data());
    }
    assertTrue(ours.score(data()) < before);
    // And once more, to other bits.
    MultiLayerNetwork more = NetworkQuantizer.convert(ours, "3/3");
    assertEquals(ours.paramTable(), more.paramTable());
    assertEquals(
        THREE, ((QuantizedLSTM) ((Bidirectional) conf(more, 1)).getBwd()).getWeightQuantization());
  }

  @Test
  void frozenLayersStayFrozen() throws IOException {
    MultiLayerNetwork stock =
        new TransferLearning.Builder(
                network(
                    new LSTM.Builder().nOut(5).build(),
                    new LastTimeStep(new LSTM.Builder().nOut(5).build()),
                    output()))
            .setFeatureExtractor(0)
            .build();
    INDArray features = sequences();
    MultiLayerNetwork exact = NetworkQuantizer.convert(stock, "fp");
    Networks.assertClose(stock.output(features), exact.output(features), 1e-5, "output");
    Conversion<MultiLayerNetwork> conversion = NetworkQuantizer.convertAndReport(stock, "2/2");
    assertEquals("FrozenLayer(LSTM)", conversion.report().layers().get(0).kind());
    MultiLayerNetwork ours = Networks.saved(conversion.network());
    assertEquals(stock.paramTable(), ours.paramTable());
    Layer frozen = ((FrozenLayer) conf(ours, 0)).getLayer();
    assertEquals(TWO, ((QuantizedLSTM) frozen).getWeightQuantization());
    assertInstanceOf(LatentWeightClip.class, frozen.getConstraints().get(0));
    double before = ours.score(data());
    for (int i = 0; i < 20; i++) {
      ours.fit(data());
    }
    assertTrue(ours.score(data()) < before);
    assertEquals(stock.getParam("0_W"), ours.getParam("0_W"));
    assertEquals(stock.getParam("0_RW"), ours.getParam("0_RW"));
    assertNotEquals(stock.getParam("1_RW"), ours.getParam("1_RW"));
    assertNotEquals(stock.getParam("2_W"), ours.getParam("2_W"));
    MultiLayerNetwork more = NetworkQuantizer.convert(ours, "3/3");
    assertEquals(
        THREE, ((QuantizedLSTM) ((FrozenLayer) conf(more, 0)).getLayer()).getWeightQuantization());
  }

  @Test
  void codesOfAFrozenEmbeddingAreNotQuantizedAgain() {
    MultiLayerNetwork frozen =
        new TransferLearning.Builder(Networks.network(Networks.stock(1)))
            .setFeatureExtractor(0)
            .build();
    MultiLayerNetwork ours = NetworkQuantizer.convert(frozen, "2/2");
    assertNull(((QuantizedLSTM) conf(ours, 1)).getInputActivationQuantization());
    MultiLayerNetwork thawed = NetworkQuantizer.convert(Networks.network(Networks.stock(1)), "2/2");
    INDArray features = Networks.data(1).getFeatures();
    assertEquals(thawed.output(features), ours.output(features));
  }

  @Test
  void graphsAreReportedByTheirVertices() throws IOException {
    ComputationGraph stock =
        new ComputationGraph(
            settings()
                .graphBuilder()
                .addInputs("rows")
                .addLayer("read", wrapped()[3], "rows")
                .addLayer("drop", new DropoutLayer(0.5), "read")
                .addLayer("classes", output(), "drop")
                .setOutputs("classes")
                .setInputTypes(InputType.recurrent(N, TIME))
                .build());
    String uninitialized =
        assertThrows(IllegalArgumentException.class, () -> NetworkQuantizer.convert(stock, "2/2"))
            .getMessage();
    assertTrue(uninitialized.contains("call init()"), uninitialized);
    stock.init();
    Conversion<ComputationGraph> conversion = NetworkQuantizer.convertAndReport(stock, "2/2");
    String by = " bits by " + TWO.quantizer();
    assertEquals(
        List.of(
            "read (LastTimeStep(Bidirectional(LSTM))): converted, QuantizedLSTM at 2/2" + by,
            "drop (DropoutLayer): no weights",
            "classes (OutputLayer): converted, QuantizedOutput at 2/2" + by),
        lines(conversion.report()));
    assertEquals(stock.paramTable(), conversion.network().paramTable());
    INDArray features = sequences();
    ComputationGraph exact = NetworkQuantizer.convert(stock, "fp");
    Networks.assertClose(
        stock.outputSingle(features), exact.outputSingle(features), 1e-5, "output");
    ConversionReport again =
        NetworkQuantizer.convertAndReport(conversion.network(), "3/3").report();
    assertEquals(2, again.of(Outcome.REQUANTIZED).size(), again.toString());
  }

  @Test
  void anOutputOfSequencesSaysWhatItTakes() {
    // DL4J puts the steps of the sequence side by side; labels of steps are no rows.
    MultiLayerNetwork steps =
        network(
            new QuantizedLSTM.Builder().nOut(5).build(),
            new QuantizedOutput.Builder().nOut(3).build());
    for (INDArray labels :
        List.of(Nd4j.zeros(DataType.FLOAT, 7, 3, TIME), Nd4j.zeros(DataType.FLOAT, 7, 3))) {
      String message =
          assertThrows(
                  DL4JInvalidInputException.class,
                  () -> steps.fit(new DataSet(sequences(), labels)))
              .getMessage();
      assertTrue(message.contains("takes labels [batch, 3]"), message);
    }
    ComputationGraph unprepared =
        new ComputationGraph(
            settings()
                .graphBuilder()
                .addInputs("rows")
                .addLayer("read", new QuantizedLSTM.Builder().nIn(N).nOut(5).build(), "rows")
                .addLayer("classes", new QuantizedOutput.Builder().nIn(5).nOut(3).build(), "read")
                .setOutputs("classes")
                .build());
    unprepared.init();
    String message =
        assertThrows(DL4JInvalidInputException.class, () -> unprepared.output(sequences()))
            .getMessage();
    for (String part :
        new String[] {
          "takes input [batch, 5], got the sequences [7, 5, 9]",
          "LastTimeStep",
          "QuantizedSoftmaxOutput"
        }) {
      assertTrue(message.contains(part), message);
    }
    // A row of labels for each step is what DL4J's OutputLayer takes there.
    steps.fit(new DataSet(sequences(), Nd4j.ones(DataType.FLOAT, 7 * TIME, 3)));
  }
}

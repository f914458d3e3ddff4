package org.multibit.training;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.nd4j.linalg.indexing.NDArrayIndex.all;
import static org.nd4j.linalg.indexing.NDArrayIndex.point;

import java.io.IOException;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Random;
import org.deeplearning4j.nn.conf.NeuralNetConfiguration;
import org.deeplearning4j.nn.conf.inputs.InputType;
import org.deeplearning4j.nn.conf.layers.DenseLayer;
import org.deeplearning4j.nn.conf.layers.DropoutLayer;
import org.deeplearning4j.nn.conf.layers.LSTM;
import org.deeplearning4j.nn.conf.layers.Layer;
import org.deeplearning4j.nn.conf.layers.OutputLayer;
import org.deeplearning4j.nn.conf.layers.RnnLossLayer;
import org.deeplearning4j.nn.conf.layers.RnnOutputLayer;
import org.deeplearning4j.nn.conf.layers.recurrent.Bidirectional;
import org.deeplearning4j.nn.conf.layers.recurrent.LastTimeStep;
import org.deeplearning4j.nn.conf.preprocessor.ComposableInputPreProcessor;
import org.deeplearning4j.nn.multilayer.MultiLayerNetwork;
import org.deeplearning4j.nn.transferlearning.TransferLearning;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import org.multibit.core.Alternating;
import org.multibit.core.Greedy;
import org.multibit.core.Quantization;
import org.multibit.core.format.LanguageModelFile;
import org.multibit.core.format.SequenceClassifierFile;
import org.multibit.datasets.Vocabulary;
import org.multibit.layers.NetworkQuantizer;
import org.multibit.layers.QuantizedDense;
import org.multibit.layers.QuantizedEmbedding;
import org.multibit.layers.QuantizedGRU;
import org.multibit.layers.QuantizedLSTM;
import org.multibit.layers.QuantizedOutput;
import org.multibit.layers.QuantizedSoftmaxOutput;
import org.multibit.layers.WeightQuantization;
import org.multibit.runtime.PackedSequenceClassifier;
import org.nd4j.linalg.activations.Activation;
import org.nd4j.linalg.api.buffer.DataType;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.nd4j.linalg.dataset.DataSet;
import org.nd4j.linalg.factory.Nd4j;
import org.nd4j.linalg.learning.config.Adam;
import org.nd4j.linalg.lossfunctions.LossFunctions.LossFunction;
import org.nd4j.linalg.ops.transforms.Transforms;

/** From a trained network to a packed classifier that answers the same. */
class ClassifierExportTest {
  private static final int N = 6;
  private static final int H = 24;
  private static final int CLASSES = 3;
  private static final int TIME = 10;
  private static final Quantization Q2 = Quantization.alternating(2);

  @TempDir Path folder;

  private static MultiLayerNetwork network(Layer... layers) {
    MultiLayerNetwork network =
        new MultiLayerNetwork(
            new NeuralNetConfiguration.Builder()
                .seed(3)
                .activation(Activation.TANH)
                .updater(new Adam(0.01))
                .list(layers)
                .setInputType(InputType.recurrent(N, TIME))
                .build());
    network.init();
    return network;
  }

  /** The class says which of three waves, of a random phase and some noise, the channels carry. */
  private static DataSet waves(long seed, int count) {
    Random random = new Random(seed);
    INDArray x = Nd4j.zeros(DataType.FLOAT, count, N, TIME);
    INDArray y = Nd4j.zeros(DataType.FLOAT, count, CLASSES);
    for (int b = 0; b < count; b++) {
      int wave = random.nextInt(CLASSES);
      double phase = random.nextDouble() * Math.PI;
      y.putScalar(b, wave, 1);
      for (int i = 0; i < N; i++) {
        for (int t = 0; t < TIME; t++) {
          double value = Math.sin((wave + 1) * 0.6 * t + phase + i);
          x.putScalar(b, i, t, value + 0.2 * random.nextGaussian());
        }
      }
    }
    return new DataSet(x, y);
  }

  private static double accuracy(INDArray output, INDArray labels) {
    return output.argMax(1).eq(labels.argMax(1)).castTo(DataType.FLOAT).meanNumber().doubleValue();
  }

  @ParameterizedTest
  @ValueSource(strings = {"2/2", "lstm=3/2, output=2/3", "lstm=2/fp, output=2/2", "fp"})
  void convertedTunedAndPacked(String bits) throws IOException {
    MultiLayerNetwork stock =
        network(
            new LSTM.Builder().nOut(H).build(),
            new LastTimeStep(new LSTM.Builder().nOut(H).build()),
            new OutputLayer.Builder().nOut(CLASSES).activation(Activation.SOFTMAX).build());
    for (int i = 0; i < 30; i++) {
      stock.fit(waves(i, 50));
    }
    MultiLayerNetwork tuned = NetworkQuantizer.convert(stock, bits);
    for (int i = 30; i < 45; i++) {
      tuned.fit(waves(i, 50));
    }
    packed(tuned, 0.9);
  }

  @ParameterizedTest
  @CsvSource({"2, true", "0, false"})
  void gru(int bits, boolean hasBias) throws IOException {
    Quantization q = bits == 0 ? null : Quantization.alternating(bits);
    MultiLayerNetwork network =
        network(
            new LastTimeStep(
                new QuantizedGRU.Builder().nOut(H).weights(q).activations(q).dropOut(0.9).build()),
            new QuantizedOutput.Builder()
                .nOut(CLASSES)
                .weights(q)
                .activations(q)
                .hasBias(hasBias)
                .build());
    for (int i = 0; i < 30; i++) {
      network.fit(waves(i, 50));
    }
    packed(network, 0.8);
  }

  /** It learned, and what is packed has its outputs and its classes. */
  private void packed(MultiLayerNetwork network, double leastAccuracy) throws IOException {
    DataSet test = waves(1000, 400);
    INDArray expected = network.output(test.getFeatures());
    double accuracy = accuracy(expected, test.getLabels());
    assertTrue(accuracy >= leastAccuracy, "accuracy " + accuracy);
    Path file = folder.resolve("waves.gguf");
    new PackedExport(network).packClassifier(Map.of("epochs", 45)).write(file);
    assertEquals(45, SequenceClassifierFile.read(file).provenance().get("epochs"));
    try (PackedSequenceClassifier classifier = PackedSequenceClassifier.open(file)) {
      INDArray actual = Transforms.softmax(SequenceLogits.of(classifier, test.getFeatures()));
      // A state within rounding of a threshold may take another code: rarely.
      INDArray difference = Transforms.abs(expected.sub(actual)).max(1);
      double close = difference.lt(1e-4).castTo(DataType.FLOAT).meanNumber().doubleValue();
      assertTrue(close >= 0.95, close + " of the outputs agree");
      assertTrue(accuracy(actual, expected) >= 0.995);
    }
  }

  @Test
  void whatCannotBePackedIsNamed() {
    refuse(
        "Layer 0 (LSTM) cannot be packed: a packed classifier has QuantizedLSTMs or QuantizedGRUs",
        new LSTM.Builder().nOut(H).build(),
        new LastTimeStep(new QuantizedLSTM.Builder().nOut(H).build()),
        new QuantizedOutput.Builder().nOut(CLASSES).build());
    refuse(
        "Layer 1 (OutputLayer) cannot be packed: the last layer of a packed classifier is a QuantizedOutput",
        new LastTimeStep(new QuantizedLSTM.Builder().nOut(H).build()),
        new OutputLayer.Builder().nOut(CLASSES).activation(Activation.SOFTMAX).build());
    refuse(
        "Layer 1 (QuantizedOutput) cannot be packed: its activation is sigmoid",
        new LastTimeStep(new QuantizedLSTM.Builder().nOut(H).build()),
        new QuantizedOutput.Builder(LossFunction.XENT)
            .nOut(CLASSES)
            .activation(Activation.SIGMOID)
            .build());
    refuse(
        "Layer 1 (QuantizedDense) cannot be packed: a packed classifier has QuantizedLSTMs",
        new LastTimeStep(new QuantizedLSTM.Builder().nOut(H).build()),
        new QuantizedDense.Builder().nOut(H).build(),
        new QuantizedOutput.Builder().nOut(CLASSES).build());
    refuse(
        "Layer 0 (QuantizedLSTM) cannot be packed: it has 5 units, the last one 24",
        new QuantizedLSTM.Builder().nOut(5).build(),
        new LastTimeStep(new QuantizedLSTM.Builder().nOut(H).build()),
        new QuantizedOutput.Builder().nOut(CLASSES).build());
    refuse(
        "Layer 0 (QuantizedLSTM) cannot be packed: of a packed classifier the last recurrent layer",
        new QuantizedLSTM.Builder().nOut(H).build(),
        new QuantizedOutput.Builder().nOut(CLASSES).build());
    refuse(
        "Layer 1 (LastTimeStep(QuantizedGRU)) cannot be packed: layer 0 is a QuantizedLSTM; the recurrent layers of a packed classifier are of one kind",
        new QuantizedLSTM.Builder().nOut(H).build(),
        new LastTimeStep(new QuantizedGRU.Builder().nOut(H).build()),
        new QuantizedOutput.Builder().nOut(CLASSES).build());
    refuse(
        "it quantizes activations by " + new Alternating() + " and by " + new Greedy(),
        new LastTimeStep(new QuantizedLSTM.Builder().nOut(H).weights(Q2).activations(Q2).build()),
        new QuantizedOutput.Builder()
            .nOut(CLASSES)
            .activations(new Quantization(new Greedy(), 2))
            .build());
  }

  /** Other networks, of which neither kind of model can be made, are refused with a line. */
  @Test
  void otherNetworksAreRefused() {
    Vocabulary words = new Vocabulary(List.of("<eos>", "<unk>", "a", "b", "c", "d"));
    OutputLayer output = new OutputLayer.Builder().nOut(CLASSES).build();
    QuantizedLSTM lstm = new QuantizedLSTM.Builder().nOut(H).build();
    MultiLayerNetwork[] others = {
      network(new RnnLossLayer.Builder(LossFunction.MSE).build()),
      network(new QuantizedSoftmaxOutput.Builder().nOut(CLASSES).build()),
      network(lstm),
      network(new DenseLayer.Builder().nOut(H).build(), output),
      network(new DenseLayer.Builder().nOut(H).build(), lstm, new DropoutLayer(0.5), output),
      network(
          new LastTimeStep(new Bidirectional(new QuantizedLSTM.Builder().nOut(H).build())),
          new QuantizedOutput.Builder().nOut(CLASSES).build()),
      network(
          new LastTimeStep(new LSTM.Builder().nOut(H).build()),
          new DenseLayer.Builder().nOut(H).build(),
          output),
      network(
          lstm,
          new RnnOutputLayer.Builder(LossFunction.MCXENT)
              .nOut(CLASSES)
              .activation(Activation.SOFTMAX)
              .build()),
      network(
          new QuantizedEmbedding.Builder().nOut(H).build(),
          new QuantizedSoftmaxOutput.Builder().nOut(N).build()),
      network(
          new QuantizedEmbedding.Builder().nOut(H).build(),
          new DropoutLayer(0.5),
          new QuantizedLSTM.Builder().nOut(H).build(),
          new QuantizedSoftmaxOutput.Builder().nOut(N).build()),
      network(
          new QuantizedEmbedding.Builder().nOut(H).build(),
          new QuantizedLSTM.Builder().nOut(H).weightNoise(new WeightQuantization(Q2)).build(),
          new QuantizedSoftmaxOutput.Builder().nOut(N).build()),
      network(
          new QuantizedEmbedding.Builder().nOut(H).build(),
          new QuantizedLSTM.Builder().nOut(5).build(),
          new QuantizedLSTM.Builder().nOut(H).build(),
          new QuantizedSoftmaxOutput.Builder().nOut(N).build()),
      network(
          new QuantizedEmbedding.Builder().nOut(H).build(),
          new QuantizedLSTM.Builder().nOut(H).build(),
          new QuantizedGRU.Builder().nOut(H).build(),
          new QuantizedSoftmaxOutput.Builder().nOut(N).build()),
      network(
          new QuantizedEmbedding.Builder().nOut(H).build(),
          new QuantizedLSTM.Builder().nOut(H).activations(Q2).build(),
          new QuantizedSoftmaxOutput.Builder()
              .nOut(N)
              .activations(new Quantization(new Greedy(), 2))
              .build()),
      network(
              new LastTimeStep(new QuantizedLSTM.Builder().nOut(H).build()),
              new QuantizedOutput.Builder().nOut(CLASSES).build())
          .convertDataType(DataType.DOUBLE),
      new MultiLayerNetwork(
          new NeuralNetConfiguration.Builder()
              .list(lstm, output)
              .setInputType(InputType.recurrent(N, TIME))
              .build())
    };
    for (MultiLayerNetwork other : others) {
      PackedExport export = new PackedExport(other);
      for (Executable packing :
          new Executable[] {
            () -> export.pack(words, Map.of()), () -> export.packClassifier(Map.of())
          }) {
        String message = assertThrows(IllegalArgumentException.class, packing).getMessage();
        assertEquals(1, message.lines().count(), message);
        assertTrue(message.contains("pack"), message);
      }
    }
  }

  /** Frozen layers compute what others do, and an output without a bias has zeros. */
  @Test
  void frozenLayersAndOutputsWithoutABiasPack() {
    MultiLayerNetwork frozen =
        new TransferLearning.Builder(
                network(
                    new QuantizedEmbedding.Builder().nOut(H).weights(Q2).build(),
                    new QuantizedLSTM.Builder().nOut(H).weights(Q2).build(),
                    new QuantizedSoftmaxOutput.Builder().nOut(N).hasBias(false).build()))
            .setFeatureExtractor(1)
            .build();
    Vocabulary words = new Vocabulary(List.of("<eos>", "<unk>", "a", "b", "c", "d"));
    LanguageModelFile file = new PackedExport(frozen).pack(words, Map.of());
    assertEquals(2, file.layers().get(0).input().weightBits());
    for (int i = 0; i < N; i++) {
      assertEquals(0, file.softmaxBias().get(i));
    }
  }

  /** Sequences of several lengths: native code takes the network's mask, or the lengths. */
  @ParameterizedTest
  @ValueSource(strings = {"2/2", "lstm=2/fp, output=2/2", "fp"})
  void paddedSequences(String bits) throws IOException {
    MultiLayerNetwork stock =
        network(
            new LSTM.Builder().nOut(H).build(),
            new LastTimeStep(new LSTM.Builder().nOut(H).build()),
            new OutputLayer.Builder().nOut(CLASSES).activation(Activation.SOFTMAX).build());
    for (int i = 0; i < 20; i++) {
      stock.fit(padded(waves(i, 50), i));
    }
    MultiLayerNetwork tuned = NetworkQuantizer.convert(stock, bits);
    for (int i = 20; i < 30; i++) {
      tuned.fit(padded(waves(i, 50), i));
    }
    DataSet test = padded(waves(1000, 300), 1000);
    INDArray mask = test.getFeaturesMaskArray();
    INDArray expected = tuned.output(test.getFeatures(), false, mask, null);
    Path file = folder.resolve("waves.gguf");
    new PackedExport(tuned).packClassifier(Map.of()).write(file);
    try (PackedSequenceClassifier classifier = PackedSequenceClassifier.open(file)) {
      INDArray logits = SequenceLogits.of(classifier, test.getFeatures(), mask);
      assertEquals(
          logits, SequenceLogits.of(classifier, test.getFeatures(), mask.sum(1).toIntVector()));
      INDArray difference = Transforms.abs(expected.sub(Transforms.softmax(logits))).max(1);
      double close = difference.lt(1e-4).castTo(DataType.FLOAT).meanNumber().doubleValue();
      assertTrue(close >= 0.95, close + " of the outputs agree");
      assertTrue(accuracy(logits, expected) >= 0.99);
      // Read as data, the padding makes other classes: this is what the mask is for.
      assertTrue(accuracy(SequenceLogits.of(classifier, test.getFeatures()), expected) < 0.95);
    }
  }

  /** Cut to lengths from 3 on, with padding of a value that cannot be overlooked. */
  private static DataSet padded(DataSet data, long seed) {
    Random random = new Random(seed);
    INDArray mask = Nd4j.ones(DataType.FLOAT, data.numExamples(), TIME);
    for (int b = 0; b < data.numExamples(); b++) {
      for (int t = 3 + random.nextInt(TIME - 2); t < TIME; t++) {
        mask.putScalar(b, t, 0);
        data.getFeatures().get(point(b), all(), point(t)).assign(7);
      }
    }
    data.setFeaturesMaskArray(mask);
    return data;
  }

  /** What the network computes besides its layers would be missing in the file. */
  @Test
  void whatWouldBeLostIsNamed() {
    Layer[] layers = {
      new LastTimeStep(
          new QuantizedLSTM.Builder().nOut(H).weightNoise(new WeightQuantization(Q2)).build()),
      new QuantizedOutput.Builder().nOut(CLASSES).build()
    };
    refuse("its weights are quantized by WeightQuantization", layers);
    layers[0] = new LastTimeStep(new QuantizedLSTM.Builder().nOut(H).build());
    MultiLayerNetwork network = network(layers);
    network
        .getLayerWiseConfigurations()
        .getInputPreProcessors()
        .put(1, new ComposableInputPreProcessor());
    refuse("Layer 1 (QuantizedOutput) cannot be packed: it has an input preprocessor", network);
  }

  private static void refuse(String why, Layer... layers) {
    refuse(why, network(layers));
  }

  private static void refuse(String why, MultiLayerNetwork network) {
    PackedExport export = new PackedExport(network);
    String message =
        assertThrows(IllegalArgumentException.class, () -> export.packClassifier(Map.of()))
            .getMessage();
    assertTrue(message.contains(why), message);
  }
}

package org.example;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Random;
import org.deeplearning4j.nn.conf.MultiLayerConfiguration;
import org.deeplearning4j.nn.conf.NeuralNetConfiguration;
import org.deeplearning4j.nn.conf.inputs.InputType;
import org.deeplearning4j.nn.conf.layers.LSTM;
import org.deeplearning4j.nn.conf.layers.Layer;
import org.deeplearning4j.nn.conf.layers.OutputLayer;
import org.deeplearning4j.nn.conf.layers.recurrent.Bidirectional;
import org.deeplearning4j.nn.conf.layers.recurrent.LastTimeStep;
import org.deeplearning4j.nn.multilayer.MultiLayerNetwork;
import org.deeplearning4j.nn.weights.WeightInit;
import org.multibit.layers.Conversion;
import org.multibit.layers.NetworkQuantizer;
import org.multibit.runtime.PackedSequenceClassifier;
import org.multibit.training.PackedExport;
import org.multibit.training.SequenceLogits;
import org.nd4j.linalg.activations.Activation;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.nd4j.linalg.dataset.DataSet;
import org.nd4j.linalg.factory.Nd4j;
import org.nd4j.linalg.learning.config.Adam;
import org.nd4j.linalg.ops.transforms.Transforms;
import org.slf4j.ILoggerFactory;
import org.slf4j.LoggerFactory;

/**
 * Waves of unequal length, classified by their frequency: a network of DL4J's own layers is trained
 * on padded batches with masks, converted to weights and activations of 2 bits, tuned, packed, and
 * run by native code with the lengths of the sequences.
 */
public final class PaddedSequences {
  private static final int CHANNELS = 4;
  private static final int SHORTEST = 8;
  private static final int LONGEST = 24;
  private static final int CLASSES = 3;
  private static final int UNITS = 32;
  private static final int BATCH = 50;

  private PaddedSequences() {}

  public static void main(String[] args) throws IOException {
    if (args.length != 1) {
      System.err.println("Usage: PaddedSequences OUTPUT-FOLDER");
      System.exit(2);
    }
    Path out = Files.createDirectories(Path.of(args[0]));
    // The arrays of this network are small: sharing them out over threads costs more than it gives.
    Nd4j.getEnvironment().setElementwiseThreshold(1 << 16);
    ILoggerFactory logs = LoggerFactory.getILoggerFactory();
    expect(
        logs.getClass().getSimpleName().equals("SimpleLoggerFactory"),
        "the logs go to the binding of this project's pom.xml, not to " + logs);
    Random random = new Random(1);
    List<DataSet> train = batches(random, 40);
    DataSet test = batch(random, 500);
    oneDirection(train, test, out.resolve("waves.gguf"));
    bothDirections(train, test);
  }

  private static void oneDirection(List<DataSet> train, DataSet test, Path file)
      throws IOException {
    MultiLayerNetwork stock =
        network(
            new LSTM.Builder().nOut(UNITS).activation(Activation.TANH).build(),
            new LastTimeStep(new LSTM.Builder().nOut(UNITS).activation(Activation.TANH).build()));
    fit(stock, train, 3);
    report("DL4J's LSTMs", accuracy(output(stock, test), test.getLabels()));

    Conversion<MultiLayerNetwork> conversion = NetworkQuantizer.convertAndReport(stock, "2/2");
    System.out.println(conversion.report());
    MultiLayerNetwork tuned = conversion.network();
    fit(tuned, train, 3);
    INDArray probabilities = output(tuned, test);
    report("2/2 bits", accuracy(probabilities, test.getLabels()));

    new PackedExport(tuned).packClassifier(Map.of()).write(file);
    int[] lengths = test.getFeaturesMaskArray().sum(1).toIntVector();
    try (PackedSequenceClassifier classifier = PackedSequenceClassifier.open(file)) {
      INDArray logits = SequenceLogits.of(classifier, test.getFeatures(), lengths);
      report("2/2 bits in native code", accuracy(logits, test.getLabels()));
      INDArray difference = Transforms.abs(probabilities.sub(Transforms.softmax(logits))).max(1);
      // A state within rounding of a threshold between two codes may take the other one: rarely.
      expect(
          difference.lt(1e-3).castTo(difference.dataType()).meanNumber().doubleValue() >= 0.95,
          "native code gives the probabilities that DL4J gives");
      expect(accuracy(logits, probabilities) >= 0.99, "native code gives DL4J's classes");
    }
  }

  /** The same with an LSTM in each direction, which DL4J runs. */
  private static void bothDirections(List<DataSet> train, DataSet test) {
    MultiLayerNetwork stock =
        network(
            new LastTimeStep(
                new Bidirectional(
                    new LSTM.Builder().nOut(UNITS).activation(Activation.TANH).build())));
    fit(stock, train, 3);
    INDArray expected = output(stock, test);
    report("DL4J's LSTM in both directions", accuracy(expected, test.getLabels()));
    INDArray exact = output(NetworkQuantizer.convert(stock, "fp"), test);
    expect(expected.equalsWithEps(exact, 1e-4), "at full precision nothing but the layers changes");

    Conversion<MultiLayerNetwork> conversion = NetworkQuantizer.convertAndReport(stock, "2/2");
    System.out.println(conversion.report());
    fit(conversion.network(), train, 3);
    report("2/2 bits", accuracy(output(conversion.network(), test), test.getLabels()));
  }

  private static MultiLayerNetwork network(Layer... recurrent) {
    var list =
        new NeuralNetConfiguration.Builder()
            .seed(1)
            .weightInit(WeightInit.XAVIER)
            .updater(new Adam(0.005))
            .list();
    for (Layer layer : recurrent) {
      list.layer(layer);
    }
    MultiLayerConfiguration configuration =
        list.layer(new OutputLayer.Builder().nOut(CLASSES).activation(Activation.SOFTMAX).build())
            .setInputType(InputType.recurrent(CHANNELS, LONGEST))
            .build();
    MultiLayerNetwork network = new MultiLayerNetwork(configuration);
    network.init();
    return network;
  }

  private static List<DataSet> batches(Random random, int count) {
    List<DataSet> batches = new ArrayList<>();
    for (int i = 0; i < count; i++) {
      batches.add(batch(random, BATCH));
    }
    return batches;
  }

  /** Features [count, channels, time], zeros after a sequence's end, and a mask [count, time]. */
  private static DataSet batch(Random random, int count) {
    INDArray features = Nd4j.zeros(count, CHANNELS, LONGEST);
    INDArray labels = Nd4j.zeros(count, CLASSES);
    INDArray mask = Nd4j.zeros(count, LONGEST);
    for (int b = 0; b < count; b++) {
      int wave = random.nextInt(CLASSES);
      labels.putScalar(b, wave, 1);
      double phase = random.nextDouble() * Math.PI;
      int length = SHORTEST + random.nextInt(LONGEST - SHORTEST + 1);
      for (int t = 0; t < length; t++) {
        mask.putScalar(b, t, 1);
        for (int c = 0; c < CHANNELS; c++) {
          double value = Math.sin((wave + 1) * 0.6 * t + phase + c);
          features.putScalar(b, c, t, value + 0.3 * random.nextGaussian());
        }
      }
    }
    return new DataSet(features, labels, mask, null);
  }

  private static void fit(MultiLayerNetwork network, List<DataSet> batches, int epochs) {
    for (int epoch = 0; epoch < epochs; epoch++) {
      for (DataSet batch : batches) {
        network.fit(batch);
      }
    }
  }

  private static INDArray output(MultiLayerNetwork network, DataSet data) {
    return network.output(data.getFeatures(), false, data.getFeaturesMaskArray(), null);
  }

  /** The share of rows whose largest element is where it is in the other rows. */
  private static double accuracy(INDArray rows, INDArray others) {
    INDArray same = rows.argMax(1).eq(others.argMax(1));
    return same.castTo(rows.dataType()).meanNumber().doubleValue();
  }

  private static void report(String network, double accuracy) {
    System.out.printf("%s: %.1f%% of the test sequences%n", network, 100 * accuracy);
    expect(accuracy >= 0.9, network + " tell 90% of the waves apart");
  }

  private static void expect(boolean holds, String what) {
    if (!holds) {
      System.err.println("Expected: " + what);
      System.exit(1);
    }
  }
}

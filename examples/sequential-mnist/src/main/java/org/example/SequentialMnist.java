package org.example;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import org.deeplearning4j.nn.conf.MultiLayerConfiguration;
import org.deeplearning4j.nn.conf.NeuralNetConfiguration;
import org.deeplearning4j.nn.conf.inputs.InputType;
import org.deeplearning4j.nn.conf.layers.LSTM;
import org.deeplearning4j.nn.conf.layers.OutputLayer;
import org.deeplearning4j.nn.conf.layers.recurrent.LastTimeStep;
import org.deeplearning4j.nn.multilayer.MultiLayerNetwork;
import org.deeplearning4j.nn.weights.WeightInit;
import org.multibit.datasets.MnistSequences;
import org.multibit.layers.NetworkQuantizer;
import org.multibit.runtime.PackedSequenceClassifier;
import org.multibit.training.PackedExport;
import org.multibit.training.SequenceLogits;
import org.nd4j.linalg.activations.Activation;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.nd4j.linalg.dataset.DataSet;
import org.nd4j.linalg.factory.Nd4j;
import org.nd4j.linalg.learning.config.Adam;

/**
 * Handwritten digits, read row by row by an LSTM of 128 units: a network of DL4J's own layers is
 * trained, converted to weights and activations of 2 bits, tuned, packed, and run by native code.
 */
public final class SequentialMnist {
  private static final int UNITS = 128;
  private static final int BATCH = 200;
  private static final int EPOCHS = 4;
  private static final int TUNING_EPOCHS = 4;
  private static final double LEARNING_RATE = 4e-3;
  private static final double TUNING_RATE = 2e-3;

  private final MnistSequences train;
  private final MnistSequences test;
  private final int batches;
  private boolean asExpected = true;

  /**
   * @param batches of each set that are used; the sets may have fewer
   */
  private SequentialMnist(Path folder, int batches) throws IOException {
    train = MnistSequences.train(folder, BATCH, 1);
    test = MnistSequences.test(folder, BATCH);
    this.batches = batches;
  }

  public static void main(String[] args) throws IOException {
    if (args.length < 2 || args.length > 3) {
      System.err.println("Usage: SequentialMnist MNIST-FOLDER OUTPUT-FOLDER [BATCHES]");
      System.exit(2);
    }
    // The arrays of this network are small: sharing them out over threads costs more than it gives.
    Nd4j.getEnvironment().setElementwiseThreshold(1 << 16);
    Path out = Files.createDirectories(Path.of(args[1]));
    int batches = args.length == 3 ? Integer.parseInt(args[2]) : Integer.MAX_VALUE;
    SequentialMnist mnist = new SequentialMnist(Path.of(args[0]), batches);

    MultiLayerNetwork stock = new MultiLayerNetwork(configuration());
    stock.init();
    mnist.fit(stock, EPOCHS, LEARNING_RATE, "DL4J's LSTM");
    MultiLayerNetwork tuned = NetworkQuantizer.convert(stock, "lstm=2/2, output=2/2");
    mnist.fit(tuned, TUNING_EPOCHS, TUNING_RATE, "2/2 bits");

    double full = mnist.compare(NetworkQuantizer.convert(stock, "fp"), out.resolve("fp.gguf"));
    double quantized = mnist.compare(tuned, out.resolve("2-2.gguf"));
    System.out.printf("2/2 bits cost %.2f points%n", 100 * (quantized - full));
    if (!mnist.asExpected) {
      System.err.println("Native code should give the classes that DL4J gives.");
      System.exit(1);
    }
  }

  private static MultiLayerConfiguration configuration() {
    return new NeuralNetConfiguration.Builder()
        .seed(1)
        .weightInit(WeightInit.XAVIER)
        .updater(new Adam(LEARNING_RATE))
        .list()
        .layer(new LastTimeStep(new LSTM.Builder().nOut(UNITS).activation(Activation.TANH).build()))
        .layer(
            new OutputLayer.Builder()
                .nOut(MnistSequences.CLASSES)
                .activation(Activation.SOFTMAX)
                .build())
        .setInputType(InputType.recurrent(MnistSequences.SIZE, MnistSequences.SIZE))
        .build();
  }

  /** The learning rate falls from epoch to epoch, to a tenth in all. */
  private void fit(MultiLayerNetwork network, int epochs, double learningRate, String name) {
    for (int epoch = 0; epoch < epochs; epoch++) {
      network.setLearningRate(learningRate * Math.pow(10, -epoch / (epochs - 1.0)));
      train.reset();
      long begin = System.nanoTime();
      for (int i = 0; i < batches && train.hasNext(); i++) {
        network.fit(train.next());
      }
      System.out.printf(
          "%s, epoch %d of %d: loss %.4f, %.0f s%n",
          name, epoch + 1, epochs, network.score(), 1e-9 * (System.nanoTime() - begin));
    }
  }

  /**
   * Packs a network and classifies the test images by it and by native code.
   *
   * @return the share of images that native code takes for another digit
   */
  private double compare(MultiLayerNetwork network, Path file) throws IOException {
    new PackedExport(network).packClassifier(Map.of()).write(file);
    int images = 0;
    int same = 0;
    int wrong = 0;
    int wrongInNative = 0;
    long nanos = 0;
    try (PackedSequenceClassifier classifier = PackedSequenceClassifier.open(file)) {
      test.reset();
      for (int i = 0; i < batches && test.hasNext(); i++) {
        DataSet data = test.next();
        INDArray digits = data.getLabels().argMax(1);
        INDArray byNetwork = network.output(data.getFeatures()).argMax(1);
        long begin = System.nanoTime();
        INDArray logits = SequenceLogits.of(classifier, data.getFeatures());
        nanos += System.nanoTime() - begin;
        INDArray byNative = logits.argMax(1);
        for (int b = 0; b < digits.length(); b++) {
          same += byNative.getInt(b) == byNetwork.getInt(b) ? 1 : 0;
          wrong += byNetwork.getInt(b) == digits.getInt(b) ? 0 : 1;
          wrongInNative += byNative.getInt(b) == digits.getInt(b) ? 0 : 1;
        }
        images += (int) digits.length();
      }
    }
    System.out.printf(
        "%s: %,d bytes; error %.2f%% in DL4J, %.2f%% in native code; the same class for %,d of %,d images; %,.0f images/s%n",
        file.getFileName(),
        Files.size(file),
        100.0 * wrong / images,
        100.0 * wrongInNative / images,
        same,
        images,
        1e9 * images / nanos);
    // Of a few images, and a network that has hardly learned, one more may differ.
    asExpected &= same >= (images == test.images() ? 0.999 : 0.99) * images;
    return (double) wrongInNative / images;
  }
}

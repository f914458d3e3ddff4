package org.example;

import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.deeplearning4j.nn.conf.MultiLayerConfiguration;
import org.deeplearning4j.nn.conf.NeuralNetConfiguration;
import org.deeplearning4j.nn.conf.inputs.InputType;
import org.deeplearning4j.nn.multilayer.MultiLayerNetwork;
import org.deeplearning4j.nn.weights.WeightInit;
import org.multibit.core.Quantization;
import org.multibit.layers.QuantizedEmbedding;
import org.multibit.layers.QuantizedLSTM;
import org.multibit.layers.QuantizedSoftmaxOutput;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.nd4j.linalg.dataset.DataSet;
import org.nd4j.linalg.factory.Nd4j;
import org.nd4j.linalg.learning.config.Adam;

/**
 * A language model over characters, with weights and activations of 2 bits, built and trained as
 * any DL4J network is.
 */
public final class OwnNetwork {
  private static final int BATCH = 8;
  private static final int TIME = 25;
  private static final int HIDDEN = 64;
  private static final int EPOCHS = 6;

  private OwnNetwork() {}

  public static void main(String[] args) throws IOException {
    // The arrays of this network are small: sharing them out over threads costs more than it gives.
    Nd4j.getEnvironment().setElementwiseThreshold(1 << 16);
    String text = resource("/harbour.txt");
    int[] alphabet = text.chars().distinct().sorted().toArray();
    int[] characters = text.chars().map(c -> Arrays.binarySearch(alphabet, c)).toArray();
    int split = characters.length * 9 / 10;
    List<DataSet> train = batches(characters, 0, split, BATCH);
    List<DataSet> test = batches(characters, split, characters.length, 1);

    MultiLayerNetwork network = new MultiLayerNetwork(configuration(alphabet.length));
    network.init();
    double before = perplexity(network, test);
    for (int epoch = 0; epoch < EPOCHS; epoch++) {
      for (DataSet batch : train) {
        network.fit(batch);
      }
    }
    double after = perplexity(network, test);

    System.out.printf("perplexity per character: %.2f untrained, %.2f trained%n", before, after);
    // "Not less" instead of "greater", so that NaN fails too.
    if (!(after < before / 2)) {
      System.err.println("The network did not learn: its perplexity should have more than halved.");
      System.exit(1);
    }
  }

  private static MultiLayerConfiguration configuration(int alphabet) {
    Quantization bits = Quantization.alternating(2);
    return new NeuralNetConfiguration.Builder()
        .seed(1)
        .weightInit(WeightInit.XAVIER)
        .updater(new Adam(0.01))
        .list()
        .layer(new QuantizedEmbedding.Builder().nOut(HIDDEN).weights(bits).build())
        .layer(new QuantizedLSTM.Builder().nOut(HIDDEN).weights(bits).activations(bits).build())
        .layer(
            new QuantizedSoftmaxOutput.Builder()
                .nOut(alphabet)
                .weights(bits)
                .activations(bits)
                .averageOverTime(true)
                .build())
        .setInputType(InputType.recurrent(alphabet, TIME))
        .build();
  }

  /** Cuts the text into segments: the features are characters, the labels the ones after them. */
  private static List<DataSet> batches(int[] characters, int from, int to, int batch) {
    List<DataSet> batches = new ArrayList<>();
    for (int start = from; start + batch * TIME < to; start += batch * TIME) {
      INDArray features = Nd4j.create(batch, 1, TIME);
      INDArray labels = Nd4j.create(batch, 1, TIME);
      for (int b = 0; b < batch; b++) {
        for (int t = 0; t < TIME; t++) {
          int position = start + b * TIME + t;
          features.putScalar(b, 0, t, characters[position]);
          labels.putScalar(b, 0, t, characters[position + 1]);
        }
      }
      batches.add(new DataSet(features, labels));
    }
    return batches;
  }

  private static double perplexity(MultiLayerNetwork network, List<DataSet> batches) {
    // The score is the mean loss of a character, since the output averages over time.
    return Math.exp(batches.stream().mapToDouble(network::score).average().orElseThrow());
  }

  private static String resource(String name) throws IOException {
    try (InputStream in = OwnNetwork.class.getResourceAsStream(name)) {
      return new String(in.readAllBytes(), StandardCharsets.UTF_8);
    }
  }
}

package org.multibit.training;

import org.deeplearning4j.nn.conf.MultiLayerConfiguration;
import org.deeplearning4j.nn.conf.NeuralNetConfiguration;
import org.deeplearning4j.nn.conf.distribution.UniformDistribution;
import org.deeplearning4j.nn.conf.inputs.InputType;
import org.deeplearning4j.nn.multilayer.MultiLayerNetwork;
import org.multibit.core.Quantization;
import org.multibit.core.format.LanguageModelFile;
import org.multibit.layers.ClippedSgd;
import org.multibit.layers.QuantizedEmbedding;
import org.multibit.layers.QuantizedLSTM;
import org.multibit.layers.QuantizedSoftmaxOutput;
import org.nd4j.linalg.api.buffer.DataType;

/**
 * The paper's language model as a DL4J network: embedding, LSTM, softmax. Token ids [B, 1, T] go
 * in, word probabilities [B, V, T] come out.
 */
public final class LanguageModel {
  static final int EMBEDDING = 0;
  static final int LSTM = 1;
  static final int SOFTMAX = 2;

  private LanguageModel() {}

  /**
   * A new network with the paper's initialization: embedding and softmax uniform in +-0.1, LSTM in
   * +-1/sqrt(H), biases 0.
   *
   * @param vocabulary V
   */
  public static MultiLayerNetwork create(Settings settings, int vocabulary) {
    return initialized(configuration(settings, vocabulary, 1));
  }

  /**
   * A network of these settings with another's weights. Latent weights are clipped to max(1, their
   * largest magnitude now).
   *
   * @param parent a network of the same shape, for example full precision
   */
  public static MultiLayerNetwork from(
      MultiLayerNetwork parent, Settings settings, int vocabulary) {
    float bound = parent.params().amaxNumber().floatValue();
    MultiLayerNetwork network =
        initialized(configuration(settings, vocabulary, Math.max(1, bound)));
    parent
        .paramTable()
        .forEach(
            (key, values) -> {
              if (!network.getParam(key).equalShapes(values)) {
                throw new IllegalArgumentException(
                    "The parent's parameter %s has shape %s, this model's %s"
                        .formatted(
                            key,
                            java.util.Arrays.toString(values.shape()),
                            java.util.Arrays.toString(network.getParam(key).shape())));
              }
              network.getParam(key).assign(values);
            });
    return network;
  }

  /**
   * A network that computes what a packed file says, with its weights as full-precision values: the
   * file's runtime where there is no native library.
   *
   * @throws IllegalArgumentException if the file has more than one layer
   */
  public static MultiLayerNetwork of(LanguageModelFile file) {
    if (file.layers().size() != 1) {
      throw new IllegalArgumentException(
          "A model of %d layers runs in the native library alone".formatted(file.layers().size()));
    }
    LanguageModelFile.Layer layer = file.layers().get(0);
    Settings settings = settings(file);
    MultiLayerNetwork network =
        initialized(
            configuration(
                settings,
                file.words().size(),
                file.embeddingSize(),
                null,
                file.embedding().packed() == null
                    ? activations(file, layer.input().activationBits())
                    : null,
                activations(file, layer.recurrent().activationBits()),
                activations(file, file.softmax().activationBits()),
                1));
    PackedExport.unpack(file, network);
    return network;
  }

  /** The settings that a file tells of: its shape, with nothing quantized. */
  public static Settings settings(LanguageModelFile file) {
    Settings settings = new Settings();
    settings.bits = Bits.FULL_PRECISION.toString();
    settings.hidden = file.hiddenSize();
    return settings;
  }

  private static Quantization activations(LanguageModelFile file, int bits) {
    return bits == 0 ? null : new Quantization(file.activations(), bits);
  }

  private static MultiLayerNetwork initialized(MultiLayerConfiguration configuration) {
    MultiLayerNetwork network = new MultiLayerNetwork(configuration);
    network.init();
    return network;
  }

  private static MultiLayerConfiguration configuration(
      Settings settings, int vocabulary, double latentWeightBound) {
    Quantization activations = settings.parsedBits().activationsBy(settings.activationQuantizer());
    return configuration(
        settings,
        vocabulary,
        settings.hidden,
        settings.parsedBits().weightsBy(settings.weightQuantizer()),
        // Rows of a quantized embedding are codes already: the input is not quantized again.
        null,
        activations,
        activations,
        latentWeightBound);
  }

  private static MultiLayerConfiguration configuration(
      Settings settings,
      int vocabulary,
      int embeddingSize,
      Quantization weights,
      Quantization inputActivations,
      Quantization recurrentActivations,
      Quantization softmaxActivations,
      double latentWeightBound) {
    int hidden = settings.hidden;
    double range = 1 / Math.sqrt(hidden);
    double retain = 1 - settings.dropout;
    return new NeuralNetConfiguration.Builder()
        .seed(settings.seed)
        .dataType(DataType.FLOAT)
        .miniBatch(false)
        .updater(new ClippedSgd(settings.learningRate, settings.clip))
        .list()
        .layer(
            new QuantizedEmbedding.Builder()
                .nIn(vocabulary)
                .nOut(embeddingSize)
                .weights(weights)
                .latentWeightBound(latentWeightBound)
                .dist(new UniformDistribution(-0.1, 0.1))
                .build())
        .layer(
            new QuantizedLSTM.Builder()
                .nIn(embeddingSize)
                .nOut(hidden)
                .weights(weights)
                .inputActivations(inputActivations)
                .recurrentActivations(recurrentActivations)
                .latentWeightBound(latentWeightBound)
                .stateful(true)
                .dropOut(retain)
                .forgetGateBiasInit(0)
                .dist(new UniformDistribution(-range, range))
                .build())
        .layer(
            new QuantizedSoftmaxOutput.Builder()
                .nIn(hidden)
                .nOut(vocabulary)
                .weights(weights)
                .activations(softmaxActivations)
                .latentWeightBound(latentWeightBound)
                .averageOverTime(true)
                .averageOverBatch(true)
                .dropOut(retain)
                .dist(new UniformDistribution(-0.1, 0.1))
                .build())
        .setInputType(InputType.recurrent(vocabulary, settings.unroll))
        .build();
  }
}

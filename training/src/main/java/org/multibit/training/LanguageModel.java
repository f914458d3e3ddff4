package org.multibit.training;

import java.util.ArrayList;
import java.util.List;
import org.deeplearning4j.nn.conf.MultiLayerConfiguration;
import org.deeplearning4j.nn.conf.NeuralNetConfiguration;
import org.deeplearning4j.nn.conf.distribution.UniformDistribution;
import org.deeplearning4j.nn.conf.inputs.InputType;
import org.deeplearning4j.nn.multilayer.MultiLayerNetwork;
import org.multibit.core.Bits;
import org.multibit.core.Cell;
import org.multibit.core.LayerBits;
import org.multibit.core.Quantization;
import org.multibit.core.Quantizer;
import org.multibit.core.format.LanguageModelFile;
import org.multibit.core.format.Layer;
import org.multibit.layers.ClippedSgd;
import org.multibit.layers.QuantizedEmbedding;
import org.multibit.layers.QuantizedLSTM;
import org.multibit.layers.QuantizedRecurrent;
import org.multibit.layers.QuantizedSoftmaxOutput;
import org.nd4j.linalg.api.buffer.DataType;

/**
 * The paper's language model as a DL4J network: embedding, one LSTM or GRU or a stack of them,
 * softmax. Its input is token ids [B, 1, T], its output word probabilities [B, V, T].
 */
public final class LanguageModel {
  private LanguageModel() {}

  /**
   * A new network with the paper's initialization: embedding and softmax uniform in +-0.1,
   * recurrent layers in +-1/sqrt(H), biases 0.
   *
   * @param vocabulary V
   */
  public static MultiLayerNetwork create(Settings settings, int vocabulary) {
    return initialized(configuration(settings, vocabulary, bound(settings, 1)));
  }

  /**
   * A network with these settings and the weights of another network.
   *
   * @param parent a network of the same shape, for example full precision
   */
  public static MultiLayerNetwork from(
      MultiLayerNetwork parent, Settings settings, int vocabulary) {
    float largest = parent.params().amaxNumber().floatValue();
    MultiLayerNetwork network =
        initialized(configuration(settings, vocabulary, bound(settings, Math.max(1, largest))));
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
   * A network that computes the model of a packed file, with its weights as full-precision values.
   * It runs the file where there is no native library.
   */
  public static MultiLayerNetwork of(LanguageModelFile file) {
    Settings settings = settings(file);
    List<Activations> activations = new ArrayList<>();
    for (Layer layer : file.layers()) {
      // The rows of a multi-bit embedding are codes already.
      boolean codes = activations.isEmpty() && file.embedding().packed() != null;
      activations.add(
          new Activations(
              codes ? null : activations(file, layer.input().activationBits()),
              activations(file, layer.recurrent().activationBits())));
    }
    MultiLayerNetwork network =
        initialized(
            configuration(
                settings,
                file.words().size(),
                new Quantizations(
                    null,
                    null,
                    activations,
                    null,
                    activations(file, file.softmax().activationBits())),
                1));
    PackedExport.unpack(file, network);
    return network;
  }

  /** The settings with the shape of a file's model, with nothing quantized. */
  public static Settings settings(LanguageModelFile file) {
    Settings settings = new Settings();
    settings.bits = Bits.FULL_PRECISION.toString();
    settings.cell = file.cell().toString();
    settings.hidden = file.hiddenSize();
    settings.layers = file.layers().size();
    settings.embedding = file.embeddingSize();
    return settings;
  }

  /** How a recurrent layer quantizes its input and its hidden state; null = full precision. */
  private record Activations(Quantization input, Quantization recurrent) {}

  /**
   * How each layer is quantized; null = full precision.
   *
   * @param activations of each recurrent layer
   */
  private record Quantizations(
      Quantization embedding,
      Quantization recurrent,
      List<Activations> activations,
      Quantization softmax,
      Quantization softmaxActivations) {}

  private static Quantization activations(LanguageModelFile file, int bits) {
    return bits == 0 ? null : new Quantization(file.activations(), bits);
  }

  private static double bound(Settings settings, double otherwise) {
    return settings.weightBound > 0 ? settings.weightBound : otherwise;
  }

  private static MultiLayerNetwork initialized(MultiLayerConfiguration configuration) {
    MultiLayerNetwork network = new MultiLayerNetwork(configuration);
    network.init();
    return network;
  }

  private static MultiLayerConfiguration configuration(
      Settings settings, int vocabulary, double latentWeightBound) {
    LayerBits bits = settings.layerBits();
    Quantizer ofWeights = settings.weightQuantizer();
    Quantizer ofActivations = settings.activationQuantizer();
    Quantization recurrent = bits.recurrent().activationsBy(ofActivations);
    List<Activations> activations = new ArrayList<>();
    for (int l = 0; l < settings.layers; l++) {
      // Rows of a quantized embedding are codes already: they are not quantized again.
      boolean codes = l == 0 && bits.embedding().weights() > 0;
      activations.add(new Activations(codes ? null : recurrent, recurrent));
    }
    return configuration(
        settings,
        vocabulary,
        new Quantizations(
            bits.embedding().weightsBy(ofWeights),
            bits.recurrent().weightsBy(ofWeights),
            activations,
            bits.output().weightsBy(ofWeights),
            bits.output().activationsBy(ofActivations)),
        latentWeightBound);
  }

  private static MultiLayerConfiguration configuration(
      Settings settings, int vocabulary, Quantizations quantizations, double latentWeightBound) {
    int hidden = settings.hidden;
    double range = 1 / Math.sqrt(hidden);
    double retain = 1 - settings.dropout;
    NeuralNetConfiguration.ListBuilder network =
        new NeuralNetConfiguration.Builder()
            .seed(settings.seed)
            .dataType(DataType.FLOAT)
            .miniBatch(false)
            .updater(new ClippedSgd(settings.learningRate, settings.clip))
            .list()
            .layer(
                new QuantizedEmbedding.Builder()
                    .nIn(vocabulary)
                    .nOut(settings.embeddingSize())
                    .weights(quantizations.embedding)
                    .latentWeightBound(latentWeightBound)
                    .dist(new UniformDistribution(-0.1, 0.1))
                    .build());
    for (int l = 0; l < settings.layers; l++) {
      network.layer(
          cell(settings.cell)
              .nIn(l == 0 ? settings.embeddingSize() : hidden)
              .nOut(hidden)
              .weights(quantizations.recurrent)
              .inputActivations(quantizations.activations.get(l).input)
              .recurrentActivations(quantizations.activations.get(l).recurrent)
              .latentWeightBound(latentWeightBound)
              .stateful(true)
              .dropOut(retain)
              .dist(new UniformDistribution(-range, range))
              .build());
    }
    return network
        .layer(
            new QuantizedSoftmaxOutput.Builder()
                .nIn(hidden)
                .nOut(vocabulary)
                .weights(quantizations.softmax)
                .activations(quantizations.softmaxActivations)
                .latentWeightBound(latentWeightBound)
                .averageOverTime(true)
                .averageOverBatch(true)
                .dropOut(retain)
                .dist(new UniformDistribution(-0.1, 0.1))
                .build())
        .setInputType(InputType.recurrent(vocabulary, settings.unroll))
        .build();
  }

  private static QuantizedRecurrent.Builder<?> cell(String cell) {
    QuantizedRecurrent.Builder<?> builder = QuantizedRecurrent.builder(Cell.of(cell));
    if (builder instanceof QuantizedLSTM.Builder lstm) {
      lstm.forgetGateBiasInit(0);
    }
    return builder;
  }
}

package org.multibit.training;

import java.lang.ref.Reference;
import java.nio.FloatBuffer;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import org.deeplearning4j.nn.conf.layers.BaseLayer;
import org.deeplearning4j.nn.conf.layers.BaseOutputLayer;
import org.deeplearning4j.nn.conf.layers.misc.FrozenLayer;
import org.deeplearning4j.nn.conf.layers.recurrent.LastTimeStep;
import org.deeplearning4j.nn.multilayer.MultiLayerNetwork;
import org.multibit.core.Cell;
import org.multibit.core.MultibitMatrix;
import org.multibit.core.Quantization;
import org.multibit.core.Quantizer;
import org.multibit.core.format.LanguageModelFile;
import org.multibit.core.format.Layer;
import org.multibit.core.format.Matrix;
import org.multibit.core.format.SequenceClassifierFile;
import org.multibit.datasets.Vocabulary;
import org.multibit.layers.ConversionReport;
import org.multibit.layers.FloatRows;
import org.multibit.layers.QuantizedArrays;
import org.multibit.layers.QuantizedEmbedding;
import org.multibit.layers.QuantizedOutput;
import org.multibit.layers.QuantizedRecurrent;
import org.multibit.layers.QuantizedSoftmaxOutput;
import org.multibit.layers.WeightQuantization;
import org.nd4j.linalg.activations.impl.ActivationSoftmax;
import org.nd4j.linalg.api.buffer.DataType;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.nd4j.linalg.factory.Nd4j;
import org.nd4j.linalg.indexing.NDArrayIndex;

/**
 * Packs and unpacks a trained network. Each weight matrix is quantized as its layer quantizes it,
 * in the layout of docs/format.md.
 */
public final class PackedExport {
  /** The embedding's layer in a language model. */
  static final int EMBEDDING = 0;

  /** The first recurrent layer; the softmax follows the last. */
  static final int RECURRENT = 1;

  private static final String CONVERT = "NetworkQuantizer makes them of DL4J's layers";

  private static final String LANGUAGE_MODEL =
      "a packed language model is a QuantizedEmbedding, then QuantizedLSTMs or QuantizedGRUs of one size, then a QuantizedSoftmaxOutput; "
          + CONVERT;

  private static final String CLASSIFIER =
      "a packed classifier is QuantizedLSTMs or QuantizedGRUs of one size, the last one in LastTimeStep, then a QuantizedOutput with softmax; "
          + CONVERT;

  private final MultiLayerNetwork network;
  private final Map<String, INDArray> originals = new LinkedHashMap<>();

  /**
   * @param network a language model, as {@link LanguageModel} makes it: embedding, recurrent
   *     layers, softmax; or a classifier, see {@link #packClassifier}
   */
  public PackedExport(MultiLayerNetwork network) {
    this.network = network;
  }

  /**
   * Packs a language model. If softmax and embedding have the same weights and quantization, these
   * are stored once.
   *
   * @throws IllegalArgumentException if the vocabulary does not fit the network, or if a packed
   *     language model cannot have one of its layers; the message names the layer
   */
  public LanguageModelFile pack(Vocabulary vocabulary, Map<String, Object> provenance) {
    requireLayers(3, LANGUAGE_MODEL);
    int softmaxLayer = softmaxLayer(network);
    QuantizedEmbedding embedding = require(QuantizedEmbedding.class, EMBEDDING, LANGUAGE_MODEL);
    List<QuantizedRecurrent> stack = new ArrayList<>();
    for (int l = RECURRENT; l < softmaxLayer; l++) {
      stack.add(require(QuantizedRecurrent.class, l, LANGUAGE_MODEL));
    }
    QuantizedSoftmaxOutput softmax =
        require(QuantizedSoftmaxOutput.class, softmaxLayer, LANGUAGE_MODEL);
    requireNothingBesides(EMBEDDING, embedding);
    requireAlike("language model", stack, RECURRENT, softmax.getNIn());
    requireNothingBesides(softmaxLayer, softmax);
    if (vocabulary.size() != embedding.getNIn()) {
      throw new IllegalArgumentException(
          "The vocabulary has %s words, the model %s"
              .formatted(vocabulary.size(), embedding.getNIn()));
    }
    Quantization embedded = embedding.getWeightQuantization();
    INDArray words = param(EMBEDDING, "W");
    INDArray softmaxRows = param(softmaxLayer, "W").transpose();
    int softmaxBits = bits(softmax.getActivationQuantization());
    boolean tied =
        Objects.equals(embedded, softmax.getWeightQuantization())
            && words.equalShapes(softmaxRows)
            && copy(words).equals(copy(softmaxRows));
    Matrix embeddingMatrix = matrix("embedding", words, embedded, 0);
    List<Layer> layers = new ArrayList<>();
    List<Quantization> activations = new ArrayList<>();
    for (int l = RECURRENT; l < softmaxLayer; l++) {
      boolean codes = l == RECURRENT && embedded != null;
      QuantizedRecurrent recurrent = stack.get(l - RECURRENT);
      Quantization input = codes ? embedded : recurrent.getInputActivationQuantization();
      layers.add(layer(l, l - RECURRENT, recurrent, bits(input)));
      activations.add(codes ? null : input);
      activations.add(recurrent.getRecurrentActivationQuantization());
    }
    activations.add(softmax.getActivationQuantization());
    return new LanguageModelFile(
        vocabulary.words(),
        vocabulary.eos(),
        vocabulary.unk(),
        embeddingMatrix,
        layers,
        tied
            ? embeddingMatrix.withActivations(softmaxBits)
            : matrix("softmax", softmaxRows, softmax.getWeightQuantization(), softmaxBits),
        bias(softmaxLayer, softmax),
        onlyQuantizer("language model", activations),
        quantizer(
            Arrays.asList(
                stack.get(0).getWeightQuantization(), embedded, softmax.getWeightQuantization())),
        provenance);
  }

  /**
   * Packs a classifier of sequences: QuantizedLSTMs or QuantizedGRUs of one size, the last one in
   * LastTimeStep, then a QuantizedOutput with softmax.
   *
   * @param provenance as for {@link #pack}
   * @throws IllegalArgumentException if the network has another layer or setting; the message names
   *     the layer
   */
  public SequenceClassifierFile packClassifier(Map<String, Object> provenance) {
    requireLayers(2, CLASSIFIER);
    int last = network.getnLayers() - 1;
    require(
        conf(last) instanceof QuantizedOutput,
        last,
        "the last layer of a packed classifier is a QuantizedOutput, which NetworkQuantizer makes of DL4J's OutputLayer");
    QuantizedOutput output = (QuantizedOutput) conf(last);
    require(
        output.getActivationFn() instanceof ActivationSoftmax,
        last,
        "its activation is " + output.getActivationFn() + ", a packed classifier has a softmax");
    List<Layer> layers = new ArrayList<>();
    List<Quantization> activations = new ArrayList<>();
    List<Quantization> weights = new ArrayList<>();
    List<QuantizedRecurrent> stack = new ArrayList<>();
    for (int l = 0; l < last; l++) {
      stack.add(recurrent(l));
    }
    for (int l = 0; l < last; l++) {
      require(
          conf(l) instanceof LastTimeStep == (l == last - 1),
          l,
          "of a packed classifier the last recurrent layer, and no other, is in LastTimeStep");
    }
    requireAlike("classifier", stack, 0, output.getNIn());
    for (int l = 0; l < last; l++) {
      QuantizedRecurrent recurrent = stack.get(l);
      layers.add(layer(l, l, recurrent, bits(recurrent.getInputActivationQuantization())));
      activations.add(recurrent.getInputActivationQuantization());
      activations.add(recurrent.getRecurrentActivationQuantization());
      weights.add(recurrent.getWeightQuantization());
    }
    requireNothingBesides(last, output);
    activations.add(output.getActivationQuantization());
    weights.add(output.getWeightQuantization());
    return new SequenceClassifierFile(
        layers,
        matrix(
            "softmax",
            param(last, "W").transpose(),
            output.getWeightQuantization(),
            bits(output.getActivationQuantization())),
        bias(last, output),
        onlyQuantizer("classifier", activations),
        quantizer(weights),
        provenance);
  }

  private void requireLayers(int least, String what) {
    if (!network.isInitCalled()) {
      throw new IllegalArgumentException(
          "The network has no parameters yet: call init(), and train it, before it is packed");
    }
    DataType type = network.getLayerWiseConfigurations().getDataType();
    if (type != DataType.FLOAT) {
      throw new IllegalArgumentException(
          "The network cannot be packed: its data type is %s, a packed model's FLOAT; pack what convertDataType(DataType.FLOAT) makes of it"
              .formatted(type));
    }
    if (network.getnLayers() < least) {
      throw new IllegalArgumentException(
          "A network of %s layers cannot be packed: %s".formatted(network.getnLayers(), what));
    }
  }

  private <T> T require(Class<T> kind, int layer, String otherwise) {
    require(kind.isInstance(conf(layer)), layer, otherwise);
    return kind.cast(conf(layer));
  }

  /** Checks that all layers have the same cell and size, as a file requires. */
  private void requireAlike(String model, List<QuantizedRecurrent> stack, int first, long units) {
    String cell = stack.get(0).getClass().getSimpleName();
    for (int l = 0; l < stack.size(); l++) {
      QuantizedRecurrent recurrent = stack.get(l);
      requireNothingBesides(first + l, recurrent);
      require(
          recurrent.getClass() == stack.get(0).getClass(),
          first + l,
          "layer %s is a %s; the recurrent layers of a packed %s are of one kind"
              .formatted(first, cell, model));
      require(
          recurrent.getNOut() == units,
          first + l,
          "it has %s units, the last one %s; those of a packed %s are equal"
              .formatted(recurrent.getNOut(), units, model));
    }
  }

  /** Checks for settings that a file cannot have. */
  private void requireNothingBesides(int layer, BaseLayer conf) {
    require(
        network.getLayerWiseConfigurations().getInputPreProcess(layer) == null,
        layer,
        "it has an input preprocessor");
    require(
        !(conf.getWeightNoise() instanceof WeightQuantization),
        layer,
        "its weights are quantized by WeightQuantization; give the layer itself the quantization, by weights(...)");
  }

  private QuantizedRecurrent recurrent(int layer) {
    var conf = conf(layer);
    var inner = conf instanceof LastTimeStep last ? last.getUnderlying() : conf;
    require(
        inner instanceof QuantizedRecurrent,
        layer,
        "a packed classifier has QuantizedLSTMs or QuantizedGRUs before its output; " + CONVERT);
    return (QuantizedRecurrent) inner;
  }

  private void require(boolean holds, int layer, String otherwise) {
    if (!holds) {
      throw new IllegalArgumentException(
          "Layer %s (%s) cannot be packed: %s"
              .formatted(layer, ConversionReport.kind(conf(layer)), otherwise));
    }
  }

  /**
   * @param layer index in the network
   * @param index index among the recurrent layers
   */
  private Layer layer(int layer, int index, QuantizedRecurrent recurrent, int inputBits) {
    Cell cell = recurrent.cell();
    int[] order = cell.fileOrder();
    Quantization weights = recurrent.getWeightQuantization();
    String name = "rnn." + index;
    return new Layer(
        cell,
        matrix(name + ".input", gates(param(layer, "W").transpose(), order), weights, inputBits),
        matrix(
            name + ".recurrent",
            gates(param(layer, "RW").transpose(), order),
            weights,
            bits(recurrent.getRecurrentActivationQuantization())),
        copy(gates(param(layer, "b").reshape(-1, 1), order)),
        cell.separateSums() ? copy(gates(param(layer, "rb").reshape(-1, 1), order)) : null);
  }

  private static int softmaxLayer(MultiLayerNetwork network) {
    return network.getnLayers() - 1;
  }

  /** Copies the values of a file's matrices into a network of the same shape. */
  static void unpack(LanguageModelFile file, MultiLayerNetwork network) {
    int[] order = file.cell().trainingOrder();
    assign(network, EMBEDDING, "W", values(file.embedding()));
    for (int l = 0; l < file.layers().size(); l++) {
      Layer layer = file.layers().get(l);
      int at = RECURRENT + l;
      assign(network, at, "W", gates(values(layer.input()), order).transpose());
      assign(network, at, "RW", gates(values(layer.recurrent()), order).transpose());
      assign(network, at, "b", bias(layer.bias(), order));
      if (layer.recurrentBias() != null) {
        assign(network, at, "rb", bias(layer.recurrentBias(), order));
      }
    }
    int softmax = softmaxLayer(network);
    assign(network, softmax, "W", values(file.softmax()).transpose());
    INDArray b = network.getLayer(softmax).getParam("b");
    b.assign(array(file.softmaxBias(), 1, file.words().size()).reshape(b.shape()));
  }

  private static INDArray bias(FloatBuffer floats, int[] order) {
    INDArray column = array(floats, floats.remaining(), 1);
    return gates(column, order).reshape(column.length());
  }

  private static void assign(MultiLayerNetwork network, int layer, String key, INDArray values) {
    network.getLayer(layer).getParam(key).assign(values);
  }

  private static INDArray values(Matrix matrix) {
    return matrix.packed() != null
        ? QuantizedArrays.unpack(matrix.packed())
        : array(matrix.floats(), matrix.rows(), matrix.cols());
  }

  private static INDArray array(FloatBuffer floats, int rows, int cols) {
    float[] values = new float[rows * cols];
    floats.duplicate().get(values);
    return Nd4j.create(values, new long[] {rows, cols}, 'c');
  }

  /** The latent weights of each matrix that was packed last, with rows as in the file. */
  public Map<String, INDArray> originals() {
    return originals;
  }

  /** The configuration of a layer or, if it is frozen, of the layer inside. */
  private org.deeplearning4j.nn.conf.layers.Layer conf(int layer) {
    var conf = network.getLayerWiseConfigurations().getConf(layer).getLayer();
    return conf instanceof FrozenLayer frozen ? frozen.getLayer() : conf;
  }

  private INDArray param(int layer, String key) {
    return network.getLayer(layer).getParam(key);
  }

  /** The quantizer of the first quantization; null if there is none. */
  private static Quantizer quantizer(List<Quantization> quantizations) {
    return quantizations.stream()
        .filter(Objects::nonNull)
        .map(Quantization::quantizer)
        .findFirst()
        .orElse(null);
  }

  /**
   * As {@link #quantizer}, and checks that all are the same, since a file names one method for all
   * activations.
   */
  private static Quantizer onlyQuantizer(String model, List<Quantization> activations) {
    Quantizer method = quantizer(activations);
    for (Quantization quantization : activations) {
      if (quantization != null && !quantization.quantizer().equals(method)) {
        throw new IllegalArgumentException(
            "The %s cannot be packed: it quantizes activations by %s and by %s, a packed model by one method"
                .formatted(model, method, quantization.quantizer()));
      }
    }
    return method;
  }

  /** An output's bias, or zeros if it has none. */
  private FloatBuffer bias(int layer, BaseOutputLayer output) {
    return output.hasBias()
        ? copy(param(layer, "b"))
        : LanguageModelFile.directFloats((int) output.getNOut());
  }

  private static int bits(Quantization quantization) {
    return quantization == null ? 0 : quantization.bits();
  }

  /** Reorders rows of gates: block g becomes the old block order[g]. */
  private static INDArray gates(INDArray rows, int[] order) {
    long hidden = rows.size(0) / order.length;
    // A copy, since ND4J's get() finds nothing where a view of a view lies beyond the length of it.
    INDArray own = rows.dup('c');
    INDArray[] blocks = new INDArray[order.length];
    for (int g = 0; g < order.length; g++) {
      blocks[g] =
          own.get(
              NDArrayIndex.interval(order[g] * hidden, (order[g] + 1) * hidden),
              NDArrayIndex.all());
    }
    return Nd4j.concat(0, blocks).dup('c');
  }

  private Matrix matrix(String name, INDArray rows, Quantization quantization, int activationBits) {
    originals.put(name, rows);
    if (quantization == null) {
      return Matrix.of(copy(rows), (int) rows.size(0), (int) rows.size(1), activationBits);
    }
    MultibitMatrix packed = QuantizedArrays.pack(quantization, rows);
    return Matrix.of(packed, activationBits);
  }

  private static FloatBuffer copy(INDArray array) {
    FloatBuffer floats = LanguageModelFile.directFloats((int) array.length());
    floats.put(FloatRows.of(array)).flip();
    Reference.reachabilityFence(array);
    return floats;
  }
}

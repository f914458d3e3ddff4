package org.multibit.training;

import java.lang.ref.Reference;
import java.nio.FloatBuffer;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.stream.Stream;
import org.deeplearning4j.nn.multilayer.MultiLayerNetwork;
import org.multibit.core.FloatRows;
import org.multibit.core.MultibitMatrix;
import org.multibit.core.Quantization;
import org.multibit.core.Quantizer;
import org.multibit.core.format.LanguageModelFile;
import org.multibit.core.format.LanguageModelFile.Cell;
import org.multibit.core.format.LanguageModelFile.Matrix;
import org.multibit.datasets.Vocabulary;
import org.multibit.layers.QuantizedEmbedding;
import org.multibit.layers.QuantizedGRU;
import org.multibit.layers.QuantizedRecurrent;
import org.multibit.layers.QuantizedSoftmaxOutput;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.nd4j.linalg.factory.Nd4j;
import org.nd4j.linalg.indexing.NDArrayIndex;

/**
 * Packs a trained network, and unpacks it: each weight matrix quantized as its layer quantizes it,
 * in the layout of docs/format.md.
 */
public final class PackedExport {
  /**
   * An LSTM's gate blocks are candidate, forget, output, input in DL4J and input, forget,
   * candidate, output in the file; a GRU's are reset, update, candidate in both.
   */
  private static final Map<Cell, int[]> FILE_FROM_DL4J =
      Map.of(Cell.LSTM, new int[] {3, 1, 0, 2}, Cell.GRU, new int[] {0, 1, 2});

  private static final Map<Cell, int[]> DL4J_FROM_FILE =
      Map.of(Cell.LSTM, new int[] {2, 1, 3, 0}, Cell.GRU, new int[] {0, 1, 2});

  private final MultiLayerNetwork network;
  private final Map<String, INDArray> originals = new LinkedHashMap<>();

  /**
   * @param network embedding, recurrent layers, softmax, as {@link LanguageModel} makes it
   */
  public PackedExport(MultiLayerNetwork network) {
    this.network = network;
  }

  /**
   * Softmax weights that are the embedding's, quantized the same way, are stored once.
   *
   * @throws IllegalArgumentException if the vocabulary does not fit the network
   */
  public LanguageModelFile pack(Vocabulary vocabulary, Map<String, Object> provenance) {
    QuantizedEmbedding embedding = (QuantizedEmbedding) conf(LanguageModel.EMBEDDING);
    int softmaxLayer = softmaxLayer(network);
    QuantizedSoftmaxOutput softmax = (QuantizedSoftmaxOutput) conf(softmaxLayer);
    if (vocabulary.size() != embedding.getNIn()) {
      throw new IllegalArgumentException(
          "The vocabulary has %d words, the model %d"
              .formatted(vocabulary.size(), embedding.getNIn()));
    }
    Quantization embedded = embedding.getWeightQuantization();
    INDArray words = param(LanguageModel.EMBEDDING, "W");
    INDArray softmaxRows = param(softmaxLayer, "W").transpose();
    int softmaxBits = bits(softmax.getActivationQuantization());
    boolean tied =
        Objects.equals(embedded, softmax.getWeightQuantization())
            && words.equalShapes(softmaxRows)
            && copy(words).equals(copy(softmaxRows));
    Matrix embeddingMatrix = matrix("embedding", words, embedded, 0);
    List<LanguageModelFile.Layer> layers = new ArrayList<>();
    for (int l = LanguageModel.RECURRENT; l < softmaxLayer; l++) {
      layers.add(layer(l, embedded));
    }
    QuantizedRecurrent first = (QuantizedRecurrent) conf(LanguageModel.RECURRENT);
    return new LanguageModelFile(
        vocabulary.words(),
        vocabulary.eos(),
        vocabulary.unk(),
        embeddingMatrix,
        layers,
        tied
            ? embeddingMatrix.withActivations(softmaxBits)
            : matrix("softmax", softmaxRows, softmax.getWeightQuantization(), softmaxBits),
        copy(param(softmaxLayer, "b")),
        quantizer(first.getRecurrentActivationQuantization(), softmax.getActivationQuantization()),
        quantizer(first.getWeightQuantization(), embedded, softmax.getWeightQuantization()),
        provenance);
  }

  /**
   * @param embedded how the embedding is quantized
   */
  private LanguageModelFile.Layer layer(int layer, Quantization embedded) {
    QuantizedRecurrent recurrent = (QuantizedRecurrent) conf(layer);
    Cell cell = recurrent instanceof QuantizedGRU ? Cell.GRU : Cell.LSTM;
    int[] order = FILE_FROM_DL4J.get(cell);
    Quantization weights = recurrent.getWeightQuantization();
    boolean codes = layer == LanguageModel.RECURRENT && embedded != null;
    int inputBits = codes ? embedded.bits() : bits(recurrent.getInputActivationQuantization());
    String name = name(layer);
    return new LanguageModelFile.Layer(
        matrix(name + ".input", gates(param(layer, "W").transpose(), order), weights, inputBits),
        matrix(
            name + ".recurrent",
            gates(param(layer, "RW").transpose(), order),
            weights,
            bits(recurrent.getRecurrentActivationQuantization())),
        copy(gates(param(layer, "b").reshape(-1, 1), order)),
        cell == Cell.GRU ? copy(gates(param(layer, "rb").reshape(-1, 1), order)) : null);
  }

  private static String name(int layer) {
    return "rnn." + (layer - LanguageModel.RECURRENT);
  }

  private static int softmaxLayer(MultiLayerNetwork network) {
    return network.getnLayers() - 1;
  }

  /** The other way: the values of a file's matrices into a network of the same shape. */
  static void unpack(LanguageModelFile file, MultiLayerNetwork network) {
    int[] order = DL4J_FROM_FILE.get(file.cell());
    assign(network, LanguageModel.EMBEDDING, "W", values(file.embedding()));
    for (int l = 0; l < file.layers().size(); l++) {
      LanguageModelFile.Layer layer = file.layers().get(l);
      int at = LanguageModel.RECURRENT + l;
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
        ? matrix.packed().dequantize()
        : array(matrix.dense(), matrix.rows(), matrix.cols());
  }

  private static INDArray array(FloatBuffer floats, int rows, int cols) {
    float[] values = new float[rows * cols];
    floats.duplicate().get(values);
    return Nd4j.create(values, new long[] {rows, cols}, 'c');
  }

  /** The latent weights of each matrix of the last pack, rows as in the file. */
  public Map<String, INDArray> originals() {
    return originals;
  }

  private org.deeplearning4j.nn.conf.layers.Layer conf(int layer) {
    return network.getLayerWiseConfigurations().getConf(layer).getLayer();
  }

  private INDArray param(int layer, String key) {
    return network.getLayer(layer).getParam(key);
  }

  /** That of the first that quantizes; null if none does. */
  private static Quantizer quantizer(Quantization... quantizations) {
    return Stream.of(quantizations)
        .filter(Objects::nonNull)
        .map(Quantization::quantizer)
        .findFirst()
        .orElse(null);
  }

  private static int bits(Quantization quantization) {
    return quantization == null ? 0 : quantization.bits();
  }

  /** Rows of gates: block g becomes what block order[g] was. */
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
    MultibitMatrix packed = quantization.quantize(rows);
    return Matrix.of(packed, activationBits);
  }

  private static FloatBuffer copy(INDArray array) {
    FloatBuffer floats = LanguageModelFile.directFloats((int) array.length());
    floats.put(FloatRows.of(array)).flip();
    Reference.reachabilityFence(array);
    return floats;
  }
}

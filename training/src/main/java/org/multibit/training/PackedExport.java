package org.multibit.training;

import java.lang.ref.Reference;
import java.nio.FloatBuffer;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.deeplearning4j.nn.multilayer.MultiLayerNetwork;
import org.multibit.core.FloatRows;
import org.multibit.core.MultibitMatrix;
import org.multibit.core.Quantization;
import org.multibit.core.format.LanguageModelFile;
import org.multibit.core.format.LanguageModelFile.Matrix;
import org.multibit.datasets.Vocabulary;
import org.multibit.layers.QuantizedEmbedding;
import org.multibit.layers.QuantizedLSTM;
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
   * DL4J's gate blocks are candidate, forget, output, input; the file's are input, forget,
   * candidate, output.
   */
  private static final int[] FILE_FROM_DL4J = {3, 1, 0, 2};

  private static final int[] DL4J_FROM_FILE = {2, 1, 3, 0};

  private final MultiLayerNetwork network;
  private final Map<String, INDArray> originals = new LinkedHashMap<>();

  /**
   * @param network embedding, LSTM, softmax, as {@link LanguageModel} makes it
   */
  public PackedExport(MultiLayerNetwork network) {
    this.network = network;
  }

  /**
   * @throws IllegalArgumentException if the vocabulary does not fit the network
   */
  public LanguageModelFile pack(Vocabulary vocabulary, Map<String, Object> provenance) {
    QuantizedEmbedding embedding = (QuantizedEmbedding) conf(LanguageModel.EMBEDDING);
    QuantizedLSTM lstm = (QuantizedLSTM) conf(LanguageModel.LSTM);
    QuantizedSoftmaxOutput softmax = (QuantizedSoftmaxOutput) conf(LanguageModel.SOFTMAX);
    if (vocabulary.size() != embedding.getNIn()) {
      throw new IllegalArgumentException(
          "The vocabulary has %d words, the model %d"
              .formatted(vocabulary.size(), embedding.getNIn()));
    }
    Quantization embedded = embedding.getWeightQuantization();
    int inputBits =
        embedded != null ? embedded.bits() : bits(lstm.getInputActivationQuantization());
    Quantization recurrent = lstm.getRecurrentActivationQuantization();
    Quantization weights = lstm.getWeightQuantization();
    return new LanguageModelFile(
        vocabulary.words(),
        vocabulary.eos(),
        vocabulary.unk(),
        matrix("embedding", param(LanguageModel.EMBEDDING, "W"), embedded, 0),
        List.of(
            new LanguageModelFile.Layer(
                matrix("rnn.0.input", gateRows("W"), weights, inputBits),
                matrix("rnn.0.recurrent", gateRows("RW"), weights, bits(recurrent)),
                copy(gates(param(LanguageModel.LSTM, "b").reshape(-1, 1), FILE_FROM_DL4J)))),
        matrix(
            "softmax",
            param(LanguageModel.SOFTMAX, "W").transpose(),
            softmax.getWeightQuantization(),
            bits(softmax.getActivationQuantization())),
        copy(param(LanguageModel.SOFTMAX, "b")),
        recurrent == null ? null : recurrent.quantizer(),
        weights == null ? null : weights.quantizer(),
        provenance);
  }

  /** The other way: the values of a file's matrices into a network of the same shape. */
  static void unpack(LanguageModelFile file, MultiLayerNetwork network) {
    LanguageModelFile.Layer layer = file.layers().get(0);
    INDArray bias = array(layer.bias(), 1, layer.recurrent().rows()).transpose();
    assign(network, LanguageModel.EMBEDDING, "W", values(file.embedding()));
    assign(
        network, LanguageModel.LSTM, "W", gates(values(layer.input()), DL4J_FROM_FILE).transpose());
    assign(
        network,
        LanguageModel.LSTM,
        "RW",
        gates(values(layer.recurrent()), DL4J_FROM_FILE).transpose());
    assign(network, LanguageModel.LSTM, "b", gates(bias, DL4J_FROM_FILE).reshape(bias.length()));
    assign(network, LanguageModel.SOFTMAX, "W", values(file.softmax()).transpose());
    INDArray b = network.getLayer(LanguageModel.SOFTMAX).getParam("b");
    b.assign(array(file.softmaxBias(), 1, file.words().size()).reshape(b.shape()));
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

  private static int bits(Quantization quantization) {
    return quantization == null ? 0 : quantization.bits();
  }

  private INDArray gateRows(String key) {
    return gates(param(LanguageModel.LSTM, key).transpose(), FILE_FROM_DL4J);
  }

  /** Rows of 4 gates: block g becomes what block order[g] was. */
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

package org.multibit.training.importing;

import java.nio.FloatBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.multibit.core.Cell;
import org.multibit.core.format.LanguageModelFile;
import org.multibit.core.format.Matrix;
import org.multibit.datasets.Vocabulary;
import org.multibit.layers.FloatRows;
import org.nd4j.linalg.api.ndarray.INDArray;

/**
 * The weights of a language model of another library, in PyTorch's layout: one row for each unit,
 * with gates in the order input, forget, candidate, output (LSTM) or reset, update, new (GRU).
 *
 * @param embedding [V, E]
 * @param layers from the input on
 * @param softmax [V, H]
 * @param softmaxBias [V]
 */
record FullPrecisionModel(
    Cell cell, Parameter embedding, List<Layer> layers, Parameter softmax, Parameter softmaxBias) {
  /**
   * @param input [G H, E or H]
   * @param recurrent [G H, H]
   * @param inputBias [G H]
   * @param recurrentBias [G H]
   */
  record Layer(
      Parameter input, Parameter recurrent, Parameter inputBias, Parameter recurrentBias) {}

  /**
   * @throws Refusal if the shapes do not fit together; the message names the first that does not
   */
  FullPrecisionModel {
    long gates = cell.gates();
    long v = embedding.values().size(0);
    long h = layers.get(0).recurrent.values().size(0) / gates;
    long in = embedding.values().size(1);
    embedding.require(v, in);
    for (Layer layer : layers) {
      layer.recurrent.require(gates * h, h);
      layer.input.require(gates * h, in);
      layer.inputBias.require(gates * h);
      layer.recurrentBias.require(gates * h);
      in = h;
    }
    softmax.require(v, h);
    softmaxBias.require(v);
  }

  /**
   * The model as a file of full-precision matrices.
   *
   * @throws Refusal if the vocabulary has another length
   */
  LanguageModelFile file(Vocabulary vocabulary, Map<String, Object> provenance) {
    if (vocabulary.size() != embedding.values().size(0)) {
      throw new Refusal(
          "the vocabulary has %s words, %s %s rows: give the vocabulary that the model was trained with"
              .formatted(vocabulary.size(), embedding.name(), embedding.values().size(0)));
    }
    List<org.multibit.core.format.Layer> filed = new ArrayList<>();
    for (Layer layer : layers) {
      INDArray input = layer.inputBias.values();
      INDArray recurrent = layer.recurrentBias.values();
      filed.add(
          new org.multibit.core.format.Layer(
              cell,
              matrix(layer.input),
              matrix(layer.recurrent),
              floats(cell.separateSums() ? input : input.add(recurrent)),
              cell.separateSums() ? floats(recurrent) : null));
    }
    Matrix words = matrix(embedding);
    boolean tied = softmax.values().equals(embedding.values());
    return new LanguageModelFile(
        vocabulary.words(),
        vocabulary.eos(),
        vocabulary.unk(),
        words,
        filed,
        tied ? words : matrix(softmax),
        floats(softmaxBias.values()),
        null,
        null,
        provenance);
  }

  private static Matrix matrix(Parameter parameter) {
    INDArray values = parameter.values();
    return Matrix.of(floats(values), (int) values.size(0), (int) values.size(1), 0);
  }

  /** A copy that is independent of the array's memory. */
  private static FloatBuffer floats(INDArray values) {
    FloatBuffer copy = LanguageModelFile.directFloats((int) values.length());
    copy.put(FloatRows.of(values)).flip();
    java.lang.ref.Reference.reachabilityFence(values);
    return copy;
  }
}

package org.multibit.core.format;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.FloatBuffer;
import java.nio.file.Path;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.multibit.core.Quantizer;
import org.multibit.core.format.LanguageModelFile.Cell;
import org.multibit.core.format.LanguageModelFile.Layer;
import org.multibit.core.format.LanguageModelFile.Matrix;

/**
 * A packed classifier of float sequences as it lies in a file (docs/format.md): recurrent layers
 * that are fed vectors, and a softmax over classes of the last one's state.
 *
 * @param layers from the input on, all of one cell; the first one's input is GH x N
 * @param softmax C x H
 * @param softmaxBias C floats
 * @param activations how vectors and hidden states are quantized; null only if no product quantizes
 *     them
 * @param weights how weights were quantized, as provenance; null if they were not
 * @param provenance what follows {@code multibit.provenance.} in the keys, with values as {@link
 *     GgufWriter#put} takes them
 */
public record SequenceClassifierFile(
    List<Layer> layers,
    Matrix softmax,
    FloatBuffer softmaxBias,
    Quantizer activations,
    Quantizer weights,
    Map<String, Object> provenance) {

  /** The value of {@code multibit.head}. */
  public static final String HEAD = "classifier";

  /** The first that has this head. */
  private static final int VERSION = 3;

  /**
   * @throws IllegalArgumentException if the parts do not fit together
   */
  public SequenceClassifierFile {
    ModelParts.check(!layers.isEmpty(), "a classifier needs a layer");
    int h = softmax.cols();
    ModelParts.checkLayers(layers, layers.get(0).input().cols(), h);
    ModelParts.checkMatrix("softmax", softmax, softmax.rows(), h);
    ModelParts.checkSoftmaxBias(softmaxBias, softmax.rows());
    ModelParts.checkActivations(ModelParts.onlineBits(softmax, layers, true), activations);
    layers = List.copyOf(layers);
    provenance = Collections.unmodifiableMap(new LinkedHashMap<>(provenance));
  }

  public Cell cell() {
    return layers.get(0).cell();
  }

  /** N, floats of a time step. */
  public int inputSize() {
    return layers.get(0).input().cols();
  }

  /** H. */
  public int hiddenSize() {
    return softmax.cols();
  }

  /** C. */
  public int classes() {
    return softmax.rows();
  }

  /** All weight matrices by their names in the file. */
  public Map<String, Matrix> matrices() {
    Map<String, Matrix> matrices = new LinkedHashMap<>();
    ModelParts.putMatrices(layers, matrices);
    matrices.put("softmax", softmax);
    return matrices;
  }

  /** Writes the file whole or not at all. */
  public void write(Path path) throws IOException {
    writer().write(path);
  }

  /**
   * The file in direct memory, aligned to 64 bytes, as native code opens it without a file.
   *
   * @throws IllegalArgumentException if it takes more than 2 GiB
   */
  public ByteBuffer toDirectBuffer() {
    return writer().toDirectBuffer();
  }

  private GgufWriter writer() {
    GgufWriter out =
        ModelParts.writer(VERSION, HEAD, layers)
            .put("multibit.input_size", inputSize())
            .put("multibit.hidden_size", hiddenSize())
            .put("multibit.classes", classes());
    matrices().forEach((name, matrix) -> ModelParts.putBits(out, name, matrix));
    ModelParts.putOrigin(out, activations, weights, provenance);
    ModelParts.putTensors(out, matrices(), layers, softmaxBias);
    return out;
  }

  /**
   * Maps a file.
   *
   * @throws IOException if it cannot be read, is damaged, or is not a multibit classifier
   */
  public static SequenceClassifierFile read(Path path) throws IOException {
    GgufReader in = new GgufReader(path);
    ModelParts.checkVersion(in);
    if (in.string("multibit.head").equals(LanguageModelFile.HEAD)) {
      throw new IOException(path + " is a language model, not a classifier of float sequences");
    }
    ModelParts.expect(in, "multibit.head", HEAD);
    Cell cell = ModelParts.cell(in);
    int inputSize = ModelParts.positive(in, "multibit.input_size");
    int hiddenSize = ModelParts.positive(in, "multibit.hidden_size");
    int classes = ModelParts.positive(in, "multibit.classes");
    try {
      List<Layer> layers = ModelParts.layers(in, cell, inputSize, hiddenSize);
      Matrix softmax = ModelParts.matrix(in, "softmax", classes, hiddenSize);
      return new SequenceClassifierFile(
          layers,
          softmax,
          in.floats("softmax.bias", classes),
          ModelParts.activations(in, ModelParts.onlineBits(softmax, layers, true)),
          ModelParts.weightQuantizer(in),
          ModelParts.provenance(in));
    } catch (IllegalArgumentException ex) {
      throw in.damaged(ex.getMessage());
    }
  }
}

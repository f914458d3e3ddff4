package org.multibit.core.format;

import java.io.IOException;
import java.nio.FloatBuffer;
import java.nio.file.Path;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.multibit.core.Cell;
import org.multibit.core.Quantizer;

/**
 * The contents of a file with a packed classifier of float sequences (docs/format.md): recurrent
 * layers that are fed vectors, and a softmax over classes that is fed the last layer's state.
 *
 * @param layers from the input on, all with the same cell; the input matrix of the first is GH x N
 * @param softmax C x H
 * @param softmaxBias C floats
 * @param activations how vectors and hidden states are quantized; null only if no product quantizes
 *     them
 * @param weights how weights were quantized, as provenance; null if they were not
 * @param provenance the keys without {@code multibit.provenance.} and their values, as {@link
 *     GgufWriter#put} takes them
 */
public record SequenceClassifierFile(
    List<Layer> layers,
    Matrix softmax,
    FloatBuffer softmaxBias,
    Quantizer activations,
    Quantizer weights,
    Map<String, Object> provenance)
    implements PackedFile {

  /** The first version that has this head. */
  private static final int VERSION = 3;

  /**
   * @throws IllegalArgumentException if the parts do not fit together
   */
  public SequenceClassifierFile {
    Checks.check(!layers.isEmpty(), "a classifier needs a layer");
    int h = softmax.cols();
    ModelParts.checkLayers(layers, layers.get(0).input().cols(), h);
    softmax.checkValues("softmax", softmax.rows(), h);
    ModelParts.checkSoftmaxBias(softmaxBias, softmax.rows());
    ModelParts.checkActivations(ModelParts.onlineBits(softmax, layers, true), activations);
    layers = List.copyOf(layers);
    provenance = Collections.unmodifiableMap(new LinkedHashMap<>(provenance));
  }

  /** N, the floats of a time step. */
  public int inputSize() {
    return layers.get(0).input().cols();
  }

  /** C, the number of classes. */
  public int classes() {
    return softmax.rows();
  }

  @Override
  public Map<String, Matrix> matrices() {
    Map<String, Matrix> matrices = ModelParts.matrices(layers);
    matrices.put("softmax", softmax);
    return matrices;
  }

  @Override
  public GgufWriter gguf() {
    GgufWriter out =
        ModelParts.writer(VERSION, Head.CLASSIFIER, this)
            .put("multibit.input_size", inputSize())
            .put("multibit.hidden_size", hiddenSize())
            .put("multibit.classes", classes());
    ModelParts.putBits(out, this);
    ModelParts.putOrigin(out, this);
    ModelParts.putTensors(out, this);
    return out;
  }

  /**
   * Maps a file.
   *
   * @throws IOException if it cannot be read, is damaged, or is not a multibit classifier
   */
  public static SequenceClassifierFile read(Path path) throws IOException {
    GgufReader in =
        ModelParts.open(
            path,
            Head.CLASSIFIER,
            Head.LANGUAGE_MODEL,
            "a language model, not a classifier of float sequences");
    Cell cell = Layer.readCell(in);
    int inputSize = ModelParts.size(in, "multibit.input_size");
    int hiddenSize = ModelParts.size(in, "multibit.hidden_size");
    int classes = ModelParts.size(in, "multibit.classes");
    try {
      List<Layer> layers = ModelParts.layers(in, cell, inputSize, hiddenSize);
      Matrix softmax = Matrix.read(in, "softmax", classes, hiddenSize);
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

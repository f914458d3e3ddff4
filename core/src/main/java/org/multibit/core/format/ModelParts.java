package org.multibit.core.format;

import java.io.IOException;
import java.nio.FloatBuffer;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.multibit.core.Alternating;
import org.multibit.core.MultibitMatrix;
import org.multibit.core.Quantizer;
import org.multibit.core.Quantizers;
import org.multibit.core.format.LanguageModelFile.Cell;
import org.multibit.core.format.LanguageModelFile.Layer;
import org.multibit.core.format.LanguageModelFile.Matrix;

/**
 * What files of every head have (docs/format.md): recurrent layers, a softmax, how activations are
 * quantized, where the model came from.
 */
final class ModelParts {
  /** The newest version that is read; of each file, the oldest that it can be is written. */
  private static final int VERSION = 3;

  private static final String PROVENANCE = "multibit.provenance.";

  private ModelParts() {}

  static void check(boolean holds, String otherwise) {
    if (!holds) {
      throw new IllegalArgumentException(otherwise);
    }
  }

  static void checkShape(String name, Matrix matrix, long rows, long cols) {
    check(
        matrix.rows() == rows && matrix.cols() == cols,
        "%s is %d x %d, expected %d x %d"
            .formatted(name, matrix.rows(), matrix.cols(), rows, cols));
  }

  /** All of one cell, the first one fed vectors of {@code inputSize}. */
  static void checkLayers(List<Layer> layers, int inputSize, int hiddenSize) {
    Cell cell = layers.get(0).cell();
    for (int l = 0; l < layers.size(); l++) {
      Layer layer = layers.get(l);
      String name = "rnn." + l;
      check(layer.cell() == cell, name + " is " + layer.cell() + ", rnn.0 " + cell);
      long sums = (long) cell.gates() * hiddenSize;
      checkShape(name + ".input", layer.input(), sums, l == 0 ? inputSize : hiddenSize);
      checkShape(name + ".recurrent", layer.recurrent(), sums, hiddenSize);
      checkBias(name + ".bias", layer.bias(), cell.gates(), hiddenSize);
      if (layer.recurrentBias() != null) {
        checkBias(name + ".recurrent_bias", layer.recurrentBias(), cell.gates(), hiddenSize);
      }
    }
  }

  private static void checkBias(String name, FloatBuffer bias, int gates, int units) {
    check(
        bias.remaining() == (long) gates * units,
        "%s does not have %d x %d elements".formatted(name, gates, units));
  }

  static void checkSoftmax(Matrix softmax, FloatBuffer bias, int classes, int hiddenSize) {
    checkShape("softmax", softmax, classes, hiddenSize);
    check(bias.remaining() == classes, "softmax.bias does not have " + classes + " elements");
  }

  /**
   * A product that quantizes needs a quantizer that can do its bits.
   *
   * @param quantizesInput whether the first layer quantizes its input; else it gets codes
   */
  static void checkActivations(
      Matrix softmax, List<Layer> layers, boolean quantizesInput, Quantizer activations) {
    int most = softmax.activationBits();
    for (int l = 0; l < layers.size(); l++) {
      Layer layer = layers.get(l);
      int input = l > 0 || quantizesInput ? layer.input().activationBits() : 0;
      most = Math.max(most, Math.max(input, layer.recurrent().activationBits()));
    }
    check(most == 0 || activations != null, "there is no method to quantize activations with");
    if (most > 0) {
      check(
          Quantizers.METHODS.contains(activations.method()),
          "activations are quantized by \"%s\", while who runs the file knows %s"
              .formatted(activations.method(), String.join(", ", Quantizers.METHODS)));
      activations.checkBits(most);
    }
  }

  /** The layers' matrices by their names in the file. */
  static void putMatrices(List<Layer> layers, Map<String, Matrix> matrices) {
    for (int l = 0; l < layers.size(); l++) {
      matrices.put("rnn." + l + ".input", layers.get(l).input());
      matrices.put("rnn." + l + ".recurrent", layers.get(l).recurrent());
    }
  }

  /** A file with the keys that come first. */
  static GgufWriter writer(int version, String head, List<Layer> layers) {
    return new GgufWriter()
        .put("general.architecture", "multibit")
        .put("general.alignment", Gguf.ALIGNMENT)
        .put("multibit.version", version)
        .put("multibit.head", head)
        .put("multibit.cell", layers.get(0).cell().toString())
        .put("multibit.layers", layers.size());
  }

  static void putBits(GgufWriter out, String name, Matrix matrix) {
    out.put("multibit." + name + ".weight_bits", matrix.weightBits());
    if (!name.equals("embedding")) {
      out.put("multibit." + name + ".activation_bits", matrix.activationBits());
    }
  }

  /** How activations and weights were quantized, each null if they were not, and the provenance. */
  static void putOrigin(
      GgufWriter out, Quantizer activations, Quantizer weights, Map<String, Object> provenance) {
    if (activations != null) {
      putQuantizer(out, "multibit.activation.", activations);
    }
    if (weights != null) {
      putQuantizer(out, "multibit.weight.", weights);
    }
    provenance.forEach((key, value) -> out.put(PROVENANCE + key, value));
  }

  private static void putQuantizer(GgufWriter out, String prefix, Quantizer quantizer) {
    boolean alternating = quantizer instanceof Alternating;
    out.put(prefix + "method", quantizer.method())
        .put(prefix + "cycles", alternating ? ((Alternating) quantizer).cycles() : 0)
        .put(prefix + "scale", alternating ? ((Alternating) quantizer).scale() : 1f);
  }

  static void putTensors(
      GgufWriter out, Map<String, Matrix> matrices, List<Layer> layers, FloatBuffer softmaxBias) {
    matrices.forEach((name, matrix) -> putWeights(out, name, matrix));
    for (int l = 0; l < layers.size(); l++) {
      Layer layer = layers.get(l);
      out.put("rnn." + l + ".bias", layer.bias(), layer.bias().remaining());
      if (layer.recurrentBias() != null) {
        out.put("rnn." + l + ".recurrent_bias", layer.recurrentBias(), layer.bias().remaining());
      }
    }
    out.put("softmax.bias", softmaxBias, softmaxBias.remaining());
  }

  private static void putWeights(GgufWriter out, String name, Matrix matrix) {
    if (matrix.packed() == null) {
      out.put(name + ".weight", matrix.dense(), matrix.cols(), matrix.rows());
    } else {
      MultibitMatrix m = matrix.packed();
      int blocks = (m.rows() + MultibitMatrix.WEIGHT_LANES - 1) / MultibitMatrix.WEIGHT_LANES;
      int lanes = MultibitMatrix.WEIGHT_LANES;
      out.put(name + ".planes", m.planes(), lanes, m.bits(), m.words(), blocks);
      out.put(name + ".coefficients", m.coefficients(), lanes, m.bits(), blocks);
    }
  }

  static void checkVersion(GgufReader in) throws IOException {
    int version = in.get("multibit.version", Integer.class);
    if (version < 1 || version > VERSION) {
      throw in.damaged(
          "it has format version %s, this program reads versions 1 to %d"
              .formatted(Integer.toUnsignedString(version), VERSION));
    }
  }

  static void expect(GgufReader in, String key, String expected) throws IOException {
    String value = in.get(key, String.class);
    if (!value.equals(expected)) {
      throw in.damaged("%s is \"%s\", expected \"%s\"".formatted(key, value, expected));
    }
  }

  static Cell cell(GgufReader in) throws IOException {
    try {
      return Cell.of(in.get("multibit.cell", String.class));
    } catch (IllegalArgumentException e) {
      throw in.damaged("multibit.cell: " + e.getMessage());
    }
  }

  static int positive(GgufReader in, String key) throws IOException {
    int value = nonNegative(in, key);
    if (value == 0 || value > 1 << 28) {
      throw in.damaged(key + " is " + value);
    }
    return value;
  }

  static int nonNegative(GgufReader in, String key) throws IOException {
    int value = in.get(key, Integer.class);
    if (value < 0) {
      throw in.damaged(key + " is " + Integer.toUnsignedString(value));
    }
    return value;
  }

  static List<Layer> layers(GgufReader in, Cell cell, int inputSize, int hiddenSize)
      throws IOException {
    int count = positive(in, "multibit.layers");
    int sums = cell.gates() * hiddenSize;
    List<Layer> layers = new ArrayList<>();
    for (int l = 0; l < count; l++) {
      String name = "rnn." + l;
      layers.add(
          new Layer(
              matrix(in, name + ".input", sums, l == 0 ? inputSize : hiddenSize),
              matrix(in, name + ".recurrent", sums, hiddenSize),
              in.floats(name + ".bias", sums),
              cell == Cell.GRU ? in.floats(name + ".recurrent_bias", sums) : null));
    }
    return layers;
  }

  static Matrix matrix(GgufReader in, String name, int rows, int cols) throws IOException {
    int bits = bits(in, "multibit." + name + ".weight_bits");
    int activationBits =
        name.equals("embedding") ? 0 : bits(in, "multibit." + name + ".activation_bits");
    if (bits == 0) {
      return Matrix.of(in.floats(name + ".weight", cols, rows), rows, cols, activationBits);
    }
    int lanes = MultibitMatrix.WEIGHT_LANES;
    int blocks = (rows + lanes - 1) / lanes;
    return Matrix.of(
        new MultibitMatrix(
            rows,
            cols,
            bits,
            lanes,
            in.longs(name + ".planes", lanes, bits, (cols + 63) / 64, blocks),
            in.floats(name + ".coefficients", lanes, bits, blocks)),
        activationBits);
  }

  static int bits(GgufReader in, String key) throws IOException {
    int bits = nonNegative(in, key);
    if (bits > Quantizer.MAX_BITS) {
      throw in.damaged(key + " is " + bits);
    }
    return bits;
  }

  /** Null if the file names none. */
  static Quantizer quantizer(GgufReader in, String prefix) throws IOException {
    if (!in.metadata().containsKey(prefix + "method")) {
      return null;
    }
    return Quantizers.of(
        in.get(prefix + "method", String.class),
        in.get(prefix + "cycles", Integer.class),
        in.get(prefix + "scale", Float.class));
  }

  /**
   * How weights were quantized, as provenance: null if the file does not say, or names a method
   * that is not ours, which its values do not need.
   */
  static Quantizer weightQuantizer(GgufReader in) throws IOException {
    return in.metadata().get("multibit.weight.method") instanceof String method
            && Quantizers.METHODS.contains(method)
        ? quantizer(in, "multibit.weight.")
        : null;
  }

  static Map<String, Object> provenance(GgufReader in) {
    Map<String, Object> provenance = new LinkedHashMap<>();
    in.metadata()
        .forEach(
            (key, value) -> {
              if (key.startsWith(PROVENANCE)) {
                provenance.put(key.substring(PROVENANCE.length()), value);
              }
            });
    return provenance;
  }
}

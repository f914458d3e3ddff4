package org.multibit.core.format;

import java.io.IOException;
import java.nio.FloatBuffer;
import java.nio.LongBuffer;
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

  /** Of layers and sizes, words aside; GH and products of two sizes stay inside a long. */
  private static final int MAX_SIZE = 1 << 28;

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
        "%s is %s x %s, expected %s x %s"
            .formatted(name, matrix.rows(), matrix.cols(), rows, cols));
  }

  /** The shape, and that all values can be run: finite, padding zero. */
  static void checkMatrix(String name, Matrix matrix, long rows, long cols) {
    checkShape(name, matrix, rows, cols);
    MultibitMatrix packed = matrix.packed();
    if (packed == null) {
      checkFinite(name + ".weight", matrix.dense());
    } else {
      checkFinite(name + ".coefficients", packed.coefficients());
      check(isPaddingZero(packed), "the padding of " + name + " is not zero");
    }
  }

  private static void checkFinite(String name, FloatBuffer values) {
    for (int i = values.position(); i < values.limit(); i++) {
      float value = values.get(i);
      if (!Float.isFinite(value)) {
        throw new IllegalArgumentException(
            "element %s of tensor %s is %s, not finite"
                .formatted(i - values.position(), name, value));
      }
    }
  }

  /** Kernels count on it. */
  private static boolean isPaddingZero(MultibitMatrix m) {
    LongBuffer planes = m.planes();
    FloatBuffer coefficients = m.coefficients();
    int last = m.words() - 1;
    long pastColumns = m.cols() % Long.SIZE == 0 ? 0 : -1L << m.cols() % Long.SIZE;
    int paddedRows = (m.rows() + m.lanes() - 1) / m.lanes() * m.lanes();
    long set = 0;
    for (int r = 0; r < paddedRows; r++) {
      for (int i = 0; i < m.bits(); i++) {
        if (r < m.rows()) {
          set |= planes.get(m.planeIndex(r, i, last)) & pastColumns;
          continue;
        }
        for (int w = 0; w <= last; w++) {
          set |= planes.get(m.planeIndex(r, i, w));
        }
        set |= coefficients.get(m.coefficientIndex(r, i)) == 0 ? 0 : 1;
      }
    }
    return set == 0;
  }

  /** All of one cell, the first one fed vectors of {@code inputSize}. */
  static void checkLayers(List<Layer> layers, int inputSize, int hiddenSize) {
    Cell cell = layers.get(0).cell();
    for (int l = 0; l < layers.size(); l++) {
      Layer layer = layers.get(l);
      String name = "rnn." + l;
      check(layer.cell() == cell, name + " is " + layer.cell() + ", rnn.0 " + cell);
      long sums = (long) cell.gates() * hiddenSize;
      checkMatrix(name + ".input", layer.input(), sums, l == 0 ? inputSize : hiddenSize);
      checkMatrix(name + ".recurrent", layer.recurrent(), sums, hiddenSize);
      checkBias(name + ".bias", layer.bias(), cell.gates(), hiddenSize);
      if (layer.recurrentBias() != null) {
        checkBias(name + ".recurrent_bias", layer.recurrentBias(), cell.gates(), hiddenSize);
      }
    }
  }

  private static void checkBias(String name, FloatBuffer bias, int gates, int units) {
    check(
        bias.remaining() == (long) gates * units,
        "%s does not have %s x %s elements".formatted(name, gates, units));
    checkFinite(name, bias);
  }

  static void checkSoftmaxBias(FloatBuffer bias, int classes) {
    check(bias.remaining() == classes, "softmax.bias does not have " + classes + " elements");
    checkFinite("softmax.bias", bias);
  }

  /**
   * The most bits that a product quantizes what it is fed to; 0: none quantizes.
   *
   * @param quantizesInput whether the first layer quantizes its input; else it gets codes
   */
  static int onlineBits(Matrix softmax, List<Layer> layers, boolean quantizesInput) {
    int most = softmax.activationBits();
    for (int l = 0; l < layers.size(); l++) {
      Layer layer = layers.get(l);
      int input = l > 0 || quantizesInput ? layer.input().activationBits() : 0;
      most = Math.max(most, Math.max(input, layer.recurrent().activationBits()));
    }
    return most;
  }

  /** Products that quantize need a quantizer that can do their bits. */
  static void checkActivations(int onlineBits, Quantizer activations) {
    check(
        onlineBits == 0 || activations != null, "there is no method to quantize activations with");
    if (onlineBits > 0) {
      check(
          Quantizers.METHODS.contains(activations.method()),
          "activations are quantized by \"%s\", while who runs the file knows %s"
              .formatted(activations.method(), String.join(", ", Quantizers.METHODS)));
      activations.checkBits(onlineBits);
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
    int version = in.u32("multibit.version");
    if (version < 1 || version > VERSION) {
      throw in.damaged(
          "it has format version %s, this program reads versions 1 to %s"
              .formatted(Integer.toUnsignedString(version), VERSION));
    }
  }

  static void expect(GgufReader in, String key, String expected) throws IOException {
    String value = in.string(key);
    if (!value.equals(expected)) {
      throw in.damaged("%s is \"%s\", expected \"%s\"".formatted(key, value, expected));
    }
  }

  static Cell cell(GgufReader in) throws IOException {
    try {
      return Cell.of(in.string("multibit.cell"));
    } catch (IllegalArgumentException e) {
      throw in.damaged("multibit.cell: " + e.getMessage());
    }
  }

  static int positive(GgufReader in, String key) throws IOException {
    int value = nonNegative(in, key);
    if (value == 0 || value > MAX_SIZE) {
      throw in.damaged("%s is %s, outside 1..%s".formatted(key, value, MAX_SIZE));
    }
    return value;
  }

  static int nonNegative(GgufReader in, String key) throws IOException {
    int value = in.u32(key);
    if (value < 0) {
      throw in.damaged("%s is %s: too large".formatted(key, Integer.toUnsignedString(value)));
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
      throw in.damaged("%s is %s, outside 0..%s".formatted(key, bits, Quantizer.MAX_BITS));
    }
    return bits;
  }

  /** How activations are quantized; null if no product does, whatever the file says then. */
  static Quantizer activations(GgufReader in, int onlineBits) throws IOException {
    if (onlineBits == 0) {
      return null;
    }
    return Quantizers.of(
        in.string("multibit.activation.method"),
        in.u32("multibit.activation.cycles"),
        in.f32("multibit.activation.scale"));
  }

  /**
   * How weights were quantized, as provenance, which their values do not need: null if the file
   * does not say, or says what is not ours.
   */
  static Quantizer weightQuantizer(GgufReader in) {
    Map<String, Object> values = in.metadata();
    if (values.get("multibit.weight.method") instanceof String method
        && values.get("multibit.weight.cycles") instanceof Integer cycles
        && values.get("multibit.weight.scale") instanceof Float scale) {
      try {
        return Quantizers.of(method, cycles, scale);
      } catch (IllegalArgumentException e) {
        return null; // A method of others, or one of ours with settings that it does not take.
      }
    }
    return null;
  }

  static Map<String, Object> provenance(GgufReader in) {
    Map<String, Object> provenance = new LinkedHashMap<>();
    in.metadata()
        .forEach(
            (key, value) -> {
              if (key.startsWith(PROVENANCE) && !(value instanceof GgufReader.Array)) {
                provenance.put(key.substring(PROVENANCE.length()), value);
              }
            });
    return provenance;
  }
}

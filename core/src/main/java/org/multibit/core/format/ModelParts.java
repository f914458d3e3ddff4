package org.multibit.core.format;

import static org.multibit.core.format.Checks.check;

import java.io.IOException;
import java.nio.FloatBuffer;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.multibit.core.Alternating;
import org.multibit.core.Cell;
import org.multibit.core.Quantizer;
import org.multibit.core.Quantizers;

/** Checks, writes and reads the parts that files of all heads have (docs/format.md). */
final class ModelParts {
  /**
   * The newest version that can be read. A file is written with the oldest version that it can
   * have.
   */
  private static final int VERSION = 3;

  /**
   * The largest number of layers and the largest size, except for words. GH and products of two
   * sizes fit into a long.
   */
  private static final int MAX_SIZE = 1 << 28;

  private static final String HEAD = "multibit.head";
  private static final String PROVENANCE = "multibit.provenance.";

  private ModelParts() {}

  private static String layer(int l) {
    return "rnn." + l;
  }

  /**
   * Checks that all layers have the same cell and that the first one takes vectors of {@code
   * inputSize}.
   */
  static void checkLayers(List<Layer> layers, int inputSize, int hiddenSize) {
    Cell cell = layers.get(0).cell();
    for (int l = 0; l < layers.size(); l++) {
      Layer layer = layers.get(l);
      check(layer.cell() == cell, layer(l) + " is " + layer.cell() + ", rnn.0 " + cell);
      layer.check(layer(l), l == 0 ? inputSize : hiddenSize, hiddenSize);
    }
  }

  static void checkSoftmaxBias(FloatBuffer bias, int classes) {
    check(bias.remaining() == classes, "softmax.bias does not have " + classes + " elements");
    Checks.checkFinite("softmax.bias", bias);
  }

  /**
   * The largest number of bits to which a product quantizes its input; 0: no product does.
   *
   * @param quantizesInput whether the first layer quantizes its input; otherwise it gets codes
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

  /** Checks that products which quantize have a quantizer that allows their bits. */
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

  /** The matrices of the layers by their names in the file. */
  static Map<String, Matrix> matrices(List<Layer> layers) {
    Map<String, Matrix> matrices = new LinkedHashMap<>();
    for (int l = 0; l < layers.size(); l++) {
      matrices.put(layer(l) + ".input", layers.get(l).input());
      matrices.put(layer(l) + ".recurrent", layers.get(l).recurrent());
    }
    return matrices;
  }

  /** Starts a file with the keys that come first. */
  static GgufWriter writer(int version, Head head, PackedFile file) {
    return new GgufWriter()
        .put("general.architecture", "multibit")
        .put("general.alignment", Gguf.ALIGNMENT)
        .put("multibit.version", version)
        .put(HEAD, head.toString())
        .put("multibit.cell", file.cell().toString())
        .put("multibit.layers", file.layers().size());
  }

  static void putBits(GgufWriter out, PackedFile file) {
    file.matrices().forEach((name, matrix) -> matrix.putBits(out, name));
  }

  /** Puts the quantizers of activations and weights, if they were quantized, and the provenance. */
  static void putOrigin(GgufWriter out, PackedFile file) {
    if (file.activations() != null) {
      putQuantizer(out, "multibit.activation.", file.activations());
    }
    if (file.weights() != null) {
      putQuantizer(out, "multibit.weight.", file.weights());
    }
    file.provenance().forEach((key, value) -> out.put(PROVENANCE + key, value));
  }

  private static void putQuantizer(GgufWriter out, String prefix, Quantizer quantizer) {
    boolean alternating = quantizer instanceof Alternating;
    out.put(prefix + "method", quantizer.method())
        .put(prefix + "cycles", alternating ? ((Alternating) quantizer).cycles() : 0)
        .put(prefix + "scale", alternating ? ((Alternating) quantizer).scale() : 1f);
  }

  static void putTensors(GgufWriter out, PackedFile file) {
    file.matrices().forEach((name, matrix) -> matrix.putTensors(out, name));
    for (int l = 0; l < file.layers().size(); l++) {
      file.layers().get(l).putBiases(out, layer(l));
    }
    out.put("softmax.bias", file.softmaxBias(), file.softmaxBias().remaining());
  }

  /**
   * Opens a file with the given head.
   *
   * @param other another head; {@code refusal} is the message for its files
   */
  static GgufReader open(Path path, Head head, Head other, String refusal) throws IOException {
    GgufReader in = new GgufReader(path);
    int version = in.u32("multibit.version");
    if (version < 1 || version > VERSION) {
      throw in.damaged(
          "it has format version %s, this program reads versions 1 to %s"
              .formatted(Integer.toUnsignedString(version), VERSION));
    }
    if (in.string(HEAD).equals(other.toString())) {
      throw new IOException(path + " is " + refusal);
    }
    expect(in, HEAD, head.toString());
    return in;
  }

  static void expect(GgufReader in, String key, String expected) throws IOException {
    String value = in.string(key);
    if (!value.equals(expected)) {
      throw in.damaged("%s is \"%s\", expected \"%s\"".formatted(key, value, expected));
    }
  }

  static int size(GgufReader in, String key) throws IOException {
    return in.u32(key, 1, MAX_SIZE);
  }

  static List<Layer> layers(GgufReader in, Cell cell, int inputSize, int hiddenSize)
      throws IOException {
    int count = size(in, "multibit.layers");
    List<Layer> layers = new ArrayList<>();
    for (int l = 0; l < count; l++) {
      layers.add(Layer.read(in, layer(l), cell, l == 0 ? inputSize : hiddenSize, hiddenSize));
    }
    return layers;
  }

  /**
   * The quantizer of activations. Null if no product quantizes; the file's keys are then ignored.
   */
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
   * The quantizer of the weights. It is only provenance, so it is null if the file has none or one
   * that we do not know.
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

package org.multibit.core.format;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.FloatBuffer;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.multibit.core.Alternating;
import org.multibit.core.MultibitMatrix;
import org.multibit.core.Quantizer;
import org.multibit.core.Quantizers;

/**
 * A packed language model as it lies in a file (docs/format.md): matrices, biases, vocabulary, how
 * activations are quantized, and where it came from.
 *
 * @param words the vocabulary; position = token id
 * @param eos id of the end-of-line token
 * @param unknown id of the unknown-word token, or -1
 * @param embedding V x E
 * @param layers from the input on, all of one cell
 * @param softmax V x H; where weights are tied, {@link Matrix#withActivations} of the embedding
 * @param softmaxBias V floats
 * @param activations how hidden states are quantized; null only if no product quantizes them
 * @param weights how weights were quantized, as provenance; null if they were not
 * @param provenance what follows {@code multibit.provenance.} in the keys, with values as {@link
 *     GgufWriter#put} takes them
 */
public record LanguageModelFile(
    List<String> words,
    int eos,
    int unknown,
    Matrix embedding,
    List<Layer> layers,
    Matrix softmax,
    FloatBuffer softmaxBias,
    Quantizer activations,
    Quantizer weights,
    Map<String, Object> provenance) {

  /** What readers of version 1 refuse, a GRU or tied weights, makes a file one of version 2. */
  private static final int VERSION = 2;

  private static final String PROVENANCE = "multibit.provenance.";
  private static final String TIED = "multibit.tied_embedding";

  /** A recurrent cell. */
  public enum Cell {
    /** Gates input, forget, candidate, output. */
    LSTM("lstm", 4),
    /** Gates reset, update, candidate. */
    GRU("gru", 3);

    private final String key;
    private final int gates;

    Cell(String key, int gates) {
      this.key = key;
      this.gates = gates;
    }

    /** As files and settings name it. */
    @Override
    public String toString() {
      return key;
    }

    public int gates() {
      return gates;
    }

    /**
     * @throws IllegalArgumentException if there is no such cell
     */
    public static Cell of(String key) {
      for (Cell cell : values()) {
        if (cell.key.equals(key)) {
          return cell;
        }
      }
      throw new IllegalArgumentException("there is no cell \"" + key + "\"");
    }
  }

  /**
   * @throws IllegalArgumentException if the parts do not fit together
   */
  public LanguageModelFile {
    int v = words.size();
    int e = embedding.cols;
    int h = softmax.cols;
    check(!layers.isEmpty(), "a language model needs a layer");
    checkShape("embedding", embedding, v, e);
    Cell cell = layers.get(0).cell();
    for (int l = 0; l < layers.size(); l++) {
      Layer layer = layers.get(l);
      String name = "rnn." + l;
      check(layer.cell() == cell, name + " is " + layer.cell() + ", rnn.0 " + cell);
      long sums = (long) cell.gates * h;
      checkShape(name + ".input", layer.input, sums, l == 0 ? e : h);
      checkShape(name + ".recurrent", layer.recurrent, sums, h);
      checkBias(name + ".bias", layer.bias, cell.gates, h);
      if (layer.recurrentBias != null) {
        checkBias(name + ".recurrent_bias", layer.recurrentBias, cell.gates, h);
      }
    }
    checkShape("softmax", softmax, v, h);
    check(softmaxBias.remaining() == v, "softmax.bias does not have " + v + " elements");
    check(eos >= 0 && eos < v, "the eos token " + eos + " is outside the vocabulary");
    check(
        unknown >= -1 && unknown < v,
        "the unknown token " + unknown + " is outside the vocabulary");
    int bits = layers.get(0).input.activationBits;
    check(
        embedding.packed == null || bits == embedding.weightBits(),
        "rnn.0.input takes codes of %d bits, the embedding has %d"
            .formatted(bits, embedding.weightBits()));
    checkActivations(softmax, layers, embedding.packed == null, activations);
    words = List.copyOf(words);
    layers = List.copyOf(layers);
    provenance = Collections.unmodifiableMap(new LinkedHashMap<>(provenance));
  }

  /** A product that quantizes needs a quantizer that can do its bits. */
  private static void checkActivations(
      Matrix softmax, List<Layer> layers, boolean denseEmbedding, Quantizer activations) {
    int most = softmax.activationBits;
    for (int l = 0; l < layers.size(); l++) {
      Layer layer = layers.get(l);
      // The rows of a multi-bit embedding are codes already.
      int input = l > 0 || denseEmbedding ? layer.input.activationBits : 0;
      most = Math.max(most, Math.max(input, layer.recurrent.activationBits));
    }
    check(most == 0 || activations != null, "there is no method to quantize activations with");
    if (most > 0) {
      activations.checkBits(most);
    }
  }

  private static void checkShape(String name, Matrix matrix, long rows, long cols) {
    check(
        matrix.rows == rows && matrix.cols == cols,
        "%s is %d x %d, expected %d x %d".formatted(name, matrix.rows, matrix.cols, rows, cols));
  }

  private static void checkBias(String name, FloatBuffer bias, int gates, int units) {
    check(
        bias.remaining() == (long) gates * units,
        "%s does not have %d x %d elements".formatted(name, gates, units));
  }

  private static void check(boolean holds, String otherwise) {
    if (!holds) {
      throw new IllegalArgumentException(otherwise);
    }
  }

  /**
   * A weight matrix, multi-bit or full precision.
   *
   * @param packed the planes; null if full precision
   * @param dense rows x cols floats, row-major; null if multi-bit
   * @param activationBits bits of what it is multiplied with; 0 = full precision
   */
  public record Matrix(
      int rows, int cols, MultibitMatrix packed, FloatBuffer dense, int activationBits) {
    public Matrix {
      check((packed == null) != (dense == null), "a matrix is either multi-bit or full precision");
      check(
          packed == null || packed.lanes() == MultibitMatrix.WEIGHT_LANES,
          "a matrix must lie in the weights' layout");
      check(
          dense == null || dense.remaining() == (long) rows * cols,
          "the floats of a matrix are not %d x %d".formatted(rows, cols));
      check(
          activationBits >= 0 && activationBits <= Quantizer.MAX_BITS,
          "activations cannot have " + activationBits + " bits");
    }

    public static Matrix of(MultibitMatrix packed, int activationBits) {
      return new Matrix(packed.rows(), packed.cols(), packed, null, activationBits);
    }

    public static Matrix of(FloatBuffer dense, int rows, int cols, int activationBits) {
      return new Matrix(rows, cols, null, dense, activationBits);
    }

    /** The same weights for another product: where the softmax is tied to the embedding. */
    public Matrix withActivations(int bits) {
      return new Matrix(rows, cols, packed, dense, bits);
    }

    /** 0 = full precision. */
    public int weightBits() {
      return packed == null ? 0 : packed.bits();
    }

    /** Bytes of planes and coefficients, or of the floats. */
    public long bytes() {
      return packed == null ? (long) rows * cols * Float.BYTES : packed.bytes();
    }
  }

  /**
   * A layer of a cell with G gates; rows by gate, in the order of {@link Cell}.
   *
   * @param input GH x (E or H)
   * @param recurrent GH x H
   * @param bias GH floats
   * @param recurrentBias GH floats, of the recurrent product of a GRU; null makes it an LSTM
   */
  public record Layer(Matrix input, Matrix recurrent, FloatBuffer bias, FloatBuffer recurrentBias) {
    /** Of an LSTM. */
    public Layer(Matrix input, Matrix recurrent, FloatBuffer bias) {
      this(input, recurrent, bias, null);
    }

    public Cell cell() {
      return recurrentBias == null ? Cell.LSTM : Cell.GRU;
    }
  }

  public Cell cell() {
    return layers.get(0).cell();
  }

  /** Whether one matrix is both the embedding and the softmax's. */
  public boolean tied() {
    return softmax.packed == embedding.packed && softmax.dense == embedding.dense;
  }

  public int embeddingSize() {
    return embedding.cols();
  }

  public int hiddenSize() {
    return softmax.cols();
  }

  /** All weight matrices by their names in the file; tied weights are the embedding's alone. */
  public Map<String, Matrix> matrices() {
    Map<String, Matrix> matrices = new LinkedHashMap<>();
    matrices.put("embedding", embedding);
    for (int l = 0; l < layers.size(); l++) {
      matrices.put("rnn." + l + ".input", layers.get(l).input);
      matrices.put("rnn." + l + ".recurrent", layers.get(l).recurrent);
    }
    if (!tied()) {
      matrices.put("softmax", softmax);
    }
    return matrices;
  }

  /** Writes the file whole or not at all. */
  public void write(Path path) throws IOException {
    GgufWriter out =
        new GgufWriter()
            .put("general.architecture", "multibit")
            .put("general.alignment", Gguf.ALIGNMENT)
            .put("multibit.version", tied() || cell() != Cell.LSTM ? VERSION : 1)
            .put("multibit.head", "language-model")
            .put("multibit.cell", cell().toString())
            .put("multibit.layers", layers.size())
            .put("multibit.vocabulary_size", words.size())
            .put("multibit.embedding_size", embeddingSize())
            .put("multibit.hidden_size", hiddenSize());
    matrices().forEach((name, matrix) -> putBits(out, name, matrix));
    if (tied()) {
      out.put(TIED, 1).put("multibit.softmax.activation_bits", softmax.activationBits);
    }
    if (activations != null) {
      putQuantizer(out, "multibit.activation.", activations);
    }
    if (weights != null) {
      putQuantizer(out, "multibit.weight.", weights);
    }
    provenance.forEach((key, value) -> out.put(PROVENANCE + key, value));
    out.put("tokenizer.ggml.model", "words")
        .put("tokenizer.ggml.tokens", words)
        .put("tokenizer.ggml.eos_token_id", eos);
    if (unknown >= 0) {
      out.put("tokenizer.ggml.unknown_token_id", unknown);
    }
    matrices().forEach((name, matrix) -> putWeights(out, name, matrix));
    for (int l = 0; l < layers.size(); l++) {
      Layer layer = layers.get(l);
      out.put("rnn." + l + ".bias", layer.bias, layer.bias.remaining());
      if (layer.recurrentBias != null) {
        out.put("rnn." + l + ".recurrent_bias", layer.recurrentBias, layer.bias.remaining());
      }
    }
    out.put("softmax.bias", softmaxBias, words.size());
    out.write(path);
  }

  private static void putBits(GgufWriter out, String name, Matrix matrix) {
    out.put("multibit." + name + ".weight_bits", matrix.weightBits());
    if (!name.equals("embedding")) {
      out.put("multibit." + name + ".activation_bits", matrix.activationBits);
    }
  }

  private static void putQuantizer(GgufWriter out, String prefix, Quantizer quantizer) {
    boolean alternating = quantizer instanceof Alternating;
    out.put(prefix + "method", quantizer.method())
        .put(prefix + "cycles", alternating ? ((Alternating) quantizer).cycles() : 0)
        .put(prefix + "scale", alternating ? ((Alternating) quantizer).scale() : 1f);
  }

  private static void putWeights(GgufWriter out, String name, Matrix matrix) {
    if (matrix.packed == null) {
      out.put(name + ".weight", matrix.dense, matrix.cols, matrix.rows);
    } else {
      MultibitMatrix m = matrix.packed;
      int blocks = (m.rows() + MultibitMatrix.WEIGHT_LANES - 1) / MultibitMatrix.WEIGHT_LANES;
      int lanes = MultibitMatrix.WEIGHT_LANES;
      out.put(name + ".planes", m.planes(), lanes, m.bits(), m.words(), blocks);
      out.put(name + ".coefficients", m.coefficients(), lanes, m.bits(), blocks);
    }
  }

  /**
   * Maps a file.
   *
   * @throws IOException if it cannot be read, is damaged, or is not a multibit language model
   */
  public static LanguageModelFile read(Path path) throws IOException {
    GgufReader in = new GgufReader(path);
    int version = in.get("multibit.version", Integer.class);
    if (version < 1 || version > VERSION) {
      throw in.damaged(
          "it has format version %s, this program reads versions 1 to %d"
              .formatted(Integer.toUnsignedString(version), VERSION));
    }
    expect(in, "multibit.head", "language-model");
    Cell cell = cell(in);
    expect(in, "tokenizer.ggml.model", "words");
    int layerCount = positive(in, "multibit.layers");
    int v = positive(in, "multibit.vocabulary_size");
    int e = positive(in, "multibit.embedding_size");
    int h = positive(in, "multibit.hidden_size");
    List<String> words = new ArrayList<>();
    for (Object word : in.get("tokenizer.ggml.tokens", List.class)) {
      if (!(word instanceof String text)) {
        throw in.damaged("its vocabulary holds " + word + ", not a word");
      }
      words.add(text);
    }
    if (words.size() != v) {
      throw in.damaged("its vocabulary has %d words, not %d".formatted(words.size(), v));
    }
    boolean tied = tied(in);
    if (tied && e != h) {
      throw in.damaged(
          "tied weights need multibit.embedding_size = multibit.hidden_size, not %d and %d"
              .formatted(e, h));
    }
    int sums = cell.gates * h;
    List<Layer> layers = new ArrayList<>();
    for (int l = 0; l < layerCount; l++) {
      String name = "rnn." + l;
      layers.add(
          new Layer(
              matrix(in, name + ".input", sums, l == 0 ? e : h),
              matrix(in, name + ".recurrent", sums, h),
              in.floats(name + ".bias", sums),
              cell == Cell.GRU ? in.floats(name + ".recurrent_bias", sums) : null));
    }
    Map<String, Object> provenance = new LinkedHashMap<>();
    in.metadata()
        .forEach(
            (key, value) -> {
              if (key.startsWith(PROVENANCE)) {
                provenance.put(key.substring(PROVENANCE.length()), value);
              }
            });
    Matrix embedding = matrix(in, "embedding", v, e);
    Matrix softmax =
        tied
            ? embedding.withActivations(bits(in, "multibit.softmax.activation_bits"))
            : matrix(in, "softmax", v, h);
    try {
      return new LanguageModelFile(
          words,
          in.get("tokenizer.ggml.eos_token_id", Integer.class),
          in.metadata().containsKey("tokenizer.ggml.unknown_token_id")
              ? nonNegative(in, "tokenizer.ggml.unknown_token_id")
              : -1,
          embedding,
          layers,
          softmax,
          in.floats("softmax.bias", v),
          quantizer(in, "multibit.activation."),
          quantizer(in, "multibit.weight."),
          provenance);
    } catch (IllegalArgumentException ex) {
      throw in.damaged(ex.getMessage());
    }
  }

  private static void expect(GgufReader in, String key, String expected) throws IOException {
    String value = in.get(key, String.class);
    if (!value.equals(expected)) {
      throw in.damaged("%s is \"%s\", expected \"%s\"".formatted(key, value, expected));
    }
  }

  private static Cell cell(GgufReader in) throws IOException {
    try {
      return Cell.of(in.get("multibit.cell", String.class));
    } catch (IllegalArgumentException e) {
      throw in.damaged("multibit.cell: " + e.getMessage());
    }
  }

  private static boolean tied(GgufReader in) throws IOException {
    int tied = in.metadata().containsKey(TIED) ? nonNegative(in, TIED) : 0;
    if (tied > 1) {
      throw in.damaged("%s is %d, neither 0 nor 1".formatted(TIED, tied));
    }
    return tied == 1;
  }

  private static int positive(GgufReader in, String key) throws IOException {
    int value = nonNegative(in, key);
    if (value == 0 || value > 1 << 28) {
      throw in.damaged(key + " is " + value);
    }
    return value;
  }

  private static int nonNegative(GgufReader in, String key) throws IOException {
    int value = in.get(key, Integer.class);
    if (value < 0) {
      throw in.damaged(key + " is " + Integer.toUnsignedString(value));
    }
    return value;
  }

  private static Matrix matrix(GgufReader in, String name, int rows, int cols) throws IOException {
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

  private static int bits(GgufReader in, String key) throws IOException {
    int bits = nonNegative(in, key);
    if (bits > Quantizer.MAX_BITS) {
      throw in.damaged(key + " is " + bits);
    }
    return bits;
  }

  private static Quantizer quantizer(GgufReader in, String prefix) throws IOException {
    if (!in.metadata().containsKey(prefix + "method")) {
      return null;
    }
    return Quantizers.of(
        in.get(prefix + "method", String.class),
        in.get(prefix + "cycles", Integer.class),
        in.get(prefix + "scale", Float.class));
  }

  /** Direct memory for {@code count} floats, as {@link Matrix} and biases want it. */
  public static FloatBuffer directFloats(int count) {
    return ByteBuffer.allocateDirect(Math.multiplyExact(count, Float.BYTES))
        .order(ByteOrder.nativeOrder())
        .asFloatBuffer();
  }
}

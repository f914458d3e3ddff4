package org.multibit.core.format;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.FloatBuffer;
import java.nio.file.Path;
import java.util.Collections;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.multibit.core.DirectFloats;
import org.multibit.core.MultibitMatrix;
import org.multibit.core.Quantizer;

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

  /** The value of {@code multibit.head}. */
  static final String HEAD = "language-model";

  /** The most words of a vocabulary: what is kept of them stays well inside a small heap. */
  private static final int MAX_WORDS = 1 << 21;

  private static final String TIED = "multibit.tied_embedding";

  private static final String UNKNOWN = "tokenizer.ggml.unknown_token_id";

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
    ModelParts.check(!layers.isEmpty(), "a language model needs a layer");
    checkWords(words, eos, unknown);
    ModelParts.checkMatrix("embedding", embedding, v, e);
    ModelParts.checkLayers(layers, e, h);
    if (isOne(embedding, softmax)) {
      ModelParts.checkShape("softmax", softmax, v, h);
    } else {
      ModelParts.checkMatrix("softmax", softmax, v, h);
    }
    ModelParts.checkSoftmaxBias(softmaxBias, v);
    int bits = layers.get(0).input.activationBits;
    ModelParts.check(
        embedding.packed == null || bits == embedding.weightBits(),
        "rnn.0.input takes codes of %s bits, the embedding has %s"
            .formatted(bits, embedding.weightBits()));
    // The rows of a multi-bit embedding are codes already.
    ModelParts.checkActivations(
        ModelParts.onlineBits(softmax, layers, embedding.packed == null), activations);
    words = List.copyOf(words);
    layers = List.copyOf(layers);
    provenance = Collections.unmodifiableMap(new LinkedHashMap<>(provenance));
  }

  private static void checkWords(List<String> words, int eos, int unknown) {
    int v = words.size();
    ModelParts.check(
        v >= 1 && v <= MAX_WORDS,
        "a packed model takes 1 to %s words, not %s".formatted(MAX_WORDS, v));
    ModelParts.check(eos >= 0 && eos < v, "the eos token " + eos + " is outside the vocabulary");
    ModelParts.check(
        unknown >= -1 && unknown < v,
        "the unknown token " + unknown + " is outside the vocabulary");
    ModelParts.check(
        words.get(eos).equals("<eos>"),
        "the eos token is the word \"%s\", not <eos>".formatted(words.get(eos)));
    if (unknown >= 0) {
      ModelParts.check(
          words.get(unknown).equals("<unk>"),
          "the unknown token is the word \"%s\", not <unk>".formatted(words.get(unknown)));
    }
    Set<String> seen = new HashSet<>(v * 4 / 3 + 1);
    for (int token = 0; token < v; token++) {
      String word = words.get(token);
      if (word.isEmpty() || hasWhiteSpace(word)) {
        throw new IllegalArgumentException(
            "word %s of the vocabulary, \"%s\", is empty or holds white space"
                .formatted(token, word));
      }
      if (!seen.add(word)) {
        throw new IllegalArgumentException(
            "the vocabulary holds \"%s\" twice, once as word %s".formatted(word, token));
      }
    }
  }

  private static boolean hasWhiteSpace(String word) {
    for (int i = 0; i < word.length(); i++) {
      char c = word.charAt(i);
      if (c == ' ' || c >= '\t' && c <= '\r') {
        return true;
      }
    }
    return false;
  }

  private static boolean isOne(Matrix embedding, Matrix softmax) {
    return softmax.packed == embedding.packed && softmax.dense == embedding.dense;
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
      ModelParts.check(
          (packed == null) != (dense == null), "a matrix is either multi-bit or full precision");
      ModelParts.check(
          packed == null || packed.lanes() == MultibitMatrix.WEIGHT_LANES,
          "a matrix must lie in the weights' layout");
      ModelParts.check(
          dense == null || dense.remaining() == (long) rows * cols,
          "the floats of a matrix are not %s x %s".formatted(rows, cols));
      ModelParts.check(
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
    return isOne(embedding, softmax);
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
    ModelParts.putMatrices(layers, matrices);
    if (!tied()) {
      matrices.put("softmax", softmax);
    }
    return matrices;
  }

  /** Writes the file whole or not at all. */
  public void write(Path path) throws IOException {
    writer().write(path);
  }

  /** The file's length in bytes. */
  public long fileBytes() {
    return writer().bytes();
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
        ModelParts.writer(tied() || cell() != Cell.LSTM ? VERSION : 1, HEAD, layers)
            .put("multibit.vocabulary_size", words.size())
            .put("multibit.embedding_size", embeddingSize())
            .put("multibit.hidden_size", hiddenSize());
    matrices().forEach((name, matrix) -> ModelParts.putBits(out, name, matrix));
    if (tied()) {
      out.put(TIED, 1).put("multibit.softmax.activation_bits", softmax.activationBits);
    }
    ModelParts.putOrigin(out, activations, weights, provenance);
    out.put("tokenizer.ggml.model", "words")
        .put("tokenizer.ggml.tokens", words)
        .put("tokenizer.ggml.eos_token_id", eos);
    if (unknown >= 0) {
      out.put(UNKNOWN, unknown);
    }
    ModelParts.putTensors(out, matrices(), layers, softmaxBias);
    return out;
  }

  /**
   * Maps a file.
   *
   * @throws IOException if it cannot be read, is damaged, or is not a multibit language model
   */
  public static LanguageModelFile read(Path path) throws IOException {
    GgufReader in = new GgufReader(path);
    ModelParts.checkVersion(in);
    String head = in.string("multibit.head");
    if (head.equals(SequenceClassifierFile.HEAD)) {
      throw new IOException(
          path + " is a classifier of float sequences, not a language model: it takes no text");
    }
    ModelParts.expect(in, "multibit.head", HEAD);
    Cell cell = ModelParts.cell(in);
    ModelParts.expect(in, "tokenizer.ggml.model", "words");
    int v = ModelParts.positive(in, "multibit.vocabulary_size");
    int e = ModelParts.positive(in, "multibit.embedding_size");
    int h = ModelParts.positive(in, "multibit.hidden_size");
    int count = in.stringCount("tokenizer.ggml.tokens");
    if (count != v || v > MAX_WORDS) {
      throw in.damaged(
          "its vocabulary has %s words, not %s (of at most %s)".formatted(count, v, MAX_WORDS));
    }
    boolean tied = tied(in);
    if (tied && e != h) {
      throw in.damaged(
          "tied weights need multibit.embedding_size = multibit.hidden_size, not %s and %s"
              .formatted(e, h));
    }
    try {
      List<Layer> layers = ModelParts.layers(in, cell, e, h);
      Matrix embedding = ModelParts.matrix(in, "embedding", v, e);
      Matrix softmax =
          tied
              ? embedding.withActivations(ModelParts.bits(in, "multibit.softmax.activation_bits"))
              : ModelParts.matrix(in, "softmax", v, h);
      int onlineBits = ModelParts.onlineBits(softmax, layers, embedding.packed == null);
      return new LanguageModelFile(
          in.strings("tokenizer.ggml.tokens"),
          ModelParts.nonNegative(in, "tokenizer.ggml.eos_token_id"),
          in.hasKey(UNKNOWN) ? ModelParts.nonNegative(in, UNKNOWN) : -1,
          embedding,
          layers,
          softmax,
          in.floats("softmax.bias", v),
          ModelParts.activations(in, onlineBits),
          ModelParts.weightQuantizer(in),
          ModelParts.provenance(in));
    } catch (IllegalArgumentException ex) {
      throw in.damaged(ex.getMessage());
    }
  }

  private static boolean tied(GgufReader in) throws IOException {
    int tied = in.hasKey(TIED) ? ModelParts.nonNegative(in, TIED) : 0;
    if (tied > 1) {
      throw in.damaged("%s is %s, neither 0 nor 1".formatted(TIED, tied));
    }
    return tied == 1;
  }

  /** Direct memory for {@code count} floats, as {@link Matrix} and biases want it. */
  public static FloatBuffer directFloats(int count) {
    return DirectFloats.allocate(count);
  }
}

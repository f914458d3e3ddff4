package org.multibit.core.format;

import static org.multibit.core.format.Checks.check;

import java.io.IOException;
import java.nio.FloatBuffer;
import java.nio.file.Path;
import java.util.Collections;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.multibit.core.Cell;
import org.multibit.core.DirectFloats;
import org.multibit.core.Quantizer;

/**
 * The contents of a packed language model file (docs/format.md): matrices, biases, vocabulary, how
 * activations are quantized, and provenance.
 *
 * @param words the vocabulary; position = token id
 * @param eos id of the end-of-line token
 * @param unknown id of the unknown-word token, or -1
 * @param embedding V x E
 * @param layers from the input on, all with the same cell
 * @param softmax V x H; if weights are tied, {@link Matrix#withActivations} of the embedding
 * @param softmaxBias V floats
 * @param activations how hidden states are quantized; null only if no product quantizes them
 * @param weights how weights were quantized, as provenance; null if they were not
 * @param provenance the keys without {@code multibit.provenance.} and their values, as {@link
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
    Map<String, Object> provenance)
    implements PackedFile {

  /** A GRU or tied weights, which readers of version 1 refuse, make a file one of version 2. */
  private static final int VERSION = 2;

  /** The largest vocabulary: its words fit well into a small heap. */
  private static final int MAX_WORDS = 1 << 21;

  private static final String TIED = "multibit.tied_embedding";

  private static final String UNKNOWN = "tokenizer.ggml.unknown_token_id";

  /**
   * @throws IllegalArgumentException if the parts do not fit together
   */
  public LanguageModelFile {
    int v = words.size();
    int e = embedding.cols();
    int h = softmax.cols();
    check(!layers.isEmpty(), "a language model needs a layer");
    checkWords(words, eos, unknown);
    embedding.checkValues("embedding", v, e);
    ModelParts.checkLayers(layers, e, h);
    if (softmax.isTiedTo(embedding)) {
      softmax.checkShape("softmax", v, h);
    } else {
      softmax.checkValues("softmax", v, h);
    }
    ModelParts.checkSoftmaxBias(softmaxBias, v);
    int bits = layers.get(0).input().activationBits();
    check(
        embedding.packed() == null || bits == embedding.weightBits(),
        "rnn.0.input takes codes of %s bits, the embedding has %s"
            .formatted(bits, embedding.weightBits()));
    // The rows of a multi-bit embedding are codes already.
    ModelParts.checkActivations(
        ModelParts.onlineBits(softmax, layers, embedding.packed() == null), activations);
    words = List.copyOf(words);
    layers = List.copyOf(layers);
    provenance = Collections.unmodifiableMap(new LinkedHashMap<>(provenance));
  }

  private static void checkWords(List<String> words, int eos, int unknown) {
    int v = words.size();
    check(
        v >= 1 && v <= MAX_WORDS,
        "a packed model takes 1 to %s words, not %s".formatted(MAX_WORDS, v));
    check(eos >= 0 && eos < v, "the eos token " + eos + " is outside the vocabulary");
    check(
        unknown >= -1 && unknown < v,
        "the unknown token " + unknown + " is outside the vocabulary");
    check(
        words.get(eos).equals("<eos>"),
        "the eos token is the word \"%s\", not <eos>".formatted(words.get(eos)));
    if (unknown >= 0) {
      check(
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

  /** Whether the embedding is also the softmax matrix. */
  public boolean tied() {
    return softmax.isTiedTo(embedding);
  }

  public int embeddingSize() {
    return embedding.cols();
  }

  @Override
  public Map<String, Matrix> matrices() {
    Map<String, Matrix> matrices = new LinkedHashMap<>();
    matrices.put("embedding", embedding);
    matrices.putAll(ModelParts.matrices(layers));
    if (!tied()) {
      matrices.put("softmax", softmax);
    }
    return matrices;
  }

  @Override
  public GgufWriter gguf() {
    GgufWriter out =
        ModelParts.writer(tied() || cell() != Cell.LSTM ? VERSION : 1, Head.LANGUAGE_MODEL, this)
            .put("multibit.vocabulary_size", words.size())
            .put("multibit.embedding_size", embeddingSize())
            .put("multibit.hidden_size", hiddenSize());
    ModelParts.putBits(out, this);
    if (tied()) {
      out.put(TIED, 1).put(Matrix.activationBits("softmax"), softmax.activationBits());
    }
    ModelParts.putOrigin(out, this);
    out.put("tokenizer.ggml.model", "words")
        .put("tokenizer.ggml.tokens", words)
        .put("tokenizer.ggml.eos_token_id", eos);
    if (unknown >= 0) {
      out.put(UNKNOWN, unknown);
    }
    ModelParts.putTensors(out, this);
    return out;
  }

  /**
   * Maps a file.
   *
   * @throws IOException if it cannot be read, is damaged, or is not a multibit language model
   */
  public static LanguageModelFile read(Path path) throws IOException {
    GgufReader in =
        ModelParts.open(
            path,
            Head.LANGUAGE_MODEL,
            Head.CLASSIFIER,
            "a classifier of float sequences, not a language model: it takes no text");
    Cell cell = Layer.readCell(in);
    ModelParts.expect(in, "tokenizer.ggml.model", "words");
    int v = ModelParts.size(in, "multibit.vocabulary_size");
    int e = ModelParts.size(in, "multibit.embedding_size");
    int h = ModelParts.size(in, "multibit.hidden_size");
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
      Matrix embedding = Matrix.read(in, "embedding", v, e);
      Matrix softmax =
          tied
              ? embedding.withActivations(Matrix.readActivationBits(in, "softmax"))
              : Matrix.read(in, "softmax", v, h);
      int onlineBits = ModelParts.onlineBits(softmax, layers, embedding.packed() == null);
      return new LanguageModelFile(
          in.strings("tokenizer.ggml.tokens"),
          in.nonNegative("tokenizer.ggml.eos_token_id"),
          in.hasKey(UNKNOWN) ? in.nonNegative(UNKNOWN) : -1,
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
    int tied = in.hasKey(TIED) ? in.nonNegative(TIED) : 0;
    if (tied > 1) {
      throw in.damaged("%s is %s, neither 0 nor 1".formatted(TIED, tied));
    }
    return tied == 1;
  }

  /** Direct memory for {@code count} floats, as {@link Matrix} and biases need it. */
  public static FloatBuffer directFloats(int count) {
    return DirectFloats.allocate(count);
  }
}

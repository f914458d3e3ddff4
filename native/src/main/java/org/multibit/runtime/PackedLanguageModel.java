package org.multibit.runtime;

import java.io.IOException;
import java.nio.charset.Charset;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.bytedeco.javacpp.BytePointer;
import org.bytedeco.javacpp.Pointer;

/**
 * A packed language model file (docs/format.md), mapped and run by native code. Threads may share
 * it; each stream of tokens has its own {@link Session}, or a place in a {@link BatchSession}. What
 * the model says about itself can be asked after it is closed, too.
 */
public final class PackedLanguageModel implements AutoCloseable {
  private final Path path;
  private final int vocabularySize;
  private final int embeddingSize;
  private final int hiddenSize;
  private final int layers;
  private final int eos;
  private final int unknown;
  private final int embeddingBits;
  private final int weightBits;
  private final int activationBits;
  private final long fileBytes;
  private final String cell;
  private final List<String> words;
  private final Map<String, Integer> tokens = new HashMap<>();

  /** The native model's address; it lives until the model and all of its sessions are closed. */
  private final long handle;

  private int users = 1;
  private boolean closed;

  private PackedLanguageModel(Path path, long handle) {
    this.path = path;
    this.handle = handle;
    try (Bindings.ModelInfo info = new Bindings.ModelInfo()) {
      NativeLibrary.check(Bindings.multibit_model_describe(handle, info));
      vocabularySize = info.vocabulary_size();
      embeddingSize = info.embedding_size();
      hiddenSize = info.hidden_size();
      layers = info.layers();
      eos = info.eos_token();
      unknown = info.unknown_token();
      embeddingBits = info.embedding_bits();
      weightBits = info.weight_bits();
      activationBits = info.activation_bits();
      fileBytes = info.file_bytes();
      cell = NativeLibrary.string(info.cell());
    }
    words = readWords();
    for (int token = 0; token < words.size(); token++) {
      tokens.putIfAbsent(words.get(token), token);
    }
  }

  private List<String> readWords() {
    String[] read = new String[vocabularySize];
    long[] length = new long[1];
    try (BytePointer word = nullPointer()) {
      for (int token = 0; token < read.length; token++) {
        NativeLibrary.check(Bindings.multibit_model_word(handle, token, word, length));
        byte[] utf8 = new byte[(int) length[0]];
        word.get(utf8);
        read[token] = new String(utf8, StandardCharsets.UTF_8);
      }
    }
    return List.of(read);
  }

  /**
   * Maps a file and checks all of it.
   *
   * @throws IOException if it cannot be read, is damaged, or is not a multibit model
   * @throws IllegalStateException if MULTIBIT_ISA names a tier that is unknown or not supported
   *     here
   * @throws UnsatisfiedLinkError if the native library does not load; see {@link NativeLibrary}
   */
  public static PackedLanguageModel open(Path path) throws IOException {
    NativeLibrary.load();
    long[] handle = new long[1];
    int code = Bindings.multibit_model_open(fileName(path), handle);
    if (code == Bindings.ERROR_IO || code == Bindings.ERROR_FORMAT) {
      throw new IOException(NativeLibrary.string(Bindings.multibit_last_error()));
    }
    NativeLibrary.check(code);
    try {
      return new PackedLanguageModel(path, handle[0]);
    } catch (RuntimeException | Error e) {
      Bindings.multibit_model_close(handle[0]);
      throw e;
    }
  }

  /** The path as the file system has it. */
  private static byte[] fileName(Path path) {
    return zeroTerminated(path.toString(), Charset.forName(System.getProperty("sun.jnu.encoding")));
  }

  private static byte[] zeroTerminated(String text, Charset charset) {
    byte[] bytes = text.getBytes(charset);
    return Arrays.copyOf(bytes, bytes.length + 1);
  }

  private static BytePointer nullPointer() {
    return new BytePointer((Pointer) null);
  }

  /**
   * A new stream with zero state. It can be used after this model is closed.
   *
   * @throws IllegalStateException if the model is closed
   */
  public synchronized Session newSession() {
    requireOpen();
    long[] session = new long[1];
    NativeLibrary.check(Bindings.multibit_session_new(handle, session));
    users++;
    return new Session(this, session[0]);
  }

  /**
   * Streams that are fed together, with zero state. They can be used after this model is closed.
   *
   * @param streams 1 to 4096
   * @throws IllegalArgumentException if the number of streams is out of range
   * @throws IllegalStateException if the model is closed
   */
  public synchronized BatchSession newBatch(int streams) {
    requireOpen();
    long[] batch = new long[1];
    NativeLibrary.check(Bindings.multibit_batch_new(handle, streams, batch));
    users++;
    return new BatchSession(this, batch[0], streams);
  }

  /**
   * Lets several threads share each product that is large enough to gain; at first it is one. They
   * help one session at a time, whichever comes first; results do not depend on them.
   *
   * @param threads 1 to 256, the caller's among them
   * @throws IllegalArgumentException if the number is out of range
   * @throws IllegalStateException if the model is closed
   */
  public synchronized void setThreads(int threads) {
    requireOpen();
    NativeLibrary.check(Bindings.multibit_model_set_threads(handle, threads));
  }

  private void requireOpen() {
    if (closed) {
      throw new IllegalStateException("The model " + path + " is closed");
    }
  }

  /**
   * A value of the file's metadata as text (numbers in decimal, arrays as their length), or null.
   *
   * @throws IllegalStateException if the model is closed
   */
  public synchronized String metadata(String key) {
    requireOpen();
    try (BytePointer value = nullPointer()) {
      byte[] name = zeroTerminated(key, StandardCharsets.UTF_8);
      NativeLibrary.check(Bindings.multibit_model_metadata(handle, name, value));
      return value.isNull() ? null : NativeLibrary.string(value);
    }
  }

  /** V. */
  public int vocabularySize() {
    return vocabularySize;
  }

  /** E. */
  public int embeddingSize() {
    return embeddingSize;
  }

  /** H. */
  public int hiddenSize() {
    return hiddenSize;
  }

  /** The recurrent layers' cell: "lstm" or "gru". */
  public String cell() {
    return cell;
  }

  /** Recurrent layers. */
  public int layers() {
    return layers;
  }

  /** The token of an end of line. */
  public int eos() {
    return eos;
  }

  /** The token of words that the vocabulary lacks; -1 if there is none. */
  public int unknown() {
    return unknown;
  }

  /** Bits of the embedding; 0 = full precision. */
  public int embeddingBits() {
    return embeddingBits;
  }

  /** Bits of the recurrent weights; 0 = full precision. */
  public int weightBits() {
    return weightBits;
  }

  /** Bits of the hidden state in the recurrent product; 0 = full precision. */
  public int activationBits() {
    return activationBits;
  }

  /** The file's length. */
  public long fileBytes() {
    return fileBytes;
  }

  /** The vocabulary; position = token. */
  public List<String> words() {
    return words;
  }

  /**
   * The word of a token.
   *
   * @throws IllegalArgumentException if there is no such token
   */
  public String word(int token) {
    if (token < 0 || token >= vocabularySize) {
      throw new IllegalArgumentException(
          "There is no token %d in a vocabulary of %d".formatted(token, vocabularySize));
    }
    return words.get(token);
  }

  /** The token of a word; -1 if the vocabulary lacks it. */
  public int token(String word) {
    return tokens.getOrDefault(word, -1);
  }

  /** Ends the use of the model; its memory goes when its last session is closed. */
  @Override
  public synchronized void close() {
    if (!closed) {
      closed = true;
      release();
    }
  }

  /** One user less: a session, or the model itself. */
  synchronized void release() {
    if (--users == 0) {
      Bindings.multibit_model_close(handle);
    }
  }

  @Override
  public String toString() {
    return path.toString();
  }
}

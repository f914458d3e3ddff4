package org.multibit.runtime;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.bytedeco.javacpp.BytePointer;
import org.bytedeco.javacpp.Pointer;
import org.bytedeco.javacpp.SizeTPointer;
import org.multibit.runtime.bindings.Bindings;
import org.multibit.runtime.bindings.multibit_model_info;

/**
 * A packed language model file (docs/format.md), mapped and run by native code. Threads may share
 * it. Each stream of tokens needs its own {@link Session}, or a place in a {@link BatchSession}.
 * The properties of the model stay readable after it is closed.
 */
public final class PackedLanguageModel extends PackedModel {
  private final int vocabularySize;
  private final int embeddingSize;
  private final int eos;
  private final int unknown;
  private final int embeddingBits;
  private final List<String> words;
  private final Map<String, Integer> tokens = new HashMap<>();

  private PackedLanguageModel(Opened opened) {
    super(opened);
    multibit_model_info info = opened.info();
    vocabularySize = info.vocabulary_size();
    embeddingSize = info.embedding_size();
    eos = info.eos_token();
    unknown = info.unknown_token();
    embeddingBits = info.embedding_bits();
    words = readWords();
    for (int token = 0; token < words.size(); token++) {
      tokens.putIfAbsent(words.get(token), token);
    }
  }

  private List<String> readWords() {
    String[] read = new String[vocabularySize];
    try (BytePointer word = nullPointer();
        SizeTPointer length = new SizeTPointer(1)) {
      for (int token = 0; token < read.length; token++) {
        NativeLibrary.check(Bindings.multibit_model_word(open(), token, word, length));
        byte[] utf8 = new byte[(int) length.get()];
        word.get(utf8);
        read[token] = new String(utf8, StandardCharsets.UTF_8);
      }
    }
    return List.of(read);
  }

  /**
   * Maps a file and checks all of it.
   *
   * @throws IOException if it cannot be read, is damaged, or is not a multibit language model
   * @throws IllegalStateException if MULTIBIT_ISA names a tier that is unknown or not supported
   *     here
   * @throws UnsatisfiedLinkError if the native library does not load; see {@link NativeLibrary}
   */
  public static PackedLanguageModel open(Path path) throws IOException {
    return open(path, PackedLanguageModel::of);
  }

  /**
   * Opens a file that is in memory, for example where there is no file system, or if the program
   * makes the model itself ({@link org.multibit.core.format.LanguageModelFile#toDirectBuffer}).
   * Nothing is copied. Do not change the memory until the model and its sessions are closed; until
   * then the garbage collector does not free it.
   *
   * @param file direct memory; the file is its bytes from position to limit and starts at a
   *     multiple of 64
   * @param name the file's name in messages
   * @throws IllegalArgumentException if the memory is not direct or not aligned
   * @throws IOException if it does not hold a complete, undamaged multibit language model
   * @throws IllegalStateException if MULTIBIT_ISA names a tier that is unknown or not supported
   *     here
   * @throws UnsatisfiedLinkError if the native library does not load; see {@link NativeLibrary}
   */
  public static PackedLanguageModel open(ByteBuffer file, String name) throws IOException {
    return open(file, name, PackedLanguageModel::of);
  }

  private static PackedLanguageModel of(Opened opened) throws IOException {
    if (opened.isClassifier()) {
      throw new IOException(
          opened.name()
              + " is a classifier of float sequences, not a language model: open it as a PackedSequenceClassifier");
    }
    return new PackedLanguageModel(opened);
  }

  /**
   * Makes streams that are fed together, with zero state. They can be used after this model is
   * closed.
   *
   * @param streams 1 to 4096
   * @throws IllegalArgumentException if the number of streams is out of range
   * @throws IllegalStateException if the model is closed
   */
  public BatchSession newBatch(int streams) {
    synchronized (handle) {
      Pointer batch = nullPointer();
      NativeLibrary.check(Bindings.multibit_batch_new(open(), streams, batch));
      return new BatchSession(this, batch, streams);
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

  @Override
  int logits() {
    return vocabularySize;
  }

  /** The token of an end of line. */
  public int eos() {
    return eos;
  }

  /** The token of words that the vocabulary lacks, or -1 if there is none. */
  public int unknown() {
    return unknown;
  }

  /** Bits of the embedding; 0 = full precision. */
  public int embeddingBits() {
    return embeddingBits;
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
          "There is no token %s in a vocabulary of %s".formatted(token, vocabularySize));
    }
    return words.get(token);
  }

  /** The token of a word, or -1 if the vocabulary lacks it. */
  public int token(String word) {
    return tokens.getOrDefault(word, -1);
  }
}

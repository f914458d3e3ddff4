package org.multibit.runtime;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import org.bytedeco.javacpp.BytePointer;
import org.bytedeco.javacpp.PointerPointer;
import org.bytedeco.javacpp.SizeTPointer;

/**
 * A packed language model, mapped from its file and run by the native library. Shared by any number
 * of threads; each stream of tokens has a {@link Session} of its own.
 *
 * <p>After {@link #close} (twice does no harm) every method throws IllegalStateException. Sessions
 * that are still open keep the file mapped until they are closed too.
 */
public final class PackedLanguageModel implements AutoCloseable {
  /** MULTIBIT_ERROR_ISA of multibit.h. */
  private static final int ERROR_ISA = 5;

  private final Path path;
  private final NativeBinding.multibit_model_info info = new NativeBinding.multibit_model_info();
  private final List<String> words = new ArrayList<>();

  // Guarded by this. The native model lives until it is closed and the last session is gone.
  private NativeBinding.multibit_model model;
  private boolean closed;
  private int sessions;

  private PackedLanguageModel(Path path, NativeBinding.multibit_model model) {
    this.path = path;
    this.model = model;
    check(NativeBinding.multibit_model_describe(model, info));
    try (PointerPointer<BytePointer> word = new PointerPointer<>(1);
        SizeTPointer length = new SizeTPointer(1)) {
      for (int token = 0; token < info.vocabulary_size(); token++) {
        check(NativeBinding.multibit_model_word(model, token, word, length));
        byte[] utf8 = new byte[(int) length.get()];
        if (utf8.length > 0) {
          word.get(BytePointer.class, 0).get(utf8);
        }
        words.add(new String(utf8, StandardCharsets.UTF_8));
      }
    }
  }

  /**
   * Maps and checks a file.
   *
   * @throws IOException if it cannot be read, is damaged, or is not a multibit language model
   * @throws IllegalStateException if MULTIBIT_ISA names a tier that is unknown or not supported
   *     here
   * @throws UnsatisfiedLinkError if there is no native library for this platform
   */
  public static PackedLanguageModel open(Path path) throws IOException {
    NativeBinding.load();
    try (BytePointer name = new BytePointer(path.toString(), StandardCharsets.UTF_8);
        PointerPointer<NativeBinding.multibit_model> out = new PointerPointer<>(1)) {
      int code = NativeBinding.multibit_model_open(name, out);
      if (code != 0) {
        if (code == ERROR_ISA) {
          throw new IllegalStateException(lastError());
        }
        throw new IOException(lastError());
      }
      return new PackedLanguageModel(path, out.get(NativeBinding.multibit_model.class, 0));
    }
  }

  static String lastError() {
    return NativeBinding.multibit_last_error().getString(StandardCharsets.UTF_8);
  }

  /** Throws IllegalArgumentException with the library's message unless the code is MULTIBIT_OK. */
  static void check(int code) {
    if (code != 0) {
      throw new IllegalArgumentException(lastError());
    }
  }

  /** A new stream of tokens, with zero state. */
  public synchronized Session newSession() {
    requireOpen();
    try (PointerPointer<NativeBinding.multibit_session> out = new PointerPointer<>(1)) {
      check(NativeBinding.multibit_session_new(model, out));
      sessions++;
      return new Session(this, out.get(NativeBinding.multibit_session.class, 0));
    }
  }

  /** The vocabulary; position = token id. */
  public List<String> words() {
    requireOpen();
    return Collections.unmodifiableList(words);
  }

  public int vocabularySize() {
    requireOpen();
    return info.vocabulary_size();
  }

  public int embeddingSize() {
    requireOpen();
    return info.embedding_size();
  }

  public int hiddenSize() {
    requireOpen();
    return info.hidden_size();
  }

  public int layers() {
    requireOpen();
    return info.layers();
  }

  /** The token at each line's end. */
  public int eos() {
    requireOpen();
    return info.eos_token();
  }

  /** The token of unknown words; -1 if there is none. */
  public int unknown() {
    requireOpen();
    return info.unknown_token();
  }

  /** Bits of the recurrent weights; 0 = full precision. */
  public int weightBits() {
    requireOpen();
    return info.weight_bits();
  }

  /** Bits of the hidden state in the recurrent product; 0 = full precision. */
  public int activationBits() {
    requireOpen();
    return info.activation_bits();
  }

  public long fileBytes() {
    requireOpen();
    return info.file_bytes();
  }

  /** A metadata value as text, arrays as their length; null if the file lacks the key. */
  public synchronized String metadata(String key) {
    requireOpen();
    try (BytePointer name = new BytePointer(key, StandardCharsets.UTF_8);
        PointerPointer<BytePointer> value = new PointerPointer<>(1)) {
      check(NativeBinding.multibit_model_metadata(model, name, value));
      return NativeBinding.string(value);
    }
  }

  /** The instruction-set tier that models run on here. */
  public static String isa() {
    NativeBinding.load();
    try (PointerPointer<BytePointer> name = new PointerPointer<>(1)) {
      if (NativeBinding.multibit_isa(name) != 0) {
        throw new IllegalStateException(lastError());
      }
      return NativeBinding.string(name);
    }
  }

  private synchronized void requireOpen() {
    if (closed) {
      throw new IllegalStateException("The model " + path + " is closed");
    }
  }

  synchronized void sessionClosed() {
    sessions--;
    release();
  }

  @Override
  public synchronized void close() {
    closed = true;
    release();
  }

  private void release() {
    if (closed && sessions == 0 && model != null) {
      NativeBinding.multibit_model_close(model);
      model = null;
    }
  }
}

package org.multibit.runtime;

import java.io.IOException;
import java.lang.ref.Reference;
import java.nio.ByteBuffer;
import java.nio.charset.Charset;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.function.Consumer;
import org.bytedeco.javacpp.BytePointer;
import org.bytedeco.javacpp.Pointer;
import org.multibit.runtime.bindings.Bindings;
import org.multibit.runtime.bindings.multibit_model_info;

/**
 * A packed model file (docs/format.md), mapped and run by native code. Threads may share it. Each
 * stream needs its own {@link Session}. The properties of the model stay readable after it is
 * closed.
 */
public abstract sealed class PackedModel implements AutoCloseable
    permits PackedLanguageModel, PackedSequenceClassifier {
  /** The largest number of threads that share a product. */
  public static final int MOST_THREADS = 256;

  /** The file's path, or the name that the caller gave to its memory. */
  private final String name;

  private final int hiddenSize;
  private final int layers;
  private final int weightBits;
  private final int activationBits;
  private final long fileBytes;
  private final String cell;

  /** Used by the model and by each of its sessions. Freed with the last of them. */
  final NativeHandle handle;

  PackedModel(Opened opened) {
    name = opened.name;
    handle = opened.handle;
    handle.closeWith(this);
    multibit_model_info info = opened.info;
    hiddenSize = info.hidden_size();
    layers = info.layers();
    weightBits = info.weight_bits();
    activationBits = info.activation_bits();
    fileBytes = info.file_bytes();
    cell = NativeLibrary.string(info.cell());
  }

  /** A native model, from which {@link Maker} makes a model. */
  record Opened(String name, NativeHandle handle, multibit_model_info info) {
    /** Whether the model is fed floats, not tokens. */
    boolean isClassifier() {
      return info.classes() > 0;
    }
  }

  /** Makes a model from a native one. */
  interface Maker<M> {
    M of(Opened opened) throws IOException;
  }

  /**
   * Maps a file and checks all of it.
   *
   * @param maker takes the native model; if it throws, the native model is closed
   * @throws IOException if the file cannot be read, is damaged, or is not a multibit model
   * @throws IllegalStateException if MULTIBIT_ISA names a tier that is unknown or not supported
   *     here
   * @throws UnsatisfiedLinkError if the native library does not load; see {@link NativeLibrary}
   */
  static <M> M open(Path path, Maker<M> maker) throws IOException {
    NativeLibrary.load();
    Pointer model = nullPointer();
    try (BytePointer file = fileName(path)) {
      checkOpened(Bindings.multibit_model_open(file, model));
    }
    return made(path.toString(), new NativeHandle(model, Bindings::multibit_model_close), maker);
  }

  /** Opens a file in direct memory, which is kept until the model and its sessions are closed. */
  static <M> M open(ByteBuffer file, String name, Maker<M> maker) throws IOException {
    if (!file.isDirect()) {
      throw new IllegalArgumentException(
          "The memory of %s is on the heap; native code takes ByteBuffer.allocateDirect"
              .formatted(name));
    }
    NativeLibrary.load();
    ByteBuffer memory = file.slice();
    Pointer opened = nullPointer();
    try (BytePointer data = new BytePointer(memory);
        BytePointer called = text(name, StandardCharsets.UTF_8)) {
      checkOpened(Bindings.multibit_model_open_memory(data, memory.remaining(), called, opened));
    }
    Consumer<Pointer> free =
        model -> {
          Bindings.multibit_model_close(model);
          Reference.reachabilityFence(memory); // Reachable through this, until then.
        };
    return made(name, new NativeHandle(opened, free), maker);
  }

  private static void checkOpened(int code) throws IOException {
    if (code == Bindings.MULTIBIT_ERROR_IO || code == Bindings.MULTIBIT_ERROR_FORMAT) {
      throw new IOException(NativeLibrary.string(Bindings.multibit_last_error()));
    }
    NativeLibrary.check(code);
  }

  private static <M> M made(String name, NativeHandle handle, Maker<M> maker) throws IOException {
    try (multibit_model_info info = new multibit_model_info()) {
      NativeLibrary.check(Bindings.multibit_model_describe(handle.address(name), info));
      return maker.of(new Opened(name, handle, info));
    } catch (IOException | RuntimeException | Error e) {
      handle.close();
      throw e;
    }
  }

  /** The path in the bytes of the file system. */
  private static BytePointer fileName(Path path) {
    return text(path.toString(), Charset.forName(System.getProperty("sun.jnu.encoding")));
  }

  /** The text with a zero at its end. */
  private static BytePointer text(String text, Charset charset) {
    byte[] bytes = text.getBytes(charset);
    return new BytePointer(Arrays.copyOf(bytes, bytes.length + 1));
  }

  /** A pointer that native code can set. */
  static BytePointer nullPointer() {
    return new BytePointer((Pointer) null);
  }

  /** The number of logits of a step: one per word or class. */
  abstract int logits();

  /**
   * Makes a new stream with zero state. It can be used after this model is closed.
   *
   * @throws IllegalStateException if the model is closed
   */
  public Session newSession() {
    synchronized (handle) {
      Pointer session = nullPointer();
      NativeLibrary.check(Bindings.multibit_session_new(open(), session));
      return new Session(this, session);
    }
  }

  /**
   * Sets how many threads share each product that is large enough to gain; initially one. They help
   * one session at a time, the first one that asks. Results do not depend on the number of threads.
   *
   * @param threads 1 to {@link #MOST_THREADS}, including the caller's thread
   * @throws IllegalArgumentException if the number is out of range
   * @throws IllegalStateException if the model is closed
   */
  public void setThreads(int threads) {
    synchronized (handle) {
      NativeLibrary.check(Bindings.multibit_model_set_threads(open(), threads));
    }
  }

  /** The native model's address; throws if the model is closed. */
  Pointer open() {
    return handle.address("The model " + name);
  }

  /**
   * A value of the file's metadata as text (numbers in decimal, arrays as their length), or null.
   *
   * @throws IllegalStateException if the model is closed
   */
  public String metadata(String key) {
    synchronized (handle) {
      try (BytePointer value = nullPointer();
          BytePointer name = text(key, StandardCharsets.UTF_8)) {
        NativeLibrary.check(Bindings.multibit_model_metadata(open(), name, value));
        return value.isNull() ? null : NativeLibrary.string(value);
      }
    }
  }

  /** H. */
  public int hiddenSize() {
    return hiddenSize;
  }

  /** The recurrent layers' cell: "lstm" or "gru". */
  public String cell() {
    return cell;
  }

  /** The number of recurrent layers. */
  public int layers() {
    return layers;
  }

  /** Bits of the recurrent weights; 0 = full precision. */
  public int weightBits() {
    return weightBits;
  }

  /** Bits of the hidden state in the recurrent product; 0 = full precision. */
  public int activationBits() {
    return activationBits;
  }

  /** The file's length in bytes. */
  public long fileBytes() {
    return fileBytes;
  }

  /** Closes the model. Its memory is freed when its last session is closed. */
  @Override
  public void close() {
    handle.close();
  }

  @Override
  public String toString() {
    return name;
  }
}

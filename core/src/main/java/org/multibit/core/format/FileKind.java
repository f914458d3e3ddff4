package org.multibit.core.format;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.CharBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.CodingErrorAction;
import java.nio.charset.StandardCharsets;
import java.nio.file.AccessDeniedException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.List;
import java.util.Set;
import java.util.zip.ZipException;
import java.util.zip.ZipFile;
import org.multibit.core.Printable;

/**
 * The kind of a file or folder, found from its content and not from its name, before a reader sees
 * it.
 */
public enum FileKind {
  /** The folder of a training run. */
  RUN("the folder of a run"),
  /** A packed model (docs/format.md), or a GGUF file of another program. */
  PACKED("a packed model"),
  /** PyTorch's weights. */
  SAFETENSORS("a .safetensors file"),
  /** Keras 2, or the legacy format of Keras 3. */
  HDF5("an HDF5 file"),
  /** A network of DL4J's ModelSerializer. */
  DL4J("a DL4J network"),

  LFS_POINTER(
      "a Git LFS pointer, not the file that it points to", "run git lfs pull in its repository"),
  KERAS_ARCHIVE(
      "a Keras 3 archive (.keras), which is not read yet",
      "save the model as .h5, in Python: import keras; keras.saving.load_model(\"FILE\").save(\"model.h5\")"),
  ONNX(
      "an ONNX model, which is not read yet",
      "save the weights of the model that it was exported from: as .safetensors (PyTorch) or .h5 (Keras)"),
  TFLITE(
      "a TensorFlow Lite model, which is not read",
      "save the Keras model that it was converted from, in Python: model.save(\"model.h5\")"),
  SAVED_MODEL(
      "a TensorFlow SavedModel, which is not read",
      "save the Keras model as .h5, in Python: import keras; keras.models.load_model(\"FOLDER\").save(\"model.h5\")"),
  TORCH_SCRIPT(
      "a TorchScript program, which is not read",
      "save its weights, in Python: import torch, safetensors.torch as s; s.save_file(torch.jit.load(\"FILE\").state_dict(), \"model.safetensors\")"),
  TORCH(
      "a PyTorch file that holds Python pickles, which are never read",
      "save its weights, in Python: import torch, safetensors.torch as s; s.save_file(torch.load(\"FILE\", weights_only=True), \"model.safetensors\")"),
  PICKLE(
      "a Python pickle, which is never read",
      "save the weights of the model that it belongs to: as .safetensors (PyTorch) or .h5 (Keras)"),
  NUMPY("a NumPy array", FileKind.MODELS),
  GZIP("packed by gzip", "unpack it: gunzip FILE"),
  DAMAGED_ZIP("a zip that is damaged", "bring back a copy of it"),
  ZIP("a zip without a model", FileKind.MODELS),
  TEXT("a text, not a model", FileKind.MODELS),
  EMPTY("empty", "bring back a copy of it"),
  FOLDER(
      "a folder without a run (settings.json)", "give the folder of a run, or the file of a model"),
  SPECIAL("no file but a pipe or a device", "give a file"),
  UNKNOWN("damaged, or of a kind that is not known", FileKind.MODELS);

  private static final String MODELS =
      "models are runs, packed models (.gguf), .safetensors (PyTorch), .h5 (Keras) and .zip (DL4J)";

  private static final byte[] GGUF_MAGIC = {'G', 'G', 'U', 'F'};
  private static final byte[] ZIP_MAGIC = {'P', 'K', 3, 4};
  private static final byte[] EMPTY_ZIP_MAGIC = {'P', 'K', 5, 6};
  private static final byte[] HDF5_MAGIC = {(byte) 0x89, 'H', 'D', 'F', '\r', '\n', 0x1a, '\n'};
  private static final byte[] NUMPY_MAGIC = {(byte) 0x93, 'N', 'U', 'M', 'P', 'Y'};
  private static final byte[] GZIP_MAGIC = {0x1f, (byte) 0x8b};
  private static final byte[] TFLITE_MAGIC = {'T', 'F', 'L', '3'};
  private static final byte[] LFS_MAGIC =
      "version https://git-lfs.github.com/spec/".getBytes(StandardCharsets.US_ASCII);

  /**
   * The number at the start of PyTorch's files from before its zips, after the two bytes of a
   * pickle.
   */
  private static final byte[] TORCH_MAGIC = {
    (byte) 0x8a,
    0x0a,
    0x6c,
    (byte) 0xfc,
    (byte) 0x9c,
    0x46,
    (byte) 0xf9,
    0x20,
    0x6a,
    (byte) 0xa8,
    0x50,
    0x19
  };

  /** Fields of ONNX's ModelProto that may follow its version. */
  private static final Set<Integer> ONNX_FIELDS = Set.of(0x12, 0x1a, 0x22, 0x2a, 0x32, 0x3a, 0x42);

  private static final int START = 512;

  private final String what;
  private final String wayOut; // null: it is read

  FileKind(String what) {
    this(what, null);
  }

  FileKind(String what, String wayOut) {
    this.what = what;
    this.wayOut = wayOut;
  }

  /** A text that follows "is": "a packed model", "a Git LFS pointer, not ...". */
  public String what() {
    return what;
  }

  /** Whether it is a full-precision model of another library that can be imported. */
  public boolean isImported() {
    return this == SAFETENSORS || this == HDF5 || this == DL4J;
  }

  /**
   * @throws IOException if it does not exist or cannot be read
   */
  public static FileKind of(Path path) throws IOException {
    if (!Files.exists(path)) {
      throw new IOException("There is no file " + Printable.of(path.toString()));
    }
    if (Files.isDirectory(path)) {
      return Files.isRegularFile(path.resolve("settings.json"))
          ? RUN
          : Files.exists(path.resolve("saved_model.pb")) ? SAVED_MODEL : FOLDER;
    }
    if (!Files.isRegularFile(path)) {
      return SPECIAL;
    }
    try (FileChannel channel = FileChannel.open(path, StandardOpenOption.READ)) {
      ByteBuffer start = ByteBuffer.allocate(START).order(ByteOrder.LITTLE_ENDIAN);
      while (start.hasRemaining() && channel.read(start) > 0) {}
      return of(start.flip(), path);
    } catch (AccessDeniedException e) {
      throw new IOException(
          "Cannot read " + Printable.of(path.toString()) + ": permission denied", e);
    }
  }

  private static FileKind of(ByteBuffer start, Path path) throws IOException {
    if (!start.hasRemaining()) {
      return EMPTY;
    }
    if (has(start, 0, GGUF_MAGIC)) {
      return PACKED;
    }
    if (has(start, 0, HDF5_MAGIC)) {
      return HDF5;
    }
    if (has(start, 0, ZIP_MAGIC) || has(start, 0, EMPTY_ZIP_MAGIC)) {
      return ofZip(path);
    }
    if (has(start, 0, LFS_MAGIC)) {
      return LFS_POINTER;
    }
    if (has(start, 0, NUMPY_MAGIC)) {
      return NUMPY;
    }
    if (has(start, 0, GZIP_MAGIC)) {
      return GZIP;
    }
    if (has(start, 4, TFLITE_MAGIC)) {
      return TFLITE;
    }
    if (start.limit() > 8 && start.get(8) == '{' && start.get(7) == 0 && start.get(6) == 0) {
      return SAFETENSORS;
    }
    int first = start.get(0) & 0xff;
    int second = start.limit() > 2 ? start.get(1) & 0xff : 0;
    if (first == 0x80 && second >= 2 && second <= 5) {
      return has(start, 2, TORCH_MAGIC) ? TORCH : PICKLE;
    }
    if (first == 0x08 && second >= 1 && second < 64 && ONNX_FIELDS.contains((int) start.get(2))) {
      // The first field of both is a version; that of a SavedModel is 1, older than any ONNX.
      return second == 1 ? SAVED_MODEL : ONNX;
    }
    return isText(start) ? TEXT : UNKNOWN;
  }

  private static FileKind ofZip(Path path) throws IOException {
    List<String> names;
    try (ZipFile zip = new ZipFile(path.toFile())) {
      names = zip.stream().map(entry -> entry.getName()).toList();
    } catch (ZipException | RuntimeException e) {
      return DAMAGED_ZIP;
    }
    if (names.contains("configuration.json")) {
      return DL4J;
    }
    if (names.contains("config.json") && names.contains("model.weights.h5")) {
      return KERAS_ARCHIVE;
    }
    if (names.stream().anyMatch(name -> name.endsWith("data.pkl"))) {
      boolean program = names.stream().anyMatch(name -> name.endsWith("constants.pkl"));
      return program ? TORCH_SCRIPT : TORCH;
    }
    return names.stream().anyMatch(name -> name.endsWith("saved_model.pb")) ? SAVED_MODEL : ZIP;
  }

  private static boolean has(ByteBuffer start, int at, byte[] magic) {
    return start.limit() >= at + magic.length
        && start.slice(at, magic.length).equals(ByteBuffer.wrap(magic));
  }

  private static boolean isText(ByteBuffer start) {
    CharBuffer chars = CharBuffer.allocate(start.limit());
    boolean malformed =
        StandardCharsets.UTF_8
            .newDecoder()
            .onMalformedInput(CodingErrorAction.REPORT)
            .decode(start.duplicate(), chars, start.limit() < START)
            .isError();
    return !malformed
        && chars
            .flip()
            .chars()
            .noneMatch(c -> Character.isISOControl(c) && !Character.isWhitespace(c));
  }

  /**
   * @throws IOException if a file is no packed model, with what it is and how to pack it
   */
  public static void requirePacked(Path path) throws IOException {
    FileKind kind = of(path);
    if (kind != PACKED) {
      throw kind.refusal(path, "a packed model is needed; ./multibit export makes one");
    }
  }

  /** The exception for a file of this kind that cannot be taken: what it is, and the way out. */
  public IOException refusal(Path path) {
    return refusal(path, wayOut == null ? MODELS : wayOut);
  }

  /**
   * The exception for a file of this kind where another is needed.
   *
   * @param wayOut of a kind that is read elsewhere, what to do; other kinds have their own
   */
  public IOException refusal(Path path, String wayOut) {
    return new IOException(
        "%s is %s: %s"
            .formatted(
                Printable.of(path.toString()), what, this.wayOut == null ? wayOut : this.wayOut));
  }
}

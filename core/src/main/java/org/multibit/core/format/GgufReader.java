package org.multibit.core.format;

import java.io.IOException;
import java.nio.BufferUnderflowException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.FloatBuffer;
import java.nio.LongBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.Comparator;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.multibit.core.Printable;

/**
 * Reads GGUF version 3 files of the architecture "multibit", with alignment 64. Tensors are mapped.
 * Metadata is read into memory, except arrays: only their length and their place are kept.
 *
 * <p>Counts and sizes in the file are checked before anything is allocated for them.
 */
public final class GgufReader {
  private final Path path;

  /** The file, or its first 2 GiB. */
  private final ByteBuffer mapped;

  private final Map<String, Object> metadata = new LinkedHashMap<>();
  private final Map<String, Gguf.ValueType> types = new HashMap<>();
  private final Map<String, Tensor> tensors = new LinkedHashMap<>();

  /** An array of the metadata. Its text form is its length. */
  public static final class Array {
    private final Gguf.ValueType type;
    private final int count;

    /** The bytes from the first element on. */
    private final ByteBuffer elements;

    /** Reads a checked array, from its element type on. */
    private Array(ByteBuffer in) {
      type = Gguf.VALUE_TYPES.get(in.getInt());
      count = (int) in.getLong();
      elements = in;
    }

    /** Its number of elements. */
    public int count() {
      return count;
    }

    @Override
    public String toString() {
      return count + " elements";
    }
  }

  /**
   * A tensor's place in the file.
   *
   * @param dims fastest first
   * @param type GGUF's tensor type number
   * @param offset from the start of the file, in bytes
   */
  public record Tensor(String name, long[] dims, int type, long offset) {
    private Tensor from(long start) {
      return new Tensor(name, dims, type, start + offset);
    }

    @Override
    public String toString() {
      return name + " " + Arrays.toString(dims);
    }
  }

  /**
   * @throws IOException if the file does not exist or is not a complete GGUF version 3 file
   */
  public GgufReader(Path path) throws IOException {
    this.path = path;
    FileKind.requirePacked(path);
    try (FileChannel channel = FileChannel.open(path, StandardOpenOption.READ)) {
      long size = channel.size();
      mapped = channel.map(FileChannel.MapMode.READ_ONLY, 0, Math.min(size, Integer.MAX_VALUE));
      readHeader(size);
    }
  }

  private void readHeader(long size) throws IOException {
    ByteBuffer header = mapped.slice(0, Math.min(mapped.capacity(), Gguf.MAX_HEADER));
    try {
      readHeader(header.order(ByteOrder.LITTLE_ENDIAN), size);
    } catch (BufferUnderflowException e) {
      throw damaged(
          size <= Gguf.MAX_HEADER
              ? "it ends inside the header"
              : "its header takes more than %s bytes".formatted(Gguf.MAX_HEADER));
    }
  }

  private void readHeader(ByteBuffer in, long size) throws IOException {
    if (in.remaining() < Integer.BYTES || in.getInt() != Gguf.MAGIC) {
      throw new IOException(
          path
              + " is not a packed model: it does not start with GGUF (./multibit export packs a model)");
    }
    int version = in.getInt();
    if (version != 3) {
      throw new IOException(
          "%s is GGUF version %s; version 3 is needed"
              .formatted(path, Integer.toUnsignedString(version)));
    }
    int tensorCount = count(in, "tensors");
    int metadataCount = count(in, "keys");
    for (int i = 0; i < metadataCount; i++) {
      String key = string(in);
      Gguf.ValueType type = type(in.getInt());
      if (metadata.put(key, value(in, type)) != null) {
        throw damaged("the key " + key + " occurs twice");
      }
      types.put(key, type);
    }
    List<Tensor> placed = new ArrayList<>();
    for (int i = 0; i < tensorCount; i++) {
      placed.add(tensor(in));
    }
    String architecture = string("general.architecture");
    if (!architecture.equals("multibit")) {
      throw damaged("its architecture is \"%s\", expected \"multibit\"".formatted(architecture));
    }
    int alignment = u32("general.alignment");
    if (alignment != Gguf.ALIGNMENT) {
      throw damaged(
          "general.alignment is %s, not %s"
              .formatted(Integer.toUnsignedString(alignment), Gguf.ALIGNMENT));
    }
    long start = Gguf.align(in.position());
    for (Tensor tensor : placed) {
      if (tensors.put(tensor.name, tensor.from(start)) != null) {
        throw damaged("the tensor " + tensor.name + " occurs twice");
      }
    }
    checkPlaces(start, size);
  }

  private int count(ByteBuffer in, String what) throws IOException {
    long count = in.getLong();
    if (count < 0 || count > Gguf.MAX_ENTRIES) {
      throw damaged(
          "it claims to have %s %s, more than %s"
              .formatted(Long.toUnsignedString(count), what, Gguf.MAX_ENTRIES));
    }
    return (int) count;
  }

  private Tensor tensor(ByteBuffer in) throws IOException {
    String name = string(in);
    int rank = in.getInt();
    if (rank < 1 || rank > 4) {
      throw damaged("tensor %s has rank %s".formatted(name, Integer.toUnsignedString(rank)));
    }
    long[] dims = new long[rank];
    for (int d = 0; d < rank; d++) {
      dims[d] = in.getLong();
      if (dims[d] == 0) {
        throw damaged("tensor %s is empty".formatted(name));
      }
    }
    return new Tensor(name, dims, in.getInt(), in.getLong());
  }

  /**
   * Checks that tensors are aligned, lie within the file and do not overlap. For a tensor of an
   * unknown type, checks only the start.
   */
  private void checkPlaces(long start, long size) throws IOException {
    List<Tensor> byOffset = new ArrayList<>(tensors.values());
    byOffset.sort(Comparator.comparingLong(Tensor::offset));
    Tensor before = null;
    long end = 0;
    for (Tensor tensor : byOffset) {
      if (tensor.offset < start || tensor.offset > size || tensor.offset % Gguf.ALIGNMENT != 0) {
        throw damaged(
            "tensor %s starts at byte %s: outside the file or not aligned to %s"
                .formatted(tensor, Long.toUnsignedString(tensor.offset), Gguf.ALIGNMENT));
      }
      long bytes = bytes(tensor);
      if (bytes > size - tensor.offset) {
        throw damaged("tensor %s runs past the end of the file".formatted(tensor));
      }
      if (bytes > 0) {
        if (tensor.offset < end) {
          throw damaged("tensor %s overlaps %s".formatted(tensor, before));
        }
        before = tensor;
        end = tensor.offset + bytes;
      }
    }
  }

  /** 0 if the type is not known. */
  private long bytes(Tensor tensor) throws IOException {
    long bytes = 0;
    for (Gguf.TensorType type : Gguf.TensorType.values()) {
      if (type.id == tensor.type) {
        if (Arrays.stream(tensor.dims).anyMatch(dim -> dim < 0)) {
          throw damaged("the size of tensor %s overflows".formatted(tensor));
        }
        try {
          bytes = Math.multiplyExact(Gguf.elements(tensor.dims), type.size);
        } catch (ArithmeticException e) {
          throw damaged("the size of tensor %s overflows".formatted(tensor));
        }
      }
    }
    return bytes;
  }

  private Gguf.ValueType type(int number) throws IOException {
    if (number < 0 || number >= Gguf.VALUE_TYPES.size()) {
      throw damaged("a metadata value has the unknown type " + Integer.toUnsignedString(number));
    }
    return Gguf.VALUE_TYPES.get(number);
  }

  private Object value(ByteBuffer in, Gguf.ValueType type) throws IOException {
    return switch (type) {
      case UINT8 -> Byte.toUnsignedInt(in.get());
      case INT8 -> (int) in.get();
      case UINT16 -> Short.toUnsignedInt(in.getShort());
      case INT16 -> (int) in.getShort();
      case UINT32, INT32 -> in.getInt();
      case FLOAT32 -> in.getFloat();
      case BOOL -> bool(in);
      case STRING -> string(in);
      case ARRAY -> array(in);
      case UINT64, INT64 -> in.getLong();
      case FLOAT64 -> in.getDouble();
    };
  }

  private boolean bool(ByteBuffer in) throws IOException {
    byte value = in.get();
    if (value != 0 && value != 1) {
      throw damaged("a bool is %s, neither 0 nor 1".formatted(value));
    }
    return value == 1;
  }

  private Array array(ByteBuffer in) throws IOException {
    ByteBuffer start = in.slice().order(in.order());
    skipArray(in, 0);
    return new Array(start);
  }

  /** Checks an array without keeping it, since it could hold millions of others. */
  private void skipArray(ByteBuffer in, int nesting) throws IOException {
    Gguf.ValueType type = type(in.getInt());
    long count = in.getLong();
    if (nesting == Gguf.MAX_NESTING) {
      throw damaged("an array lies %s levels deep in others".formatted(nesting));
    }
    if (count < 0 || count > in.remaining() / type.size) {
      throw damaged(
          "an array of %s elements of type %s runs past the end of the header"
              .formatted(Long.toUnsignedString(count), type));
    }
    for (long i = 0; i < count; i++) {
      switch (type) {
        case STRING -> skipString(in);
        case ARRAY -> skipArray(in, nesting + 1);
        case BOOL -> bool(in);
        default -> {
          in.position(in.position() + (int) count * type.size);
          return;
        }
      }
    }
  }

  private String string(ByteBuffer in) throws IOException {
    byte[] utf8 = new byte[stringLength(in)];
    in.get(utf8);
    String string = new String(utf8, StandardCharsets.UTF_8);
    // What is not UTF-8 was replaced, so it does not come back.
    if (string.indexOf('\uFFFD') >= 0
        && !Arrays.equals(utf8, string.getBytes(StandardCharsets.UTF_8))) {
      throw damaged("the string \"%s\" is not UTF-8".formatted(Printable.of(string, 80)));
    }
    return string;
  }

  /** Skips a string. Decodes it only if a quick look does not show that it is UTF-8. */
  private void skipString(ByteBuffer in) throws IOException {
    int start = in.position();
    int length = stringLength(in);
    int end = in.position() + length;
    for (int i = in.position(); i < end; i++) {
      if (in.get(i) < 0) { // Not ASCII.
        string(in.position(start));
        return;
      }
    }
    in.position(end);
  }

  private int stringLength(ByteBuffer in) throws IOException {
    long length = in.getLong();
    if (length < 0 || length > Gguf.MAX_STRING) {
      throw damaged(
          "a string takes %s bytes, more than %d"
              .formatted(Long.toUnsignedString(length), Gguf.MAX_STRING));
    }
    if (length > in.remaining()) {
      throw new BufferUnderflowException();
    }
    return (int) length;
  }

  /**
   * The exception that says what is wrong with this file. Its message is one line, whatever the
   * file holds.
   */
  public IOException damaged(String what) {
    return new IOException(
        "%s is damaged or not a multibit model: %s".formatted(path, Printable.of(what, 300)));
  }

  /**
   * All metadata, in file order: Integer, Long, Float, Double, Boolean, String, {@link Array}. A
   * u32 is an Integer and a u64 a Long with the same bits.
   */
  public Map<String, Object> metadata() {
    return Collections.unmodifiableMap(metadata);
  }

  /** Whether the metadata has such a key. */
  public boolean hasKey(String key) {
    return metadata.containsKey(key);
  }

  /**
   * The value of a required u32, as an int with the same bits.
   *
   * @throws IOException if the key is missing or has another type; so do the methods for other
   *     types
   */
  public int u32(String key) throws IOException {
    return (Integer) required(key, Gguf.ValueType.UINT32);
  }

  /** A required u32 that fits an int. */
  int nonNegative(String key) throws IOException {
    int value = u32(key);
    if (value < 0) {
      throw damaged("%s is %s: too large".formatted(key, Integer.toUnsignedString(value)));
    }
    return value;
  }

  /** A required u32 from {@code least} to {@code most}, both included. */
  int u32(String key, int least, int most) throws IOException {
    int value = nonNegative(key);
    if (value < least || value > most) {
      throw damaged("%s is %s, outside %s..%s".formatted(key, value, least, most));
    }
    return value;
  }

  /** A required f32. */
  public float f32(String key) throws IOException {
    return (Float) required(key, Gguf.ValueType.FLOAT32);
  }

  /** A required string. */
  public String string(String key) throws IOException {
    return (String) required(key, Gguf.ValueType.STRING);
  }

  /** The number of elements of a required array of strings. */
  public int stringCount(String key) throws IOException {
    return stringArray(key).count;
  }

  /** A required array of strings. */
  public List<String> strings(String key) throws IOException {
    Array array = stringArray(key);
    ByteBuffer in = array.elements.duplicate().order(array.elements.order());
    List<String> strings = new ArrayList<>(array.count);
    for (int i = 0; i < array.count; i++) {
      strings.add(string(in));
    }
    return strings;
  }

  private Array stringArray(String key) throws IOException {
    Array array = (Array) required(key, Gguf.ValueType.ARRAY);
    if (array.type != Gguf.ValueType.STRING) {
      throw damaged("the key %s is an array of %s, not of strings".formatted(key, array.type));
    }
    return array;
  }

  private Object required(String key, Gguf.ValueType type) throws IOException {
    if (!metadata.containsKey(key)) {
      throw damaged("it lacks the key " + key);
    }
    if (types.get(key) != type) {
      throw damaged("the key %s is of type %s, not %s".formatted(key, types.get(key), type));
    }
    return metadata.get(key);
  }

  /** All tensors, in file order. */
  public Map<String, Tensor> tensors() {
    return Collections.unmodifiableMap(tensors);
  }

  /** An F32 tensor, mapped. Throws IOException if it is missing or has another shape. */
  public FloatBuffer floats(String name, long... dims) throws IOException {
    return map(name, Gguf.TensorType.F32, dims).asFloatBuffer();
  }

  /** An I64 tensor, mapped. Throws IOException if it is missing or has another shape. */
  public LongBuffer longs(String name, long... dims) throws IOException {
    return map(name, Gguf.TensorType.I64, dims).asLongBuffer();
  }

  private ByteBuffer map(String name, Gguf.TensorType type, long[] dims) throws IOException {
    Tensor tensor = tensors.get(name);
    if (tensor == null) {
      throw damaged("it lacks the tensor " + name);
    }
    if (tensor.type != type.id || !Arrays.equals(tensor.dims, dims)) {
      throw damaged(
          "tensor %s is of type %s, expected %s%s"
              .formatted(tensor, tensor.type, type, Arrays.toString(dims)));
    }
    long bytes = bytes(tensor);
    if (bytes > Integer.MAX_VALUE) {
      throw new IOException(
          "%s: tensor %s takes %s bytes: over 2 GiB".formatted(path, tensor, bytes));
    }
    if (tensor.offset + bytes <= mapped.capacity()) {
      return mapped.slice((int) tensor.offset, (int) bytes).order(ByteOrder.LITTLE_ENDIAN);
    }
    try (FileChannel channel = FileChannel.open(path, StandardOpenOption.READ)) {
      return channel
          .map(FileChannel.MapMode.READ_ONLY, tensor.offset, bytes)
          .order(ByteOrder.LITTLE_ENDIAN);
    }
  }

  /** The file's length in bytes. */
  public long bytes() throws IOException {
    return Files.size(path);
  }
}

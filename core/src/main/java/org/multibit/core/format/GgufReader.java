package org.multibit.core.format;

import java.io.IOException;
import java.nio.BufferUnderflowException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.FloatBuffer;
import java.nio.LongBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.AccessDeniedException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.multibit.core.Printable;

/**
 * Reads GGUF version 3 of the architecture "multibit", with alignment 64. Metadata is read into
 * memory, tensors are mapped.
 *
 * <p>Counts and sizes in the file are checked before anything is allocated for them.
 */
public final class GgufReader {
  private static final int MAX_HEADER = 1 << 28;
  private static final int MAX_ENTRIES = 1 << 16;

  /** Arrays in arrays; the native reader's limit too. */
  private static final int MAX_NESTING = 4;

  private static final int MAX_ARRAY = 1 << 24;

  private final Path path;

  /** The file, or its first 2 GiB. */
  private final ByteBuffer mapped;

  private final Map<String, Object> metadata = new LinkedHashMap<>();
  private final Map<String, Tensor> tensors = new LinkedHashMap<>();

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
   * @throws IOException if there is no such file, or it is not a complete GGUF version 3 file
   */
  public GgufReader(Path path) throws IOException {
    this.path = path;
    if (Files.isDirectory(path)) {
      throw new IOException(
          path + " is a folder, not a packed model: ./multibit export packs a run");
    }
    try (FileChannel channel = FileChannel.open(path, StandardOpenOption.READ)) {
      long size = channel.size();
      mapped = channel.map(FileChannel.MapMode.READ_ONLY, 0, Math.min(size, Integer.MAX_VALUE));
      ByteBuffer header = mapped.slice(0, Math.min(mapped.capacity(), MAX_HEADER));
      readHeader(header.order(ByteOrder.LITTLE_ENDIAN), size);
    } catch (NoSuchFileException e) {
      throw new IOException("There is no file " + path, e);
    } catch (AccessDeniedException e) {
      throw new IOException("Cannot read " + path + ": permission denied", e);
    } catch (BufferUnderflowException e) {
      throw damaged("it ends inside the header");
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
      if (metadata.put(key, value(in, in.getInt(), 0)) != null) {
        throw damaged("the key " + key + " occurs twice");
      }
    }
    List<Tensor> placed = new ArrayList<>();
    for (int i = 0; i < tensorCount; i++) {
      placed.add(tensor(in));
    }
    String architecture = get("general.architecture", String.class);
    if (!architecture.equals("multibit")) {
      throw damaged("its architecture is \"%s\", expected \"multibit\"".formatted(architecture));
    }
    int alignment = get("general.alignment", Integer.class);
    if (alignment != Gguf.ALIGNMENT) {
      throw damaged("general.alignment is %d, not %d".formatted(alignment, Gguf.ALIGNMENT));
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
    if (count < 0 || count > MAX_ENTRIES) {
      throw damaged("it claims to have %s %s".formatted(Long.toUnsignedString(count), what));
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
    }
    return new Tensor(name, dims, in.getInt(), in.getLong());
  }

  /**
   * Tensors are aligned, lie within the file and do not overlap. Of a type that is not known only
   * the start is.
   */
  private void checkPlaces(long start, long size) throws IOException {
    List<Tensor> byOffset = new ArrayList<>(tensors.values());
    byOffset.sort(Comparator.comparingLong(Tensor::offset));
    Tensor before = null;
    long end = 0;
    for (Tensor tensor : byOffset) {
      if (tensor.offset < start || tensor.offset > size || tensor.offset % Gguf.ALIGNMENT != 0) {
        throw damaged(
            "tensor %s starts at byte %s: outside the file or not aligned to %d"
                .formatted(tensor, Long.toUnsignedString(tensor.offset), Gguf.ALIGNMENT));
      }
      if (tensor.offset < end) {
        throw damaged("tensor %s overlaps %s".formatted(tensor, before));
      }
      long bytes = bytes(tensor);
      if (bytes > size - tensor.offset) {
        throw damaged("tensor %s runs past the end of the file".formatted(tensor));
      }
      before = tensor;
      end = tensor.offset + bytes;
    }
  }

  /** 0 if the type is not known. */
  private long bytes(Tensor tensor) throws IOException {
    long bytes = 0;
    for (Gguf.TensorType type : Gguf.TensorType.values()) {
      if (type.id == tensor.type) {
        try {
          bytes = Math.multiplyExact(Gguf.elements(tensor.dims), type.size);
        } catch (ArithmeticException e) {
          throw damaged("the size of tensor %s overflows".formatted(tensor));
        }
        if (Arrays.stream(tensor.dims).anyMatch(dim -> dim < 1)) {
          throw damaged("tensor %s has an invalid shape".formatted(tensor));
        }
      }
    }
    return bytes;
  }

  private Object value(ByteBuffer in, int type, int nesting) throws IOException {
    if (type < 0 || type >= Gguf.ValueType.values().length) {
      throw damaged("a metadata value has the unknown type " + Integer.toUnsignedString(type));
    }
    return switch (Gguf.ValueType.values()[type]) {
      case UINT8 -> Byte.toUnsignedInt(in.get());
      case INT8 -> (int) in.get();
      case UINT16 -> Short.toUnsignedInt(in.getShort());
      case INT16 -> (int) in.getShort();
      case UINT32, INT32 -> in.getInt();
      case FLOAT32 -> in.getFloat();
      case BOOL -> in.get() != 0;
      case STRING -> string(in);
      case ARRAY -> array(in, nesting);
      case UINT64, INT64 -> in.getLong();
      case FLOAT64 -> in.getDouble();
    };
  }

  private List<Object> array(ByteBuffer in, int nesting) throws IOException {
    int type = in.getInt();
    long count = in.getLong();
    if (nesting == MAX_NESTING || count < 0 || count > MAX_ARRAY) {
      throw damaged(
          "it has an array of %s elements of type %s, %d levels deep"
              .formatted(Long.toUnsignedString(count), Integer.toUnsignedString(type), nesting));
    }
    List<Object> values = new ArrayList<>();
    for (long i = 0; i < count; i++) {
      values.add(value(in, type, nesting + 1));
    }
    return Collections.unmodifiableList(values);
  }

  private String string(ByteBuffer in) throws IOException {
    long length = in.getLong();
    if (length < 0 || length > in.remaining()) {
      throw damaged(
          "a string of %s bytes runs past the end".formatted(Long.toUnsignedString(length)));
    }
    byte[] utf8 = new byte[(int) length];
    in.get(utf8);
    return new String(utf8, StandardCharsets.UTF_8);
  }

  /** The exception for this file and what is wrong with it: one line, whatever the file holds. */
  public IOException damaged(String what) {
    return new IOException(
        "%s is damaged or not a multibit model: %s".formatted(path, Printable.of(what, 300)));
  }

  /**
   * All metadata, in file order: Integer, Long, Float, Double, Boolean, String, List. A u32 is an
   * Integer and a u64 a Long with the same bits.
   */
  public Map<String, Object> metadata() {
    return Collections.unmodifiableMap(metadata);
  }

  /** A required value of the metadata. */
  public <T> T get(String key, Class<T> type) throws IOException {
    Object value = metadata.get(key);
    if (value == null) {
      throw damaged("it lacks the key " + key);
    }
    if (!type.isInstance(value)) {
      throw damaged(
          "the key %s is of type %s, expected %s"
              .formatted(key, value.getClass().getSimpleName(), type.getSimpleName()));
    }
    return type.cast(value);
  }

  /** All tensors, in file order. */
  public Map<String, Tensor> tensors() {
    return Collections.unmodifiableMap(tensors);
  }

  public boolean has(String tensor) {
    return tensors.containsKey(tensor);
  }

  /** An F32 tensor, mapped; throws IOException if it is missing or of another shape. */
  public FloatBuffer floats(String name, long... dims) throws IOException {
    return map(name, Gguf.TensorType.F32, dims).asFloatBuffer();
  }

  /** An I64 tensor, mapped; throws IOException if it is missing or of another shape. */
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
          "tensor %s is of type %d, expected %s%s"
              .formatted(tensor, tensor.type, type, Arrays.toString(dims)));
    }
    long bytes = bytes(tensor);
    if (bytes > Integer.MAX_VALUE) {
      throw new IOException(
          "%s: tensor %s takes %d bytes: over 2 GiB".formatted(path, tensor, bytes));
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

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
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * Reads GGUF version 3 with alignment 64. Metadata is read into memory, tensors are mapped when
 * asked for.
 *
 * <p>Sizes in the file are checked against its length before anything is allocated for them.
 */
public final class GgufReader {
  private static final long MAX_HEADER = 1L << 30;

  private final Path path;
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
    try (FileChannel channel = FileChannel.open(path, StandardOpenOption.READ)) {
      long size = channel.size();
      ByteBuffer in =
          channel
              .map(FileChannel.MapMode.READ_ONLY, 0, Math.min(size, MAX_HEADER))
              .order(ByteOrder.LITTLE_ENDIAN);
      readHeader(in, size);
    } catch (NoSuchFileException e) {
      throw new IOException("There is no file " + path, e);
    } catch (BufferUnderflowException e) {
      throw damaged("it ends inside the header");
    }
  }

  private void readHeader(ByteBuffer in, long size) throws IOException {
    if (in.remaining() < 24 || in.getInt() != Gguf.MAGIC) {
      throw new IOException(path + " is not a packed model: it does not start with GGUF");
    }
    int version = in.getInt();
    if (version != 3) {
      throw new IOException("%s is GGUF version %d; version 3 is needed".formatted(path, version));
    }
    long tensorCount = in.getLong();
    long metadataCount = in.getLong();
    for (long i = 0; i < metadataCount; i++) {
      String key = string(in);
      Object value = value(in, in.getInt());
      if (metadata.putIfAbsent(key, value) != null) {
        throw damaged("the key " + key + " occurs twice");
      }
    }
    for (long i = 0; i < tensorCount; i++) {
      String name = string(in);
      int rank = in.getInt();
      if (rank < 1 || rank > 4) {
        throw damaged("tensor %s has rank %d".formatted(name, rank));
      }
      long[] dims = new long[rank];
      for (int d = 0; d < rank; d++) {
        dims[d] = in.getLong();
      }
      Tensor tensor = new Tensor(name, dims, in.getInt(), in.getLong());
      if (tensors.putIfAbsent(name, tensor) != null) {
        throw damaged("the tensor " + name + " occurs twice");
      }
    }
    Object alignment = metadata.get("general.alignment");
    if (!Integer.valueOf(Gguf.ALIGNMENT).equals(alignment)) {
      throw damaged("general.alignment is " + alignment + ", not 64");
    }
    long start = Gguf.align(in.position());
    for (Tensor tensor : List.copyOf(tensors.values())) {
      tensors.put(tensor.name, placed(tensor, start, size));
    }
  }

  /** The tensor with its offset from the start of the file, if it lies within it. */
  private Tensor placed(Tensor tensor, long start, long size) throws IOException {
    for (Gguf.TensorType type : Gguf.TensorType.values()) {
      if (type.id == tensor.type) {
        long end;
        try {
          long bytes = Math.multiplyExact(Gguf.elements(tensor.dims), type.size);
          end = Math.addExact(Math.addExact(start, tensor.offset), bytes);
          if (bytes <= 0 || tensor.offset < 0) {
            throw damaged("tensor %s has no valid size or place".formatted(tensor));
          }
        } catch (ArithmeticException e) {
          throw damaged("the size of tensor %s overflows".formatted(tensor));
        }
        if (end > size) {
          throw damaged("tensor %s ends at byte %d, the file at %d".formatted(tensor, end, size));
        }
        if (tensor.offset % Gguf.ALIGNMENT != 0) {
          throw damaged("tensor %s is not aligned".formatted(tensor));
        }
      }
    }
    return new Tensor(tensor.name, tensor.dims, tensor.type, start + tensor.offset);
  }

  private Object value(ByteBuffer in, int type) throws IOException {
    if (type < 0 || type >= Gguf.ValueType.values().length) {
      throw damaged("a metadata value has the unknown type " + type);
    }
    return switch (Gguf.ValueType.values()[type]) {
      case UINT8, INT8 -> (int) in.get();
      case UINT16, INT16 -> (int) in.getShort();
      case UINT32, INT32 -> in.getInt();
      case FLOAT32 -> in.getFloat();
      case BOOL -> in.get() != 0;
      case STRING -> string(in);
      case ARRAY -> array(in);
      case UINT64, INT64 -> in.getLong();
      case FLOAT64 -> in.getDouble();
    };
  }

  private List<Object> array(ByteBuffer in) throws IOException {
    int type = in.getInt();
    long count = in.getLong();
    if (type == Gguf.ValueType.ARRAY.ordinal() || count < 0 || count > in.remaining()) {
      throw damaged("an array of " + count + " elements of type " + type);
    }
    List<Object> values = new ArrayList<>();
    for (long i = 0; i < count; i++) {
      values.add(value(in, type));
    }
    return Collections.unmodifiableList(values);
  }

  private String string(ByteBuffer in) throws IOException {
    long length = in.getLong();
    if (length < 0 || length > in.remaining()) {
      throw damaged("a string of " + length + " bytes runs past the end");
    }
    byte[] utf8 = new byte[(int) length];
    in.get(utf8);
    return new String(utf8, StandardCharsets.UTF_8);
  }

  /** The exception for this file and what is wrong with it. */
  public IOException damaged(String what) {
    return new IOException("%s is damaged or not a multibit model: %s".formatted(path, what));
  }

  /** All metadata, in file order: Integer, Long, Float, Double, Boolean, String, List. */
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
      throw damaged("the key %s is %s, not of type %s".formatted(key, value, type.getSimpleName()));
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
    try (FileChannel channel = FileChannel.open(path, StandardOpenOption.READ)) {
      return channel
          .map(FileChannel.MapMode.READ_ONLY, tensor.offset, Gguf.elements(dims) * type.size)
          .order(ByteOrder.LITTLE_ENDIAN);
    }
  }

  /** The file's length in bytes. */
  public long bytes() throws IOException {
    return Files.size(path);
  }
}

package org.multibit.core.format;

import java.io.IOException;
import java.io.OutputStream;
import java.io.UncheckedIOException;
import java.nio.Buffer;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.FloatBuffer;
import java.nio.LongBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * Writes GGUF version 3 files. Metadata and tensors keep the order in which they were put; data is
 * aligned to 64 bytes.
 */
public final class GgufWriter {
  private static final int CHUNK = 1 << 16;

  private final Map<String, Object> metadata = new LinkedHashMap<>();
  private final Map<String, Tensor> tensors = new LinkedHashMap<>();

  private record Tensor(long[] dims, Gguf.TensorType type, Buffer data) {}

  /**
   * @param value Integer (written as u32), Long (u64), Float (f32), Double (f64), Boolean, String,
   *     or a List of String
   */
  public GgufWriter put(String key, Object value) {
    Gguf.valueType(value);
    if (metadata.putIfAbsent(key, value) != null) {
      throw new IllegalArgumentException("The key " + key + " is there already");
    }
    return this;
  }

  /**
   * @param dims fastest first
   */
  public GgufWriter put(String name, FloatBuffer data, long... dims) {
    return put(name, new Tensor(dims.clone(), Gguf.TensorType.F32, data.duplicate()));
  }

  /**
   * @param dims fastest first
   */
  public GgufWriter put(String name, LongBuffer data, long... dims) {
    return put(name, new Tensor(dims.clone(), Gguf.TensorType.I64, data.duplicate()));
  }

  private GgufWriter put(String name, Tensor tensor) {
    long elements = Gguf.elements(tensor.dims);
    if (elements != tensor.data.remaining()) {
      throw new IllegalArgumentException(
          "Tensor %s has %s elements, its dimensions say %s"
              .formatted(name, tensor.data.remaining(), elements));
    }
    if (tensors.putIfAbsent(name, tensor) != null) {
      throw new IllegalArgumentException("The tensor " + name + " is there already");
    }
    return this;
  }

  /** Writes the file completely or not at all. */
  public void write(Path path) throws IOException {
    AtomicFile.write(path, this::writeTo);
  }

  /** The file's length. */
  public long bytes() {
    long bytes = Gguf.align(header().remaining());
    for (Tensor tensor : tensors.values()) {
      bytes = Gguf.align(bytes + Gguf.elements(tensor.dims) * tensor.type.size);
    }
    return bytes;
  }

  /**
   * The file in direct memory, aligned as its tensors require.
   *
   * @throws IllegalArgumentException if it takes more than 2 GiB
   */
  public ByteBuffer toDirectBuffer() {
    long bytes = bytes();
    if (bytes > Integer.MAX_VALUE - Gguf.ALIGNMENT) {
      throw new IllegalArgumentException(
          "The model takes %s bytes: over 2 GiB, which needs a file".formatted(bytes));
    }
    ByteBuffer file =
        ByteBuffer.allocateDirect((int) bytes + Gguf.ALIGNMENT)
            .alignedSlice(Gguf.ALIGNMENT)
            .limit((int) bytes)
            .slice();
    try {
      writeTo(
          new OutputStream() {
            @Override
            public void write(int b) {
              file.put((byte) b);
            }

            @Override
            public void write(byte[] source, int start, int length) {
              file.put(source, start, length);
            }
          });
    } catch (IOException e) {
      throw new UncheckedIOException(e); // Memory gives none.
    }
    return file.flip();
  }

  private void writeTo(OutputStream out) throws IOException {
    long position = write(out, header());
    for (Tensor tensor : tensors.values()) {
      position += pad(out, position);
      position += write(out, tensor.data.duplicate());
    }
    pad(out, position);
  }

  private ByteBuffer header() {
    List<byte[]> parts = new ArrayList<>();
    parts.add(
        bytes(16 + 8)
            .putInt(Gguf.MAGIC)
            .putInt(3)
            .putLong(tensors.size())
            .putLong(metadata.size())
            .array());
    metadata.forEach(
        (key, value) -> {
          parts.add(string(key));
          parts.add(bytes(4).putInt(Gguf.valueType(value).ordinal()).array());
          parts.add(value(value));
        });
    long offset = 0;
    for (Map.Entry<String, Tensor> entry : tensors.entrySet()) {
      Tensor tensor = entry.getValue();
      parts.add(string(entry.getKey()));
      ByteBuffer info = bytes(4 + 8 * tensor.dims.length + 4 + 8).putInt(tensor.dims.length);
      for (long dim : tensor.dims) {
        info.putLong(dim);
      }
      parts.add(info.putInt(tensor.type.id).putLong(offset).array());
      offset = Gguf.align(offset + Gguf.elements(tensor.dims) * tensor.type.size);
    }
    ByteBuffer header = bytes(parts.stream().mapToInt(part -> part.length).sum());
    parts.forEach(header::put);
    return header.flip();
  }

  private static byte[] value(Object value) {
    if (value instanceof Integer i) {
      return bytes(4).putInt(i).array();
    } else if (value instanceof Long l) {
      return bytes(8).putLong(l).array();
    } else if (value instanceof Float f) {
      return bytes(4).putFloat(f).array();
    } else if (value instanceof Double d) {
      return bytes(8).putDouble(d).array();
    } else if (value instanceof Boolean b) {
      return new byte[] {(byte) (b ? 1 : 0)};
    } else if (value instanceof String s) {
      return string(s);
    }
    List<byte[]> strings = ((List<?>) value).stream().map(s -> string((String) s)).toList();
    ByteBuffer array = bytes(4 + 8 + strings.stream().mapToInt(s -> s.length).sum());
    array.putInt(Gguf.ValueType.STRING.ordinal()).putLong(strings.size());
    strings.forEach(array::put);
    return array.array();
  }

  private static byte[] string(String s) {
    byte[] utf8 = s.getBytes(StandardCharsets.UTF_8);
    return bytes(8 + utf8.length).putLong(utf8.length).put(utf8).array();
  }

  private static ByteBuffer bytes(int size) {
    return ByteBuffer.allocate(size).order(ByteOrder.LITTLE_ENDIAN);
  }

  private static long pad(OutputStream out, long position) throws IOException {
    return write(out, bytes((int) (Gguf.align(position) - position)));
  }

  /** Returns the number of bytes. */
  private static long write(OutputStream out, Buffer data) throws IOException {
    ByteBuffer chunk = bytes(CHUNK);
    long written = 0;
    while (data.hasRemaining()) {
      chunk.clear();
      while (data.hasRemaining() && chunk.remaining() >= Long.BYTES) {
        if (data instanceof FloatBuffer floats) {
          chunk.putFloat(floats.get());
        } else if (data instanceof LongBuffer longs) {
          chunk.putLong(longs.get());
        } else {
          chunk.put(((ByteBuffer) data).get());
        }
      }
      out.write(chunk.array(), 0, chunk.position());
      written += chunk.position();
    }
    return written;
  }
}

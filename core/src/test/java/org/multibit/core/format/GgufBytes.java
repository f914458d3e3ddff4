package org.multibit.core.format;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.function.Consumer;

/** A GGUF file put together by hand from docs/format.md, right or wrong; shares no main code. */
final class GgufBytes {
  static final int U8 = 0;
  static final int I8 = 1;
  static final int U16 = 2;
  static final int I16 = 3;
  static final int U32 = 4;
  static final int I32 = 5;
  static final int F32 = 6;
  static final int BOOL = 7;
  static final int STRING = 8;
  static final int ARRAY = 9;
  static final int U64 = 10;
  static final int I64 = 11;
  static final int F64 = 12;
  static final int TENSOR_F32 = 0;
  static final int TENSOR_I64 = 27;

  private final ByteBuffer out = ByteBuffer.allocate(1 << 16).order(ByteOrder.LITTLE_ENDIAN);

  static GgufBytes header(long tensors, long keys) {
    return new GgufBytes().ascii("GGUF").u32(3).u64(tensors).u64(keys);
  }

  GgufBytes ascii(String s) {
    out.put(s.getBytes(StandardCharsets.US_ASCII));
    return this;
  }

  GgufBytes u8(int value) {
    out.put((byte) value);
    return this;
  }

  GgufBytes u16(int value) {
    out.putShort((short) value);
    return this;
  }

  GgufBytes u32(int value) {
    out.putInt(value);
    return this;
  }

  GgufBytes u64(long value) {
    out.putLong(value);
    return this;
  }

  GgufBytes f32(float value) {
    out.putFloat(value);
    return this;
  }

  GgufBytes f64(double value) {
    out.putDouble(value);
    return this;
  }

  GgufBytes string(String s) {
    byte[] utf8 = s.getBytes(StandardCharsets.UTF_8);
    out.putLong(utf8.length).put(utf8);
    return this;
  }

  GgufBytes key(String key, String value) {
    return string(key).u32(STRING).string(value);
  }

  GgufBytes key(String key, int value) {
    return string(key).u32(U32).u32(value);
  }

  GgufBytes key(String key, float value) {
    return string(key).u32(F32).f32(value);
  }

  GgufBytes key(String key, List<String> values) {
    string(key).u32(ARRAY).u32(STRING).u64(values.size());
    values.forEach(this::string);
    return this;
  }

  GgufBytes tensor(String name, int type, long offset, long... dims) {
    string(name).u32(dims.length);
    for (long dim : dims) {
      u64(dim);
    }
    return u32(type).u64(offset);
  }

  GgufBytes pad() {
    while (out.position() % 64 != 0) {
      out.put((byte) 0);
    }
    return this;
  }

  GgufBytes with(Consumer<GgufBytes> more) {
    more.accept(this);
    return this;
  }

  byte[] bytes() {
    byte[] bytes = new byte[out.position()];
    out.duplicate().flip().get(bytes);
    return bytes;
  }

  Path writeTo(Path path) {
    try {
      return Files.write(path, bytes());
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }
}

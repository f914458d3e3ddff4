package org.multibit.core.format;

import java.util.List;
import java.util.Locale;

/** The constants of GGUF version 3 that writer and reader share. */
final class Gguf {
  /** "GGUF", read as a little-endian int. */
  static final int MAGIC = 0x46554747;

  static final int ALIGNMENT = 64;

  /** The limits of docs/format.md, which keep what a hostile file can cost small. */
  static final int MAX_HEADER = 1 << 26;

  static final int MAX_ENTRIES = 1 << 16;

  static final int MAX_STRING = 1 << 20;

  /** The deepest nesting of arrays. */
  static final int MAX_NESTING = 4;

  /** Metadata value types, in the order of their numbers. */
  enum ValueType {
    UINT8(1),
    INT8(1),
    UINT16(2),
    INT16(2),
    UINT32(4),
    INT32(4),
    FLOAT32(4),
    BOOL(1),
    STRING(8),
    ARRAY(12),
    UINT64(8),
    INT64(8),
    FLOAT64(8);

    /** Bytes of a value; for a string or an array, those of an empty one. */
    final int size;

    ValueType(int size) {
      this.size = size;
    }

    /** As the GGUF specification writes it: u8, i32, bool, string... */
    @Override
    public String toString() {
      return name().toLowerCase(Locale.ROOT).replaceAll("^([uif])[a-z]+(?=\\d)", "$1");
    }
  }

  static final List<ValueType> VALUE_TYPES = List.of(ValueType.values());

  /** The tensor types that multibit files use. */
  enum TensorType {
    F32(0, Float.BYTES),
    I64(27, Long.BYTES);

    final int id;
    final int size;

    TensorType(int id, int size) {
      this.id = id;
      this.size = size;
    }
  }

  private Gguf() {}

  static ValueType valueType(Object value) {
    if (value instanceof Integer) {
      return ValueType.UINT32;
    } else if (value instanceof Long) {
      return ValueType.UINT64;
    } else if (value instanceof Float) {
      return ValueType.FLOAT32;
    } else if (value instanceof Double) {
      return ValueType.FLOAT64;
    } else if (value instanceof Boolean) {
      return ValueType.BOOL;
    } else if (value instanceof String) {
      return ValueType.STRING;
    } else if (value instanceof List<?> list && list.stream().allMatch(String.class::isInstance)) {
      return ValueType.ARRAY;
    }
    throw new IllegalArgumentException("GGUF metadata cannot hold " + value);
  }

  static long align(long offset) {
    return (offset + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
  }

  /** The product of the dimensions; throws ArithmeticException if it overflows. */
  static long elements(long[] dims) {
    long elements = 1;
    for (long dim : dims) {
      elements = Math.multiplyExact(elements, dim);
    }
    return elements;
  }
}

package org.multibit.core.format;

import java.util.List;

/** The constants of GGUF version 3 that writer and reader share. */
final class Gguf {
  /** "GGUF", read as a little-endian int. */
  static final int MAGIC = 0x46554747;

  static final int ALIGNMENT = 64;

  /** Metadata value types, in the order of their numbers. */
  enum ValueType {
    UINT8,
    INT8,
    UINT16,
    INT16,
    UINT32,
    INT32,
    FLOAT32,
    BOOL,
    STRING,
    ARRAY,
    UINT64,
    INT64,
    FLOAT64
  }

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

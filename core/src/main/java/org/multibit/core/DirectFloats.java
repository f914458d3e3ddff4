package org.multibit.core;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.FloatBuffer;

/** Float memory in the form that {@link Kernels} need. */
public final class DirectFloats {
  private DirectFloats() {}

  /**
   * Allocates direct memory in native order for {@code count} floats, filled with zeros.
   *
   * @throws ArithmeticException if they take 2 GiB or more
   */
  public static FloatBuffer allocate(int count) {
    return ByteBuffer.allocateDirect(Math.multiplyExact(count, Float.BYTES))
        .order(ByteOrder.nativeOrder())
        .asFloatBuffer();
  }
}

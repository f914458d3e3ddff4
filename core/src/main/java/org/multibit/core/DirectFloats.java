package org.multibit.core;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.FloatBuffer;

/** Float memory as {@link Kernels} take it. */
public final class DirectFloats {
  private DirectFloats() {}

  /**
   * Direct memory of native order for {@code count} floats, zeros.
   *
   * @throws ArithmeticException if they take 2 GiB or more
   */
  public static FloatBuffer allocate(int count) {
    return ByteBuffer.allocateDirect(Math.multiplyExact(count, Float.BYTES))
        .order(ByteOrder.nativeOrder())
        .asFloatBuffer();
  }
}

package org.multibit.layers;

import java.lang.ref.Reference;
import java.nio.ByteOrder;
import java.nio.FloatBuffer;
import java.util.Arrays;
import org.bytedeco.javacpp.BytePointer;
import org.bytedeco.javacpp.Pointer;
import org.multibit.core.DirectFloats;
import org.nd4j.linalg.api.buffer.DataType;
import org.nd4j.linalg.api.ndarray.INDArray;

/**
 * ND4J arrays as direct row-major float memory, without a copy if they already have this layout.
 */
public final class FloatRows {
  private FloatRows() {}

  /**
   * The elements in 'c' order: the array's own memory if it is contiguous, 'c' and FLOAT, or else a
   * copy.
   *
   * <p>The buffer does not keep the array's memory alive. The caller must keep the array reachable
   * as long as it uses the buffer, with {@link Reference#reachabilityFence}; a variable that is not
   * read again does not suffice.
   *
   * @param array rank 1 or 2, not empty, less than 2 GiB of floats
   */
  public static FloatBuffer of(INDArray array) {
    if (array.rank() < 1 || array.rank() > 2 || array.isEmpty()) {
      throw new IllegalArgumentException(
          "Expected a vector or a matrix, got shape " + Arrays.toString(array.shape()));
    }
    long bytes = array.length() * Float.BYTES;
    if (!fits(array)) {
      throw new IllegalArgumentException(
          "An array of shape %s takes %s bytes: over 2 GiB"
              .formatted(Arrays.toString(array.shape()), bytes));
    }
    if (array.dataType() == DataType.FLOAT && isContiguous(array)) {
      return view(array);
    }
    INDArray floats = array.castTo(DataType.FLOAT).dup('c');
    FloatBuffer copy = DirectFloats.allocate((int) array.length());
    copy.put(view(floats)).flip();
    Reference.reachabilityFence(floats);
    return copy;
  }

  /** Whether the elements take less than 2 GiB as floats, as a buffer must. */
  public static boolean fits(INDArray array) {
    return array.length() * Float.BYTES <= Integer.MAX_VALUE;
  }

  /** Whether the elements lie one after the other in 'c' order. */
  public static boolean isContiguous(INDArray array) {
    long expected = 1;
    for (int d = array.rank() - 1; d >= 0; d--) {
      if (array.size(d) != 1 && array.stride(d) != expected) {
        return false;
      }
      expected *= array.size(d);
    }
    return true;
  }

  private static FloatBuffer view(INDArray array) {
    // addressPointer includes a view's offset, pointer() would not.
    Pointer start = array.data().addressPointer();
    BytePointer bytes = new BytePointer(start).capacity(array.length() * Float.BYTES);
    return bytes.asByteBuffer().order(ByteOrder.nativeOrder()).asFloatBuffer();
  }
}

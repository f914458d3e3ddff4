package org.multibit.layers;

import java.util.Arrays;
import org.nd4j.linalg.api.buffer.DataType;
import org.nd4j.linalg.api.memory.MemoryWorkspace;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.nd4j.linalg.factory.Nd4j;

/**
 * One array that a layer keeps from iteration to iteration instead of allocating it anew; outside
 * all workspaces.
 */
final class Scratch {
  private INDArray array;

  /** A 'c'-ordered array of this shape with unspecified content. */
  INDArray get(DataType type, long... shape) {
    if (array == null || array.dataType() != type || !Arrays.equals(array.shape(), shape)) {
      try (MemoryWorkspace none = Nd4j.getMemoryManager().scopeOutOfWorkspaces()) {
        array = Nd4j.createUninitializedDetached(type, 'c', shape);
      }
    }
    return array;
  }
}

package org.multibit.layers;

import java.util.Arrays;
import org.nd4j.linalg.api.buffer.DataType;
import org.nd4j.linalg.api.memory.MemoryWorkspace;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.nd4j.linalg.factory.Nd4j;
import org.nd4j.linalg.indexing.NDArrayIndex;

/** Memory that a layer reuses from iteration to iteration. It is outside all workspaces. */
final class Scratch {
  private INDArray memory;
  private INDArray array;

  /**
   * A 'c'-ordered array of this shape with unspecified content. It invalidates the previous one.
   */
  INDArray get(DataType type, long... shape) {
    if (array != null && array.dataType() == type && Arrays.equals(array.shape(), shape)) {
      return array;
    }
    long length = Arrays.stream(shape).reduce(1, Math::multiplyExact);
    try (MemoryWorkspace none = Nd4j.getMemoryManager().scopeOutOfWorkspaces()) {
      if (memory == null || memory.dataType() != type || memory.length() < length) {
        memory = Nd4j.createUninitializedDetached(type, 'c', length);
      }
      array = memory.get(NDArrayIndex.interval(0, length)).reshape('c', shape);
    }
    return array;
  }
}

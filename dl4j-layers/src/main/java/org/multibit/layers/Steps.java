package org.multibit.layers;

import java.nio.FloatBuffer;
import org.nd4j.linalg.api.buffer.DataType;
import org.nd4j.linalg.api.memory.MemoryWorkspace;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.nd4j.linalg.factory.Nd4j;
import org.nd4j.linalg.indexing.NDArrayIndex;

/**
 * The rows [T*B, parts * C] of a sequence, time-major, in memory that a layer reuses from iteration
 * to iteration, outside all workspaces. Views of its time steps and of its parts (blocks of C
 * columns) are made once for each shape, because making them at each step would cost more than
 * computing the step.
 */
final class Steps {
  private INDArray all;
  private long batch;
  private INDArray[] steps;
  private INDArray[] parts;
  private INDArray[][] stepParts;
  private FloatBuffer[] stepFloats;
  private FloatBuffer floats;

  /** Sets the shape. If it changes, the content is unspecified afterwards. */
  Steps resize(DataType type, long time, long batch, int parts, long columns) {
    if (all == null
        || all.dataType() != type
        || all.size(0) != time * batch
        || this.batch != batch
        || this.parts.length != parts
        || all.size(1) != parts * columns) {
      try (MemoryWorkspace none = Nd4j.getMemoryManager().scopeOutOfWorkspaces()) {
        all = Nd4j.createUninitializedDetached(type, 'c', time * batch, parts * columns);
        this.batch = batch;
        this.parts = split(all, parts, columns);
        steps = new INDArray[(int) time];
        stepParts = new INDArray[(int) time][];
        floats = type == DataType.FLOAT ? FloatRows.of(all) : null;
        stepFloats = new FloatBuffer[type == DataType.FLOAT ? (int) time : 0];
        for (int t = 0; t < time; t++) {
          steps[t] = steps(t, t + 1);
          stepParts[t] = split(steps[t], parts, columns);
        }
        for (int t = 0; t < stepFloats.length; t++) {
          stepFloats[t] = FloatRows.of(steps[t]);
        }
      }
    }
    return this;
  }

  private static INDArray[] split(INDArray rows, int parts, long columns) {
    INDArray[] views = new INDArray[parts];
    for (int p = 0; p < parts; p++) {
      views[p] =
          parts == 1
              ? rows
              : rows.get(NDArrayIndex.all(), NDArrayIndex.interval(p * columns, (p + 1) * columns));
    }
    return views;
  }

  /** [T*B, parts * C]. */
  INDArray all() {
    return all;
  }

  /** Step t, [B, parts * C]. */
  INDArray step(int t) {
    return steps[t];
  }

  /** The memory of steps from..to-1, which lives as long as this object; only in FLOAT. */
  FloatBuffer floats(int from, int to) {
    int length = (int) (batch * all.size(1));
    return floats.slice(from * length, (to - from) * length);
  }

  /** The memory of step t, which lives as long as this object; only in FLOAT. */
  FloatBuffer floats(int t) {
    return stepFloats[t];
  }

  /** Steps from..to-1, [(to - from) * B, parts * C]. */
  INDArray steps(long from, long to) {
    return all.get(NDArrayIndex.interval(from * batch, to * batch), NDArrayIndex.all());
  }

  /** One part of all steps, [T*B, C]. */
  INDArray part(int part) {
    return parts[part];
  }

  /** One part of step t, [B, C]. */
  INDArray part(int t, int part) {
    return stepParts[t][part];
  }
}

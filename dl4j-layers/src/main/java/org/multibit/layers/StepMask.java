package org.multibit.layers;

import java.util.stream.IntStream;
import org.nd4j.linalg.api.buffer.DataType;
import org.nd4j.linalg.api.memory.MemoryWorkspace;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.nd4j.linalg.factory.Nd4j;
import org.nd4j.linalg.indexing.NDArrayIndex;

/**
 * The mask of a recurrent layer's own, which comes from what wraps it (LastTimeStep, Bidirectional,
 * MaskZeroLayer). As in DL4J's LSTM it multiplies what each step gives: output and states.
 *
 * <p>Kernels that run over a sequence know no mask. They run over pieces of it; between two pieces
 * the states are multiplied. A piece ends only where that matters: before a step that counts, in a
 * row whose step before had a mask other than 1. So padding at the end costs nothing, and padding
 * at the start a piece for each length. What is not multiplied between pieces is multiplied in the
 * output.
 */
final class StepMask {
  private final INDArray column;
  private final INDArray between;
  private final INDArray outside;
  private final boolean[] ends;
  private final long batch;

  /**
   * @param column time-major [T*B, 1]
   */
  StepMask(INDArray column, long batch) {
    this.batch = batch;
    double[] mask = column.data().asDouble();
    double[] inside = new double[mask.length];
    double[] rest = mask.clone();
    ends = new boolean[(int) (mask.length / batch)];
    for (int i = 0; i < mask.length; i++) {
      int next = (int) (i + batch);
      inside[i] = 1;
      if (next < mask.length && mask[i] != 1 && mask[next] != 0) {
        inside[i] = mask[i];
        rest[i] = 1;
        ends[(int) (i / batch)] = true;
      }
    }
    try (MemoryWorkspace none = Nd4j.getMemoryManager().scopeOutOfWorkspaces()) {
      DataType type = column.dataType();
      this.column = column.dup('c');
      between = Nd4j.createFromArray(inside).reshape(mask.length, 1).castTo(type);
      outside = Nd4j.createFromArray(rest).reshape(mask.length, 1).castTo(type);
    }
  }

  /** The mask itself, of steps from..to-1, [(to - from) * B, 1]. */
  INDArray steps(long from, long to) {
    return steps(column, from, to);
  }

  private INDArray steps(INDArray of, long from, long to) {
    return of.get(NDArrayIndex.interval(from * batch, to * batch), NDArrayIndex.all());
  }

  /** The steps, in order, before which a piece of from..to-1 starts, and {@code to}. */
  int[] pieces(int from, int to) {
    return IntStream.concat(
            IntStream.range(from, to).filter(t -> t == from || ends[t - 1]), IntStream.of(to))
        .toArray();
  }

  /**
   * Multiplies what passes between step t and the next: states, or their gradients.
   *
   * @param rows [B, H], changed
   */
  void between(int t, INDArray rows) {
    if (ends[t]) {
      rows.muliColumnVector(steps(between, t, t + 1));
    }
  }

  /**
   * Multiplies what leaves steps from..to-1, or its gradient, by what {@link #between} leaves.
   *
   * @param rows [(to - from) * B, H], changed
   */
  void outside(long from, long to, INDArray rows) {
    rows.muliColumnVector(steps(outside, from, to));
  }
}

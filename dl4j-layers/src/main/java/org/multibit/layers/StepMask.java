package org.multibit.layers;

import java.util.stream.IntStream;
import org.nd4j.linalg.api.buffer.DataType;
import org.nd4j.linalg.api.memory.MemoryWorkspace;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.nd4j.linalg.factory.Nd4j;
import org.nd4j.linalg.indexing.NDArrayIndex;

/**
 * A recurrent layer's own mask, which comes from its wrapper (LastTimeStep, Bidirectional,
 * MaskZeroLayer). As in DL4J's LSTM it multiplies the output and the states of each step.
 *
 * <p>Kernels for whole sequences take no mask. They run over pieces of the sequence, and between
 * two pieces the states are multiplied by the mask. A piece ends only where this matters: before a
 * step with a mask other than 0 in a row whose previous step had a mask other than 1. So padding at
 * the end costs nothing, and padding at the start costs one piece for each length. Steps inside a
 * piece are multiplied in the output.
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
   * Multiplies the states between step t and the next, or their gradients.
   *
   * @param rows [B, H], changed
   */
  void between(int t, INDArray rows) {
    if (ends[t]) {
      rows.muliColumnVector(steps(between, t, t + 1));
    }
  }

  /**
   * Multiplies the outputs of steps from..to-1, or their gradients, by the part of the mask that
   * {@link #between} does not apply.
   *
   * @param rows [(to - from) * B, H], changed
   */
  void outside(long from, long to, INDArray rows) {
    rows.muliColumnVector(steps(outside, from, to));
  }
}

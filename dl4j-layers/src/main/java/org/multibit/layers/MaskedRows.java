package org.multibit.layers;

import java.lang.ref.Reference;
import org.bytedeco.javacpp.BytePointer;
import org.bytedeco.javacpp.Pointer;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.nd4j.linalg.api.ops.impl.reduce.longer.MatchCondition;
import org.nd4j.linalg.factory.Nd4j;
import org.nd4j.linalg.indexing.conditions.Conditions;

/**
 * The rows of a layer that a mask covers: those where all elements of the mask are 0. No result
 * depends on their contents. They are set to 0, not multiplied by it, since NaN times 0 is NaN.
 */
final class MaskedRows {
  private MaskedRows() {}

  /**
   * Sets the rows that a mask covers to zeros.
   *
   * @param rows [N, C], contiguous in 'c' order, changed
   * @param mask [N, k]; null = no row is covered
   */
  static void clear(INDArray rows, INDArray mask) {
    if (mask == null) {
      return;
    }
    boolean[] covered = covered(mask);
    for (int i = 0; i < covered.length; i++) {
      if (covered[i]) {
        clear(rows, i);
      }
    }
  }

  /**
   * Sets the rows that a mask covers to zeros if they contain NaN or infinity. A layer to which
   * DL4J does not pass the mask treats covered rows as data, so finite rows stay.
   *
   * @param rows [N, C], contiguous in 'c' order, changed
   * @param mask [N, k]; null = no row is covered
   */
  static void clearNotFinite(INDArray rows, INDArray mask) {
    if (mask == null) {
      return;
    }
    boolean[] covered = covered(mask);
    int[] notFinite =
        Nd4j.getExecutioner()
            .exec(new MatchCondition(rows, Conditions.notFinite(), 1))
            .data()
            .asInt();
    for (int i = 0; i < covered.length; i++) {
      if (covered[i] && notFinite[i] > 0) {
        clear(rows, i);
      }
    }
  }

  /**
   * A mask that DL4J passes around a layer, in the form of that layer's rows.
   *
   * @param mask [B, T]; a mask of another shape does not belong to the input's steps
   * @param input [B, C, T]
   * @return time-major [T*B, 1]; null = none
   */
  static INDArray ofSteps(INDArray mask, INDArray input) {
    boolean fits =
        mask != null
            && mask.rank() == 2
            && mask.size(0) == input.size(0)
            && mask.size(1) == input.size(2);
    return fits ? mask.transpose().dup('c').reshape('c', mask.length(), 1) : null;
  }

  private static boolean[] covered(INDArray mask) {
    double[] values = mask.dup('c').data().asDouble();
    int columns = (int) mask.size(1);
    boolean[] covered = new boolean[(int) mask.size(0)];
    for (int i = 0; i < covered.length; i++) {
      covered[i] = true;
      for (int j = 0; j < columns; j++) {
        covered[i] &= values[i * columns + j] == 0;
      }
    }
    return covered;
  }

  private static void clear(INDArray rows, long row) {
    long bytes = rows.size(1) * rows.dataType().width();
    BytePointer memory = new BytePointer(rows.data().addressPointer());
    Pointer.memset(memory.position(row * bytes), 0, bytes);
    Reference.reachabilityFence(rows);
  }
}

package org.multibit.layers;

import java.lang.ref.Reference;
import java.nio.FloatBuffer;
import org.multibit.core.FloatRows;
import org.multibit.core.Kernels;
import org.nd4j.linalg.api.buffer.DataType;
import org.nd4j.linalg.api.ndarray.INDArray;

/**
 * The full-precision product that each time step adds to its sums: by BLAS, or where they are
 * faster by {@link Kernels}, which lay out the weights once for all steps.
 */
final class RecurrentProduct {
  private final Scratch memory = new Scratch();
  private INDArray weights;
  private boolean transposed;
  private INDArray panels;

  /**
   * Takes the weights of a sequence, which must not change until its last step.
   *
   * @param weights [nIn, nOut], or [nOut, nIn] if transposed; 'c' order
   */
  void start(INDArray weights, boolean transposed) {
    this.weights = weights;
    this.transposed = transposed;
    panels = null;
    if (weights.dataType() == DataType.FLOAT && Kernels.get().panelsPay()) {
      int in = (int) weights.size(transposed ? 1 : 0);
      int out = (int) weights.size(transposed ? 0 : 1);
      panels = memory.get(DataType.FLOAT, Kernels.panelFloats(in, out));
      Kernels.get().makePanels(FloatRows.of(weights), in, out, transposed, FloatRows.of(panels));
      Reference.reachabilityFence(weights);
    }
  }

  /** {@code into.step(s) += from.step(t) weights}. */
  void add(Steps from, int t, Steps into, int s) {
    if (panels == null) {
      TimeMajor.multiply(from.step(t), false, weights, transposed, into.step(s), 1, 1);
      return;
    }
    int batch = (int) from.step(t).size(0);
    int in = (int) from.step(t).size(1);
    int out = (int) into.step(s).size(1);
    FloatBuffer w = FloatRows.of(panels);
    Kernels.get().multiplyPanels(from.floats(t), batch, in, w, out, into.floats(s));
    Reference.reachabilityFence(panels);
  }
}

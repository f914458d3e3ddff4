package org.multibit.layers;

import java.lang.ref.Reference;
import java.nio.FloatBuffer;
import org.multibit.core.Kernels;
import org.nd4j.linalg.api.buffer.DataType;
import org.nd4j.linalg.api.ndarray.INDArray;

/**
 * Full-precision products with weights that are stored transposed or that the time steps of a
 * sequence share. {@link Kernels} compute them with prepacked weights where they are faster;
 * otherwise BLAS does.
 */
final class PrepackedProduct {
  private final Scratch memory = new Scratch();
  private INDArray weights;
  private boolean transposed;
  private INDArray panels;

  /**
   * Takes the weights, which must not change until the last product.
   *
   * @param weights [nIn, nOut], or [nOut, nIn] if transposed; 'c' order
   */
  void start(INDArray weights, boolean transposed) {
    this.weights = weights;
    this.transposed = transposed;
    panels = null;
    int in = (int) weights.size(transposed ? 1 : 0);
    int out = (int) weights.size(transposed ? 0 : 1);
    if (weights.dataType() == DataType.FLOAT && Kernels.get().hasFastGemm()) {
      panels = memory.get(DataType.FLOAT, Kernels.panelFloats(in, out));
      Kernels.get()
          .prepackWeights(FloatRows.of(weights), in, out, transposed, FloatRows.of(panels));
      Reference.reachabilityFence(weights);
    }
  }

  /** The prepacked weights, as {@link Kernels} take them; null if BLAS multiplies. */
  FloatBuffer panels() {
    return panels == null ? null : FloatRows.of(panels);
  }

  /** {@code into.step(s) += from.step(t) weights}. */
  void add(Steps from, int t, Steps into, int s) {
    if (panels == null) {
      Matrices.multiply(from.step(t), false, weights, transposed, into.step(s), 1, 1);
      return;
    }
    int batch = (int) from.step(t).size(0);
    int in = (int) from.step(t).size(1);
    int out = (int) into.step(s).size(1);
    Kernels.get()
        .gemmPrepacked(from.floats(t), batch, in, FloatRows.of(panels), out, null, into.floats(s));
    Reference.reachabilityFence(panels);
  }

  /**
   * {@code into = bias + x weights}.
   *
   * @param x [rows, nIn]
   * @param bias nOut elements
   * @param into [rows, nOut], 'c' order
   */
  void multiply(INDArray x, INDArray bias, INDArray into) {
    if (panels == null) {
      Matrices.multiply(x, false, weights, transposed, into, 1, 0);
      Matrices.addBias(bias, into);
      return;
    }
    int in = (int) x.size(1);
    int out = (int) into.size(1);
    Kernels.get()
        .gemmPrepacked(
            FloatRows.of(x),
            (int) x.size(0),
            in,
            FloatRows.of(panels),
            out,
            FloatRows.of(bias),
            FloatRows.of(into));
    Reference.reachabilityFence(x);
    Reference.reachabilityFence(panels);
    Reference.reachabilityFence(bias);
    Reference.reachabilityFence(into);
  }
}

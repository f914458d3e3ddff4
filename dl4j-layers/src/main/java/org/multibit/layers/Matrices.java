package org.multibit.layers;

import java.lang.ref.Reference;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.FloatBuffer;
import java.nio.IntBuffer;
import java.util.Arrays;
import org.bytedeco.javacpp.Pointer;
import org.multibit.core.Kernels;
import org.nd4j.linalg.api.buffer.DataType;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.nd4j.linalg.api.ops.impl.scatter.ScatterUpdate;
import org.nd4j.linalg.factory.Nd4j;

/**
 * Operations of layers on ND4J matrices [N, C]. {@link Kernels} compute them in FLOAT where they
 * are faster, otherwise ND4J does.
 */
final class Matrices {
  private Matrices() {}

  /**
   * {@code c = alpha op(a) op(b) + beta c} for a 'c'-ordered c. {@link Kernels} compute it where
   * they are faster; otherwise BLAS does, through ND4J's gemm, which only takes the transpose of
   * such a c. No array is copied.
   */
  static void multiply(
      INDArray a,
      boolean transposeA,
      INDArray b,
      boolean transposeB,
      INDArray c,
      double alpha,
      double beta) {
    if (!transposeB && (beta == 0 || beta == 1) && hasFastGemm(a, b, c)) {
      int inner = (int) b.size(0);
      Kernels.get()
          .gemm(
              FloatRows.of(a),
              transposeA,
              FloatRows.of(b),
              (int) c.size(0),
              inner,
              (int) c.size(1),
              (float) alpha,
              beta == 1,
              FloatRows.of(c));
      Reference.reachabilityFence(a);
      Reference.reachabilityFence(b);
      Reference.reachabilityFence(c);
      return;
    }
    Nd4j.gemm(b, a, c.transpose(), !transposeB, !transposeA, alpha, beta);
  }

  /**
   * @param row [C]
   * @param rows [N, C], 'c' order, changed
   */
  static void addBias(INDArray row, INDArray rows) {
    if (rows.dataType() == DataType.FLOAT) {
      Kernels.get().addBias(FloatRows.of(row), FloatRows.of(rows));
      Reference.reachabilityFence(row);
      Reference.reachabilityFence(rows);
    } else {
      rows.addiRowVector(row);
    }
  }

  /**
   * @param rows [N, C], 'c' order
   * @param sums receives the sum of each column, C elements
   */
  static void columnSums(INDArray rows, INDArray sums) {
    if (rows.dataType() == DataType.FLOAT) {
      Kernels.get().columnSums(FloatRows.of(rows), FloatRows.of(sums));
      Reference.reachabilityFence(rows);
      Reference.reachabilityFence(sums);
    } else {
      rows.sum(sums, 0);
    }
  }

  /**
   * @param from [N, C], 'c' order
   * @param index of a row of {@code from} for each row of {@code into}
   * @param into [index.length, C], 'c' order
   */
  static void pullRows(INDArray from, int[] index, INDArray into) {
    if (!areFloats(from)) {
      Nd4j.pullRows(from, into, 1, index);
      return;
    }
    int columns = (int) from.size(1);
    FloatBuffer source = FloatRows.of(from);
    FloatBuffer target = FloatRows.of(into);
    for (int i = 0; i < index.length; i++) {
      target.put(i * columns, source, index[i] * columns, columns);
    }
    Reference.reachabilityFence(from);
    Reference.reachabilityFence(into);
  }

  /**
   * Adds each row to a row of {@code into}, in the order of the rows, so the bits are the same
   * every time.
   *
   * @param rows [index.length, C], 'c' order
   * @param index of a row of {@code into} for each of {@code rows}
   * @param into [N, C], 'c' order, changed
   */
  static void scatterAdd(INDArray rows, int[] index, INDArray into) {
    if (!areFloats(into)) {
      INDArray indices = Nd4j.createFromArray(index);
      Nd4j.scatterUpdate(ScatterUpdate.UpdateOp.ADD, into, indices, rows, 1);
      return;
    }
    ByteBuffer memory = ByteBuffer.allocateDirect(index.length * Integer.BYTES);
    IntBuffer indices = memory.order(ByteOrder.nativeOrder()).asIntBuffer().put(index).flip();
    int columns = (int) rows.size(1);
    Kernels.get().scatterAdd(FloatRows.of(rows), indices, columns, FloatRows.of(into));
    Reference.reachabilityFence(rows);
    Reference.reachabilityFence(into);
  }

  /**
   * Sets all elements to 0 in one pass of stores. ND4J's assignment also starts threads and reads.
   *
   * @param array contiguous
   */
  static void clear(INDArray array) {
    Pointer.memset(array.data().addressPointer(), 0, array.length() * array.dataType().width());
    Reference.reachabilityFence(array);
  }

  /** Whether {@link Kernels} should multiply matrices with this layout. */
  static boolean hasFastGemm(INDArray... matrices) {
    return Kernels.get().hasFastGemm()
        && Arrays.stream(matrices).allMatch(m -> areFloats(m) && FloatRows.isContiguous(m));
  }

  private static boolean areFloats(INDArray array) {
    return array.dataType() == DataType.FLOAT && FloatRows.fits(array);
  }
}

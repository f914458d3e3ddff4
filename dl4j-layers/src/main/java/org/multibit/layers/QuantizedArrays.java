package org.multibit.layers;

import java.lang.ref.Reference;
import java.nio.FloatBuffer;
import java.util.Arrays;
import org.multibit.core.MultibitMatrix;
import org.multibit.core.Quantization;
import org.multibit.core.Quantizer;
import org.multibit.core.SquaredError;
import org.nd4j.linalg.api.buffer.DataType;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.nd4j.linalg.factory.Nd4j;

/** Quantizes ND4J arrays. */
public final class QuantizedArrays {
  private QuantizedArrays() {}

  /**
   * Quantizes each row of a matrix, or a single vector as one row.
   *
   * @param rows shape [rows, cols] or [cols], any order and data type; computed in float
   * @return [rows, cols] in the weights' layout
   * @throws IllegalArgumentException if the quantizer does not allow this number of bits, the array
   *     is empty or of another rank, or an element is NaN or infinite (the message has its row and
   *     column)
   */
  public static MultibitMatrix pack(Quantizer quantizer, INDArray rows, int bits) {
    FloatBuffer floats = FloatRows.of(rows);
    int cols = (int) rows.size(rows.rank() - 1);
    MultibitMatrix packed = quantizer.quantize(floats, cols, bits);
    Reference.reachabilityFence(rows);
    return packed;
  }

  /** As {@link #pack(Quantizer, INDArray, int)}. */
  public static MultibitMatrix pack(Quantization quantization, INDArray rows) {
    return pack(quantization.quantizer(), rows, quantization.bits());
  }

  /** The values as a new detached FLOAT array, shape [rows, cols], 'c' order. */
  public static INDArray unpack(MultibitMatrix packed) {
    INDArray values =
        Nd4j.createUninitializedDetached(DataType.FLOAT, 'c', packed.rows(), packed.cols());
    RowQuantizer.unpack(packed, values);
    return values;
  }

  /**
   * Writes the quantized values as floats, as a layer multiplies with them.
   *
   * @param rows as for {@link #pack(Quantizer, INDArray, int)}; not changed
   * @param into FLOAT, of the shape of {@code rows}, 'c' order and contiguous; may be {@code rows}
   *     itself
   * @throws IllegalArgumentException as {@link #pack(Quantizer, INDArray, int)}, and if {@code
   *     into} is of another shape, type or layout
   */
  public static void quantize(Quantization quantization, INDArray rows, INDArray into) {
    if (into.dataType() != DataType.FLOAT
        || !FloatRows.isContiguous(into)
        || !into.equalShapes(rows)) {
      throw new IllegalArgumentException(
          "The target must be a contiguous 'c' FLOAT array of shape "
              + Arrays.toString(rows.shape()));
    }
    RowQuantizer.unpack(pack(quantization, rows), into);
  }

  /** Like {@link #quantize} into a new detached array of the shape of {@code rows}. */
  public static INDArray quantized(Quantization quantization, INDArray rows) {
    INDArray values = Nd4j.createUninitializedDetached(DataType.FLOAT, 'c', rows.shape());
    quantize(quantization, rows, values);
    return values;
  }

  /**
   * The squared error of the values as an approximation of {@code w}, over all rows.
   *
   * @param w shape [rows, cols]; [cols] if there is one row
   * @throws IllegalArgumentException if {@code w} has another shape
   */
  public static SquaredError squaredError(MultibitMatrix packed, INDArray w) {
    boolean fits = w.rank() == 1 ? packed.rows() == 1 : w.rank() == 2 && w.size(0) == packed.rows();
    if (!fits || w.length() != (long) packed.rows() * packed.cols()) {
      throw new IllegalArgumentException(
          "A %sx%s matrix cannot be compared with shape %s"
              .formatted(packed.rows(), packed.cols(), Arrays.toString(w.shape())));
    }
    SquaredError error = packed.squaredError(FloatRows.of(w));
    Reference.reachabilityFence(w);
    return error;
  }
}

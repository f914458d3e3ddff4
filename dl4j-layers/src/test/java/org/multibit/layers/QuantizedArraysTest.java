package org.multibit.layers;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.FloatBuffer;
import java.util.Random;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.multibit.core.Alternating;
import org.multibit.core.DirectFloats;
import org.multibit.core.Greedy;
import org.multibit.core.MultibitMatrix;
import org.multibit.core.Quantization;
import org.multibit.core.Quantizer;
import org.multibit.core.Uniform;
import org.nd4j.linalg.api.buffer.DataType;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.nd4j.linalg.factory.Nd4j;
import org.nd4j.linalg.indexing.NDArrayIndex;

/** Whatever an INDArray can be. */
class QuantizedArraysTest {
  private static final float[][] W = new float[11][70];

  static {
    Random random = new Random(1);
    for (float[] row : W) {
      for (int c = 0; c < row.length; c++) {
        row[c] = (float) random.nextGaussian();
      }
    }
  }

  private static INDArray w() {
    return Nd4j.createFromArray(W);
  }

  private static INDArray values(Quantizer quantizer, int bits, INDArray rows) {
    return QuantizedArrays.unpack(QuantizedArrays.pack(quantizer, rows, bits));
  }

  /** The same matrix in every memory layout that DL4J hands out. */
  static Stream<INDArray> layouts() {
    INDArray w = w();
    INDArray wide = Nd4j.rand(DataType.FLOAT, 20, 100);
    INDArray view = wide.get(NDArrayIndex.interval(5, 16), NDArrayIndex.interval(20, 90));
    view.assign(w);
    INDArray rowsOfLarger = Nd4j.vstack(Nd4j.ones(DataType.FLOAT, 3, 70), w);
    INDArray parameters = Nd4j.rand(DataType.FLOAT, 1000);
    INDArray flattened =
        parameters
            .get(NDArrayIndex.interval(100, 100 + 11 * 70))
            .reshape('f', new long[] {70, 11})
            .assign(w.transpose());
    return Stream.of(
        w,
        w.dup('f'),
        w.transpose().dup().transpose(),
        w.transpose().dup('f').transpose(),
        view,
        rowsOfLarger.get(NDArrayIndex.interval(3, 14), NDArrayIndex.all()),
        flattened.transpose(),
        w.castTo(DataType.DOUBLE),
        w.castTo(DataType.DOUBLE).dup('f'));
  }

  @ParameterizedTest
  @MethodSource("layouts")
  void everyLayoutGivesTheSame(INDArray rows) {
    INDArray before = rows.dup();
    FloatBuffer floats = DirectFloats.allocate(11 * 70);
    for (float[] row : W) {
      floats.put(row);
    }
    MultibitMatrix expected = new Alternating().quantize(floats.flip(), 70, 3);
    MultibitMatrix q = QuantizedArrays.pack(new Alternating(), rows, 3);
    assertEquals(11, q.rows());
    assertEquals(70, q.cols());
    assertEquals(expected.planes(), q.planes());
    assertEquals(expected.coefficients(), q.coefficients());
    assertEquals(before, rows);
    INDArray values = QuantizedArrays.unpack(q);
    assertEquals(expected.dequantize(), FloatBuffer.wrap(values.ravel().toFloatVector()));
  }

  @Test
  void aVectorIsOneRow() {
    INDArray expected = values(new Greedy(), 2, w()).getRow(4, true);
    assertEquals(expected, values(new Greedy(), 2, w().getRow(4)));
    assertEquals(expected, values(new Greedy(), 2, w().getRow(4, true)));
    INDArray strided = w().transpose().dup().getColumn(4);
    assertEquals(expected, values(new Greedy(), 2, strided));
  }

  @Test
  void aColumnIsManyRowsOfOneElement() {
    INDArray column = w().getColumn(7, true);
    assertEquals(column, values(new Alternating(), 2, column));
  }

  @Test
  void integersAreQuantizedAsFloats() {
    INDArray integers = Nd4j.createFromArray(new int[][] {{1, -2, 3}, {0, 5, -7}});
    assertEquals(
        values(new Uniform(), 4, integers.castTo(DataType.FLOAT)),
        values(new Uniform(), 4, integers));
  }

  @Test
  void quantizationWritesFloatsInPlaceOrElsewhere() {
    Quantization quantization = Quantization.alternating(2);
    INDArray expected = QuantizedArrays.unpack(QuantizedArrays.pack(quantization, w()));
    assertEquals(expected, QuantizedArrays.quantized(quantization, w().dup('f')));
    INDArray inPlace = w();
    QuantizedArrays.quantize(quantization, inPlace, inPlace);
    assertEquals(expected, inPlace);
    INDArray larger = Nd4j.zeros(DataType.FLOAT, 13, 70);
    QuantizedArrays.quantize(
        quantization, w(), larger.get(NDArrayIndex.interval(1, 12), NDArrayIndex.all()));
    assertEquals(expected, larger.get(NDArrayIndex.interval(1, 12), NDArrayIndex.all()));
    assertEquals(0, larger.getRow(0).maxNumber().floatValue());
    assertEquals(0, larger.getRow(12).maxNumber().floatValue());
    for (INDArray bad :
        new INDArray[] {
          Nd4j.zeros(DataType.DOUBLE, 11, 70),
          Nd4j.zeros(DataType.FLOAT, 70, 11),
          Nd4j.create(DataType.FLOAT, new long[] {11, 70}, 'f'),
          Nd4j.zeros(DataType.FLOAT, 11, 71).get(NDArrayIndex.all(), NDArrayIndex.interval(0, 70))
        }) {
      assertThrows(
          IllegalArgumentException.class, () -> QuantizedArrays.quantize(quantization, w(), bad));
    }
  }

  @Test
  void whatDoesNotFitAFloatIsRefused() {
    INDArray w = Nd4j.createFromArray(new double[][] {{1, 2}, {3, 1e300}});
    Throwable e =
        assertThrows(
            IllegalArgumentException.class, () -> QuantizedArrays.pack(new Greedy(), w, 2));
    assertEquals("Cannot quantize Infinity at row 1, column 1", e.getMessage());
  }

  @Test
  void otherShapesAreRefused() {
    for (INDArray bad :
        new INDArray[] {
          Nd4j.scalar(1f),
          Nd4j.empty(DataType.FLOAT),
          Nd4j.rand(DataType.FLOAT, 2, 3, 4),
          Nd4j.create(DataType.FLOAT, 0, 4)
        }) {
      String message =
          assertThrows(
                  IllegalArgumentException.class, () -> QuantizedArrays.pack(new Greedy(), bad, 2))
              .getMessage();
      assertTrue(message.startsWith("Expected a vector or a matrix, got shape ["), message);
    }
  }

  @Test
  void errorsAreOfMatricesOfOneShape() {
    INDArray w = Nd4j.createFromArray(new float[][] {{1, -1, 1}, {2, 2, 4}});
    MultibitMatrix q = QuantizedArrays.pack(new Greedy(), w, 1); // rows of 1 and of 8/3
    double expected = (2 * Math.pow(2 / 3.0, 2) + Math.pow(4 / 3.0, 2)) / 27;
    assertEquals(expected, QuantizedArrays.squaredError(q, w).relative(), 1e-7);
    assertEquals(expected, QuantizedArrays.squaredError(q, w.dup('f')).relative(), 1e-7);
    INDArray row = w.getRow(0);
    MultibitMatrix one = QuantizedArrays.pack(new Greedy(), row, 1);
    assertEquals(0, QuantizedArrays.squaredError(one, row).relative(), 1e-12);
    for (INDArray bad : new INDArray[] {w.transpose(), row, Nd4j.ones(6)}) {
      assertThrows(IllegalArgumentException.class, () -> QuantizedArrays.squaredError(q, bad));
    }
  }
}

package org.multibit.core;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.Map;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;
import org.nd4j.linalg.api.buffer.DataType;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.nd4j.linalg.factory.Nd4j;
import org.nd4j.linalg.indexing.NDArrayIndex;

/** {@link Quantizer#quantize} and {@link Quantization} on whatever an INDArray can be. */
class QuantizeArrayTest {
  private static final float[][] W = Samples.GAUSSIAN.rows(11, 70);

  private static INDArray w() {
    return Nd4j.createFromArray(W);
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
    INDArray expected = new Alternating().quantize(w(), 3).dequantize();
    MultibitMatrix q = new Alternating().quantize(rows, 3);
    assertEquals(11, q.rows());
    assertEquals(70, q.cols());
    assertEquals(expected, q.dequantize());
    assertEquals(before, rows);
    for (int r = 0; r < W.length; r++) {
      assertArrayEquals(
          Row.quantize(new Alternating(), 3, W[r]).values(), expected.getRow(r).toFloatVector());
    }
  }

  @Test
  void aVectorIsOneRow() {
    INDArray expected = new Greedy().quantize(w(), 2).dequantize().getRow(4, true);
    assertEquals(expected, new Greedy().quantize(w().getRow(4), 2).dequantize());
    assertEquals(expected, new Greedy().quantize(w().getRow(4, true), 2).dequantize());
    INDArray strided = w().transpose().dup().getColumn(4);
    assertEquals(expected, new Greedy().quantize(strided, 2).dequantize());
  }

  @Test
  void aColumnIsManyRowsOfOneElement() {
    INDArray column = w().getColumn(7, true);
    assertEquals(column, new Alternating().quantize(column, 2).dequantize());
  }

  @Test
  void integersAreQuantizedAsFloats() {
    INDArray integers = Nd4j.createFromArray(new int[][] {{1, -2, 3}, {0, 5, -7}});
    assertEquals(
        new Uniform().quantize(integers.castTo(DataType.FLOAT), 4).dequantize(),
        new Uniform().quantize(integers, 4).dequantize());
  }

  @Test
  void quantizationWritesFloatsInPlaceOrElsewhere() {
    Quantization quantization = Quantization.alternating(2);
    INDArray expected = quantization.quantize(w()).dequantize();
    assertEquals(expected, quantization.quantized(w().dup('f')));
    INDArray inPlace = w();
    quantization.quantizeTo(inPlace, inPlace);
    assertEquals(expected, inPlace);
    INDArray larger = Nd4j.zeros(DataType.FLOAT, 13, 70);
    quantization.quantizeTo(w(), larger.get(NDArrayIndex.interval(1, 12), NDArrayIndex.all()));
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
      assertThrows(IllegalArgumentException.class, () -> quantization.quantizeTo(w(), bad));
    }
  }

  @ParameterizedTest
  @ValueSource(floats = {Float.NaN, Float.POSITIVE_INFINITY, Float.NEGATIVE_INFINITY})
  void theFirstBadElementIsNamed(float bad) {
    for (String method : Quantizers.METHODS) {
      INDArray w = Nd4j.rand(DataType.FLOAT, 300, 40);
      w.putScalar(299, 0, Float.NaN);
      w.putScalar(17, 39, Float.NaN);
      w.putScalar(17, 5, bad);
      Throwable e =
          assertThrows(IllegalArgumentException.class, () -> Quantizers.of(method).quantize(w, 2));
      assertEquals("Cannot quantize " + bad + " at row 17, column 5", e.getMessage());
    }
  }

  @Test
  void whatDoesNotFitAFloatIsRefused() {
    INDArray w = Nd4j.createFromArray(new double[][] {{1, 2}, {3, 1e300}});
    Throwable e = assertThrows(IllegalArgumentException.class, () -> new Greedy().quantize(w, 2));
    assertEquals("Cannot quantize Infinity at row 1, column 1", e.getMessage());
  }

  @Test
  void bitsOutsideTheRangeAreRefused() {
    Map<String, Integer> most =
        Map.of(
            "uniform", 8, "balanced", 8, "greedy", 8, "refined", 8, "alternating", 8, "optimal", 2);
    most.forEach(
        (method, max) -> {
          Quantizer quantizer = Quantizers.of(method);
          for (int bits : new int[] {Integer.MIN_VALUE, -1, 0, max + 1, 64}) {
            String message =
                "The %s quantizer takes 1 to %d bits, not %d".formatted(method, max, bits);
            assertEquals(
                message,
                assertThrows(IllegalArgumentException.class, () -> quantizer.quantize(w(), bits))
                    .getMessage());
            assertEquals(
                message,
                assertThrows(
                        IllegalArgumentException.class, () -> new Quantization(quantizer, bits))
                    .getMessage());
          }
          assertEquals(max, quantizer.quantize(w(), max).bits());
        });
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
          assertThrows(IllegalArgumentException.class, () -> new Greedy().quantize(bad, 2))
              .getMessage();
      assertTrue(message.startsWith("Expected a vector or a matrix, got shape ["), message);
    }
  }

  @Test
  void settingsOutsideTheRangeAreRefused() {
    for (float scale : new float[] {0, -1, Float.NaN, Float.POSITIVE_INFINITY}) {
      assertThrows(IllegalArgumentException.class, () -> new Alternating(2, scale));
    }
    assertThrows(IllegalArgumentException.class, () -> new Alternating(-1, 1));
    String message =
        assertThrows(IllegalArgumentException.class, () -> Quantizers.of("ternary")).getMessage();
    assertTrue(message.contains("ternary") && message.contains("alternating"), message);
  }
}

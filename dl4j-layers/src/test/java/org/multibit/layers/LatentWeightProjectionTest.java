package org.multibit.layers;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.multibit.layers.Networks.B;
import static org.multibit.layers.Networks.V;
import static org.multibit.layers.Networks.assertClose;
import static org.multibit.layers.Networks.assertIdentical;
import static org.multibit.layers.Networks.data;
import static org.multibit.layers.Networks.gradient;
import static org.multibit.layers.Networks.network;
import static org.multibit.layers.Networks.saved;

import java.io.IOException;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.deeplearning4j.nn.multilayer.MultiLayerNetwork;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.multibit.core.Alternating;
import org.multibit.core.Balanced;
import org.multibit.core.Greedy;
import org.multibit.core.MultibitMatrix;
import org.multibit.core.Optimal;
import org.multibit.core.Quantization;
import org.multibit.core.Quantizer;
import org.multibit.core.RefinedGreedy;
import org.multibit.core.Uniform;
import org.multibit.layers.Networks.Cell;
import org.nd4j.linalg.api.buffer.DataType;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.nd4j.linalg.factory.Nd4j;
import org.nd4j.linalg.inverse.InvertMatrix;
import org.nd4j.linalg.learning.config.Sgd;

class LatentWeightProjectionTest {
  private static final Quantization Q2 = Quantization.alternating(2);
  private static final double RATE = 1e-3;
  private static final List<String> MATRICES = List.of("0_W", "1_W", "1_RW", "2_W");

  /** Layers wide enough that no row's planes depend on each other. */
  private static MultiLayerNetwork held(Cell cell) {
    int wide = 40;
    LatentWeightProjection projection = new LatentWeightProjection(Q2);
    return network(
        b -> b.updater(new Sgd(RATE)),
        l -> l,
        new QuantizedEmbedding.Builder()
            .nIn(V)
            .nOut(wide)
            .weights(Q2)
            .constrainWeights(projection)
            .build(),
        cell.builder()
            .nIn(wide)
            .nOut(wide)
            .weights(Q2)
            .recurrentActivations(Q2)
            .constrainWeights(projection)
            .build(),
        new QuantizedSoftmaxOutput.Builder()
            .nIn(wide)
            .nOut(V)
            .weights(Q2)
            .activations(Q2)
            .constrainWeights(projection)
            .build());
  }

  /** Rows that a layer quantizes. */
  private static INDArray rows(String key, INDArray param) {
    return key.equals("0_W") ? param : param.transpose();
  }

  /** w - rate B (B'B)^-1 B' g in double, for the codes B that w had before the step. */
  @ParameterizedTest
  @EnumSource(Cell.class)
  void aStepMovesCoefficientsAlone(Cell cell) {
    MultiLayerNetwork network = held(cell);
    network.fit(data(1)); // now weights are on their codes
    for (int step = 2; step < 6; step++) {
      Map<String, INDArray> gradient = gradient(network, data(step));
      Map<String, INDArray> expected = new HashMap<>();
      for (String key : MATRICES) {
        INDArray w = rows(key, network.getParam(key));
        INDArray g = rows(key, gradient.get(key)).castTo(DataType.DOUBLE).mul(RATE / B);
        expected.put(key, stepped(w, g));
      }
      network.fit(data(step));
      for (String key : MATRICES) {
        INDArray w = rows(key, network.getParam(key));
        assertClose(expected.get(key), w, 1e-6, key + " after step " + step);
      }
    }
  }

  private static INDArray stepped(INDArray w, INDArray step) {
    MultibitMatrix codes = QuantizedArrays.pack(Q2, w);
    INDArray expected = w.castTo(DataType.DOUBLE).dup('c');
    for (int r = 0; r < codes.rows(); r++) {
      INDArray planes = Nd4j.create(DataType.DOUBLE, codes.cols(), 2);
      for (int c = 0; c < codes.cols(); c++) {
        for (int p = 0; p < 2; p++) {
          planes.putScalar(c, p, codes.bit(r, p, c) ? 1 : -1);
        }
      }
      INDArray inverse = InvertMatrix.invert(planes.transpose().mmul(planes), false);
      INDArray coefficients =
          inverse.mmul(planes.transpose()).mmul(step.getRow(r).reshape(codes.cols(), 1));
      expected.getRow(r).subi(planes.mmul(coefficients).reshape(codes.cols()));
    }
    return expected;
  }

  @Test
  void learnsAndKeepsItsCodes() {
    MultiLayerNetwork network = held(Cell.LSTM);
    network.setLearningRate(0.05);
    network.fit(data(1));
    Map<String, MultibitMatrix> before = new HashMap<>();
    MATRICES.forEach(
        key -> before.put(key, QuantizedArrays.pack(Q2, rows(key, network.getParam(key)))));
    double loss = network.score(data(1));
    for (int step = 0; step < 60; step++) {
      network.fit(data(1));
    }
    assertTrue(network.score(data(1)) < 0.9 * loss, network.score(data(1)) + " after " + loss);
    for (String key : MATRICES) {
      INDArray w = rows(key, network.getParam(key));
      MultibitMatrix after = QuantizedArrays.pack(Q2, w);
      assertEquals(before.get(key).planes(), after.planes(), key);
      assertClose(w, QuantizedArrays.unpack(after), 1e-6, key);
    }
  }

  @Test
  void goesOnFromDl4jsZip() throws IOException {
    MultiLayerNetwork network = held(Cell.LSTM);
    network.fit(data(1));
    MultiLayerNetwork restored = saved(network);
    assertEquals(network.getLayerWiseConfigurations(), restored.getLayerWiseConfigurations());
    network.fit(data(2));
    restored.fit(data(2));
    assertIdentical(network.params(), restored.params());
  }

  /** At once and from then on, beside other constraints, until it is taken away. */
  @Test
  void aTrainedNetworkGetsIt() {
    MultiLayerNetwork network = network(Networks.quantized(Q2, Q2));
    network.fit(data(1));
    LatentWeightProjection.applyTo(network);
    INDArray once = network.params().dup();
    assertClose(
        QuantizedArrays.quantized(Q2, network.getParam("0_W")),
        network.getParam("0_W"),
        1e-6,
        "words");
    LatentWeightProjection.applyTo(network);
    assertIdentical(once, network.params());
    network.fit(data(2));
    INDArray units = network.getParam("2_W").transpose();
    assertClose(QuantizedArrays.quantized(Q2, units), units, 1e-6, "units");
    for (int l = 0; l < 3; l++) {
      assertEquals(2, network.getLayer(l).conf().getLayer().getConstraints().size());
    }
    LatentWeightProjection.removeFrom(network);
    network.fit(data(3));
    assertTrue(
        QuantizedArrays.squaredError(QuantizedArrays.pack(Q2, units), units).relative() > 1e-4);
    for (int l = 0; l < 3; l++) {
      assertEquals(1, network.getLayer(l).conf().getLayer().getConstraints().size());
    }
  }

  /** Also where rows lie apart in memory. */
  @Test
  void projectsUnitsOfAnyLayer() {
    INDArray w = Nd4j.rand(DataType.FLOAT, 9, 4).subi(0.5);
    INDArray expected = QuantizedArrays.quantized(Q2, w.transpose()).transpose();
    INDArray rowMajor = w.dup('c');
    INDArray columnMajor = w.dup('f');
    new LatentWeightProjection(Q2).apply(rowMajor);
    new LatentWeightProjection(Q2).apply(columnMajor);
    assertIdentical(expected, rowMajor);
    assertIdentical(expected, columnMajor);
  }

  @Test
  void refusesWhatIsNoProjection() {
    for (Quantizer quantizer :
        new Quantizer[] {
          new Uniform(),
          new Balanced(),
          new Greedy(),
          new Alternating(0, 1),
          new Alternating(2, 0.3f)
        }) {
      assertThrows(
          IllegalArgumentException.class,
          () -> new LatentWeightProjection(new Quantization(quantizer, 2)));
    }
    assertThrows(
        IllegalArgumentException.class,
        () -> new LatentWeightProjection(Quantization.alternating(3)));
    for (Quantizer quantizer :
        new Quantizer[] {new RefinedGreedy(), new Alternating(), new Optimal()}) {
      assertEquals(
          quantizer,
          new LatentWeightProjection(new Quantization(quantizer, 2)).getQuantization().quantizer());
    }
  }

  @Test
  void namesWhatDiverged() {
    LatentWeightProjection projection = new LatentWeightProjection(Q2);
    INDArray w = Nd4j.rand(DataType.FLOAT, 9, 4);
    w.putScalar(3, 2, Float.NaN);
    assertTrue(
        assertThrows(ArithmeticException.class, () -> projection.apply(w))
            .getMessage()
            .contains("training has diverged"));
  }
}

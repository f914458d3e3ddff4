package org.multibit.layers;

import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.multibit.layers.Networks.B;
import static org.multibit.layers.Networks.E;
import static org.multibit.layers.Networks.H;
import static org.multibit.layers.Networks.T;
import static org.multibit.layers.Networks.V;

import org.deeplearning4j.gradientcheck.GradientCheckUtil;
import org.deeplearning4j.nn.conf.layers.Layer;
import org.deeplearning4j.nn.multilayer.MultiLayerNetwork;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.multibit.layers.Networks.Cell;
import org.nd4j.linalg.api.buffer.DataType;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.nd4j.linalg.dataset.DataSet;
import org.nd4j.linalg.factory.Nd4j;

/** Gradients against finite differences in double, quantizers off. */
class GradientCheckTest {
  private static DataType before;

  @BeforeAll
  static void computeInDouble() {
    before = Nd4j.defaultFloatingPointType();
    Nd4j.setDefaultDataTypes(DataType.DOUBLE, DataType.DOUBLE);
  }

  @AfterAll
  static void restore() {
    Nd4j.setDefaultDataTypes(before, before);
  }

  @ParameterizedTest
  @CsvSource({
    "LSTM, 1, 1, false, true",
    "LSTM, 2, 1, false, false",
    "LSTM, 2, 0.6, true, true",
    "GRU, 1, 1, false, true",
    "GRU, 2, 1, false, false",
    "GRU, 2, 0.6, true, true"
  })
  void finiteDifferences(Cell cell, int count, double retain, boolean average, boolean masked) {
    Layer[] layers = new Layer[count + 2];
    layers[0] = new QuantizedEmbedding.Builder().nIn(V).nOut(E).build();
    for (int i = 1; i <= count; i++) {
      layers[i] = cell.builder().nIn(i == 1 ? E : H).nOut(H).dropOut(retain).build();
    }
    layers[count + 1] =
        new QuantizedSoftmaxOutput.Builder()
            .nIn(H)
            .nOut(V)
            .averageOverTime(average)
            .dropOut(retain)
            .build();
    MultiLayerNetwork network = Networks.network(b -> b.dataType(DataType.DOUBLE), l -> l, layers);
    // Biases are 0 at the start, where some faults would not show.
    network
        .paramTable()
        .forEach(
            (key, values) -> {
              if (key.endsWith("b")) {
                values.addi(Nd4j.rand(DataType.DOUBLE, values.shape()).subi(0.5));
              }
            });
    DataSet data = Networks.data(DataType.DOUBLE, 2, B, T);
    INDArray mask = null;
    if (masked) {
      mask = Nd4j.ones(DataType.DOUBLE, B, T).putScalar(1, 2, 0).putScalar(2, T - 1, 0);
    }
    assertTrue(
        GradientCheckUtil.checkGradients(
            new GradientCheckUtil.MLNConfig()
                .net(network)
                .epsilon(1e-6)
                .maxRelError(1e-5)
                .minAbsoluteError(1e-8)
                .subset(true)
                .maxPerParam(25)
                .print(GradientCheckUtil.PrintMode.FAILURES_ONLY)
                .input(data.getFeatures())
                .labels(data.getLabels())
                .labelMask(mask)
                // Asked for with dropout; ours depends on seed and iteration alone.
                .callEachIter(n -> {})));
  }

  @ParameterizedTest
  @CsvSource({"0.5, 2, false", "1, 1, false", "0.3, 0.5, true"})
  void finiteDifferencesOfDistillation(double weight, double temperature, boolean masked) {
    MultiLayerNetwork student = DistillationTest.network(DataType.DOUBLE, 3, Networks.ours(1));
    Distillation distillation =
        new Distillation(
            DistillationTest.network(DataType.DOUBLE, 17, Networks.ours(Cell.GRU, 2)),
            weight,
            temperature);
    distillation.applyTo(student);
    DataSet data = Networks.data(DataType.DOUBLE, 2, B, T);
    distillation.preProcess(data);
    INDArray mask = masked ? Nd4j.ones(DataType.DOUBLE, B, T).putScalar(1, 2, 0) : null;
    assertTrue(
        GradientCheckUtil.checkGradients(
            new GradientCheckUtil.MLNConfig()
                .net(student)
                .epsilon(1e-6)
                .maxRelError(1e-5)
                .minAbsoluteError(1e-8)
                .subset(true)
                .maxPerParam(25)
                .print(GradientCheckUtil.PrintMode.FAILURES_ONLY)
                .input(data.getFeatures())
                .labels(data.getLabels())
                .labelMask(mask)));
  }
}

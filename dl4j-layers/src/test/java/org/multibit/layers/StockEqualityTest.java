package org.multibit.layers;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.multibit.layers.Networks.B;
import static org.multibit.layers.Networks.E;
import static org.multibit.layers.Networks.H;
import static org.multibit.layers.Networks.T;
import static org.multibit.layers.Networks.assertClose;
import static org.multibit.layers.Networks.copyParameters;
import static org.multibit.layers.Networks.data;
import static org.multibit.layers.Networks.gradient;
import static org.multibit.layers.Networks.network;
import static org.multibit.layers.Networks.ours;
import static org.multibit.layers.Networks.stock;

import java.util.Random;
import org.deeplearning4j.nn.api.layers.IOutputLayer;
import org.deeplearning4j.nn.api.layers.RecurrentLayer;
import org.deeplearning4j.nn.conf.WorkspaceMode;
import org.deeplearning4j.nn.conf.distribution.ConstantDistribution;
import org.deeplearning4j.nn.conf.layers.BaseLayer;
import org.deeplearning4j.nn.conf.layers.Layer;
import org.deeplearning4j.nn.conf.weightnoise.WeightNoise;
import org.deeplearning4j.nn.multilayer.MultiLayerNetwork;
import org.deeplearning4j.nn.workspace.LayerWorkspaceMgr;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.nd4j.linalg.api.buffer.DataType;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.nd4j.linalg.dataset.DataSet;
import org.nd4j.linalg.factory.Nd4j;
import org.nd4j.linalg.indexing.NDArrayIndex;

/** Quantizers off, our layers are DL4J's own, from the same parameters. */
class StockEqualityTest {

  private static MultiLayerNetwork of(DataType type, Layer... layers) {
    return network(b -> b.dataType(type), l -> l, layers);
  }

  @ParameterizedTest
  @CsvSource({"FLOAT, 1", "FLOAT, 2", "DOUBLE, 1", "DOUBLE, 2"})
  void outputGradientScoreAndTraining(DataType type, int lstms) {
    MultiLayerNetwork ours = of(type, ours(lstms));
    MultiLayerNetwork stock = of(type, stock(lstms));
    copyParameters(stock.paramTable(), ours.paramTable());
    double tolerance = type == DataType.DOUBLE ? 1e-12 : 2e-6;
    DataSet data = data(type, 1, B, T);
    assertClose(
        stock.output(data.getFeatures()), ours.output(data.getFeatures()), tolerance, "output");
    assertEquals(stock.score(data), ours.score(data), 1e-5);
    assertClose(
        stock.scoreExamples(data, false), ours.scoreExamples(data, false), 1e-5, "each score");
    assertClose(gradient(stock, data), gradient(ours, data), 10 * tolerance);
    assertEquals(stock.score(), ours.score(), 1e-5);
    for (int i = 0; i < 5; i++) {
      // Other batches and lengths on the way: memory is reused.
      ours.fit(data(type, i, B - i % 2, T + i));
      stock.fit(data(type, i, B - i % 2, T + i));
    }
    assertEquals(5, ours.getIterationCount());
    assertClose(stock.paramTable(), ours.paramTable(), 50 * tolerance);
  }

  @Test
  void sameInitialParametersOfTheLstm() {
    MultiLayerNetwork ours = of(DataType.FLOAT, ours(1));
    MultiLayerNetwork stock = of(DataType.FLOAT, stock(1));
    for (String key : new String[] {"1_W", "1_RW", "1_b", "2_W", "2_b"}) {
      assertEquals(stock.getParam(key), ours.getParam(key), key);
    }
  }

  @Test
  void maskedTimeSteps() {
    MultiLayerNetwork ours = of(DataType.DOUBLE, ours(2));
    MultiLayerNetwork stock = of(DataType.DOUBLE, stock(2));
    copyParameters(stock.paramTable(), ours.paramTable());
    DataSet data = data(DataType.DOUBLE, 1, B, T);
    INDArray mask = Nd4j.ones(DataType.DOUBLE, B, T);
    mask.putScalar(0, T - 1, 0).putScalar(0, T - 2, 0).putScalar(2, T - 1, 0);
    data.setLabelsMaskArray(mask.dup());
    // A step in the middle is masked for the embedding alone: gradients reach it from later steps.
    mask.putScalar(1, 2, 0);
    data.setFeaturesMaskArray(mask);
    assertClose(gradient(stock, data), gradient(ours, data), 1e-12);
    assertEquals(stock.score(data), ours.score(data), 1e-12);
    assertClose(
        stock.output(data.getFeatures(), false, mask, data.getLabelsMaskArray()),
        ours.output(data.getFeatures(), false, mask, data.getLabelsMaskArray()),
        1e-12,
        "masked output");
    // Padding may be anything.
    data.getFeatures().putScalar(0, 0, T - 1, -1);
    data.getLabels().putScalar(2, 0, T - 1, 1e6);
    ours.fit(data);
    assertEquals(1, ours.getIterationCount());
  }

  /**
   * Several segments, the last one shorter, gradients flowing back over all of a segment or less.
   *
   * <p>At the layers themselves: in truncated BPTT the networks of 1.0.0-M2.1 call
   * backpropGradient, not tbpttBackpropGradient, where stock LSTM computes its forward pass again
   * from zeros.
   */
  @ParameterizedTest
  @CsvSource({"1, 4, 4", "2, 4, 4", "2, 4, 2", "2, 5, 1", "2, 20, 20"})
  void truncatedBptt(int lstms, int forward, int back) {
    MultiLayerNetwork ours = of(DataType.DOUBLE, ours(lstms));
    MultiLayerNetwork stock = of(DataType.DOUBLE, stock(lstms));
    copyParameters(stock.paramTable(), ours.paramTable());
    // Gives the layers their gradient views.
    gradient(ours, data(DataType.DOUBLE, 1, B, T));
    gradient(stock, data(DataType.DOUBLE, 1, B, T));
    Random random = new Random(6);
    for (int from = 0; from < 10; from += forward) {
      int time = Math.min(forward, 10 - from);
      INDArray x = gaussian(random, E, time);
      INDArray epsilon = gaussian(random, H, time);
      INDArray[] expected = segment(stock, lstms, back, x, epsilon);
      INDArray[] actual = segment(ours, lstms, back, x, epsilon);
      assertClose(expected[0], actual[0], 1e-12, "output");
      assertClose(expected[1], actual[1], 1e-12, "gradient of the input");
      for (int i = 1; i <= lstms; i++) {
        assertClose(
            stock.getLayer(i).getGradientsViewArray(),
            ours.getLayer(i).getGradientsViewArray(),
            1e-12,
            "gradient");
        assertClose(stock.rnnGetPreviousState(i), ours.rnnGetPreviousState(i), 1e-12);
      }
    }
  }

  private static INDArray gaussian(Random random, int size, int time) {
    double[] values = random.doubles(B * size * time, -1, 1).toArray();
    return Nd4j.create(values, new long[] {B, size, time}, 'c').castTo(DataType.DOUBLE);
  }

  /** One segment of truncated BPTT through the LSTMs; output and gradient of the input. */
  private static INDArray[] segment(
      MultiLayerNetwork network, int lstms, int back, INDArray x, INDArray epsilon) {
    LayerWorkspaceMgr none = LayerWorkspaceMgr.noWorkspaces();
    INDArray h = x.dup();
    for (int i = 1; i <= lstms; i++) {
      h = ((RecurrentLayer) network.getLayer(i)).rnnActivateUsingStoredState(h, true, true, none);
    }
    INDArray output = h.dup();
    INDArray dh = epsilon.dup();
    for (int i = lstms; i >= 1; i--) {
      RecurrentLayer layer = (RecurrentLayer) network.getLayer(i);
      dh = layer.tbpttBackpropGradient(dh, back, none).getSecond();
      layer.rnnSetPreviousState(layer.rnnGetTBPTTState());
    }
    return new INDArray[] {output, dh};
  }

  /** Step by step, in pieces, as rows of single tokens, and at once. */
  @Test
  void rnnTimeStep() {
    MultiLayerNetwork ours = of(DataType.FLOAT, ours(2));
    MultiLayerNetwork stock = of(DataType.FLOAT, stock(2));
    copyParameters(stock.paramTable(), ours.paramTable());
    INDArray x = data(4).getFeatures();
    INDArray whole = ours.output(x);
    for (int t = 0; t < T; t++) {
      INDArray step = slice(x, t, t + 1);
      INDArray actual = ours.rnnTimeStep(step);
      assertClose(stock.rnnTimeStep(step), actual, 2e-6, "step " + t);
      assertClose(slice(whole, t, t + 1), actual, 2e-6, "whole at " + t);
    }
    ours.rnnClearPreviousState();
    assertClose(slice(whole, 0, 4), ours.rnnTimeStep(slice(x, 0, 4)), 2e-6, "piece");
    assertClose(slice(whole, 4, T), ours.rnnTimeStep(slice(x, 4, T)), 2e-6, "piece");
    ours.rnnClearPreviousState();
    INDArray first = ours.rnnTimeStep(slice(x, 0, 1).reshape(B, 1));
    assertClose(slice(whole, 0, 1).reshape(B, Networks.V), first, 2e-6, "one row");
  }

  private static INDArray slice(INDArray sequence, int from, int to) {
    return sequence.get(NDArrayIndex.all(), NDArrayIndex.all(), NDArrayIndex.interval(from, to));
  }

  /** Longer than what inference computes at a time. */
  @Test
  void longSequences() {
    MultiLayerNetwork ours = of(DataType.FLOAT, ours(2));
    MultiLayerNetwork stock = of(DataType.FLOAT, stock(2));
    copyParameters(stock.paramTable(), ours.paramTable());
    DataSet data = data(DataType.FLOAT, 5, 2, 2500);
    assertClose(stock.output(data.getFeatures()), ours.output(data.getFeatures()), 1e-5, "output");
    assertEquals(1, ours.score(data) / stock.score(data), 1e-6);
  }

  /** The mean loss per token: score and gradient over T. */
  @Test
  void averageOverTime() {
    Layer[] layers = ours(1);
    MultiLayerNetwork sum = of(DataType.DOUBLE, layers);
    layers = ours(1);
    ((QuantizedSoftmaxOutput) layers[2]).setAverageOverTime(true);
    MultiLayerNetwork mean = of(DataType.DOUBLE, layers);
    DataSet data = data(DataType.DOUBLE, 1, B, T);
    var expected = gradient(sum, data);
    expected.values().forEach(g -> g.divi(T));
    assertClose(expected, gradient(mean, data), 1e-13);
    assertEquals(sum.score() / T, mean.score(), 1e-13);
    assertEquals(sum.score(data) / T, mean.score(data), 1e-13);
    assertClose(
        sum.scoreExamples(data, false).divi(T),
        mean.scoreExamples(data, false),
        1e-13,
        "each score");
  }

  /** DL4J's weight noise goes through to the products. */
  @Test
  void weightNoise() {
    Layer[][] pair = {ours(1), stock(1)};
    for (Layer[] layers : pair) {
      for (int i = 1; i <= 2; i++) {
        ((BaseLayer) layers[i])
            .setWeightNoise(new WeightNoise(new ConstantDistribution(0.3), true, true));
      }
    }
    MultiLayerNetwork ours = of(DataType.DOUBLE, pair[0]);
    MultiLayerNetwork stock = of(DataType.DOUBLE, pair[1]);
    copyParameters(stock.paramTable(), ours.paramTable());
    DataSet data = data(DataType.DOUBLE, 1, B, T);
    assertClose(gradient(stock, data), gradient(ours, data), 1e-12);
    for (int i = 0; i < 3; i++) {
      ours.fit(data);
      stock.fit(data);
    }
    assertClose(stock.paramTable(), ours.paramTable(), 1e-11);
  }

  /** The score is of the parameters as they are, not of the losses kept from the gradient. */
  @Test
  void scoreFollowsTheParameters() {
    MultiLayerNetwork network =
        network(
            b ->
                b.trainingWorkspaceMode(WorkspaceMode.NONE)
                    .inferenceWorkspaceMode(WorkspaceMode.NONE),
            l -> l,
            ours(1));
    DataSet data = data(1);
    gradient(network, data);
    double before = network.score();
    assertEquals(before, network.score(data, true), 1e-5);
    IOutputLayer output = (IOutputLayer) network.getOutputLayer();
    LayerWorkspaceMgr none = LayerWorkspaceMgr.noWorkspaces();
    gradient(network, data);
    network.getParam("2_b").putScalar(0, 5);
    double after = output.computeScore(0, true, none);
    assertNotEquals(before, after, 1e-2);
    assertEquals(after, network.score(data), 1e-5);
  }
}

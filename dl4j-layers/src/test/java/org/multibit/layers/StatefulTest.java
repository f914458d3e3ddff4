package org.multibit.layers;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.multibit.layers.Networks.B;
import static org.multibit.layers.Networks.E;
import static org.multibit.layers.Networks.H;
import static org.multibit.layers.Networks.T;
import static org.multibit.layers.Networks.V;
import static org.multibit.layers.Networks.assertIdentical;
import static org.multibit.layers.Networks.data;
import static org.multibit.layers.Networks.network;
import static org.multibit.layers.Networks.saved;

import java.io.IOException;
import java.util.Arrays;
import org.deeplearning4j.nn.conf.BackpropType;
import org.deeplearning4j.nn.conf.WorkspaceMode;
import org.deeplearning4j.nn.conf.layers.Layer;
import org.deeplearning4j.nn.multilayer.MultiLayerNetwork;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;
import org.multibit.core.Quantization;
import org.multibit.layers.Networks.Cell;
import org.nd4j.linalg.api.buffer.DataType;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.nd4j.linalg.dataset.DataSet;
import org.nd4j.linalg.factory.Nd4j;
import org.nd4j.linalg.indexing.NDArrayIndex;
import org.nd4j.linalg.learning.config.Sgd;

/** The state that a stateful layer carries from one fit to the next. */
class StatefulTest {
  private static final Quantization TWO_BITS = Quantization.alternating(2);

  private static QuantizedRecurrentLayer recurrent(MultiLayerNetwork network, int layer) {
    return (QuantizedRecurrentLayer) network.getLayer(layer);
  }

  private static void assertSameStates(INDArray[] expected, INDArray[] actual) {
    assertEquals(expected.length, actual.length);
    for (int i = 0; i < expected.length; i++) {
      assertIdentical(expected[i], actual[i]);
    }
  }

  private static INDArray[] copies(INDArray[] states) {
    return Arrays.stream(states).map(INDArray::dup).toArray(INDArray[]::new);
  }

  private static Layer[] two(Cell cell, boolean stateful) {
    return new Layer[] {
      new QuantizedEmbedding.Builder().nIn(V).nOut(E).weights(TWO_BITS).build(),
      cell.builder()
          .nIn(E)
          .nOut(H)
          .weights(TWO_BITS)
          .recurrentActivations(TWO_BITS)
          .stateful(stateful)
          .dropOut(0.7)
          .build(),
      cell.builder()
          .nIn(H)
          .nOut(H)
          .weights(TWO_BITS)
          .activations(TWO_BITS)
          .stateful(stateful)
          .build(),
      new QuantizedSoftmaxOutput.Builder()
          .nIn(H)
          .nOut(V)
          .weights(TWO_BITS)
          .activations(TWO_BITS)
          .build()
    };
  }

  private static DataSet part(DataSet data, int from, int to) {
    return new DataSet(slice(data.getFeatures(), from, to), slice(data.getLabels(), from, to));
  }

  private static INDArray slice(INDArray sequence, int from, int to) {
    return sequence
        .get(NDArrayIndex.all(), NDArrayIndex.all(), NDArrayIndex.interval(from, to))
        .dup();
  }

  /** Fits of T, 2T and 3T are one fit of 3T by truncated BPTT in segments of T, bit for bit. */
  @ParameterizedTest
  @CsvSource({"LSTM, NONE", "LSTM, ENABLED", "GRU, NONE", "GRU, ENABLED"})
  void fitsOfSegmentsAreOneTruncatedFit(Cell cell, WorkspaceMode mode) {
    MultiLayerNetwork stateful =
        network(b -> b.trainingWorkspaceMode(mode).updater(new Sgd(0.5)), l -> l, two(cell, true));
    MultiLayerNetwork truncated =
        network(
            b -> b.trainingWorkspaceMode(mode).updater(new Sgd(0.5)),
            l -> l.backpropType(BackpropType.TruncatedBPTT).tBPTTLength(T),
            two(cell, false));
    assertIdentical(truncated.params(), stateful.params());
    DataSet data = data(DataType.FLOAT, 1, B, 3 * T);
    truncated.fit(data);
    for (int i = 0; i < 3; i++) {
      stateful.fit(part(data, i * T, (i + 1) * T));
    }
    assertEquals(3, truncated.getIterationCount());
    assertIdentical(truncated.params(), stateful.params());
  }

  @ParameterizedTest
  @EnumSource(Cell.class)
  void trainingAloneMovesTheState(Cell cell) {
    MultiLayerNetwork network = network(two(cell, true));
    assertNull(recurrent(network, 1).getCarriedState());
    network.fit(data(1));
    INDArray[] states = copies(recurrent(network, 1).getCarriedState());
    assertEquals(cell == Cell.LSTM ? 2 : 1, states.length);
    assertTrue(states[0].norm2Number().doubleValue() > 0);
    INDArray x = data(2).getFeatures();
    INDArray fromZeros = network.output(x);
    network.rnnTimeStep(x);
    network.score(data(3));
    network.feedForward(x, true);
    network.rnnClearPreviousState();
    assertSameStates(states, recurrent(network, 1).getCarriedState());
    assertIdentical(fromZeros, network.output(x));
    recurrent(network, 1).clearCarriedState();
    recurrent(network, 2).clearCarriedState();
    assertIdentical(fromZeros, network.output(x));
  }

  /** A checkpoint of zip and state, taken between two fits, continues to the same bits. */
  @ParameterizedTest
  @EnumSource(Cell.class)
  void checkpointContinuesBitForBit(Cell cell) throws IOException {
    MultiLayerNetwork whole =
        network(
            b -> b.updater(new ClippedSgd(2, 0.25)),
            l -> l,
            Networks.quantized(cell, TWO_BITS, TWO_BITS));
    for (int i = 0; i < 3; i++) {
      whole.fit(data(i));
    }
    MultiLayerNetwork resumed = saved(whole);
    recurrent(resumed, 1).setCarriedState(recurrent(whole, 1).getCarriedState());
    MultiLayerNetwork forgetful = saved(whole);
    // What others draw from ND4J's generator has no part in it.
    Nd4j.rand(3, 3);
    for (int i = 3; i < 6; i++) {
      whole.fit(data(i));
      resumed.fit(data(i));
      forgetful.fit(data(i));
      assertEquals(whole.score(), resumed.score(), 0);
    }
    assertIdentical(whole.params(), resumed.params());
    assertSameStates(
        recurrent(whole, 1).getCarriedState(), recurrent(resumed, 1).getCarriedState());
    assertNotEquals(whole.params(), forgetful.params());
  }

  @ParameterizedTest
  @EnumSource(Cell.class)
  void anotherBatchNeedsAClearedState(Cell cell) {
    MultiLayerNetwork network = network(two(cell, true));
    network.fit(data(1));
    DataSet smaller = data(DataType.FLOAT, 2, B - 1, T);
    Exception e = assertThrows(IllegalStateException.class, () -> network.fit(smaller));
    assertTrue(e.getMessage().contains("batch of " + B), e.getMessage());
    assertTrue(e.getMessage().contains("batch of " + (B - 1)), e.getMessage());
    recurrent(network, 1).clearCarriedState();
    recurrent(network, 2).clearCarriedState();
    network.fit(smaller);
    assertEquals(B - 1, recurrent(network, 2).getCarriedState()[0].size(0));
  }

  @ParameterizedTest
  @EnumSource(Cell.class)
  void stateOfAnotherShapeIsRefused(Cell cell) {
    MultiLayerNetwork network = network(two(cell, true));
    INDArray wide = Nd4j.zeros(B, H + 1);
    INDArray right = Nd4j.ones(B, H);
    INDArray[] ones = cell == Cell.LSTM ? new INDArray[] {right, right} : new INDArray[] {right};
    INDArray[] others = cell == Cell.LSTM ? new INDArray[] {right} : new INDArray[] {right, right};
    INDArray[] wides = Arrays.stream(ones).map(one -> wide).toArray(INDArray[]::new);
    assertThrows(
        IllegalArgumentException.class, () -> recurrent(network, 1).setCarriedState(wides));
    assertThrows(
        IllegalArgumentException.class, () -> recurrent(network, 1).setCarriedState(others));
    assertThrows(
        IllegalStateException.class,
        () -> recurrent(network(two(cell, false)), 1).setCarriedState(ones));
    recurrent(network, 1).setCarriedState(ones);
    right.assign(5);
    assertEquals(Nd4j.ones(B, H), recurrent(network, 1).getCarriedState()[0], "a copy is kept");
  }

  @ParameterizedTest
  @EnumSource(Cell.class)
  void truncatedBpttOfAStatefulLayerIsRefused(Cell cell) {
    MultiLayerNetwork network =
        network(
            b -> b,
            l -> l.backpropType(BackpropType.TruncatedBPTT).tBPTTLength(2),
            two(cell, true));
    Exception e = assertThrows(IllegalStateException.class, () -> network.fit(data(1)));
    assertTrue(e.getMessage().contains("stateful"), e.getMessage());
  }

  @ParameterizedTest
  @EnumSource(Cell.class)
  void failedStepLeavesTheState(Cell cell) {
    MultiLayerNetwork network = network(two(cell, true));
    network.fit(data(1));
    INDArray[] states = copies(recurrent(network, 2).getCarriedState());
    DataSet bad = data(2);
    bad.getLabels().putScalar(1, 0, 2, V);
    assertThrows(IllegalArgumentException.class, () -> network.fit(bad));
    assertSameStates(states, recurrent(network, 2).getCarriedState());
  }
}

package org.multibit.layers;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
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
import org.deeplearning4j.nn.conf.BackpropType;
import org.deeplearning4j.nn.conf.WorkspaceMode;
import org.deeplearning4j.nn.conf.layers.Layer;
import org.deeplearning4j.nn.multilayer.MultiLayerNetwork;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.multibit.core.Quantization;
import org.nd4j.linalg.api.buffer.DataType;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.nd4j.linalg.dataset.DataSet;
import org.nd4j.linalg.factory.Nd4j;
import org.nd4j.linalg.indexing.NDArrayIndex;
import org.nd4j.linalg.learning.config.Sgd;

/** The state that a stateful layer carries from one fit to the next. */
class StatefulTest {
  private static final Quantization TWO_BITS = Quantization.alternating(2);

  private static QuantizedLSTMLayer lstm(MultiLayerNetwork network, int layer) {
    return (QuantizedLSTMLayer) network.getLayer(layer);
  }

  private static Layer[] twoLstms(boolean stateful) {
    return new Layer[] {
      new QuantizedEmbedding.Builder().nIn(V).nOut(E).weights(TWO_BITS).build(),
      new QuantizedLSTM.Builder()
          .nIn(E)
          .nOut(H)
          .weights(TWO_BITS)
          .recurrentActivations(TWO_BITS)
          .stateful(stateful)
          .dropOut(0.7)
          .build(),
      new QuantizedLSTM.Builder()
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
  @EnumSource(WorkspaceMode.class)
  void fitsOfSegmentsAreOneTruncatedFit(WorkspaceMode mode) {
    if (mode != WorkspaceMode.NONE && mode != WorkspaceMode.ENABLED) {
      return;
    }
    MultiLayerNetwork stateful =
        network(b -> b.trainingWorkspaceMode(mode).updater(new Sgd(0.5)), l -> l, twoLstms(true));
    MultiLayerNetwork truncated =
        network(
            b -> b.trainingWorkspaceMode(mode).updater(new Sgd(0.5)),
            l -> l.backpropType(BackpropType.TruncatedBPTT).tBPTTLength(T),
            twoLstms(false));
    assertIdentical(truncated.params(), stateful.params());
    DataSet data = data(DataType.FLOAT, 1, B, 3 * T);
    truncated.fit(data);
    for (int i = 0; i < 3; i++) {
      stateful.fit(part(data, i * T, (i + 1) * T));
    }
    assertEquals(3, truncated.getIterationCount());
    assertIdentical(truncated.params(), stateful.params());
  }

  @Test
  void trainingAloneMovesTheState() {
    MultiLayerNetwork network = network(twoLstms(true));
    assertNull(lstm(network, 1).getCarriedHidden());
    network.fit(data(1));
    INDArray h = lstm(network, 1).getCarriedHidden().dup();
    INDArray c = lstm(network, 1).getCarriedCell().dup();
    assertTrue(h.norm2Number().doubleValue() > 0);
    INDArray x = data(2).getFeatures();
    INDArray fromZeros = network.output(x);
    network.rnnTimeStep(x);
    network.score(data(3));
    network.feedForward(x, true);
    network.rnnClearPreviousState();
    assertIdentical(h, lstm(network, 1).getCarriedHidden());
    assertIdentical(c, lstm(network, 1).getCarriedCell());
    assertIdentical(fromZeros, network.output(x));
    lstm(network, 1).clearCarriedState();
    lstm(network, 2).clearCarriedState();
    assertIdentical(fromZeros, network.output(x));
  }

  /** A checkpoint of zip and state, taken between two fits, continues to the same bits. */
  @Test
  void checkpointContinuesBitForBit() throws IOException {
    MultiLayerNetwork whole =
        network(
            b -> b.updater(new ClippedSgd(2, 0.25)),
            l -> l,
            Networks.quantized(TWO_BITS, TWO_BITS));
    for (int i = 0; i < 3; i++) {
      whole.fit(data(i));
    }
    MultiLayerNetwork resumed = saved(whole);
    lstm(resumed, 1)
        .setCarriedState(
            lstm(whole, 1).getCarriedHidden().dup(), lstm(whole, 1).getCarriedCell().dup());
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
    assertIdentical(lstm(whole, 1).getCarriedHidden(), lstm(resumed, 1).getCarriedHidden());
    assertIdentical(lstm(whole, 1).getCarriedCell(), lstm(resumed, 1).getCarriedCell());
    assertNotEquals(whole.params(), forgetful.params());
  }

  @Test
  void anotherBatchNeedsAClearedState() {
    MultiLayerNetwork network = network(twoLstms(true));
    network.fit(data(1));
    DataSet smaller = data(DataType.FLOAT, 2, B - 1, T);
    Exception e = assertThrows(IllegalStateException.class, () -> network.fit(smaller));
    assertTrue(e.getMessage().contains("batch of " + B), e.getMessage());
    assertTrue(e.getMessage().contains("batch of " + (B - 1)), e.getMessage());
    lstm(network, 1).clearCarriedState();
    lstm(network, 2).clearCarriedState();
    network.fit(smaller);
    assertEquals(B - 1, lstm(network, 2).getCarriedHidden().size(0));
  }

  @Test
  void stateOfAnotherShapeIsRefused() {
    MultiLayerNetwork network = network(twoLstms(true));
    INDArray wide = Nd4j.zeros(B, H + 1);
    assertThrows(
        IllegalArgumentException.class, () -> lstm(network, 1).setCarriedState(wide, wide));
    INDArray right = Nd4j.ones(B, H);
    assertThrows(
        IllegalStateException.class,
        () -> lstm(network(twoLstms(false)), 1).setCarriedState(right, right));
    lstm(network, 1).setCarriedState(right, right);
    right.assign(5);
    assertEquals(Nd4j.ones(B, H), lstm(network, 1).getCarriedHidden(), "a copy is kept");
  }

  @Test
  void truncatedBpttOfAStatefulLayerIsRefused() {
    MultiLayerNetwork network =
        network(
            b -> b, l -> l.backpropType(BackpropType.TruncatedBPTT).tBPTTLength(2), twoLstms(true));
    Exception e = assertThrows(IllegalStateException.class, () -> network.fit(data(1)));
    assertTrue(e.getMessage().contains("stateful"), e.getMessage());
  }

  @Test
  void failedStepLeavesTheState() {
    MultiLayerNetwork network = network(twoLstms(true));
    network.fit(data(1));
    INDArray h = lstm(network, 2).getCarriedHidden().dup();
    DataSet bad = data(2);
    bad.getLabels().putScalar(1, 0, 2, V);
    assertThrows(IllegalArgumentException.class, () -> network.fit(bad));
    assertIdentical(h, lstm(network, 2).getCarriedHidden());
    assertNotNull(lstm(network, 2).getCarriedCell());
  }
}

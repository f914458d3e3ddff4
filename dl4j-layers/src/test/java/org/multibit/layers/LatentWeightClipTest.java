package org.multibit.layers;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.multibit.layers.Networks.E;
import static org.multibit.layers.Networks.H;
import static org.multibit.layers.Networks.V;
import static org.multibit.layers.Networks.assertIdentical;
import static org.multibit.layers.Networks.data;
import static org.multibit.layers.Networks.network;

import org.deeplearning4j.nn.conf.constraint.NonNegativeConstraint;
import org.deeplearning4j.nn.conf.layers.Layer;
import org.deeplearning4j.nn.multilayer.MultiLayerNetwork;
import org.junit.jupiter.api.Test;
import org.multibit.core.Quantization;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.nd4j.linalg.factory.Nd4j;
import org.nd4j.linalg.learning.config.Sgd;

class LatentWeightClipTest {
  private static final Quantization Q2 = Quantization.alternating(2);

  /** A step far too large leaves quantized weights at the bound, and only them. */
  @Test
  void clipsWeightsThatAreQuantized() {
    MultiLayerNetwork network =
        network(
            b -> b.updater(new Sgd(1000)),
            l -> l,
            new QuantizedEmbedding.Builder().nIn(V).nOut(E).build(),
            new QuantizedLSTM.Builder().nIn(E).nOut(H).weights(Q2).build(),
            new QuantizedSoftmaxOutput.Builder()
                .nIn(H)
                .nOut(V)
                .weights(Q2)
                .latentWeightBound(2.5)
                .build());
    network.fit(data(1));
    assertEquals(1, largest(network, "1_W"));
    assertEquals(1, largest(network, "1_RW"));
    assertEquals(2.5, largest(network, "2_W"));
    for (String free : new String[] {"0_W", "1_b", "2_b"}) {
      assertTrue(largest(network, free) > 3, free + ": " + largest(network, free));
    }
  }

  private static double largest(MultiLayerNetwork network, String key) {
    return network.getParam(key).amaxNumber().doubleValue();
  }

  @Test
  void onlyWithAWeightQuantizer() {
    for (Layer layer : Networks.ours(1)) {
      assertNull(layer.getConstraints());
    }
    for (Layer layer : Networks.quantized(null, Q2)) {
      assertNull(layer.getConstraints());
    }
    for (Layer layer : Networks.quantized(Q2, null)) {
      assertEquals(1, layer.getConstraints().size());
    }
  }

  @Test
  void idempotentAndLeavesWhatIsWithin() {
    INDArray w = Nd4j.createFromArray(-3f, -1f, -0.5f, 0f, 1f, 1.0000001f, 7f).reshape(1, 7);
    LatentWeightClip clip = new LatentWeightClip(1);
    clip.apply(w);
    INDArray expected = Nd4j.createFromArray(-1f, -1f, -0.5f, 0f, 1f, 1f, 1f).reshape(1, 7);
    assertIdentical(expected, w);
    clip.apply(w);
    assertIdentical(expected, w);
  }

  /** Beside the user's own constraints. */
  @Test
  void otherConstraintsStay() {
    MultiLayerNetwork network =
        network(
            b -> b.updater(new Sgd(1000)),
            l -> l,
            new QuantizedEmbedding.Builder().nIn(V).nOut(E).build(),
            new QuantizedLSTM.Builder()
                .nIn(E)
                .nOut(H)
                .weights(Q2)
                .constrainRecurrent(new NonNegativeConstraint())
                .constrainBias(new NonNegativeConstraint())
                .build(),
            new QuantizedSoftmaxOutput.Builder().nIn(H).nOut(V).build());
    network.fit(data(1));
    assertEquals(0, network.getParam("1_RW").minNumber().doubleValue());
    assertEquals(1, network.getParam("1_RW").maxNumber().doubleValue());
    assertEquals(0, network.getParam("1_b").minNumber().doubleValue());
    assertEquals(-1, network.getParam("1_W").minNumber().doubleValue());
  }

  @Test
  void boundIsChecked() {
    for (double bad : new double[] {0, -1, Double.NaN}) {
      assertThrows(
          IllegalArgumentException.class,
          () ->
              new QuantizedLSTM.Builder()
                  .nIn(E)
                  .nOut(H)
                  .weights(Q2)
                  .latentWeightBound(bad)
                  .build());
    }
  }
}

package org.multibit.layers;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.util.Set;
import java.util.TreeSet;
import org.deeplearning4j.exception.DL4JInvalidConfigException;
import org.deeplearning4j.nn.api.Layer;
import org.deeplearning4j.nn.multilayer.MultiLayerNetwork;
import org.deeplearning4j.nn.workspace.LayerWorkspaceMgr;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import org.multibit.core.Quantization;
import org.nd4j.linalg.api.buffer.DataType;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.nd4j.linalg.dataset.DataSet;

/** DL4J's own layers compute with k-bit weights, and learn. */
class WeightQuantizationTest {
  private static MultiLayerNetwork network(int bits) {
    return Networks.network(
        b -> b.weightNoise(new WeightQuantization(Quantization.alternating(bits))),
        l -> l,
        Networks.stock(1));
  }

  private static INDArray used(MultiLayerNetwork network, int layer, String key) {
    Layer l = network.getLayer(layer);
    return ((org.deeplearning4j.nn.conf.layers.BaseLayer) l.conf().getLayer())
        .getWeightNoise()
        .getParameter(l, key, 0, 0, false, LayerWorkspaceMgr.noWorkspaces());
  }

  @ParameterizedTest
  @ValueSource(ints = {1, 2, 3})
  void weightsHaveTheirBitsAndLearn(int bits) {
    MultiLayerNetwork network = network(bits);
    DataSet data = Networks.data(1);
    double before = network.score(data);
    for (int i = 0; i < 60; i++) {
      network.fit(data);
    }
    assertTrue(network.score(data) < 0.8 * before, network.score(data) + " after " + before);
    for (String key : new String[] {"W", "RW"}) {
      INDArray latent = network.getLayer(1).getParam(key);
      INDArray used = used(network, 1, key);
      assertEquals(
          QuantizedArrays.quantized(Quantization.alternating(bits), latent.transpose()),
          used.transpose());
      for (int unit = 0; unit < used.size(1); unit++) {
        Set<Float> magnitudes = new TreeSet<>();
        for (int i = 0; i < used.size(0); i++) {
          magnitudes.add(Math.abs(used.getFloat(i, unit)));
        }
        assertTrue(magnitudes.size() <= 1 << bits - 1, magnitudes.toString());
      }
    }
    assertSame(network.getLayer(1).getParam("b"), used(network, 1, "b"));
  }

  /** What the network computes is what a stock network with the quantized weights computes. */
  @Test
  void networkComputesWithTheQuantizedWeights() {
    MultiLayerNetwork network = network(2);
    MultiLayerNetwork plain = Networks.network(Networks.stock(1));
    for (int layer = 0; layer < 3; layer++) {
      for (String key : network.getLayer(layer).paramTable().keySet()) {
        INDArray values =
            layer == 0 ? network.getLayer(0).getParam(key) : used(network, layer, key);
        plain.getLayer(layer).getParam(key).assign(values);
      }
    }
    INDArray features = Networks.data(1).getFeatures();
    assertTrue(plain.output(features).equalsWithEps(network.output(features), 1e-6));
    assertNotEquals(plain.params(), network.params());
  }

  @Test
  void quantizesOnlyWhatChanged() {
    MultiLayerNetwork network = network(2);
    INDArray first = used(network, 1, "RW");
    INDArray values = first.dup();
    assertSame(first, used(network, 1, "RW"));
    assertEquals(values, first);
    // In place, as updaters change parameters.
    network.getLayer(1).getParam("RW").muli(2);
    assertEquals(values.mul(2), used(network, 1, "RW"));
  }

  @Test
  void isSavedWithTheNetwork() throws IOException {
    MultiLayerNetwork network = network(3);
    MultiLayerNetwork restored = Networks.saved(network);
    assertEquals(
        network.getLayerWiseConfigurations().toJson(),
        restored.getLayerWiseConfigurations().toJson());
    INDArray features = Networks.data(1).getFeatures();
    assertEquals(network.output(features), restored.output(features));
    assertEquals(used(network, 2, "W"), used(restored, 2, "W"));
  }

  @Test
  void wantsFloat() {
    MultiLayerNetwork network =
        Networks.network(
            b ->
                b.dataType(DataType.DOUBLE)
                    .weightNoise(new WeightQuantization(Quantization.alternating(2))),
            l -> l,
            Networks.stock(1));
    assertThrows(
        DL4JInvalidConfigException.class, () -> network.output(Networks.data(1).getFeatures()));
  }
}

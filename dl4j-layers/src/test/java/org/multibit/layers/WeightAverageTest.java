package org.multibit.layers;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.multibit.layers.Networks.data;
import static org.multibit.layers.Networks.network;

import org.deeplearning4j.nn.multilayer.MultiLayerNetwork;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import org.multibit.core.Quantization;
import org.nd4j.linalg.dataset.DataSet;

class WeightAverageTest {
  private static MultiLayerNetwork trained() {
    Quantization two = Quantization.alternating(2);
    return network(b -> b.updater(new ClippedSgd(0.5, 1)), l -> l, Networks.quantized(two, two));
  }

  /** Against the definition: a mean of the first steps, then an exponential average. */
  @ParameterizedTest
  @ValueSource(ints = {1, 4, 250, 200})
  void average(int window) {
    MultiLayerNetwork network = trained();
    WeightAverage average = new WeightAverage(window);
    network.addListeners(average);
    assertThrows(IllegalStateException.class, () -> average.exchange(network));
    int stride = Math.max(1, window / 100);
    DataSet data = data(1);
    double[] expected = null;
    int count = window == 200 ? 300 : 12; // So that a stride goes on beyond the window.
    for (int step = 0; step < count; step++) {
      double[] params = network.params().toDoubleVector();
      network.fit(data);
      if (step % stride > 0) {
        continue;
      }
      if (expected == null) {
        expected = params;
      }
      double weight = 1.0 / Math.min(step / stride + 1, window / stride);
      for (int i = 0; i < params.length; i++) {
        expected[i] += weight * (params[i] - expected[i]);
      }
    }
    double[] last = network.params().toDoubleVector();
    average.exchange(network);
    assertArrayEquals(expected, network.params().toDoubleVector(), 1e-5);
    average.exchange(network);
    assertArrayEquals(last, network.params().toDoubleVector());
    assertEquals(count, average.getSteps());
  }

  @Test
  void goesOnFromWhereItWas() {
    MultiLayerNetwork network = trained();
    DataSet data = data(1);
    WeightAverage whole = new WeightAverage(250);
    WeightAverage first = new WeightAverage(250);
    network.setListeners(whole, first);
    for (int i = 0; i < 5; i++) {
      network.fit(data);
    }
    WeightAverage second = new WeightAverage(250);
    second.restore(first.getAverage(), first.getSteps());
    network.setListeners(whole, second);
    for (int i = 0; i < 5; i++) {
      network.fit(data);
    }
    assertArrayEquals(whole.getAverage().toFloatVector(), second.getAverage().toFloatVector());
  }

  @Test
  void noWindow() {
    assertThrows(IllegalArgumentException.class, () -> new WeightAverage(0));
  }
}

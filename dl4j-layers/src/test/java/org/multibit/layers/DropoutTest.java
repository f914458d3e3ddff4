package org.multibit.layers;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.multibit.layers.Networks.E;
import static org.multibit.layers.Networks.H;
import static org.multibit.layers.Networks.V;
import static org.multibit.layers.Networks.assertIdentical;
import static org.multibit.layers.Networks.data;
import static org.multibit.layers.Networks.network;

import java.util.HashSet;
import java.util.Set;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.constraints.DoubleRange;
import net.jqwik.api.constraints.IntRange;
import org.deeplearning4j.exception.DL4JInvalidConfigException;
import org.deeplearning4j.nn.conf.dropout.Dropout;
import org.deeplearning4j.nn.conf.dropout.GaussianDropout;
import org.deeplearning4j.nn.conf.layers.Layer;
import org.deeplearning4j.nn.multilayer.MultiLayerNetwork;
import org.junit.jupiter.api.Test;
import org.multibit.core.Quantization;
import org.nd4j.linalg.api.buffer.DataType;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.nd4j.linalg.factory.Nd4j;
import org.nd4j.linalg.schedule.ExponentialSchedule;
import org.nd4j.linalg.schedule.ScheduleType;

/** Dropout after quantization. That the layers use it so is checked by StraightThroughTest. */
class DropoutTest {

  /** What elements are multiplied by. */
  static INDArray factors(
      double retain, long rows, long cols, long seed, int iteration, int layer) {
    DropoutMask mask = new DropoutMask();
    mask.draw(new Dropout(retain), rows, cols, seed, iteration, layer);
    INDArray ones = Nd4j.ones(DataType.FLOAT, rows, cols);
    mask.apply(ones);
    return ones;
  }

  private static float[] mask(double retain, long seed, int iteration, int layer, int length) {
    return factors(retain, 1, length, seed, iteration, layer).data().asFloat();
  }

  /** Each part of the mask keeps its share, within five standard deviations; kept ones are 1/p. */
  @Property(tries = 50)
  void expectation(
      @ForAll @DoubleRange(min = 0.05, max = 0.95) double retain,
      @ForAll long seed,
      @ForAll @IntRange(min = 0) int iteration,
      @ForAll @IntRange(min = 0, max = 9) int layer) {
    int part = 10_000;
    float[] mask = mask(retain, seed, iteration, layer, 4 * part);
    for (int p = 0; p < 4; p++) {
      int kept = 0;
      for (int i = p * part; i < (p + 1) * part; i++) {
        assertTrue(mask[i] == 0 || mask[i] == (float) (1 / retain));
        kept += mask[i] == 0 ? 0 : 1;
      }
      double deviation = Math.sqrt(part * retain * (1 - retain));
      assertEquals(part * retain, kept, 5 * deviation);
    }
  }

  /** Masks of other seeds, iterations and layers agree in half of the places, as chance has it. */
  @Test
  void pureFunctionOfSeedIterationAndLayer() {
    int length = 40_000;
    float[] mask = mask(0.5, 1, 2, 3, length);
    assertEquals(0, differing(mask, mask(0.5, 1, 2, 3, length)));
    for (float[] other :
        new float[][] {
          mask(0.5, 2, 2, 3, length),
          mask(0.5, 1, 3, 3, length),
          mask(0.5, 1, 2, 4, length),
          mask(0.5, 1, 3, 2, length),
          mask(0.5, 2, 1, 3, length)
        }) {
      assertEquals(length / 2.0, differing(mask, other), 5 * Math.sqrt(length / 4.0));
    }
    float[] longer = mask(0.5, 1, 2, 3, 2 * length);
    assertEquals(0, differing(mask, java.util.Arrays.copyOf(longer, length)));
  }

  private static int differing(float[] a, float[] b) {
    int count = 0;
    for (int i = 0; i < a.length; i++) {
      count += a[i] == b[i] ? 0 : 1;
    }
    return count;
  }

  /**
   * What a layer multiplies is codes / p and zeros; each row has as few values as its bits allow.
   */
  @Test
  void zerosAreNotCodes() {
    INDArray rows = Nd4j.rand(DataType.FLOAT, 6, 50).subi(0.5);
    Quantization quantization = Quantization.alternating(2);
    INDArray codes = QuantizedArrays.quantized(quantization, rows);
    INDArray x = codes.dup('c');
    DropoutMask mask = new DropoutMask();
    mask.draw(new Dropout(0.4), 6, 50, 1, 2, 3);
    mask.apply(x);
    assertIdentical(codes.mul(factors(0.4, 6, 50, 1, 2, 3)), x);
    for (int r = 0; r < 6; r++) {
      Set<Float> values = new HashSet<>();
      for (int i = 0; i < 50; i++) {
        values.add(Math.abs(x.getFloat(r, i)));
      }
      assertTrue(values.size() <= 3, "zero and two magnitudes, got " + values);
    }
  }

  @Test
  void inTrainingAlone() {
    MultiLayerNetwork network =
        network(Networks.quantized(Quantization.alternating(2), Quantization.alternating(2)));
    INDArray x = data(1).getFeatures();
    assertIdentical(network.output(x), network.output(x));
    assertNotEquals(network.output(x), network.output(x, true));
    // The same iteration, the same mask.
    assertIdentical(network.output(x, true), network.output(x, true));
    INDArray before = network.output(x, true);
    network.setIterationCount(5);
    network.incrementEpochCount();
    assertNotEquals(before, network.output(x, true));
  }

  @Test
  void otherDropoutIsRefused() {
    for (var dropout :
        new org.deeplearning4j.nn.conf.dropout.IDropout[] {
          new GaussianDropout(0.5),
          new Dropout(1.5),
          new Dropout(new ExponentialSchedule(ScheduleType.ITERATION, 0.5, 0.9))
        }) {
      assertThrows(
          DL4JInvalidConfigException.class,
          () -> new QuantizedLSTM.Builder().nIn(E).nOut(H).dropOut(dropout).build());
      assertThrows(
          DL4JInvalidConfigException.class,
          () -> new QuantizedSoftmaxOutput.Builder().nIn(H).nOut(V).dropOut(dropout).build());
    }
    assertThrows(
        DL4JInvalidConfigException.class,
        () -> new QuantizedEmbedding.Builder().nIn(V).nOut(E).dropOut(0.5).build());
    // A dropout for all layers comes after they are built.
    Layer[] layers = Networks.ours(1);
    Exception e =
        assertThrows(
            DL4JInvalidConfigException.class, () -> network(b -> b.dropOut(0.5), l -> l, layers));
    assertTrue(e.getMessage().contains("dropOut(1)"), e.getMessage());
    layers[0] = new QuantizedEmbedding.Builder().nIn(V).nOut(E).dropOut(1).build();
    network(b -> b.dropOut(0.5), l -> l, layers).fit(data(1));
  }
}

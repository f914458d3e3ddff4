package org.multibit.layers;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.FloatBuffer;
import java.util.ArrayDeque;
import java.util.Map;
import java.util.Queue;
import java.util.Random;
import org.deeplearning4j.nn.conf.NeuralNetConfiguration;
import org.deeplearning4j.nn.conf.distribution.UniformDistribution;
import org.deeplearning4j.nn.conf.inputs.InputType;
import org.deeplearning4j.nn.multilayer.MultiLayerNetwork;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.multibit.core.CellStates;
import org.multibit.core.JavaKernels;
import org.multibit.core.Kernels;
import org.multibit.core.KernelsInUse;
import org.multibit.core.MultibitMatrix;
import org.multibit.core.Quantization;
import org.multibit.core.Quantizer;
import org.multibit.layers.Networks.Cell;
import org.multibit.runtime.NativeKernels;
import org.nd4j.linalg.api.buffer.DataType;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.nd4j.linalg.dataset.DataSet;
import org.nd4j.linalg.factory.Nd4j;

/**
 * A training step on native kernels against the same step on the plain Java ones, with the same
 * dropout masks. Where a rounding puts an activation on the other side of a threshold, the native
 * step goes on with the code of the Java step, and the flip is counted.
 */
class TrainingStepTest {
  private static final int WORDS = 1003;
  private static final int UNITS = 100;
  private static final int BATCH = 10;
  private static final int TIME = 20;

  /** Keeps the activations' codes of each call. */
  private static final class Recording extends JavaKernels {
    final Queue<MultibitMatrix> activations = new ArrayDeque<>();

    @Override
    protected void quantize(Quantizer quantizer, FloatBuffer rows, MultibitMatrix into) {
      super.quantize(quantizer, rows, into);
      if (into.lanes() == MultibitMatrix.ACTIVATION_LANES) {
        MultibitMatrix copy = MultibitMatrix.activations(into.rows(), into.cols(), into.bits());
        copy.planes().put(into.planes());
        copy.coefficients().put(into.coefficients());
        activations.add(copy);
      }
    }
  }

  /** Puts recorded codes in the place of those that differ. */
  private static final class Replaying extends NativeKernels {
    private final Queue<MultibitMatrix> recorded;
    long values;
    long flips;

    Replaying(Queue<MultibitMatrix> recorded) {
      this.recorded = recorded;
    }

    /** Step by step, to the same bits, so that codes can be put in between. */
    @Override
    protected void forwardSequence(
        CellStates states, Quantizer quantizer, MultibitMatrix weights, MultibitMatrix codes) {
      int batch = states.batch();
      int units = states.units();
      int cols = states.cell().gates() * units;
      FloatBuffer sums = states.recurrent() == null ? states.gates() : states.recurrent();
      for (int t = 0; t < codes.rows() / batch; t++) {
        MultibitMatrix step = codes.rows(t * batch, (t + 1) * batch);
        quantize(quantizer, states.hidden().slice(t * batch * units, batch * units), step);
        multiply(weights, step, null, null, sums.slice(t * batch * cols, batch * cols));
        forwardStep(states, t);
      }
    }

    @Override
    protected void quantize(Quantizer quantizer, FloatBuffer rows, MultibitMatrix into) {
      super.quantize(quantizer, rows, into);
      if (into.lanes() != MultibitMatrix.ACTIVATION_LANES) {
        return;
      }
      MultibitMatrix expected = recorded.remove();
      assertEquals(expected.planes().capacity(), into.planes().capacity());
      values += (long) into.rows() * into.cols();
      for (int r = 0; r < into.rows(); r++) {
        int differ = 0;
        for (int c = 0; c < into.cols(); c++) {
          boolean same = true;
          for (int i = 0; i < into.bits(); i++) {
            same &= expected.bit(r, i, c) == into.bit(r, i, c);
          }
          differ += same ? 0 : 1;
        }
        if (differ > 0) {
          flips += differ;
          into.rows(r, r + 1).planes().put(expected.rows(r, r + 1).planes());
          into.rows(r, r + 1).coefficients().put(expected.rows(r, r + 1).coefficients());
        }
      }
    }
  }

  private static MultiLayerNetwork network(
      Cell cell, Quantization weights, Quantization inputs, Quantization activations) {
    MultiLayerNetwork network =
        new MultiLayerNetwork(
            new NeuralNetConfiguration.Builder()
                .seed(11)
                .dataType(DataType.FLOAT)
                .miniBatch(false)
                .updater(new ClippedSgd(5, 0.25))
                .weightInit(new UniformDistribution(-0.3, 0.3))
                .list(
                    new QuantizedEmbedding.Builder()
                        .nIn(WORDS)
                        .nOut(UNITS)
                        .weights(weights)
                        .build(),
                    cell.builder()
                        .nIn(UNITS)
                        .nOut(UNITS)
                        .weights(weights)
                        .inputActivations(inputs)
                        .recurrentActivations(activations)
                        .stateful(true)
                        .dropOut(0.6)
                        .build(),
                    new QuantizedSoftmaxOutput.Builder()
                        .nIn(UNITS)
                        .nOut(WORDS)
                        .weights(weights)
                        .activations(activations)
                        .averageOverTime(true)
                        .averageOverBatch(true)
                        .dropOut(0.6)
                        .build())
                .setInputType(InputType.recurrent(WORDS, TIME))
                .build());
    network.init();
    return network;
  }

  private static DataSet segment(Random random) {
    INDArray x = Nd4j.create(DataType.FLOAT, BATCH, 1, TIME);
    INDArray y = Nd4j.create(DataType.FLOAT, BATCH, 1, TIME);
    for (int b = 0; b < BATCH; b++) {
      for (int t = 0; t < TIME; t++) {
        x.putScalar(b, 0, t, (int) (WORDS * Math.pow(random.nextDouble(), 3)));
        y.putScalar(b, 0, t, (int) (WORDS * Math.pow(random.nextDouble(), 3)));
      }
    }
    return new DataSet(x, y);
  }

  private static Quantization alternating(int bits) {
    return bits == 0 ? null : Quantization.alternating(bits);
  }

  @ParameterizedTest
  @CsvSource({
    "LSTM, 0, 0, 0",
    "LSTM, 2, 0, 2",
    "LSTM, 3, 0, 3",
    "LSTM, 2, 2, 3",
    "LSTM, 2, 0, 0",
    "LSTM, 0, 2, 2",
    "GRU, 0, 0, 0",
    "GRU, 2, 0, 2",
    "GRU, 3, 0, 3",
    "GRU, 2, 2, 3",
    "GRU, 2, 0, 0",
    "GRU, 0, 2, 2"
  })
  void gradientsAreThoseOfTheJavaKernels(
      Cell cell, int weightBits, int inputBits, int activationBits) {
    MultiLayerNetwork network =
        network(cell, alternating(weightBits), alternating(inputBits), alternating(activationBits));
    QuantizedRecurrentLayer recurrent = (QuantizedRecurrentLayer) network.getLayer(1);
    Random random = new Random(5);
    Recording java = new Recording();
    Replaying fast = new Replaying(java.activations);
    for (int step = 0; step < 10; step++) {
      DataSet data = segment(random);
      INDArray[] states = recurrent.getCarriedState();
      Map<String, INDArray> expected;
      double expectedScore;
      try (KernelsInUse ignored = new KernelsInUse(new Kernels(java))) {
        expected = Networks.gradient(network, data);
        expectedScore = network.score();
      }
      if (states == null) {
        recurrent.clearCarriedState();
      } else {
        recurrent.setCarriedState(states);
      }
      // The layer's tape must not answer for the native kernels.
      network.clear();
      try (KernelsInUse ignored = new KernelsInUse(new Kernels(fast))) {
        Map<String, INDArray> actual = Networks.gradient(network, data);
        assertEquals(expectedScore, network.score(), 1e-5 * expectedScore);
        assertClose(expected, actual, step);
      }
      assertTrue(java.activations.isEmpty());
      if (states == null) {
        recurrent.clearCarriedState();
      } else {
        recurrent.setCarriedState(states);
      }
      network.fit(data);
    }
    assertTrue(
        fast.flips <= 1e-5 * fast.values, fast.flips + " flips of " + fast.values + " values");
  }

  private static void assertClose(
      Map<String, INDArray> expected, Map<String, INDArray> actual, int step) {
    assertEquals(expected.keySet(), actual.keySet());
    expected.forEach(
        (key, values) -> {
          double norm = values.norm2Number().doubleValue();
          double error = values.sub(actual.get(key)).norm2Number().doubleValue();
          assertTrue(
              norm > 0 && error <= 1e-4 * norm,
              "%s at step %d: %g of %g".formatted(key, step, error, norm));
          double largest = values.amaxNumber().doubleValue();
          double worst = values.sub(actual.get(key)).amaxNumber().doubleValue();
          assertTrue(
              worst <= 1e-4 * largest,
              "%s at step %d: %g of %g".formatted(key, step, worst, largest));
        });
  }
}

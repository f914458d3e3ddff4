package org.multibit.benchmarks;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import org.bytedeco.javacpp.Loader;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.openblas.presets.openblas_nolapack;
import org.bytedeco.pytorch.GRUImpl;
import org.bytedeco.pytorch.GRUOptions;
import org.bytedeco.pytorch.LSTMImpl;
import org.bytedeco.pytorch.LSTMOptions;
import org.bytedeco.pytorch.NoGradGuard;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorVector;
import org.deeplearning4j.nn.api.layers.RecurrentLayer;
import org.deeplearning4j.nn.conf.NeuralNetConfiguration;
import org.deeplearning4j.nn.conf.inputs.InputType;
import org.deeplearning4j.nn.multilayer.MultiLayerNetwork;
import org.deeplearning4j.nn.workspace.LayerWorkspaceMgr;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.multibit.layers.QuantizedGRU;
import org.multibit.layers.QuantizedLSTM;
import org.multibit.layers.QuantizedSoftmaxOutput;
import org.nd4j.linalg.api.buffer.DataType;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.nd4j.linalg.factory.Nd4j;

/** Without quantizers our cells are PyTorch's nn.LSTM and nn.GRU. */
class PyTorchEqualityTest {
  private static final int BATCH = 5;
  private static final int TIME = 11;
  private static final int IN = 13;
  private static final int UNITS = 37;

  private final Random random = new Random(7);

  /**
   * One layer of PyTorch's parameters, as they lie there.
   *
   * @param input [G units, nIn]
   * @param recurrent [G units, units]
   * @param inputBias [G units], {@code recurrentBias} too
   */
  private record Weights(
      float[] input, float[] recurrent, float[] inputBias, float[] recurrentBias) {
    List<float[]> inOrder() {
      return List.of(input, recurrent, inputBias, recurrentBias);
    }
  }

  private float[] uniform(int count, double range) {
    float[] values = new float[count];
    for (int i = 0; i < count; i++) {
      values[i] = (float) (range * (2 * random.nextDouble() - 1));
    }
    return values;
  }

  @ParameterizedTest
  @CsvSource({"lstm, 1", "lstm, 2", "gru, 1", "gru, 2"})
  void outputsAndGradients(String cell, int layers) {
    assumeTrue(PyTorchTraining.isAvailable(), "PyTorch has no natives for this platform");
    Loader.load(openblas_nolapack.class);
    int gates = cell.equals("gru") ? 3 : 4;
    List<Weights> weights = new ArrayList<>();
    for (int l = 0; l < layers; l++) {
      int in = l == 0 ? IN : UNITS;
      weights.add(
          new Weights(
              uniform(gates * UNITS * in, 0.3),
              uniform(gates * UNITS * UNITS, 0.3),
              uniform(gates * UNITS, 0.3),
              uniform(gates * UNITS, 0.3)));
    }
    float[] x = uniform(TIME * BATCH * IN, 2); // [T, B, nIn]
    float[] epsilon = uniform(TIME * BATCH * UNITS, 1); // dL/dh [T, B, units]
    List<float[]> expected = pyTorch(cell, weights, x, epsilon);
    List<float[]> actual = ours(cell, weights, x, epsilon);
    assertEquals(expected.size(), actual.size());
    assertClose("output", expected.get(0), actual.get(0), 1e-5);
    assertClose("gradient of the input", expected.get(1), actual.get(1), 1e-5);
    for (int i = 2; i < expected.size(); i++) {
      // Sums over batch and time.
      assertClose("gradient of parameter " + (i - 2), expected.get(i), actual.get(i), 1e-4);
    }
  }

  private static void assertClose(String what, float[] expected, float[] actual, double tolerance) {
    assertEquals(expected.length, actual.length, what);
    double norm = 0;
    for (int i = 0; i < expected.length; i++) {
      norm = Math.max(norm, Math.abs(expected[i]));
      assertEquals(
          expected[i],
          actual[i],
          tolerance * Math.max(1, Math.abs(expected[i])),
          what + " at " + i);
    }
    assertTrue(norm > 0.01, what + " says nothing");
  }

  /** Output, gradient of the input, and of each parameter of each layer. */
  private static List<float[]> pyTorch(
      String cell, List<Weights> weights, float[] x, float[] epsilon) {
    try (PointerScope scope = new PointerScope()) {
      Tensor input = Tensor.create(x, TIME, BATCH, IN).set_requires_grad(true);
      TensorVector parameters;
      Tensor output;
      if (cell.equals("gru")) {
        GRUOptions options = new GRUOptions(IN, UNITS);
        options.num_layers().put(weights.size());
        GRUImpl gru = new GRUImpl(options);
        parameters = gru.parameters();
        assign(weights, parameters);
        output = gru.forward(input).get0();
      } else {
        LSTMOptions options = new LSTMOptions(IN, UNITS);
        options.num_layers().put(weights.size());
        LSTMImpl lstm = new LSTMImpl(options);
        parameters = lstm.parameters();
        assign(weights, parameters);
        output = lstm.forward(input).get0();
      }
      output.mul(Tensor.create(epsilon, TIME, BATCH, UNITS)).sum().backward();
      List<float[]> results = new ArrayList<>();
      results.add(floats(output.detach()));
      results.add(floats(input.grad()));
      for (Tensor parameter : parameters.get()) {
        results.add(floats(parameter.grad()));
      }
      return results;
    }
  }

  private static void assign(List<Weights> weights, TensorVector parameters) {
    assertEquals(4L * weights.size(), parameters.size());
    try (NoGradGuard none = new NoGradGuard()) {
      int p = 0;
      for (Weights layer : weights) {
        for (float[] values : layer.inOrder()) {
          Tensor parameter = parameters.get(p++);
          assertEquals(values.length, parameter.numel());
          parameter.copy_(Tensor.create(values).view_as(parameter));
        }
      }
    }
  }

  private static float[] floats(Tensor tensor) {
    Tensor contiguous = tensor.contiguous();
    float[] values = new float[(int) contiguous.numel()];
    contiguous.data_ptr_float().get(values);
    return values;
  }

  private static List<float[]> ours(
      String cell, List<Weights> weights, float[] x, float[] epsilon) {
    boolean gru = cell.equals("gru");
    // Where each of our gates lies in PyTorch: candidate, forget, output, input of i, f, g, o.
    int[] order = gru ? new int[] {0, 1, 2} : new int[] {2, 1, 3, 0};
    var list = new NeuralNetConfiguration.Builder().dataType(DataType.FLOAT).list();
    for (int l = 0; l < weights.size(); l++) {
      list.layer(
          (gru ? new QuantizedGRU.Builder() : new QuantizedLSTM.Builder())
              .nIn(l == 0 ? IN : UNITS)
              .nOut(UNITS)
              .build());
    }
    list.layer(new QuantizedSoftmaxOutput.Builder().nIn(UNITS).nOut(2).build());
    MultiLayerNetwork network =
        new MultiLayerNetwork(list.setInputType(InputType.recurrent(IN, TIME)).build());
    network.init();
    network.initGradientsView();
    for (int l = 0; l < weights.size(); l++) {
      Weights w = weights.get(l);
      assign(network, l, "W", w.input, order);
      assign(network, l, "RW", w.recurrent, order);
      if (gru) {
        assign(network, l, "b", w.inputBias, order);
        assign(network, l, "rb", w.recurrentBias, order);
      } else {
        float[] sum = w.inputBias.clone();
        for (int i = 0; i < sum.length; i++) {
          sum[i] += w.recurrentBias[i];
        }
        assign(network, l, "b", sum, order);
      }
    }
    LayerWorkspaceMgr none = LayerWorkspaceMgr.noWorkspaces();
    INDArray h = sequence(x, IN);
    for (int l = 0; l < weights.size(); l++) {
      h = ((RecurrentLayer) network.getLayer(l)).activate(h, true, none);
    }
    INDArray dh = sequence(epsilon, UNITS);
    List<float[]> gradients = new ArrayList<>();
    for (int l = weights.size() - 1; l >= 0; l--) {
      var result = network.getLayer(l).backpropGradient(dh, none);
      dh = result.getSecond();
      List<float[]> layer = new ArrayList<>();
      for (String key : List.of("W", "RW", "b", gru ? "rb" : "b")) {
        layer.add(inPyTorchsOrder(result.getFirst().getGradientFor(key), order));
      }
      gradients.addAll(0, layer);
    }
    gradients.add(0, timeMajor(dh));
    gradients.add(0, timeMajor(h));
    return gradients;
  }

  /** Time-major as [B, size, T]. */
  private static INDArray sequence(float[] values, int size) {
    return Nd4j.create(values, new long[] {TIME, BATCH, size}, 'c').permute(1, 2, 0).dup('c');
  }

  private static float[] timeMajor(INDArray sequence) {
    return sequence.permute(2, 0, 1).dup('c').data().asFloat();
  }

  private static void assign(
      MultiLayerNetwork network, int layer, String key, float[] values, int[] order) {
    INDArray parameter = network.getLayer(layer).getParam(key);
    int block = values.length / order.length;
    float[] ours = new float[values.length];
    for (int g = 0; g < order.length; g++) {
      System.arraycopy(values, order[g] * block, ours, g * block, block);
    }
    INDArray rows = Nd4j.create(ours, new long[] {parameter.length()}, 'c');
    // A unit's weights lie side by side: rows of PyTorch's, columns of ours.
    parameter.assign(
        parameter.rank() == 1
            ? rows
            : rows.reshape('c', parameter.size(1), parameter.size(0)).transpose());
  }

  private static float[] inPyTorchsOrder(INDArray gradient, int[] order) {
    float[] ours =
        (gradient.rank() == 1 ? gradient : gradient.transpose()).dup('c').data().asFloat();
    int block = ours.length / order.length;
    float[] values = new float[ours.length];
    for (int g = 0; g < order.length; g++) {
      System.arraycopy(ours, g * block, values, order[g] * block, block);
    }
    return values;
  }
}

package org.multibit.layers;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.multibit.layers.Networks.B;
import static org.multibit.layers.Networks.E;
import static org.multibit.layers.Networks.H;
import static org.multibit.layers.Networks.T;
import static org.multibit.layers.Networks.data;
import static org.multibit.layers.Networks.network;

import java.util.Random;
import org.deeplearning4j.nn.conf.layers.Layer;
import org.deeplearning4j.nn.multilayer.MultiLayerNetwork;
import org.deeplearning4j.nn.workspace.LayerWorkspaceMgr;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.multibit.core.Quantization;
import org.multibit.layers.Networks.Cell;
import org.nd4j.linalg.api.buffer.DataType;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.nd4j.linalg.dataset.DataSet;
import org.nd4j.linalg.factory.Nd4j;
import org.nd4j.linalg.indexing.NDArrayIndex;

/** {@link QuantizedGRU} against its equations, written out in loops over doubles. */
class GRUTest {
  private static final LayerWorkspaceMgr NONE = LayerWorkspaceMgr.noWorkspaces();

  /**
   * One GRU layer, with backpropagation through time by the straight-through rule.
   *
   * @param w [3H, E], quantized
   * @param u [3H, H], quantized
   * @param recurrent how the hidden state is quantized for its product
   */
  private record Reference(
      double[][] w, double[][] u, double[] b, double[] rb, Quantization recurrent) {

    static Reference of(QuantizedRecurrentLayer layer) {
      Quantization weights = layer.layerConf().getWeightQuantization();
      return new Reference(
          rows(layer.getParam("W"), weights),
          rows(layer.getParam("RW"), weights),
          layer.getParam("b").castTo(DataType.DOUBLE).toDoubleVector(),
          layer.getParam("rb").castTo(DataType.DOUBLE).toDoubleVector(),
          layer.layerConf().getRecurrentActivationQuantization());
    }

    private static double[][] rows(INDArray parameter, Quantization quantization) {
      INDArray rows = parameter.transpose().dup('c');
      INDArray values = quantization == null ? rows : QuantizedArrays.quantized(quantization, rows);
      return values.castTo(DataType.DOUBLE).toDoubleMatrix();
    }

    private double[] consumed(double[] h) {
      if (recurrent == null) {
        return h;
      }
      INDArray row = Nd4j.createFromArray(h).reshape(1, h.length).castTo(DataType.FLOAT);
      return QuantizedArrays.quantized(recurrent, row).castTo(DataType.DOUBLE).toDoubleMatrix()[0];
    }

    /** The layer's parameter gradients, flattened in the order of its keys, and more. */
    record Backward(double[] gradients, double[][][] dx, double[][] last) {}

    /**
     * @param x [B, E, T]
     * @param start h_0 [B, H]
     * @param epsilon dL/dh [B, H, T]
     * @param back steps that gradients flow back
     * @param out receives h [B, H, T]
     */
    Backward run(INDArray x, double[][] start, INDArray epsilon, int back, double[][][] out) {
      int time = (int) x.size(2);
      double[][] dw = new double[3 * H][E];
      double[][] du = new double[3 * H][H];
      double[] db = new double[3 * H];
      double[] drb = new double[3 * H];
      double[][][] dx = new double[B][E][time];
      double[][] last = new double[B][];
      for (int s = 0; s < B; s++) {
        double[][] h = new double[time + 1][];
        double[][] q = new double[time][];
        double[][][] gates = new double[time][4][H]; // r, z, n, U_n h + rb_n
        h[0] = start[s].clone();
        for (int t = 0; t < time; t++) {
          q[t] = consumed(h[t]);
          h[t + 1] = new double[H];
          for (int j = 0; j < H; j++) {
            double[] fromInput = new double[3];
            double[] fromState = new double[3];
            for (int g = 0; g < 3; g++) {
              fromInput[g] = b[g * H + j];
              fromState[g] = rb[g * H + j];
              for (int k = 0; k < E; k++) {
                fromInput[g] += w[g * H + j][k] * x.getDouble(s, k, t);
              }
              for (int k = 0; k < H; k++) {
                fromState[g] += u[g * H + j][k] * q[t][k];
              }
            }
            double r = 1 / (1 + Math.exp(-fromInput[0] - fromState[0]));
            double z = 1 / (1 + Math.exp(-fromInput[1] - fromState[1]));
            double n = Math.tanh(fromInput[2] + r * fromState[2]);
            h[t + 1][j] = (1 - z) * n + z * h[t][j];
            out[s][j][t] = h[t + 1][j];
            double[] kept = {r, z, n, fromState[2]};
            for (int g = 0; g < 4; g++) {
              gates[t][g][j] = kept[g];
            }
          }
        }
        last[s] = h[time];
        double[] flows = new double[H];
        for (int t = time - 1; t >= Math.max(0, time - back); t--) {
          double[] dh = new double[H];
          double[] dInput = new double[3 * H];
          double[] dState = new double[3 * H];
          for (int j = 0; j < H; j++) {
            double r = gates[t][0][j];
            double z = gates[t][1][j];
            double n = gates[t][2][j];
            double total = epsilon.getDouble(s, j, t) + flows[j];
            double dn = total * (1 - z) * (1 - n * n);
            dInput[j] = dn * gates[t][3][j] * r * (1 - r);
            dInput[H + j] = total * (h[t][j] - n) * z * (1 - z);
            dInput[2 * H + j] = dn;
            dState[j] = dInput[j];
            dState[H + j] = dInput[H + j];
            dState[2 * H + j] = dn * r;
            dh[j] = total * z;
          }
          for (int row = 0; row < 3 * H; row++) {
            db[row] += dInput[row];
            drb[row] += dState[row];
            for (int k = 0; k < E; k++) {
              dw[row][k] += dInput[row] * x.getDouble(s, k, t);
              dx[s][k][t] += dInput[row] * w[row][k];
            }
            for (int k = 0; k < H; k++) {
              du[row][k] += dState[row] * q[t][k];
              dh[k] += dState[row] * u[row][k];
            }
          }
          flows = dh;
        }
      }
      // A unit's weights lie together.
      INDArray gradients =
          Nd4j.concat(
              0,
              Nd4j.createFromArray(dw).reshape(3 * H * E),
              Nd4j.createFromArray(du).reshape(3 * H * H),
              Nd4j.createFromArray(db),
              Nd4j.createFromArray(drb));
      return new Backward(gradients.toDoubleVector(), dx, last);
    }
  }

  /** Two GRUs with biases that are not 0. */
  private static MultiLayerNetwork twoLayers(
      DataType type, Quantization weights, Quantization recurrent) {
    Layer[] layers = Networks.ours(Cell.GRU, 2);
    for (int i = 1; i <= 2; i++) {
      QuantizedGRU gru = (QuantizedGRU) layers[i];
      gru.setWeightQuantization(weights);
      gru.setRecurrentActivationQuantization(recurrent);
    }
    MultiLayerNetwork network = network(b -> b.dataType(type), l -> l, layers);
    for (String key : new String[] {"1_b", "1_rb", "2_b", "2_rb"}) {
      INDArray bias = network.getParam(key);
      assertEquals(0, bias.amaxNumber().doubleValue());
      bias.assign(gaussian(new Random(key.hashCode()), bias.length()).castTo(type));
    }
    return network;
  }

  private static INDArray gaussian(Random random, long... shape) {
    double[] values = new double[(int) Nd4j.zeros(shape).length()];
    for (int i = 0; i < values.length; i++) {
      values[i] = random.nextGaussian();
    }
    return Nd4j.create(values, shape, 'c');
  }

  private static void assertClose(double[] expected, INDArray actual, double tolerance) {
    double[] values = actual.dup('c').castTo(DataType.DOUBLE).data().asDouble();
    assertEquals(expected.length, values.length);
    for (int i = 0; i < expected.length; i++) {
      assertEquals(expected[i], values[i], tolerance, "at " + i);
    }
  }

  private static double[] flat(double[][][] values) {
    return Nd4j.createFromArray(values).dup('c').data().asDouble();
  }

  /**
   * Several segments of truncated BPTT, the last one shorter, gradients flowing back over all of a
   * segment or less; quantizers off in double, and on.
   */
  @ParameterizedTest
  @CsvSource({
    "DOUBLE, 0, 0, 4, 4", "DOUBLE, 0, 0, 4, 2", "DOUBLE, 0, 0, 5, 1", "DOUBLE, 0, 0, 20, 20",
    "FLOAT, 0, 0, 4, 4", "FLOAT, 2, 2, 4, 4", "FLOAT, 2, 0, 4, 3", "FLOAT, 0, 3, 20, 20"
  })
  void truncatedBptt(DataType type, int weightBits, int activationBits, int forward, int back) {
    MultiLayerNetwork network =
        twoLayers(
            type,
            weightBits == 0 ? null : Quantization.alternating(weightBits),
            activationBits == 0 ? null : Quantization.alternating(activationBits));
    double tolerance = type == DataType.DOUBLE ? 1e-12 : 2e-5;
    // Gives the layers their gradient views.
    Networks.gradient(network, data(type, 1, B, T));
    QuantizedRecurrentLayer layer = (QuantizedRecurrentLayer) network.getLayer(1);
    Reference reference = Reference.of(layer);
    Random random = new Random(6);
    double[][] state = new double[B][H];
    for (int from = 0; from < 10; from += forward) {
      int time = Math.min(forward, 10 - from);
      INDArray x = gaussian(random, B, E, time).castTo(type);
      INDArray epsilon = gaussian(random, B, H, time).castTo(type);
      double[][][] out = new double[B][H][time];
      Reference.Backward expected = reference.run(x, state, epsilon, back, out);
      INDArray actual = layer.rnnActivateUsingStoredState(x.dup(), true, true, NONE);
      assertClose(flat(out), actual, tolerance);
      INDArray dx = layer.tbpttBackpropGradient(epsilon.dup(), back, NONE).getSecond();
      layer.rnnSetPreviousState(layer.rnnGetTBPTTState());
      assertClose(flat(expected.dx()), dx, tolerance * 10);
      assertClose(expected.gradients(), layer.getGradientsViewArray(), tolerance * 10);
      state = expected.last();
    }
  }

  /** Step by step, in pieces, as rows of single tokens, and at once. */
  @Test
  void rnnTimeStep() {
    Quantization two = Quantization.alternating(2);
    for (Quantization quantization : new Quantization[] {null, two}) {
      MultiLayerNetwork network = twoLayers(DataType.FLOAT, quantization, quantization);
      INDArray x = data(4).getFeatures();
      INDArray whole = network.output(x);
      for (int t = 0; t < T; t++) {
        INDArray actual = network.rnnTimeStep(slice(x, t, t + 1));
        Networks.assertClose(slice(whole, t, t + 1), actual, 2e-6, "step " + t);
      }
      network.rnnClearPreviousState();
      Networks.assertClose(slice(whole, 0, 4), network.rnnTimeStep(slice(x, 0, 4)), 2e-6, "piece");
      Networks.assertClose(slice(whole, 4, T), network.rnnTimeStep(slice(x, 4, T)), 2e-6, "piece");
    }
  }

  private static INDArray slice(INDArray sequence, int from, int to) {
    return sequence.get(NDArrayIndex.all(), NDArrayIndex.all(), NDArrayIndex.interval(from, to));
  }

  /** Longer than what inference computes at a time. */
  @Test
  void longSequences() {
    MultiLayerNetwork network = twoLayers(DataType.FLOAT, null, null);
    INDArray x = data(DataType.FLOAT, 5, 2, 2500).getFeatures();
    INDArray whole = network.output(x);
    for (int from = 0; from < 2500; from += 500) {
      Networks.assertClose(
          slice(whole, from, from + 500),
          network.rnnTimeStep(slice(x, from, from + 500)),
          1e-5,
          "from " + from);
    }
  }

  @Test
  void learns() {
    Quantization two = Quantization.alternating(2);
    MultiLayerNetwork network =
        network(
            b -> b.updater(new ClippedSgd(2, 0.25)),
            l -> l,
            Networks.quantized(Cell.GRU, two, two));
    DataSet data = data(1);
    double before = network.score(data);
    for (int i = 0; i < 100; i++) {
      network.fit(data);
      ((QuantizedRecurrentLayer) network.getLayer(1)).clearCarriedState();
    }
    assertTrue(network.score(data) < 0.7 * before, before + " to " + network.score(data));
  }
}

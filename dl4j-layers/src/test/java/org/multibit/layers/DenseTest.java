package org.multibit.layers;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.multibit.layers.Networks.assertClose;
import static org.multibit.layers.Networks.assertIdentical;
import static org.multibit.layers.Networks.copyParameters;
import static org.multibit.layers.Networks.gradient;

import java.io.IOException;
import java.util.Map;
import java.util.Random;
import java.util.function.UnaryOperator;
import org.deeplearning4j.exception.DL4JInvalidConfigException;
import org.deeplearning4j.exception.DL4JInvalidInputException;
import org.deeplearning4j.gradientcheck.GradientCheckUtil;
import org.deeplearning4j.nn.conf.MultiLayerConfiguration;
import org.deeplearning4j.nn.conf.NeuralNetConfiguration;
import org.deeplearning4j.nn.conf.WorkspaceMode;
import org.deeplearning4j.nn.conf.distribution.ConstantDistribution;
import org.deeplearning4j.nn.conf.distribution.UniformDistribution;
import org.deeplearning4j.nn.conf.inputs.InputType;
import org.deeplearning4j.nn.conf.layers.DenseLayer;
import org.deeplearning4j.nn.conf.layers.Layer;
import org.deeplearning4j.nn.conf.layers.OutputLayer;
import org.deeplearning4j.nn.conf.layers.recurrent.LastTimeStep;
import org.deeplearning4j.nn.conf.weightnoise.WeightNoise;
import org.deeplearning4j.nn.multilayer.MultiLayerNetwork;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.multibit.core.Alternating;
import org.multibit.core.Greedy;
import org.multibit.core.Quantization;
import org.multibit.core.SplitMix64;
import org.nd4j.linalg.activations.Activation;
import org.nd4j.linalg.api.buffer.DataType;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.nd4j.linalg.dataset.DataSet;
import org.nd4j.linalg.factory.Nd4j;
import org.nd4j.linalg.learning.config.Sgd;
import org.nd4j.linalg.lossfunctions.LossFunctions.LossFunction;

/** Dense and output layers against DL4J's own, finite differences and loops over doubles. */
class DenseTest {
  private static final int IN = 9;
  private static final int UNITS = 13;
  private static final int CLASSES = 4;
  private static final int BATCH = 5;
  private static final Quantization Q2 = Quantization.alternating(2);

  private static MultiLayerNetwork network(
      UnaryOperator<NeuralNetConfiguration.Builder> settings, Layer... layers) {
    MultiLayerNetwork network =
        new MultiLayerNetwork(
            settings
                .apply(
                    new NeuralNetConfiguration.Builder()
                        .seed(3)
                        .updater(new Sgd(1))
                        .biasInit(0.2)
                        .weightInit(new UniformDistribution(-0.8, 0.8)))
                .list(layers)
                .setInputType(InputType.feedForward(IN))
                .build());
    network.init();
    return network;
  }

  private static MultiLayerNetwork network(DataType type, Layer... layers) {
    return network(b -> b.dataType(type), layers);
  }

  private static DataSet data(DataType type, long seed, int batch, int classes) {
    Random random = new Random(seed);
    INDArray x = Nd4j.create(random.doubles((long) batch * IN, -1, 1).toArray());
    INDArray y = Nd4j.zeros(type, batch, classes);
    for (int b = 0; b < batch; b++) {
      y.putScalar(b, random.nextInt(classes), 1);
    }
    return new DataSet(x.castTo(type).reshape(batch, IN), y);
  }

  private static Layer[] ours(Activation hidden, LossFunction loss, Activation output) {
    return new Layer[] {
      new QuantizedDense.Builder().nOut(UNITS).activation(hidden).build(),
      new QuantizedDense.Builder().nOut(7).activation(hidden).hasBias(false).build(),
      new QuantizedOutput.Builder(loss).nOut(CLASSES).activation(output).build()
    };
  }

  private static Layer[] stock(Activation hidden, LossFunction loss, Activation output) {
    return new Layer[] {
      new DenseLayer.Builder().nOut(UNITS).activation(hidden).build(),
      new DenseLayer.Builder().nOut(7).activation(hidden).hasBias(false).build(),
      new OutputLayer.Builder(loss).nOut(CLASSES).activation(output).build()
    };
  }

  @ParameterizedTest
  @CsvSource({
    "FLOAT, RELU, MCXENT, SOFTMAX",
    "DOUBLE, TANH, MCXENT, SOFTMAX",
    "DOUBLE, SIGMOID, XENT, SIGMOID",
    "FLOAT, LEAKYRELU, MSE, IDENTITY"
  })
  void withoutQuantizersTheyAreStock(
      DataType type, Activation hidden, LossFunction loss, Activation output) {
    MultiLayerNetwork ours = network(type, ours(hidden, loss, output));
    MultiLayerNetwork stock = network(type, stock(hidden, loss, output));
    assertEquals(stock.paramTable(), ours.paramTable(), "initialization");
    double tolerance = type == DataType.DOUBLE ? 1e-12 : 2e-6;
    DataSet data = data(type, 1, BATCH, CLASSES);
    assertClose(
        stock.output(data.getFeatures()), ours.output(data.getFeatures()), tolerance, "output");
    assertClose(gradient(stock, data), gradient(ours, data), 10 * tolerance);
    assertEquals(stock.score(), ours.score(), 1e-5);
    assertEquals(stock.score(data), ours.score(data), 1e-5);
    assertClose(
        stock.scoreExamples(data, true), ours.scoreExamples(data, true), 1e-5, "each score");
    // Examples that do not count, by the labels' mask.
    data.setLabelsMaskArray(Nd4j.ones(type, BATCH, 1).putScalar(2, 0, 0));
    assertClose(gradient(stock, data), gradient(ours, data), 10 * tolerance);
    assertEquals(stock.score(data), ours.score(data), 1e-5);
    for (int i = 0; i < 5; i++) {
      DataSet batch = data(type, i, BATCH + i, CLASSES);
      ours.fit(batch);
      stock.fit(batch);
    }
    assertClose(stock.paramTable(), ours.paramTable(), 50 * tolerance);
  }

  /** Layers of a sequence's steps, and masks of its time steps, are DL4J's. */
  @Test
  void afterSequences() {
    Layer[][] pair = new Layer[2][];
    for (int i = 0; i < 2; i++) {
      pair[i] =
          new Layer[] {
            i == 0
                ? new QuantizedDense.Builder().nOut(UNITS).activation(Activation.RELU).build()
                : new DenseLayer.Builder().nOut(UNITS).activation(Activation.RELU).build(),
            new LastTimeStep(new QuantizedGRU.Builder().nOut(6).build()),
            i == 0
                ? new QuantizedOutput.Builder().nOut(CLASSES).build()
                : new OutputLayer.Builder().nOut(CLASSES).activation(Activation.SOFTMAX).build()
          };
    }
    MultiLayerNetwork[] networks = new MultiLayerNetwork[2];
    for (int i = 0; i < 2; i++) {
      networks[i] =
          new MultiLayerNetwork(
              new NeuralNetConfiguration.Builder()
                  .seed(3)
                  .dataType(DataType.DOUBLE)
                  .list(pair[i])
                  .setInputType(InputType.recurrent(IN, 8))
                  .build());
      networks[i].init();
    }
    INDArray x = Nd4j.rand(DataType.DOUBLE, BATCH, IN, 8);
    DataSet data = new DataSet(x, data(DataType.DOUBLE, 1, BATCH, CLASSES).getLabels());
    assertClose(networks[1].output(x), networks[0].output(x), 1e-12, "output");
    assertClose(gradient(networks[1], data), gradient(networks[0], data), 1e-12);
  }

  /** The second layer's bias is missing, and with dropout. */
  @ParameterizedTest
  @CsvSource({"1, MCXENT, SOFTMAX", "0.6, MCXENT, SOFTMAX", "1, XENT, SIGMOID"})
  void finiteDifferences(double retain, LossFunction loss, Activation output) {
    DataType before = Nd4j.defaultFloatingPointType();
    Nd4j.setDefaultDataTypes(DataType.DOUBLE, DataType.DOUBLE);
    try {
      MultiLayerNetwork network =
          network(
              b -> b.dataType(DataType.DOUBLE).dropOut(retain),
              ours(Activation.TANH, loss, output));
      DataSet data = data(DataType.DOUBLE, 2, BATCH, CLASSES);
      assertTrue(
          GradientCheckUtil.checkGradients(
              new GradientCheckUtil.MLNConfig()
                  .net(network)
                  .epsilon(1e-6)
                  .maxRelError(1e-5)
                  .minAbsoluteError(1e-8)
                  .print(GradientCheckUtil.PrintMode.FAILURES_ONLY)
                  .input(data.getFeatures())
                  .labels(data.getLabels())
                  // Asked for with dropout; ours depends on seed and iteration alone.
                  .callEachIter(n -> {})));
    } finally {
      Nd4j.setDefaultDataTypes(before, before);
    }
  }

  /** Two layers in loops over doubles, straight-through, with dropout after quantizing. */
  @ParameterizedTest
  @CsvSource({"2, 2, 1", "2, 3, 1", "1, 1, 0.7", "2, 0, 0.7", "0, 2, 1", "3, 2, 0.5"})
  void quantizedAgainstTheReference(int weightBits, int activationBits, double retain) {
    Quantization weights = weightBits == 0 ? null : Quantization.alternating(weightBits);
    Quantization inputs =
        activationBits == 0 ? null : new Quantization(new Greedy(), activationBits);
    Quantization hidden =
        activationBits == 0 ? null : new Quantization(new Alternating(3, 1), activationBits);
    MultiLayerNetwork network =
        network(
            b -> b.dropOut(retain),
            new QuantizedDense.Builder()
                .nOut(UNITS)
                .activation(Activation.TANH)
                .weights(weights)
                .activations(inputs)
                .build(),
            new QuantizedOutput.Builder()
                .nOut(CLASSES)
                .weights(weights)
                .activations(hidden)
                .build());
    DataSet data = data(DataType.FLOAT, 7, BATCH, CLASSES);
    Map<String, INDArray> actual = gradient(network, data);

    double[][] w0 = values(network.getParam("0_W").transpose(), weights);
    double[][] w1 = values(network.getParam("1_W").transpose(), weights);
    double[][] x = dropped(values(data.getFeatures(), inputs), retain, 0);
    double[][] h = product(x, w0, network.getParam("0_b"));
    for (double[] row : h) {
      for (int j = 0; j < UNITS; j++) {
        row[j] = Math.tanh(row[j]);
      }
    }
    double[][] q = dropped(values(Nd4j.create(h).castTo(DataType.FLOAT), hidden), retain, 1);
    double[][] p = product(q, w1, network.getParam("1_b"));
    double loss = 0;
    for (int b = 0; b < BATCH; b++) {
      double sum = 0;
      for (double z : p[b]) {
        sum += Math.exp(z);
      }
      for (int c = 0; c < CLASSES; c++) {
        double label = data.getLabels().getDouble(b, c);
        loss -= label * Math.log(Math.exp(p[b][c]) / sum);
        p[b][c] = Math.exp(p[b][c]) / sum - label;
      }
    }
    assertEquals(loss / BATCH, network.score(), 1e-5);
    INDArray delta = Nd4j.create(p).castTo(DataType.DOUBLE);
    double[][] ones = new double[BATCH][UNITS];
    for (double[] row : ones) {
      java.util.Arrays.fill(row, 1);
    }
    INDArray dh = delta.mmul(doubles(w1)).mul(doubles(dropped(ones, retain, 1)));
    INDArray derivative = doubles(h).mul(doubles(h)).rsub(1);
    INDArray delta0 = dh.mul(derivative);
    assertClose(doubles(q).transpose().mmul(delta), actual.get("1_W"), 1e-5, "1_W");
    assertClose(delta.sum(0), actual.get("1_b").reshape(CLASSES), 1e-5, "1_b");
    assertClose(doubles(x).transpose().mmul(delta0), actual.get("0_W"), 1e-5, "0_W");
    assertClose(delta0.sum(0), actual.get("0_b").reshape(UNITS), 1e-5, "0_b");
  }

  private static INDArray doubles(double[][] rows) {
    return Nd4j.create(rows).castTo(DataType.DOUBLE);
  }

  private static double[][] values(INDArray rows, Quantization quantization) {
    INDArray values =
        quantization == null ? rows : QuantizedArrays.quantized(quantization, rows.dup('c'));
    return values.castTo(DataType.DOUBLE).toDoubleMatrix();
  }

  /** As DropoutMask says, of iteration 0. */
  private static double[][] dropped(double[][] rows, double retain, int layer) {
    if (retain == 1) {
      return rows;
    }
    long key = SplitMix64.mix(SplitMix64.mix(SplitMix64.mix(3L)) + layer);
    double[][] result = new double[rows.length][rows[0].length];
    for (int r = 0; r < rows.length; r++) {
      for (int c = 0; c < rows[r].length; c++) {
        long position = (long) r * rows[r].length + c;
        long bits = SplitMix64.mix(key + position * 0x9E3779B97F4A7C15L) >>> 1;
        result[r][c] = bits < retain * Long.MAX_VALUE ? rows[r][c] / retain : 0;
      }
    }
    return result;
  }

  private static double[][] product(double[][] x, double[][] w, INDArray bias) {
    double[][] sums = new double[x.length][w.length];
    for (int b = 0; b < x.length; b++) {
      for (int j = 0; j < w.length; j++) {
        sums[b][j] = bias.getDouble(j);
        for (int i = 0; i < x[b].length; i++) {
          sums[b][j] += x[b][i] * w[j][i];
        }
      }
    }
    return sums;
  }

  private static Layer[] everySetting() {
    return new Layer[] {
      new QuantizedDense.Builder()
          .nOut(UNITS)
          .activation(Activation.RELU)
          .weights(Q2)
          .activations(new Quantization(new Greedy(), 3))
          .hasBias(false)
          .latentWeightBound(2.5)
          .dropOut(0.7)
          .build(),
      new QuantizedOutput.Builder(LossFunction.XENT)
          .nOut(CLASSES)
          .activation(Activation.SIGMOID)
          .weights(new Quantization(new Greedy(), 3))
          .activations(Q2)
          .hasBias(false)
          .latentWeightBound(3)
          .build()
    };
  }

  @Test
  void jsonAndZipKeepEverySetting() throws IOException {
    MultiLayerNetwork network = network(b -> b, everySetting());
    MultiLayerConfiguration conf = network.getLayerWiseConfigurations();
    MultiLayerConfiguration read = MultiLayerConfiguration.fromJson(conf.toJson());
    assertEquals(conf, read);
    QuantizedDense dense = (QuantizedDense) read.getConf(0).getLayer();
    assertEquals(Q2, dense.getWeightQuantization());
    assertEquals(new Quantization(new Greedy(), 3), dense.getActivationQuantization());
    assertEquals(false, dense.hasBias());
    assertEquals(2.5, ((LatentWeightClip) dense.getConstraints().get(0)).getBound());
    assertEquals(0.7, DropoutMask.retain(dense.getIDropout()));
    QuantizedOutput output = (QuantizedOutput) read.getConf(1).getLayer();
    assertEquals(new Quantization(new Greedy(), 3), output.getWeightQuantization());
    assertEquals(Q2, output.getActivationQuantization());
    assertEquals(false, output.hasBias());
    assertEquals(LossFunction.XENT.getILossFunction(), output.getLossFn());

    DataSet data = data(DataType.FLOAT, 1, BATCH, CLASSES);
    network.fit(data);
    MultiLayerNetwork restored = Networks.saved(network);
    restored.fit(data);
    network.fit(data);
    assertIdentical(network.params(), restored.params());
    assertTrue(network.getParam("0_W").amaxNumber().doubleValue() <= 2.5);
  }

  @Test
  void workspacesChangeNothing() {
    DataSet data = data(DataType.FLOAT, 1, BATCH, CLASSES);
    MultiLayerNetwork[] networks = new MultiLayerNetwork[2];
    for (int i = 0; i < 2; i++) {
      WorkspaceMode mode = i == 0 ? WorkspaceMode.NONE : WorkspaceMode.ENABLED;
      networks[i] =
          network(b -> b.trainingWorkspaceMode(mode).inferenceWorkspaceMode(mode), everySetting());
      for (int n = 0; n < 3; n++) {
        networks[i].fit(data);
      }
    }
    assertIdentical(networks[0].params(), networks[1].params());
    assertIdentical(networks[0].output(data.getFeatures()), networks[1].output(data.getFeatures()));
  }

  @Test
  void weightNoise() {
    WeightNoise noise = new WeightNoise(new ConstantDistribution(0.3), true, true);
    UnaryOperator<NeuralNetConfiguration.Builder> noisy =
        b -> b.dataType(DataType.DOUBLE).weightNoise(noise);
    MultiLayerNetwork ours =
        network(
            noisy,
            new QuantizedDense.Builder().nOut(UNITS).activation(Activation.TANH).build(),
            new QuantizedOutput.Builder().nOut(CLASSES).build());
    MultiLayerNetwork stock =
        network(
            noisy,
            new DenseLayer.Builder().nOut(UNITS).activation(Activation.TANH).build(),
            new OutputLayer.Builder().nOut(CLASSES).build());
    copyParameters(stock.paramTable(), ours.paramTable());
    DataSet data = data(DataType.DOUBLE, 1, BATCH, CLASSES);
    for (int i = 0; i < 3; i++) {
      ours.fit(data);
      stock.fit(data);
    }
    assertClose(stock.paramTable(), ours.paramTable(), 1e-11);
  }

  @Test
  void badUse() {
    Exception precision =
        assertThrows(
            DL4JInvalidConfigException.class,
            () -> network(b -> b.dataType(DataType.DOUBLE), everySetting()));
    assertTrue(precision.getMessage().contains("QuantizedDense (layer 0)"), precision.getMessage());
    MultiLayerNetwork network = network(b -> b, everySetting());
    INDArray wide = Nd4j.zeros(BATCH, IN + 1);
    String message =
        assertThrows(DL4JInvalidInputException.class, () -> network.output(wide)).getMessage();
    assertTrue(message.contains("takes input [batch, 9], got [5, 10]"), message);
    INDArray broken = Nd4j.zeros(BATCH, IN).putScalar(3, 4, Double.NaN);
    assertThrows(ArithmeticException.class, () -> network.output(broken));
  }
}

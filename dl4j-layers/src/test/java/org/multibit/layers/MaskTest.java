package org.multibit.layers;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.multibit.layers.Networks.assertClose;
import static org.multibit.layers.Networks.assertIdentical;
import static org.multibit.layers.Networks.copyParameters;
import static org.multibit.layers.Networks.gradient;
import static org.nd4j.linalg.indexing.NDArrayIndex.all;
import static org.nd4j.linalg.indexing.NDArrayIndex.point;

import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Random;
import java.util.function.DoubleSupplier;
import java.util.function.UnaryOperator;
import java.util.stream.Stream;
import org.deeplearning4j.exception.DL4JInvalidInputException;
import org.deeplearning4j.nn.api.layers.RecurrentLayer;
import org.deeplearning4j.nn.conf.NeuralNetConfiguration;
import org.deeplearning4j.nn.conf.distribution.UniformDistribution;
import org.deeplearning4j.nn.conf.inputs.InputType;
import org.deeplearning4j.nn.conf.layers.LSTM;
import org.deeplearning4j.nn.conf.layers.Layer;
import org.deeplearning4j.nn.conf.layers.OutputLayer;
import org.deeplearning4j.nn.conf.layers.RnnOutputLayer;
import org.deeplearning4j.nn.conf.layers.recurrent.Bidirectional;
import org.deeplearning4j.nn.conf.layers.recurrent.LastTimeStep;
import org.deeplearning4j.nn.conf.layers.util.MaskZeroLayer;
import org.deeplearning4j.nn.graph.ComputationGraph;
import org.deeplearning4j.nn.multilayer.MultiLayerNetwork;
import org.deeplearning4j.nn.workspace.LayerWorkspaceMgr;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;
import org.multibit.core.Quantization;
import org.multibit.layers.Networks.Cell;
import org.nd4j.linalg.activations.Activation;
import org.nd4j.linalg.api.buffer.DataType;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.nd4j.linalg.dataset.DataSet;
import org.nd4j.linalg.factory.Nd4j;
import org.nd4j.linalg.indexing.NDArrayIndex;
import org.nd4j.linalg.learning.config.Sgd;
import org.nd4j.linalg.lossfunctions.LossFunctions.LossFunction;

/** Masks of time steps: DL4J's LSTM is the oracle, and sequences without what is masked. */
class MaskTest {
  private static final LayerWorkspaceMgr NONE = LayerWorkspaceMgr.noWorkspaces();
  private static final int IN = 4;
  private static final int UNITS = 7;
  private static final int CLASSES = 3;
  private static final int BATCH = 4;
  private static final int TIME = 6;

  /** Masks [BATCH, TIME], a row each; in all but the last there is a step that counts. */
  enum Kind {
    END("111111", "111100", "110000", "100000"),
    START("111111", "001111", "000001", "000111"),
    GAP("101101", "010010", "111011", "100110"),
    FRACTIONS("125341", "034010", "150313", "203040"),
    EMPTY_ROW("111111", "000000", "001110", "110100");

    private final double[][] values;

    Kind(String... rows) {
      values =
          Arrays.stream(rows)
              .map(row -> row.chars().mapToDouble(c -> c < '2' ? c - '0' : 1.0 / (c - '0')))
              .map(row -> row.toArray())
              .toArray(double[][]::new);
    }

    INDArray mask(DataType type) {
      return Nd4j.create(values).castTo(type);
    }
  }

  /** What stands around a recurrent layer and gives it a mask. */
  enum Wrapper {
    LAST(LastTimeStep::new),
    LAST_OF_CONCAT(layer -> both(Bidirectional.Mode.CONCAT, layer)),
    LAST_OF_ADD(layer -> both(Bidirectional.Mode.ADD, layer)),
    LAST_OF_MUL(layer -> both(Bidirectional.Mode.MUL, layer)),
    LAST_OF_AVERAGE(layer -> both(Bidirectional.Mode.AVERAGE, layer));

    private final UnaryOperator<Layer> around;

    Wrapper(UnaryOperator<Layer> around) {
      this.around = around;
    }

    private static Layer both(Bidirectional.Mode mode, Layer layer) {
      return new LastTimeStep(new Bidirectional(mode, layer));
    }
  }

  private static MultiLayerNetwork network(DataType type, Layer... layers) {
    MultiLayerNetwork network =
        new MultiLayerNetwork(
            new NeuralNetConfiguration.Builder()
                .seed(3)
                .dataType(type)
                .updater(new Sgd(0.5))
                .weightInit(new UniformDistribution(-0.8, 0.8))
                .list(layers)
                .setInputType(InputType.recurrent(IN, TIME))
                .build());
    network.init();
    // Biases are 0 at the start, where some faults would not show.
    Random random = new Random(8);
    network
        .paramTable()
        .forEach(
            (key, values) -> {
              if (key.endsWith("b")) {
                double[] noise = random.doubles(values.length(), -0.5, 0.5).toArray();
                values.addi(Nd4j.createFromArray(noise).reshape(values.shape()).castTo(type));
              }
            });
    return network;
  }

  private static Layer stock() {
    return new LSTM.Builder().nOut(UNITS).activation(Activation.TANH).build();
  }

  private static Layer ours(Cell cell, int bits) {
    Quantization quantization = bits == 0 ? null : Quantization.alternating(bits);
    return cell.builder().nOut(UNITS).weights(quantization).activations(quantization).build();
  }

  private static Layer classes() {
    return new OutputLayer.Builder().nOut(CLASSES).activation(Activation.SOFTMAX).build();
  }

  private static INDArray uniform(DataType type, long seed, long... shape) {
    long length = Arrays.stream(shape).reduce(1, (a, b) -> a * b);
    double[] values = new Random(seed).doubles(length, -1, 1).toArray();
    return Nd4j.create(values, shape, 'c').castTo(type);
  }

  /** Classes of sequences. */
  private static DataSet data(DataType type, long seed, INDArray mask) {
    INDArray labels = Nd4j.create(type, BATCH, CLASSES);
    for (int b = 0; b < BATCH; b++) {
      labels.putScalar(b, (b + seed) % CLASSES, 1);
    }
    DataSet data = new DataSet(uniform(type, seed, BATCH, IN, TIME), labels);
    data.setFeaturesMaskArray(mask);
    return data;
  }

  private static INDArray output(MultiLayerNetwork network, DataSet data) {
    return network.output(data.getFeatures(), false, data.getFeaturesMaskArray(), null);
  }

  @ParameterizedTest
  @EnumSource(Wrapper.class)
  void outputIsStock(Wrapper wrapper) {
    for (DataType type : new DataType[] {DataType.FLOAT, DataType.DOUBLE}) {
      MultiLayerNetwork ours = network(type, wrapper.around.apply(ours(Cell.LSTM, 0)), classes());
      MultiLayerNetwork stock = network(type, wrapper.around.apply(stock()), classes());
      copyParameters(stock.paramTable(), ours.paramTable());
      for (Kind kind : new Kind[] {Kind.END, Kind.START, Kind.GAP, Kind.FRACTIONS}) {
        DataSet data = data(type, 1, kind.mask(type));
        double tolerance = type == DataType.DOUBLE ? 1e-12 : 2e-6;
        assertClose(output(stock, data), output(ours, data), tolerance, kind + " in " + type);
        assertEquals(stock.score(data), ours.score(data), 1e-5);
      }
    }
  }

  /** MaskZeroLayer makes the mask from the input. */
  @ParameterizedTest
  @EnumSource(
      value = Kind.class,
      names = {"END", "START", "GAP"})
  void maskZeroLayerIsStock(Kind kind) {
    Layer[] pair = {ours(Cell.LSTM, 0), stock()};
    MultiLayerNetwork[] networks = new MultiLayerNetwork[2];
    for (int i = 0; i < 2; i++) {
      networks[i] =
          network(
              DataType.DOUBLE,
              new LastTimeStep(
                  new MaskZeroLayer.Builder().setUnderlying(pair[i]).setMaskValue(0).build()),
              classes());
    }
    copyParameters(networks[1].paramTable(), networks[0].paramTable());
    DataSet data = filled(data(DataType.DOUBLE, 1, null), kind.mask(DataType.DOUBLE), 0);
    assertClose(output(networks[1], data), output(networks[0], data), 1e-12, "output");
  }

  /** Padding at the end inside LastTimeStep, where DL4J's gradient is that of its output. */
  @ParameterizedTest
  @EnumSource(
      value = DataType.class,
      names = {"FLOAT", "DOUBLE"})
  void trainingWithPaddingAtTheEndIsStock(DataType type) {
    MultiLayerNetwork ours = network(type, new LastTimeStep(ours(Cell.LSTM, 0)), classes());
    MultiLayerNetwork stock = network(type, new LastTimeStep(stock()), classes());
    copyParameters(stock.paramTable(), ours.paramTable());
    double tolerance = type == DataType.DOUBLE ? 1e-12 : 2e-6;
    DataSet data = data(type, 1, Kind.END.mask(type));
    assertClose(gradient(stock, data), gradient(ours, data), 10 * tolerance);
    for (int i = 0; i < 5; i++) {
      ours.fit(data(type, i, Kind.END.mask(type)));
      stock.fit(data(type, i, Kind.END.mask(type)));
    }
    assertClose(stock.paramTable(), ours.paramTable(), 50 * tolerance);
  }

  static Stream<Arguments> layersAndMasks() {
    return Stream.of(Wrapper.LAST, Wrapper.LAST_OF_CONCAT)
        .flatMap(
            wrapper ->
                Stream.of(Kind.END, Kind.START, Kind.GAP)
                    .flatMap(
                        kind ->
                            Stream.of(
                                Arguments.of(wrapper, kind, Cell.LSTM, 0),
                                Arguments.of(wrapper, kind, Cell.GRU, 0),
                                Arguments.of(wrapper, kind, Cell.LSTM, 2),
                                Arguments.of(wrapper, kind, Cell.GRU, 3))));
  }

  /**
   * A masked batch gives the output and the gradient of its sequences without what is masked: since
   * masked steps make the states zeros, of the last steps that count in a row.
   */
  @ParameterizedTest
  @MethodSource("layersAndMasks")
  void likeSequencesWithoutWhatIsMasked(Wrapper wrapper, Kind kind, Cell cell, int bits) {
    DataType type = bits == 0 ? DataType.DOUBLE : DataType.FLOAT;
    // With a mask, DL4J's LastTimeStep rounds to float.
    double tolerance = bits == 0 ? 1e-7 : 2e-6;
    MultiLayerNetwork ours = network(type, wrapper.around.apply(ours(cell, bits)), classes());
    boolean oracle = cell == Cell.LSTM && bits == 0;
    MultiLayerNetwork plain =
        network(type, wrapper.around.apply(oracle ? stock() : ours(cell, bits)), classes());
    copyParameters(plain.paramTable(), ours.paramTable());
    DataSet data = data(type, 1, kind.mask(type));
    INDArray output = output(ours, data);
    Map<String, INDArray> expected = new LinkedHashMap<>();
    for (int b = 0; b < BATCH; b++) {
      int to = TIME;
      while (kind.values[b][to - 1] == 0) {
        to--;
      }
      int from = to - 1;
      while (from > 0 && kind.values[b][from - 1] != 0) {
        from--;
      }
      INDArray row =
          rows(data.getFeatures(), b)
              .get(NDArrayIndex.all(), NDArrayIndex.all(), NDArrayIndex.interval(from, to))
              .dup();
      assertClose(plain.output(row), output.getRow(b, true), tolerance, "sequence " + b);
      gradient(plain, new DataSet(row, rows(data.getLabels(), b)))
          .forEach((key, g) -> expected.merge(key, g, INDArray::addi));
    }
    assertClose(expected, gradient(ours, data), 10 * tolerance);
    double before = ours.score(data);
    for (int i = 0; i < 3; i++) {
      ours.fit(data);
    }
    assertTrue(ours.score(data) < before);
  }

  private static INDArray rows(INDArray array, int b) {
    return array.get(NDArrayIndex.interval(b, b + 1)).dup();
  }

  /**
   * Outputs and states of any mask, in pieces: what LastTimeStep never sees too, as a sequence that
   * is masked as a whole.
   */
  @ParameterizedTest
  @EnumSource(Kind.class)
  void statesAreStock(Kind kind) {
    MultiLayerNetwork[] networks = {
      network(DataType.DOUBLE, ours(Cell.LSTM, 0), rnnOutput()),
      network(DataType.DOUBLE, stock(), rnnOutput())
    };
    copyParameters(networks[1].paramTable(), networks[0].paramTable());
    INDArray x = uniform(DataType.DOUBLE, 1, BATCH, IN, TIME);
    INDArray mask = kind.mask(DataType.DOUBLE);
    for (int[] cuts : new int[][] {{0, 6}, {0, 2, 5, 6}, {0, 1, 2, 3, 4, 5, 6}}) {
      for (int c = 0; c + 1 < cuts.length; c++) {
        INDArray[] outputs = new INDArray[4];
        for (int i = 0; i < 2; i++) {
          RecurrentLayer layer = (RecurrentLayer) networks[i].getLayer(0);
          layer.setMaskArray(
              mask.get(NDArrayIndex.all(), NDArrayIndex.interval(cuts[c], cuts[c + 1])).dup());
          INDArray piece =
              x.get(
                  NDArrayIndex.all(),
                  NDArrayIndex.all(),
                  NDArrayIndex.interval(cuts[c], cuts[c + 1]));
          outputs[i] = layer.rnnTimeStep(piece.dup(), NONE);
          outputs[2 + i] = layer.rnnActivateUsingStoredState(piece.dup(), false, true, NONE);
        }
        assertClose(outputs[1], outputs[0], 1e-12, "time step");
        assertClose(outputs[3], outputs[2], 1e-12, "from the stored state");
        assertClose(networks[1].rnnGetPreviousState(0), networks[0].rnnGetPreviousState(0), 1e-12);
        assertClose(
            ((RecurrentLayer) networks[1].getLayer(0)).rnnGetTBPTTState(),
            ((RecurrentLayer) networks[0].getLayer(0)).rnnGetTBPTTState(),
            1e-12);
      }
      networks[0].rnnClearPreviousState();
      networks[1].rnnClearPreviousState();
    }
  }

  private static Layer rnnOutput() {
    return new RnnOutputLayer.Builder().nOut(CLASSES).activation(Activation.SOFTMAX).build();
  }

  /** Longer than what inference computes at a time: its pieces end anywhere in a mask. */
  @Test
  void longSequences() {
    MultiLayerNetwork[] networks = {
      network(DataType.FLOAT, ours(Cell.LSTM, 0), rnnOutput()),
      network(DataType.FLOAT, stock(), rnnOutput())
    };
    copyParameters(networks[1].paramTable(), networks[0].paramTable());
    int batch = 32;
    int time = 140;
    INDArray x = uniform(DataType.FLOAT, 1, batch, IN, time);
    float[] values = new float[batch * time];
    Random random = new Random(2);
    for (int i = 0; i < values.length; i++) {
      values[i] = random.nextInt(3) / 2f;
    }
    INDArray mask = Nd4j.createFromArray(values).reshape(batch, time);
    INDArray[] outputs = new INDArray[2];
    for (int i = 0; i < 2; i++) {
      networks[i].getLayer(0).setMaskArray(mask);
      outputs[i] = networks[i].getLayer(0).activate(x.dup(), false, NONE);
    }
    assertClose(outputs[1], outputs[0], 1e-5, "output");
  }

  /** Truncated BPTT of a segment whose end is masked, from a state. */
  @ParameterizedTest
  @ValueSource(ints = {1, 2, 4, 20})
  void truncatedBpttIsStock(int back) {
    MultiLayerNetwork[] networks = {
      network(DataType.DOUBLE, ours(Cell.LSTM, 0), rnnOutput()),
      network(DataType.DOUBLE, stock(), rnnOutput())
    };
    copyParameters(networks[1].paramTable(), networks[0].paramTable());
    INDArray mask = Kind.END.mask(DataType.DOUBLE);
    INDArray epsilon =
        uniform(DataType.DOUBLE, 2, BATCH, UNITS, TIME).mul(mask.reshape(BATCH, 1, TIME));
    INDArray[] dx = new INDArray[2];
    for (int i = 0; i < 2; i++) {
      gradientViews(networks[i]);
      RecurrentLayer layer = (RecurrentLayer) networks[i].getLayer(0);
      for (long segment = 3; segment < 5; segment++) {
        layer.setMaskArray(segment == 3 ? null : mask);
        layer.rnnActivateUsingStoredState(
            uniform(DataType.DOUBLE, segment, BATCH, IN, TIME), true, true, NONE);
        dx[i] = layer.tbpttBackpropGradient(epsilon.dup(), back, NONE).getSecond();
        layer.rnnSetPreviousState(layer.rnnGetTBPTTState());
      }
    }
    assertClose(dx[1], dx[0], 1e-12, "gradient of the input");
    assertClose(
        networks[1].getLayer(0).getGradientsViewArray(),
        networks[0].getLayer(0).getGradientsViewArray(),
        1e-12,
        "gradient");
    assertClose(networks[1].rnnGetPreviousState(0), networks[0].rnnGetPreviousState(0), 1e-12);
  }

  private static void gradientViews(MultiLayerNetwork network) {
    gradient(
        network,
        new DataSet(
            uniform(DataType.DOUBLE, 1, BATCH, IN, TIME),
            uniform(DataType.DOUBLE, 1, BATCH, CLASSES, TIME)));
  }

  /**
   * From a state, with gradients that come in at masked steps too. DL4J is no oracle here: in
   * 1.0.0-M2.1 the backward pass of its LSTM leaves the mask out.
   */
  @ParameterizedTest
  @CsvSource({"LSTM, FRACTIONS", "LSTM, EMPTY_ROW", "GRU, FRACTIONS", "GRU, GAP"})
  void finiteDifferences(Cell cell, Kind kind) {
    MultiLayerNetwork network = network(DataType.DOUBLE, ours(cell, 0), rnnOutput());
    gradientViews(network);
    QuantizedRecurrentLayer layer = (QuantizedRecurrentLayer) network.getLayer(0);
    INDArray x = uniform(DataType.DOUBLE, 3, BATCH, IN, TIME);
    INDArray epsilon = uniform(DataType.DOUBLE, 2, BATCH, UNITS, TIME);
    layer.rnnActivateUsingStoredState(uniform(DataType.DOUBLE, 4, BATCH, IN, 2), false, true, NONE);
    Map<String, INDArray> state = layer.rnnGetTBPTTState();
    layer.setMaskArray(kind.mask(DataType.DOUBLE));
    layer.rnnActivateUsingStoredState(x.dup(), true, false, NONE);
    INDArray dx = layer.tbpttBackpropGradient(epsilon.dup(), TIME, NONE).getSecond().dup('c');
    layer.rnnSetTBPTTState(state);
    assertDifferences(x.ravel(), () -> loss(layer, x, epsilon), dx.ravel());
    assertDifferences(layer.params(), () -> loss(layer, x, epsilon), layer.getGradientsViewArray());
  }

  private static double loss(QuantizedRecurrentLayer layer, INDArray x, INDArray epsilon) {
    INDArray out = layer.rnnActivateUsingStoredState(x.dup(), false, false, NONE);
    return out.mul(epsilon).sumNumber().doubleValue();
  }

  /** Central differences of a function, by one in five of the values. */
  private static void assertDifferences(
      INDArray values, DoubleSupplier function, INDArray gradient) {
    for (long i = 0; i < values.length(); i += 5) {
      double value = values.getDouble(i);
      values.putScalar(i, value - 1e-5);
      double below = function.getAsDouble();
      values.putScalar(i, value + 1e-5);
      double slope = (function.getAsDouble() - below) / 2e-5;
      values.putScalar(i, value);
      assertEquals(slope, gradient.getDouble(i), 1e-7, "element " + i);
    }
  }

  /** Makes what a mask covers this value. */
  private static DataSet filled(DataSet data, INDArray mask, double value) {
    DataSet copy = data.copy();
    for (int b = 0; b < mask.size(0); b++) {
      for (int t = 0; t < mask.size(1); t++) {
        if (mask.getDouble(b, t) == 0) {
          for (INDArray array : new INDArray[] {copy.getFeatures(), copy.getLabels()}) {
            if (array.rank() == 3) {
              array.get(point(b), all(), point(t)).assign(value);
            }
          }
        }
      }
    }
    return copy;
  }

  private static final double[] NOT_FINITE = {
    Double.NaN, Double.POSITIVE_INFINITY, Double.NEGATIVE_INFINITY
  };

  static Stream<Arguments> cells() {
    return Stream.of(Cell.values())
        .flatMap(cell -> Stream.of(0, 2).map(bits -> Arguments.of(cell, bits)));
  }

  /** Inside LastTimeStep the layer has the mask: what is covered may be anything, large too. */
  @ParameterizedTest
  @MethodSource("cells")
  void whatALayersOwnMaskCoversIsNotLookedAt(Cell cell, int bits) {
    for (Wrapper wrapper : new Wrapper[] {Wrapper.LAST, Wrapper.LAST_OF_CONCAT}) {
      for (Kind kind : new Kind[] {Kind.END, Kind.START, Kind.GAP}) {
        Layer[] layers = {
          wrapper.around.apply(ours(cell, bits)),
          new QuantizedOutput.Builder().nOut(CLASSES).build()
        };
        MultiLayerNetwork network = network(DataType.FLOAT, layers);
        INDArray mask = kind.mask(DataType.FLOAT);
        DataSet zeros = filled(data(DataType.FLOAT, 1, mask), mask, 0);
        INDArray output = output(network, zeros);
        Map<String, INDArray> gradient = gradient(network, zeros);
        double score = network.score(zeros);
        for (double value : new double[] {Double.NaN, Double.NEGATIVE_INFINITY, 1e30, 3e38}) {
          DataSet data = filled(zeros, mask, value);
          assertIdentical(output, output(network, data));
          assertSame(gradient, gradient(network, data));
          assertEquals(score, network.score(data));
        }
        ComputationGraph graph = network.toComputationGraph();
        DataSet data = filled(zeros, mask, Double.NaN);
        assertIdentical(
            output,
            graph
                .output(false, new INDArray[] {data.getFeatures()}, new INDArray[] {mask}, null)[
                0]);
        graph.fit(data);
        network.fit(zeros);
        assertIdentical(network.params(), graph.params());
      }
    }
  }

  private static void assertSame(Map<String, INDArray> expected, Map<String, INDArray> actual) {
    expected.forEach(
        (key, values) -> {
          assertIdentical(values, actual.get(key));
          assertTrue(Double.isFinite(values.sumNumber().doubleValue()), key);
        });
  }

  static Stream<Arguments> sequences() {
    return cells()
        .flatMap(
            arguments -> {
              Cell cell = (Cell) arguments.get()[0];
              int bits = (int) arguments.get()[1];
              Quantization q = bits == 0 ? null : Quantization.alternating(bits);
              Layer dense =
                  new QuantizedDense.Builder()
                      .nOut(5)
                      .weights(q)
                      .activations(q)
                      .activation(Activation.RELU)
                      .build();
              Layer softmax =
                  new QuantizedSoftmaxOutput.Builder()
                      .nOut(CLASSES)
                      .weights(q)
                      .activations(q)
                      .build();
              return Stream.of(
                      new Layer[] {ours(cell, bits), softmax},
                      new Layer[] {ours(cell, bits), dense, ours(cell, bits), softmax},
                      new Layer[] {dense, ours(cell, bits), softmax},
                      new Layer[] {softmax},
                      new Layer[] {new Bidirectional(ours(cell, bits)), softmax})
                  .map(layers -> Arguments.of(layers, bits));
            });
  }

  /** Layers by themselves: DL4J hands them the features' mask on its way. */
  @ParameterizedTest
  @MethodSource("sequences")
  void whatTheFeaturesMaskCoversIsNotLookedAt(Layer[] layers, int bits) {
    for (Kind kind : new Kind[] {Kind.END, Kind.START, Kind.GAP}) {
      MultiLayerNetwork network = network(DataType.FLOAT, layers);
      INDArray mask = kind.mask(DataType.FLOAT);
      DataSet zeros =
          new DataSet(
              uniform(DataType.FLOAT, 1, BATCH, IN, TIME),
              Nd4j.ones(DataType.FLOAT, BATCH, 1, TIME),
              mask,
              mask.dup());
      zeros = filled(zeros, mask, 0);
      INDArray output = maskedOutput(network, zeros);
      Map<String, INDArray> gradient = gradient(network, zeros);
      double score = network.score(zeros);
      for (double value : NOT_FINITE) {
        DataSet data = filled(zeros, mask, value);
        assertIdentical(output, maskedOutput(network, data));
        assertSame(gradient, gradient(network, data));
        assertEquals(score, network.score(data));
        if (layers[0] instanceof Bidirectional) {
          continue;
        }
        INDArray[] steps = new INDArray[2];
        for (int i = 0; i < 2; i++) {
          network.rnnClearPreviousState();
          network.setLayerMaskArrays(mask, mask);
          steps[i] = network.rnnTimeStep((i == 0 ? zeros : data).getFeatures()).dup();
          network.clearLayerMaskArrays();
        }
        assertIdentical(steps[0], steps[1]);
      }
      // Large values are data, as to DL4J's layers.
      DataSet large = filled(zeros, mask, 1e30);
      large.setLabels(zeros.getLabels());
      gradient(network, large)
          .forEach((key, g) -> assertTrue(Double.isFinite(g.sumNumber().doubleValue()), key));
      assertTrue(Double.isFinite(maskedOutput(network, large).sumNumber().doubleValue()));
    }
  }

  private static INDArray maskedOutput(MultiLayerNetwork network, DataSet data) {
    return network.output(
        data.getFeatures(), false, data.getFeaturesMaskArray(), data.getLabelsMaskArray());
  }

  /** Token ids and labels too, and in the loss as DL4J has it: of the labels' mask alone. */
  @Test
  void tokensAndTheLoss() {
    MultiLayerNetwork ours =
        Networks.network(b -> b.dataType(DataType.DOUBLE), l -> l, Networks.ours(1));
    MultiLayerNetwork stock =
        Networks.network(b -> b.dataType(DataType.DOUBLE), l -> l, Networks.stock(1));
    copyParameters(stock.paramTable(), ours.paramTable());
    DataSet data = Networks.data(DataType.DOUBLE, 1, BATCH, TIME);
    INDArray mask = Kind.GAP.mask(DataType.DOUBLE);
    data.setFeaturesMaskArray(mask);
    assertClose(gradient(stock, data), gradient(ours, data), 1e-12);
    assertEquals(stock.score(data), ours.score(data), 1e-12);
    assertClose(output(stock, data), output(ours, data), 1e-12, "output");
    Quantization q = Quantization.alternating(2);
    Layer[] layers = Networks.quantized(Cell.GRU, q, q);
    ((QuantizedGRU) layers[1]).setStateful(false);
    MultiLayerNetwork quantized = Networks.network(layers);
    data = Networks.data(DataType.FLOAT, 1, BATCH, TIME);
    data.setFeaturesMaskArray(mask);
    data.setLabelsMaskArray(mask);
    DataSet zeros = filled(data, mask, 0);
    for (double value : new double[] {Double.NaN, Double.POSITIVE_INFINITY, 1e30}) {
      assertSame(gradient(quantized, zeros), gradient(quantized, filled(data, mask, value)));
    }
  }

  /** Examples that do not count, by a mask of examples or of outputs. */
  @Test
  void examples() {
    Quantization q = Quantization.alternating(2);
    MultiLayerNetwork network =
        new MultiLayerNetwork(
            new NeuralNetConfiguration.Builder()
                .list(
                    new QuantizedOutput.Builder(LossFunction.XENT)
                        .nIn(IN)
                        .nOut(CLASSES)
                        .activation(Activation.SIGMOID)
                        .weights(q)
                        .activations(q)
                        .build())
                .build());
    network.init();
    INDArray labels = data(DataType.FLOAT, 1, null).getLabels();
    for (int columns : new int[] {1, CLASSES}) {
      DataSet zeros = new DataSet(uniform(DataType.FLOAT, 1, BATCH, IN), labels);
      zeros.setLabelsMaskArray(Nd4j.ones(DataType.FLOAT, BATCH, columns));
      zeros.getLabelsMaskArray().getRow(2).assign(0);
      zeros.getFeatures().getRow(2).assign(0);
      for (double value : NOT_FINITE) {
        DataSet data = zeros.copy();
        data.getFeatures().getRow(2).assign(value);
        assertSame(gradient(network, zeros), gradient(network, data));
        assertEquals(network.score(zeros), network.score(data));
      }
    }
    DataSet wrong = new DataSet(uniform(DataType.FLOAT, 1, BATCH, IN), labels);
    wrong.setLabelsMaskArray(Nd4j.zeros(DataType.FLOAT, 1000, 1));
    String message =
        assertThrows(DL4JInvalidInputException.class, () -> network.fit(wrong)).getMessage();
    assertTrue(message.contains("mask [4, 1]") && message.contains("[1000, 1]"), message);
  }
}

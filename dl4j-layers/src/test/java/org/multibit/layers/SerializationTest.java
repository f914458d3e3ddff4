package org.multibit.layers;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertNotSame;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.multibit.layers.Networks.E;
import static org.multibit.layers.Networks.H;
import static org.multibit.layers.Networks.V;
import static org.multibit.layers.Networks.assertIdentical;
import static org.multibit.layers.Networks.data;
import static org.multibit.layers.Networks.network;
import static org.multibit.layers.Networks.saved;

import java.io.IOException;
import java.util.List;
import java.util.stream.Stream;
import org.deeplearning4j.nn.conf.MultiLayerConfiguration;
import org.deeplearning4j.nn.conf.WorkspaceMode;
import org.deeplearning4j.nn.conf.inputs.InputType;
import org.deeplearning4j.nn.conf.layers.Layer;
import org.deeplearning4j.nn.conf.memory.MemoryReport;
import org.deeplearning4j.nn.multilayer.MultiLayerNetwork;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.MethodSource;
import org.multibit.core.Alternating;
import org.multibit.core.Balanced;
import org.multibit.core.Greedy;
import org.multibit.core.Optimal;
import org.multibit.core.Quantization;
import org.multibit.core.Quantizer;
import org.multibit.core.Quantizers;
import org.multibit.core.RefinedGreedy;
import org.multibit.core.Uniform;
import org.multibit.layers.Networks.Cell;

/** JSON, DL4J's zip, and the same bits in every workspace mode. */
class SerializationTest {
  private static final Quantization Q2 = Quantization.alternating(2);

  static Stream<Quantizer> quantizers() {
    return Stream.of(
        new Uniform(),
        new Balanced(),
        new Greedy(),
        new RefinedGreedy(),
        new Alternating(5, 0.3f),
        new Optimal());
  }

  /** Every field at another value than its default, under every quantizer. */
  @ParameterizedTest
  @MethodSource("quantizers")
  void jsonKeepsEveryField(Quantizer quantizer) {
    Quantization q1 = new Quantization(quantizer, 1);
    Quantization q2 = new Quantization(quantizer, 2);
    MultiLayerNetwork network =
        network(
            b -> b.updater(new ClippedSgd(3, 0.5)),
            l -> l,
            new QuantizedEmbedding.Builder()
                .nIn(V)
                .nOut(E)
                .weights(q1)
                .latentWeightBound(3)
                .name("words")
                .build(),
            new QuantizedLSTM.Builder()
                .nIn(E)
                .nOut(H)
                .weights(q1)
                .inputActivations(q2)
                .recurrentActivations(Q2)
                .latentWeightBound(2.5)
                .forgetGateBiasInit(0.25)
                .stateful(true)
                .dropOut(0.7)
                .build(),
            new QuantizedSoftmaxOutput.Builder()
                .nIn(H)
                .nOut(V)
                .weights(q2)
                .activations(q1)
                .latentWeightBound(4)
                .averageOverTime(true)
                .hasBias(false)
                .dropOut(0.6)
                .build());
    MultiLayerConfiguration conf = network.getLayerWiseConfigurations();
    MultiLayerConfiguration read = MultiLayerConfiguration.fromJson(conf.toJson());
    assertEquals(conf, read);
    assertEquals(conf.toJson(), read.toJson());

    // Equality alone would miss a field that both sides forget.
    QuantizedEmbedding embedding = (QuantizedEmbedding) read.getConf(0).getLayer();
    assertEquals(q1, embedding.getWeightQuantization());
    assertEquals(quantizer, embedding.getWeightQuantization().quantizer());
    assertEquals(3, bound(embedding));
    assertEquals(new ClippedSgd(3, 0.5), embedding.getIUpdater());
    QuantizedLSTM lstm = (QuantizedLSTM) read.getConf(1).getLayer();
    assertEquals(q1, lstm.getWeightQuantization());
    assertEquals(q2, lstm.getInputActivationQuantization());
    assertEquals(Q2, lstm.getRecurrentActivationQuantization());
    assertEquals(2.5, bound(lstm));
    assertEquals(0.25, lstm.getForgetGateBiasInit());
    assertTrue(lstm.isStateful());
    assertEquals(0.7, DropoutMask.retain(lstm.getIDropout()));
    QuantizedSoftmaxOutput softmax = (QuantizedSoftmaxOutput) read.getConf(2).getLayer();
    assertEquals(q2, softmax.getWeightQuantization());
    assertEquals(q1, softmax.getActivationQuantization());
    assertEquals(4, bound(softmax));
    assertTrue(softmax.isAverageOverTime());
    assertEquals(false, softmax.hasBias());
    assertEquals(0.6, DropoutMask.retain(softmax.getIDropout()));
  }

  @Test
  void jsonOfAGru() {
    Quantization q = new Quantization(Quantizers.of("alternating", 3, 0.5f), 3);
    MultiLayerConfiguration conf =
        network(
                new QuantizedEmbedding.Builder().nIn(V).nOut(E).build(),
                new QuantizedGRU.Builder()
                    .nIn(E)
                    .nOut(H)
                    .weights(q)
                    .inputActivations(Q2)
                    .latentWeightBound(2.5)
                    .stateful(true)
                    .dropOut(0.7)
                    .build(),
                new QuantizedSoftmaxOutput.Builder().nIn(H).nOut(V).build())
            .getLayerWiseConfigurations();
    MultiLayerConfiguration read = MultiLayerConfiguration.fromJson(conf.toJson());
    assertEquals(conf, read);
    QuantizedGRU gru = (QuantizedGRU) read.getConf(1).getLayer();
    assertEquals(q, gru.getWeightQuantization());
    assertEquals(Q2, gru.getInputActivationQuantization());
    assertEquals(null, gru.getRecurrentActivationQuantization());
    assertEquals(2.5, bound(gru));
    assertTrue(gru.isStateful());
    assertEquals(0.7, DropoutMask.retain(gru.getIDropout()));
  }

  private static double bound(Layer layer) {
    LatentWeightClip clip = (LatentWeightClip) layer.getConstraints().get(0);
    assertEquals(java.util.Set.copyOf(layer.initializer().weightKeys(layer)), clip.getParams());
    return clip.getBound();
  }

  /** Two configurations that differ in one field are not equal, also once cloned. */
  @Test
  void equalityAndClones() {
    List<QuantizedRecurrent> layers =
        Stream.<QuantizedRecurrent.Builder<?>>of(
                new QuantizedLSTM.Builder(),
                new QuantizedLSTM.Builder().weights(Q2),
                new QuantizedLSTM.Builder().weights(Q2).latentWeightBound(2),
                new QuantizedLSTM.Builder().inputActivations(Q2),
                new QuantizedLSTM.Builder().recurrentActivations(Q2),
                new QuantizedLSTM.Builder().recurrentActivations(Quantization.alternating(3)),
                new QuantizedLSTM.Builder().forgetGateBiasInit(2),
                new QuantizedLSTM.Builder().stateful(true),
                new QuantizedGRU.Builder(),
                new QuantizedGRU.Builder().weights(Q2),
                new QuantizedGRU.Builder().recurrentActivations(Q2),
                new QuantizedGRU.Builder().stateful(true))
            .map(b -> b.nIn(E).nOut(H).<QuantizedRecurrent>build())
            .toList();
    for (QuantizedRecurrent one : layers) {
      for (QuantizedRecurrent other : layers) {
        assertEquals(one == other, one.equals(other.clone()));
      }
      assertNotSame(one, one.clone());
      assertEquals(one.hashCode(), one.clone().hashCode());
    }
    QuantizedSoftmaxOutput plain = new QuantizedSoftmaxOutput.Builder().nIn(H).nOut(V).build();
    assertEquals(plain, plain.clone());
    for (QuantizedSoftmaxOutput other :
        new QuantizedSoftmaxOutput[] {
          new QuantizedSoftmaxOutput.Builder().nIn(H).nOut(V).weights(Q2).build(),
          new QuantizedSoftmaxOutput.Builder().nIn(H).nOut(V).activations(Q2).build(),
          new QuantizedSoftmaxOutput.Builder().nIn(H).nOut(V).averageOverTime(true).build()
        }) {
      assertNotEquals(plain, other);
    }
    assertNotEquals(
        new QuantizedEmbedding.Builder().nIn(V).nOut(E).build(),
        new QuantizedEmbedding.Builder().nIn(V).nOut(E).weights(Q2).build());
  }

  /** A saved network computes the same and trains on to the same bits. */
  @ParameterizedTest
  @EnumSource(Cell.class)
  void modelSerializer(Cell cell) throws IOException {
    MultiLayerNetwork network =
        network(b -> b.updater(new ClippedSgd(2, 0.25)), l -> l, twoWithDropout(cell));
    network.fit(data(1));
    network.setLearningRate(0.7);
    MultiLayerNetwork read = saved(network);
    assertEquals(network.getLayerWiseConfigurations(), read.getLayerWiseConfigurations());
    assertEquals(0.7, read.getLearningRate(0));
    assertEquals(1, read.getIterationCount());
    assertIdentical(network.params(), read.params());
    assertIdentical(network.output(data(2).getFeatures()), read.output(data(2).getFeatures()));
    for (int i = 0; i < 3; i++) {
      network.fit(data(i));
      read.fit(data(i));
    }
    assertIdentical(network.params(), read.params());
    assertIdentical(network.params(), network.clone().params());
  }

  private static Layer[] twoWithDropout(Cell cell) {
    return new Layer[] {
      new QuantizedEmbedding.Builder().nIn(V).nOut(E).weights(Q2).build(),
      cell.builder().nIn(E).nOut(H).weights(Q2).recurrentActivations(Q2).dropOut(0.5).build(),
      cell.builder().nIn(H).nOut(H).weights(Q2).activations(Q2).dropOut(0.5).build(),
      new QuantizedSoftmaxOutput.Builder()
          .nIn(H)
          .nOut(V)
          .weights(Q2)
          .activations(Q2)
          .averageOverTime(true)
          .dropOut(0.5)
          .build()
    };
  }

  /** An array used after its workspace closed gives wrong values, not an error. */
  @Test
  void workspacesMakeNoDifference() {
    for (Layer[][] pair :
        new Layer[][][] {
          {Networks.ours(2), Networks.ours(2)},
          {twoWithDropout(Cell.LSTM), twoWithDropout(Cell.LSTM)},
          {twoWithDropout(Cell.GRU), twoWithDropout(Cell.GRU)},
          {Networks.quantized(Q2, Q2), Networks.quantized(Q2, Q2)}
        }) {
      MultiLayerNetwork with = inMode(WorkspaceMode.ENABLED, pair[0]);
      MultiLayerNetwork without = inMode(WorkspaceMode.NONE, pair[1]);
      for (int i = 0; i < 4; i++) {
        with.fit(data(i));
        without.fit(data(i));
        assertEquals(without.score(), with.score(), 0);
        assertIdentical(without.output(data(i).getFeatures()), with.output(data(i).getFeatures()));
        assertIdentical(
            without.rnnTimeStep(data(i).getFeatures()), with.rnnTimeStep(data(i).getFeatures()));
        assertEquals(without.score(data(i)), with.score(data(i)), 0);
      }
      assertIdentical(without.params(), with.params());
    }
  }

  private static MultiLayerNetwork inMode(WorkspaceMode mode, Layer... layers) {
    return network(b -> b.trainingWorkspaceMode(mode).inferenceWorkspaceMode(mode), l -> l, layers);
  }

  @Test
  void summaryAndMemoryReport() {
    MultiLayerNetwork network = network(Networks.quantized(Q2, Q2));
    assertTrue(network.summary().contains("QuantizedRecurrentLayer"), network.summary());
    MemoryReport report =
        network.getLayerWiseConfigurations().getMemoryReport(InputType.recurrent(V, Networks.T));
    assertTrue(report.toString().contains("PARAMETERS"), report.toString());
  }
}

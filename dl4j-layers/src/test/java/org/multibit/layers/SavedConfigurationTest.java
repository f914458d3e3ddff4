package org.multibit.layers;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import org.deeplearning4j.nn.conf.ComputationGraphConfiguration;
import org.deeplearning4j.nn.conf.MultiLayerConfiguration;
import org.deeplearning4j.nn.conf.NeuralNetConfiguration;
import org.deeplearning4j.nn.conf.layers.DenseLayer;
import org.junit.jupiter.api.Test;
import org.multibit.core.Alternating;
import org.multibit.core.Balanced;
import org.multibit.core.Greedy;
import org.multibit.core.Optimal;
import org.multibit.core.PaperAlternating;
import org.multibit.core.Quantization;
import org.multibit.core.Quantizer;
import org.multibit.core.RefinedGreedy;
import org.multibit.core.Uniform;
import org.nd4j.linalg.activations.Activation;
import org.nd4j.linalg.learning.config.Sgd;
import org.nd4j.linalg.lossfunctions.LossFunctions.LossFunction;
import org.nd4j.shade.jackson.annotation.JsonProperty;

/**
 * Configurations of saved networks. The resources were written when the quantizers in {@code core}
 * still carried Jackson's annotations themselves; they load, and are written to the same text.
 */
class SavedConfigurationTest {

  /** A user's own method with Jackson's annotations, which holds another one. */
  public static final class Signs extends Quantizer {
    private final Quantizer instead;
    private final float scale;

    public Signs(@JsonProperty("instead") Quantizer instead, @JsonProperty("factor") float scale) {
      this.instead = instead;
      this.scale = scale;
    }

    @JsonProperty("instead")
    public Quantizer instead() {
      return instead;
    }

    @JsonProperty("factor")
    public float scale() {
      return scale;
    }

    @Override
    public String method() {
      return "signs";
    }

    @Override
    protected void quantizeRow(float[] w, int bits, byte[] codes, float[] coefficients) {
      coefficients[0] = scale;
    }

    @Override
    public boolean equals(Object other) {
      return other instanceof Signs s && s.instead.equals(instead) && s.scale == scale;
    }

    @Override
    public int hashCode() {
      return instead.hashCode();
    }
  }

  /** A user's own method as a bean, without annotations. */
  public static final class Rounded extends Quantizer {
    private int digits;

    public int getDigits() {
      return digits;
    }

    public void setDigits(int digits) {
      this.digits = digits;
    }

    @Override
    public String method() {
      return "rounded";
    }

    @Override
    protected void quantizeRow(float[] w, int bits, byte[] codes, float[] coefficients) {
      coefficients[0] = digits;
    }

    @Override
    public boolean equals(Object other) {
      return other instanceof Rounded r && r.digits == digits;
    }

    @Override
    public int hashCode() {
      return digits;
    }
  }

  private static Quantization own() {
    return new Quantization(new Signs(new Alternating(3, 0.5f), 0.1f), 3);
  }

  private static Quantization bean() {
    Rounded rounded = new Rounded();
    rounded.setDigits(4);
    return new Quantization(rounded, 1);
  }

  private static MultiLayerConfiguration languageModel() {
    return new NeuralNetConfiguration.Builder()
        .seed(3)
        .updater(new ClippedSgd(20, 0.25))
        .list(
            new QuantizedEmbedding.Builder()
                .nIn(11)
                .nOut(5)
                .weights(new Quantization(new Uniform(0.3f), 4))
                .build(),
            new QuantizedLSTM.Builder()
                .nIn(5)
                .nOut(7)
                .weights(new Quantization(new Alternating(5, 0.3f), 3))
                .recurrentActivations(Quantization.alternating(2))
                .stateful(true)
                .dropOut(0.5)
                .build(),
            new QuantizedGRU.Builder()
                .nIn(7)
                .nOut(7)
                .weights(own())
                .inputActivations(bean())
                .recurrentActivations(new Quantization(new Greedy(), 2))
                .build(),
            new QuantizedSoftmaxOutput.Builder()
                .nIn(7)
                .nOut(11)
                .weights(new Quantization(new Balanced(1), 2))
                .activations(new Quantization(new Optimal(), 2))
                .averageOverTime(true)
                .build())
        .build();
  }

  private static ComputationGraphConfiguration graph() {
    return new NeuralNetConfiguration.Builder()
        .seed(3)
        .updater(new Sgd(0.1))
        .graphBuilder()
        .addInputs("in")
        .addLayer(
            "dense",
            new QuantizedDense.Builder()
                .nIn(4)
                .nOut(6)
                .activation(Activation.TANH)
                .weights(Quantization.alternating(2))
                .activations(new Quantization(new PaperAlternating(), 4))
                .constrainWeights(new LatentWeightProjection(Quantization.alternating(2)))
                .build(),
            "in")
        .addLayer(
            "stock",
            new DenseLayer.Builder()
                .nIn(6)
                .nOut(6)
                .weightNoise(new WeightQuantization(new Quantization(new RefinedGreedy(), 8)))
                .build(),
            "dense")
        .addLayer(
            "out",
            new QuantizedOutput.Builder(LossFunction.MSE)
                .nIn(6)
                .nOut(2)
                .activation(Activation.IDENTITY)
                .weights(own())
                .activations(bean())
                .build(),
            "stock")
        .setOutputs("out")
        .build();
  }

  private static String resource(String name) throws IOException {
    try (InputStream in = SavedConfigurationTest.class.getResourceAsStream(name)) {
      return new String(in.readAllBytes(), StandardCharsets.UTF_8).stripTrailing();
    }
  }

  @Test
  void multiLayerNetwork() throws IOException {
    String saved = resource("language-model.json");
    MultiLayerConfiguration read = MultiLayerConfiguration.fromJson(saved);
    assertEquals(languageModel(), read);
    assertEquals(saved, read.toJson());
  }

  @Test
  void computationGraph() throws IOException {
    String saved = resource("graph.json");
    ComputationGraphConfiguration read = ComputationGraphConfiguration.fromJson(saved);
    assertEquals(graph(), read);
    assertEquals(saved, read.toJson());
  }
}

package org.multibit.benchmarks;

import java.util.LinkedHashMap;
import java.util.Map;
import org.deeplearning4j.nn.conf.BackpropType;
import org.deeplearning4j.nn.conf.GradientNormalization;
import org.deeplearning4j.nn.conf.NeuralNetConfiguration;
import org.deeplearning4j.nn.conf.distribution.UniformDistribution;
import org.deeplearning4j.nn.conf.inputs.InputType;
import org.deeplearning4j.nn.conf.layers.EmbeddingSequenceLayer;
import org.deeplearning4j.nn.conf.layers.LSTM;
import org.deeplearning4j.nn.conf.layers.RnnOutputLayer;
import org.deeplearning4j.nn.multilayer.MultiLayerNetwork;
import org.multibit.datasets.TokenIterator;
import org.nd4j.linalg.activations.Activation;
import org.nd4j.linalg.factory.Nd4j;
import org.nd4j.linalg.learning.config.Sgd;
import org.nd4j.linalg.lossfunctions.impl.LossSparseMCXENT;
import org.nd4j.shade.jackson.databind.JsonNode;

/**
 * The model in DL4J's own layers. It runs with DL4J's own dependencies and, of ours, only what does
 * not compute.
 *
 * <p>What the recipe asks for and DL4J does not have is left out, in its favour: the gradient is
 * clipped by layer, not as a whole, and each segment starts from zeros.
 */
final class StockTraining implements BenchmarkedSystem {
  @Override
  public Map<String, String> describe() throws Exception {
    Map<String, String> description = new LinkedHashMap<>();
    description.put("DL4J", TrainingTask.version("deeplearning4j-nn"));
    description.put("threads", "" + Nd4j.getEnvironment().maxThreads());
    description.put("OpenBLAS", TrainingTask.version("openblas"));
    description.put("JavaCPP", TrainingTask.version("javacpp"));
    description.put("loaded", TrainingTask.loadedLibraries());
    return description;
  }

  /** Settings: as {@link TrainingTask.Settings}, whose bits are left alone. */
  @Override
  public Task prepare(JsonNode json) {
    return new Training(TrainingTask.Settings.of(json));
  }

  private static final class Training extends TrainingTask {
    private final int unroll;
    private final MultiLayerNetwork network;
    private final TokenIterator segments;

    Training(Settings settings) {
      unroll = settings.unroll();
      double range = 1 / Math.sqrt(settings.hidden());
      double retain = 1 - settings.dropout();
      network =
          new MultiLayerNetwork(
              new NeuralNetConfiguration.Builder()
                  .seed(1)
                  // DL4J's loss is a sum over time.
                  .updater(new Sgd(settings.learningRate() / unroll))
                  .gradientNormalization(GradientNormalization.ClipL2PerLayer)
                  .gradientNormalizationThreshold(settings.clip() * unroll)
                  .list()
                  .layer(
                      new EmbeddingSequenceLayer.Builder()
                          .nIn(settings.vocab())
                          .nOut(settings.hidden())
                          .inferInputLength(true)
                          .dist(new UniformDistribution(-0.1, 0.1))
                          .build())
                  .layer(
                      new LSTM.Builder()
                          .nIn(settings.hidden())
                          .nOut(settings.hidden())
                          .activation(Activation.TANH)
                          .forgetGateBiasInit(0)
                          .dropOut(retain)
                          .dist(new UniformDistribution(-range, range))
                          .build())
                  .layer(
                      new RnnOutputLayer.Builder(new LossSparseMCXENT())
                          .nIn(settings.hidden())
                          .nOut(settings.vocab())
                          .activation(Activation.SOFTMAX)
                          .dropOut(retain)
                          .dist(new UniformDistribution(-0.1, 0.1))
                          .build())
                  .setInputType(InputType.recurrent(settings.vocab(), unroll))
                  .backpropType(BackpropType.TruncatedBPTT)
                  .tBPTTLength(unroll)
                  .build());
      network.init();
      segments = new TokenIterator(settings.text(), settings.batch(), unroll);
    }

    @Override
    double step() {
      if (!segments.hasNext()) {
        segments.reset();
      }
      int before = network.getIterationCount();
      network.fit(segments.next());
      if (network.getIterationCount() != before + 1) {
        throw new IllegalStateException(
            "DL4J made %d updates of one segment".formatted(network.getIterationCount() - before));
      }
      return network.score() / unroll;
    }

    @Override
    public String part(StackTraceElement[] stack) {
      return StepParts.of(stack);
    }

    @Override
    public void close() {
      network.close();
    }
  }
}

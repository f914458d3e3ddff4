package org.multibit.benchmarks;

import java.nio.FloatBuffer;
import java.util.LinkedHashMap;
import java.util.Map;
import org.deeplearning4j.nn.multilayer.MultiLayerNetwork;
import org.multibit.core.Bits;
import org.multibit.core.Kernels;
import org.multibit.core.MultibitMatrix;
import org.multibit.core.Quantizer;
import org.multibit.datasets.TokenIterator;
import org.multibit.training.Backend;
import org.multibit.training.LanguageModel;
import org.nd4j.linalg.factory.Nd4j;
import org.nd4j.shade.jackson.databind.JsonNode;

/** What {@code ./multibit train} does with a segment. */
final class MultibitTraining implements BenchmarkedSystem {
  /** How often quantizing is timed. */
  private static final int REPETITIONS = 11;

  MultibitTraining() {
    Backend.start(0);
  }

  @Override
  public Map<String, String> describe() throws Exception {
    Map<String, String> description = new LinkedHashMap<>();
    description.put("kernels", Kernels.get().name());
    description.put("DL4J", TrainingTask.version("deeplearning4j-nn"));
    description.put("OpenBLAS", TrainingTask.version("openblas"));
    description.put("threads", "" + Nd4j.getEnvironment().maxThreads());
    description.put("loaded", TrainingTask.loadedLibraries());
    return description;
  }

  /** Settings: as {@link TrainingTask.Settings}. */
  @Override
  public Task prepare(JsonNode json) {
    return new Training(TrainingTask.Settings.of(json));
  }

  private static final class Training extends TrainingTask {
    private final Settings settings;
    private final org.multibit.training.Settings run = new org.multibit.training.Settings();
    private final MultiLayerNetwork network;
    private final TokenIterator segments;

    Training(Settings settings) {
      this.settings = settings;
      run.bits = settings.bits();
      run.hidden = settings.hidden();
      run.batch = settings.batch();
      run.unroll = settings.unroll();
      run.learningRate = settings.learningRate();
      run.clip = settings.clip();
      run.dropout = settings.dropout();
      network = LanguageModel.create(run, settings.vocab());
      segments = new TokenIterator(settings.text(), settings.batch(), settings.unroll());
    }

    @Override
    double step() {
      if (!segments.hasNext()) {
        segments.reset();
      }
      network.fit(segments.next());
      return network.score();
    }

    @Override
    public String part(StackTraceElement[] stack) {
      return StepParts.of(stack);
    }

    @Override
    public Map<String, Object> result() {
      Map<String, Object> result = new LinkedHashMap<>(super.result());
      result.put("quantizeWeightsMillis", quantizeWeightsMillis());
      return result;
    }

    /**
     * How long it takes to quantize what a step quantizes of the weights: the matrices of LSTM and
     * softmax, and as many rows of the embedding as a segment has tokens; 0 in full precision.
     */
    private double quantizeWeightsMillis() {
      Bits bits = run.layerBits().recurrent();
      if (bits.weights() == 0) {
        return 0;
      }
      int hidden = settings.hidden();
      return quantizeMillis(4 * hidden, hidden, bits.weights())
          + quantizeMillis(4 * hidden, hidden, bits.weights())
          + quantizeMillis(settings.vocab(), hidden, bits.weights())
          + quantizeMillis(settings.tokens(), hidden, bits.weights());
    }

    private double quantizeMillis(int rows, int cols, int bits) {
      Quantizer quantizer = run.weightQuantizer();
      FloatBuffer weights = Floats.normal(rows * cols, 0.1, 1);
      MultibitMatrix packed = MultibitMatrix.weights(rows, cols, bits);
      long[] nanos = new long[REPETITIONS];
      for (int i = 0; i < REPETITIONS; i++) {
        long begin = System.nanoTime();
        Kernels.get().quantize(quantizer, weights, packed);
        nanos[i] = System.nanoTime() - begin;
      }
      return InterleavedRunner.Time.of(nanos).median();
    }

    @Override
    public void close() {
      network.close();
    }
  }
}

package org.multibit.training;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import org.deeplearning4j.nn.multilayer.MultiLayerNetwork;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.multibit.core.JavaKernels;
import org.multibit.core.Kernels;
import org.multibit.core.KernelsInUse;
import org.multibit.datasets.Corpora;
import org.multibit.datasets.TextCorpus;
import org.multibit.datasets.TokenIterator;
import org.multibit.runtime.NativeKernels;

/**
 * Training on native kernels takes the course of training on the plain Java ones: to rounding in
 * full precision; quantized, a code that rounding flips sends the two their own ways.
 */
class LossOfFastStepsTest {
  private static final int STEPS = 60;
  private static final int COMPARED = 20;

  @ParameterizedTest
  @CsvSource({"fp, 1e-3", "2/2, 1e-2"})
  void meanOfTheLastSteps(String bits, double tolerance) throws IOException {
    TextCorpus corpus = Corpora.open("wikitext-2").slice(40_000, 2_000, 2_000, 2_000);
    Settings settings = new Settings();
    settings.bits = bits;
    settings.hidden = 64;
    double[] java = losses(new JavaKernels(), corpus, settings);
    double[] fast = losses(new NativeKernels(), corpus, settings);
    assertTrue(mean(java, 0) - mean(java, STEPS - COMPARED) > 0.1, "it learns something");
    double expected = mean(java, STEPS - COMPARED);
    assertEquals(expected, mean(fast, STEPS - COMPARED), tolerance * expected);
  }

  private static double[] losses(Kernels kernels, TextCorpus corpus, Settings settings) {
    try (KernelsInUse ignored = new KernelsInUse(kernels)) {
      MultiLayerNetwork network = LanguageModel.create(settings, corpus.vocabulary().size());
      TokenIterator segments = new TokenIterator(corpus.train(), settings.batch, settings.unroll);
      double[] losses = new double[STEPS];
      for (int i = 0; i < STEPS; i++) {
        network.fit(segments.next());
        losses[i] = network.score();
      }
      return losses;
    }
  }

  private static double mean(double[] losses, int from) {
    double sum = 0;
    for (int i = from; i < from + COMPARED; i++) {
      sum += losses[i];
    }
    return sum / COMPARED;
  }
}

package org.multibit.training;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Path;
import java.util.Map;
import org.deeplearning4j.nn.multilayer.MultiLayerNetwork;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.multibit.core.format.LanguageModelFile;
import org.multibit.datasets.Corpora;
import org.multibit.datasets.TextCorpus;
import org.multibit.datasets.TokenIterator;
import org.multibit.runtime.PackedLanguageModel;
import org.multibit.runtime.Session;

/** Models of either cell, of one layer and more, tied and not, give the same in every runtime. */
class StackedModelTest {
  @TempDir Path folder;

  @ParameterizedTest
  @CsvSource({
    // cell, layers, embedding, bits, tied
    "lstm, 1, 40, 2/2, false",
    "lstm, 2, 40, 2/3, false",
    "lstm, 3, 64, 3/3, true",
    "gru, 1, 40, 2/2, false",
    "gru, 2, 40, 2/3, false",
    "gru, 2, 40, 2/fp, false",
    "gru, 2, 40, 2/2, false",
    "gru, 2, 64, fp, true",
    "gru, 1, 64, 3/3, true",
  })
  void perplexityIsThatOfTheLayers(
      String cell, int layers, int embedding, String bits, boolean tied) throws IOException {
    TextCorpus corpus = Corpora.open("wikitext-2").slice(20_000, 1_000, 4_000, 1_000);
    Settings settings = new Settings();
    settings.cell = cell;
    settings.layers = layers;
    settings.hidden = 64;
    settings.embedding = embedding;
    settings.bits = bits;
    settings.dropout = 0.2;
    // At 20 so short a run of two GRUs ends chaotic: one code that rounding flips flips others.
    settings.learningRate = 5;
    settings.check();
    MultiLayerNetwork network = LanguageModel.create(settings, corpus.vocabulary().size());
    double untrained = perplexity(network, corpus);
    TokenIterator segments = new TokenIterator(corpus.train(), settings.batch, settings.unroll);
    while (segments.hasNext()) {
      network.fit(segments.next());
    }
    if (tied) {
      network.getParam(layers + 1 + "_W").assign(network.getParam("0_W").transpose());
    }
    double expected = perplexity(network, corpus);
    assertTrue(tied || expected < 0.8 * untrained, untrained + " to " + expected);

    LanguageModelFile packed = new PackedExport(network).pack(corpus.vocabulary(), Map.of());
    assertEquals(cell, packed.cell().toString());
    assertEquals(layers, packed.layers().size());
    assertEquals(embedding, packed.embeddingSize());
    assertEquals(tied, packed.tied());
    Path file = folder.resolve("model.gguf");
    packed.write(file);
    MultiLayerNetwork unpacked = LanguageModel.of(LanguageModelFile.read(file));
    // Weights that are quantized once more may round another way.
    assertEquals(expected, perplexity(unpacked, corpus), expected * 5e-4);
    int[] tokens = corpus.test();
    try (PackedLanguageModel model = PackedLanguageModel.open(file);
        Session session = model.newSession()) {
      double loss = session.evaluate(corpus.vocabulary().eos(), tokens);
      // Codes times codes are the same sums to the bit; only the logarithm at the end is another.
      boolean sameSums = !bits.contains("fp");
      assertEquals(expected, Math.exp(loss / tokens.length), expected * (sameSums ? 1e-6 : 5e-4));
    }
  }

  private static double perplexity(MultiLayerNetwork network, TextCorpus corpus) {
    TokenIterator test = TokenIterator.evaluation(corpus.test(), corpus.vocabulary().eos(), 500);
    return Evaluator.evaluate(network, test, n -> {}).perplexity();
  }
}

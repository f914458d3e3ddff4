package org.multibit.training;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.deeplearning4j.nn.multilayer.MultiLayerNetwork;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.multibit.core.format.LanguageModelFile;
import org.multibit.datasets.Corpora;
import org.multibit.datasets.Split;
import org.multibit.datasets.TextCorpus;
import org.multibit.datasets.TokenIterator;

class EvaluationTest {
  @TempDir Path folder;

  private TextCorpus corpus;
  private MultiLayerNetwork network;
  private LanguageModelFile file;

  @BeforeEach
  void makeModel() throws IOException {
    corpus = Corpora.open("wikitext-2").slice(2_000, 1_000, 2_500, 100);
    Settings settings = new Settings();
    settings.hidden = 8;
    settings.bits = "2/2";
    network = LanguageModel.create(settings, corpus.vocabulary().size());
    file = new PackedExport(network).pack(corpus.vocabulary(), Map.of());
  }

  /** Writes down what it is told. */
  private static class Recorder implements Evaluation.Listener {
    final List<String> events = new ArrayList<>();
    long evaluated;

    @Override
    public void started(long total) {
      events.add("started " + total);
    }

    @Override
    public void evaluated(long tokens) {
      evaluated += tokens;
    }

    @Override
    public void ended() {
      events.add("ended " + evaluated);
    }
  }

  @Test
  void aModelInMemoryAFileAndItsNetworkAgree() throws IOException {
    TokenIterator segments =
        TokenIterator.evaluation(corpus.test(), corpus.vocabulary().eos(), 500);
    double expected = Evaluator.evaluate(network, segments, n -> {}).perplexity();
    Path written = folder.resolve("model.gguf");
    file.write(written);
    for (boolean inMemory : new boolean[] {true, false}) {
      Recorder recorder = new Recorder();
      Evaluation evaluation =
          inMemory
              ? Evaluation.of(file, written, corpus, Split.TEST, recorder)
              : Evaluation.of(written, corpus, Split.TEST, recorder);
      assertEquals(expected, evaluation.perplexity(), expected * 1e-6);
      assertEquals(corpus.test().length, evaluation.tokens());
      assertEquals("native", evaluation.runtime());
      assertTrue(evaluation.seconds() > 0);
      int tokens = corpus.test().length;
      assertEquals(List.of("started " + tokens, "ended " + tokens), recorder.events);
    }
  }

  @Test
  void otherWordsAreRefusedBeforeItStarts() throws IOException {
    TextCorpus other = Corpora.open("wikitext-2").slice(2_000, 1_000, 2_500, 90);
    Recorder recorder = new Recorder();
    IOException refusal =
        assertThrows(
            IOException.class,
            () -> Evaluation.of(file, Path.of("m.gguf"), other, Split.TEST, recorder));
    assertTrue(refusal.getMessage().contains("does not fit the model m.gguf"), refusal::getMessage);
    assertEquals(List.of(), recorder.events);
  }

  /** What has begun ends, also by a failure. */
  @Test
  void aFailureEndsIt() {
    Recorder recorder =
        new Recorder() {
          @Override
          public void evaluated(long tokens) {
            throw new IllegalStateException("stop");
          }
        };
    assertThrows(
        IllegalStateException.class,
        () -> Evaluation.of(file, Path.of("m.gguf"), corpus, Split.TEST, recorder));
    assertEquals(List.of("started " + corpus.test().length, "ended 0"), recorder.events);
  }
}

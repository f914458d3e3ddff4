package org.multibit.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import org.deeplearning4j.nn.multilayer.MultiLayerNetwork;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import org.multibit.core.Bits;
import org.multibit.core.Quantization;
import org.multibit.core.format.GgufReader;
import org.multibit.datasets.Corpora;
import org.multibit.datasets.TextCorpus;
import org.multibit.datasets.TokenIterator;
import org.multibit.datasets.Vocabulary;
import org.multibit.layers.ClippedSgd;
import org.multibit.runtime.PackedLanguageModel;
import org.multibit.training.Json;
import org.multibit.training.Ledger;
import org.multibit.training.PackedExport;
import org.multibit.training.Perplexity;
import org.multibit.training.Run;
import org.multibit.training.SavedModel;
import org.nd4j.linalg.factory.Nd4j;

/** Figures are the same whatever the user's language: in files, in messages, in output. */
class LocaleTest {
  @TempDir static Path folder;
  private static final Locale BEFORE = Locale.getDefault();
  private static final Locale FORMAT_BEFORE = Locale.getDefault(Locale.Category.FORMAT);
  private static Path text;
  private static Path run;
  private static Path packed;

  @BeforeAll
  static void train() throws IOException {
    text = TinyText.write(folder.resolve("text"), 400);
    run = folder.resolve("run");
    packed = folder.resolve("packed.gguf");
    Outcome.succeed(
        "train --hidden 8 --batch 4 --bptt 10 --bits 2/2 --epochs 1 --data %s --out %s"
            .formatted(text, run)
            .split(" "));
    Outcome.succeed("export", "--model", run.toString(), "--out", packed.toString());
  }

  @AfterEach
  void restore() {
    Locale.setDefault(BEFORE);
    Locale.setDefault(Locale.Category.FORMAT, FORMAT_BEFORE);
  }

  @ParameterizedTest
  @ValueSource(strings = {"ar-EG", "tr-TR", "de-DE"})
  void libraries(String language) throws IOException {
    Locale.setDefault(Locale.ROOT);
    List<String> expected = figures();
    Locale.setDefault(Locale.forLanguageTag(language));
    assertTrue(
        !"%,d %.1f".formatted(12345, 1.5).equals("12,345 1.5"), "a locale to see in figures");
    assertEquals(expected, figures());
  }

  /** What calls of the modules say of numbers. */
  private static List<String> figures() throws IOException {
    List<String> figures = new ArrayList<>();
    TextCorpus corpus = Corpora.open(text.toString());
    figures.add(corpus.toString());
    Perplexity perplexity = new Perplexity();
    perplexity.add(1234.5, 1000);
    figures.add(perplexity.toString());
    figures.add(Json.line(Run.open(run).settings()));
    figures.add(Run.open(run).pack().provenance().toString());
    figures.add(new GgufReader(packed).metadata().toString());
    figures.add(Quantization.alternating(2).toString());
    figures.add(Bits.parse("2/3").toString());
    MultiLayerNetwork network = Run.open(run).model();
    figures.add(network.getLayerWiseConfigurations().toJson());
    figures.add(message(() -> new TokenIterator(new int[1500], 2000, 5)));
    figures.add(message(() -> new TokenIterator(new int[1500], -20, 5)));
    figures.add(message(() -> corpus.vocabulary().word(123456)));
    figures.add(message(() -> new Vocabulary(List.of("", "<eos>"))));
    figures.add(message(() -> new Vocabulary(Collections.nCopies(1 << 25, "a"))));
    figures.add(message(() -> new Vocabulary.Builder().build(1, 1)));
    figures.add(message(() -> corpus.slice(-5, 1, 1, 5)));
    figures.add(message(() -> Quantization.alternating(12)));
    figures.add(message(() -> new ClippedSgd(0.5, -1.5)));
    figures.add(message(() -> network.output(Nd4j.zeros(2, 1, 5).addi(1234))));
    figures.add(
        message(() -> new PackedExport(network).pack(new Vocabulary(List.of("<eos>")), Map.of())));
    figures.add(
        message(
            () -> {
              try (PackedLanguageModel model = PackedLanguageModel.open(packed)) {
                model.newSession().step(1234);
              }
            }));
    Path ledger = folder.resolve("ledger.jsonl");
    Files.write(ledger, new byte[] {'{', '\n', (byte) 0xE9});
    figures.add(message(() -> Ledger.read(ledger)));
    Path other = TinyText.write(folder.resolve("other"), 50);
    Files.writeString(other.resolve("train.txt"), "x y z w the\n".repeat(50));
    figures.add(message(() -> SavedModel.text(other.toString(), corpus.vocabulary(), run)));
    return figures;
  }

  private static String message(Executable call) {
    return assertThrows(Exception.class, call).getMessage();
  }

  @Test
  void program() {
    String evaluate = "evaluate --model %s --data %s".formatted(packed, text);
    String expected = Outcome.succeed(evaluate.split(" ")).out();
    Locale.setDefault(Locale.forLanguageTag("ar-EG"));
    String figures = Outcome.succeed(evaluate.split(" ")).out();
    assertEquals(expected.replaceAll("in [0-9.]+ s", ""), figures.replaceAll("in [0-9.]+ s", ""));
    assertTrue(figures.matches("(?s).* perplexity \\d+\\.\\d{3} over 420 tokens.*"), figures);
  }
}

package org.multibit.cli;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.time.LocalDateTime;
import java.time.format.DateTimeFormatter;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Callable;
import org.multibit.core.format.LanguageModelFile;
import org.multibit.datasets.Split;
import org.multibit.datasets.TextCorpus;
import org.multibit.datasets.Vocabulary;
import org.multibit.datasets.WikiText2;
import org.multibit.training.Backend;
import org.multibit.training.Evaluation;
import org.multibit.training.LanguageModel;
import org.multibit.training.Run;
import org.multibit.training.Settings;
import org.multibit.training.Trainer;
import org.multibit.training.UnigramModel;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/**
 * The main job once through. Three runs of equal recipe: a full-precision parent; from it, with the
 * same number of further steps, a 2/2 model and a full-precision one, so that the two differ in
 * nothing but their bits.
 */
@Command(
    name = "quickstart",
    description =
        "A few minutes on bundled text: train full precision, fine-tune to 2 bits, pack, run natively, compare.",
    sortOptions = false)
public final class QuickstartCommand implements Callable<Integer> {
  private static final int VOCABULARY = 5000;
  private static final int TRAIN_TOKENS = 150_000;
  private static final int EVALUATION_TOKENS = 20_000;
  private static final int PARENT_EPOCHS = 3;
  private static final int FURTHER_EPOCHS = 2;

  @Option(
      names = "--out",
      paramLabel = "DIR",
      description = "folder of the three runs (default: runs/quickstart-TIME)")
  Path out;

  @Mixin CommonOptions common;

  @Override
  public Integer call() throws IOException {
    long begin = System.nanoTime();
    Backend.start(0);
    if (out == null) {
      out =
          Path.of(
              "runs",
              "quickstart-"
                  + DateTimeFormatter.ofPattern("yyyyMMdd-HHmmss").format(LocalDateTime.now()));
    }
    TextCorpus corpus =
        TextCorpus.read(new WikiText2())
            .slice(TRAIN_TOKENS, EVALUATION_TOKENS, EVALUATION_TOKENS, VOCABULARY);
    int vocabulary = corpus.vocabulary().size();
    double unigram = new UnigramModel(corpus.train(), vocabulary).perplexity(corpus.test());
    common.say(
        "WikiText-2, the first %,d tokens, %,d words. Unigram perplexity %.1f.",
        corpus.train().length, vocabulary, unigram);

    common.say("1/3 Training in full precision.");
    Settings parentSettings = settings(corpus, "fp", 20, PARENT_EPOCHS);
    Run parent =
        train(
            "parent",
            parentSettings,
            corpus,
            () -> LanguageModel.create(parentSettings, vocabulary));
    common.say("2/3 As many further steps in full precision, to compare with.");
    Packed fp = further("fp", parent, corpus);
    common.say("3/3 The same steps at 2/2: weights and activations of 2 bits.");
    Packed quantized = further("2/2", parent, corpus);
    double byLayers =
        Evaluation.of(quantized.run, corpus, Split.TEST, new EvaluationProgress()).perplexity();

    LanguageModelFile packed = LanguageModelFile.read(quantized.file);
    int[] start = GenerateCommand.encode(packed, "The");
    List<String> words =
        GenerateCommand.generate(quantized.file, packed, start, 25, 0.8, 40, 1, word -> {});
    common.say("");
    common.say("%-22s %12s %14s %12s", "", "perplexity", "bytes", "tokens/s");
    row("full precision", fp);
    row("2/2", quantized);
    common.say(
        "2/2 is %.1f times smaller, perplexity %+.1f%%. One stream in the %s runtime, %d threads.",
        (double) fp.bytes / quantized.bytes,
        100 * (quantized.perplexity / fp.perplexity - 1),
        quantized.runtime,
        Backend.threads());
    common.say(
        "The DL4J layers give the 2/2 model perplexity %.3f, the packed file %.3f.",
        byLayers, quantized.perplexity);
    common.say("");
    common.say(
        "It writes: The %s",
        String.join(" ", words).replaceAll(" ?%s ?".formatted(Vocabulary.EOS), " ").strip());
    common.say("Go on: ./multibit generate --model %s --prompt \"The game\"", quantized.file);

    Map<String, Object> result = new LinkedHashMap<>();
    result.put("unigramPerplexity", unigram);
    result.put("fp", Map.of("perplexity", fp.perplexity, "bytes", fp.bytes));
    result.put(
        "quantized", Map.of("bits", "2/2", "perplexity", byLayers, "bytes", quantized.bytes));
    result.put(
        "packed",
        Map.of(
            "file", quantized.file.toString(),
            "perplexity", quantized.perplexity,
            "tokensPerSecond", quantized.tokensPerSecond));
    result.put("fpTokensPerSecond", fp.tokensPerSecond);
    result.put("seconds", (System.nanoTime() - begin) * 1e-9);
    common.print(result);
    return 0;
  }

  private record Packed(
      Run run, Path file, long bytes, double perplexity, double tokensPerSecond, String runtime) {}

  private void row(String name, Packed packed) {
    common.say(
        "%-22s %12.1f %,14d %,12.0f",
        name, packed.perplexity, packed.bytes, packed.tokensPerSecond);
  }

  private static Settings settings(
      TextCorpus corpus, String bits, double learningRate, int epochs) {
    Settings settings = new Settings();
    // Not the name of the whole corpus: the run knows only the slice's words.
    settings.data = corpus.name() + "[:" + TRAIN_TOKENS + "]";
    settings.dataSha256 = corpus.sha256();
    settings.bits = bits;
    settings.hidden = 200;
    settings.dropout = 0.2;
    settings.learningRate = learningRate;
    settings.epochs = epochs;
    return settings;
  }

  private Run train(String name, Settings settings, TextCorpus corpus, Trainer.Start start)
      throws IOException {
    Run run = Run.create(out.resolve(name), settings, corpus.vocabulary());
    try (TrainingProgress progress = new TrainingProgress(settings)) {
      new Trainer(run, settings, corpus, start, List.of(), Duration.ofMinutes(5), progress).train();
    }
    return run;
  }

  /** The parent trained on at these bits, packed and evaluated in the packed file's runtime. */
  private Packed further(String bits, Run parent, TextCorpus corpus) throws IOException {
    Settings settings = settings(corpus, bits, 10, FURTHER_EPOCHS);
    settings.parent = parent.path().toString();
    String name = bits.replace('/', '-');
    Run run =
        train(
            name,
            settings,
            corpus,
            () -> LanguageModel.from(parent.model(), settings, corpus.vocabulary().size()));
    Path file = out.resolve(name + ".gguf");
    run.pack().write(file);
    Evaluation evaluation = Evaluation.of(file, corpus, Split.TEST, new EvaluationProgress());
    return new Packed(
        run,
        file,
        Files.size(file),
        evaluation.perplexity(),
        evaluation.tokens() / evaluation.seconds(),
        evaluation.runtime());
  }
}

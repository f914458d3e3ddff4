package org.multibit.training.cli;

import java.io.IOException;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Callable;
import org.deeplearning4j.nn.multilayer.MultiLayerNetwork;
import org.multibit.core.format.FileKind;
import org.multibit.core.format.LanguageModelFile;
import org.multibit.datasets.TextCorpus;
import org.multibit.datasets.TokenIterator;
import org.multibit.datasets.Vocabulary;
import org.multibit.runtime.NativeLibrary;
import org.multibit.runtime.PackedLanguageModel;
import org.multibit.runtime.PackedModel;
import org.multibit.runtime.Session;
import org.multibit.training.Evaluator;
import org.multibit.training.LanguageModel;
import org.multibit.training.Perplexity;
import org.multibit.training.Run;
import org.multibit.training.SavedModel;
import org.multibit.training.UsageException;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

@Command(
    name = "evaluate",
    description = {
      "Perplexity of a model on a text.",
      "One stream, zero state at the start, first input <eos>, every token a target, <eos> at each line's end."
    },
    sortOptions = false)
public final class EvaluateCommand implements Callable<Integer> {
  /** Tokens per forward pass in DL4J, and per progress report of the native runtime. */
  private static final int SEGMENT = 100;

  private static final int NATIVE_SEGMENT = 1000;

  /** Bytes of a packed model that need no file. */
  private static final long MOST_IN_MEMORY = 2_000_000_000;

  @Option(
      names = "--model",
      required = true,
      paramLabel = "RUN|FILE",
      description =
          "a packed model .gguf (evaluated by the native runtime), a run or a model to import: DL4J .zip, Keras .h5, PyTorch .safetensors (by the DL4J layers)")
  Path model;

  @Option(
      names = "--vocab",
      paramLabel = "FILE",
      description = "words of a model to import, one a line in the order of the embedding's rows")
  Path vocabulary;

  @Option(
      names = "--data",
      required = true,
      paramLabel = "ptb|wikitext-2|text8|DIR",
      description = "the text to evaluate on")
  String data;

  @Option(names = "--split", description = "test, valid or train (default ${DEFAULT-VALUE})")
  String split = "test";

  @Option(
      names = "--threads",
      paramLabel = "N",
      description = "threads to compute with, up to 1024 (default: 0, all)")
  int threads;

  @Mixin CommonOptions common;

  @Override
  public Integer call() throws IOException {
    requireSplit(split);
    CommonOptions.start(threads);
    Map<String, Object> result;
    if (FileKind.of(model) == FileKind.PACKED) {
      UsageException.require(
          vocabulary == null,
          "--vocab is for models of other libraries: a packed model has its own words");
      Vocabulary words = new Vocabulary(LanguageModelFile.read(model).words());
      result = evaluate(model, SavedModel.text(data, words, model), split);
    } else {
      SavedModel saved = SavedModel.open(model, vocabulary);
      result = evaluate(saved, saved.text(data), split);
    }
    common.say(
        "%s on %s (%s): perplexity %.3f over %,d tokens in %.1f s (%s)",
        model,
        result.get("data"),
        split,
        (double) result.get("perplexity"),
        (long) result.get("tokens"),
        (double) result.get("seconds"),
        result.get("runtime"));
    common.print(result);
    return 0;
  }

  /** The result line for a run or an imported model, by the DL4J layers. */
  public static Map<String, Object> evaluate(SavedModel model, TextCorpus corpus, String split)
      throws IOException {
    Run.requireSameWords(model.vocabulary().words(), corpus, model.path());
    return evaluate(model.path(), model.model(), corpus, split);
  }

  /** The result line for a packed file, by the native runtime if there is one. */
  public static Map<String, Object> evaluate(Path model, TextCorpus corpus, String split)
      throws IOException {
    if (!NativeLibrary.isAvailable()) {
      return evaluate(LanguageModelFile.read(model), model, corpus, split);
    }
    try (PackedLanguageModel packed = PackedLanguageModel.open(model)) {
      return evaluate(packed, model, corpus, split);
    }
  }

  /**
   * The result line for a model as it would be in a packed file; {@code name} stands for it. By the
   * native runtime, unless there is none or the model takes more memory than one buffer holds.
   */
  public static Map<String, Object> evaluate(
      LanguageModelFile file, Path name, TextCorpus corpus, String split) throws IOException {
    if (!NativeLibrary.isAvailable() || file.fileBytes() > MOST_IN_MEMORY) {
      Run.requireSameWords(file.words(), corpus, name);
      return evaluate(name, LanguageModel.of(file), corpus, split);
    }
    try (PackedLanguageModel packed =
        PackedLanguageModel.open(file.toDirectBuffer(), name.toString())) {
      return evaluate(packed, name, corpus, split);
    }
  }

  private static Map<String, Object> evaluate(
      PackedLanguageModel packed, Path name, TextCorpus corpus, String split) throws IOException {
    Run.requireSameWords(packed.words(), corpus, name);
    packed.setThreads(Math.min(CommonOptions.threads(), PackedModel.MOST_THREADS));
    int[] tokens = tokens(corpus, split);
    long begin = System.nanoTime();
    return result(name, corpus, split, evaluate(packed, corpus, tokens), begin, "native");
  }

  private static Map<String, Object> evaluate(
      Path model, MultiLayerNetwork network, TextCorpus corpus, String split) {
    int[] tokens = tokens(corpus, split);
    long begin = System.nanoTime();
    try (ProgressLine progress = new ProgressLine("evaluating", 0, tokens.length)) {
      Perplexity perplexity =
          Evaluator.evaluate(
              network,
              TokenIterator.evaluation(tokens, corpus.vocabulary().eos(), SEGMENT),
              n -> progress.step(n, ""));
      return result(model, corpus, split, perplexity, begin, "dl4j");
    }
  }

  private static Map<String, Object> result(
      Path model,
      TextCorpus corpus,
      String split,
      Perplexity perplexity,
      long begin,
      String runtime) {
    Map<String, Object> result = new LinkedHashMap<>();
    result.put("model", model.toString());
    result.put("data", corpus.name());
    result.put("split", split);
    result.put("perplexity", perplexity.perplexity());
    result.put("tokens", perplexity.tokens());
    result.put("seconds", (System.nanoTime() - begin) * 1e-9);
    result.put("runtime", runtime);
    return result;
  }

  /** Throws UsageException if there is no such split. */
  static void requireSplit(String split) {
    UsageException.require(
        List.of("train", "valid", "test").contains(split),
        "--split %s: there are train, valid and test".formatted(split));
  }

  private static int[] tokens(TextCorpus corpus, String split) {
    return switch (split) {
      case "train" -> corpus.train();
      case "valid" -> corpus.valid();
      case "test" -> corpus.test();
      default ->
          throw new UsageException("--split %s: there are train, valid and test".formatted(split));
    };
  }

  private static Perplexity evaluate(PackedLanguageModel model, TextCorpus corpus, int[] tokens) {
    Perplexity perplexity = new Perplexity();
    try (Session session = model.newSession();
        ProgressLine progress = new ProgressLine("evaluating", 0, tokens.length)) {
      int previous = corpus.vocabulary().eos();
      for (int start = 0; start < tokens.length; start += NATIVE_SEGMENT) {
        int[] segment =
            java.util.Arrays.copyOfRange(
                tokens, start, Math.min(tokens.length, start + NATIVE_SEGMENT));
        perplexity.add(session.evaluate(previous, segment), segment.length);
        previous = segment[segment.length - 1];
        progress.step(segment.length, "");
      }
    }
    return perplexity;
  }
}

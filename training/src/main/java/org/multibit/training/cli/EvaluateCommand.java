package org.multibit.training.cli;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Callable;
import org.deeplearning4j.nn.multilayer.MultiLayerNetwork;
import org.multibit.core.format.LanguageModelFile;
import org.multibit.datasets.Corpora;
import org.multibit.datasets.TextCorpus;
import org.multibit.datasets.TokenIterator;
import org.multibit.runtime.NativeLibrary;
import org.multibit.runtime.PackedLanguageModel;
import org.multibit.runtime.Session;
import org.multibit.training.Evaluator;
import org.multibit.training.LanguageModel;
import org.multibit.training.Perplexity;
import org.multibit.training.Run;
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

  @Option(
      names = "--model",
      required = true,
      paramLabel = "RUN|FILE.gguf",
      description =
          "a run (evaluated by the DL4J layers) or a packed model (by the native runtime)")
  Path model;

  @Option(
      names = "--data",
      required = true,
      paramLabel = "ptb|wikitext-2|text8|DIR",
      description = "the corpus; its vocabulary must be the model's")
  String data;

  @Option(names = "--split", description = "test, valid or train (default ${DEFAULT-VALUE})")
  String split = "test";

  @Option(
      names = "--threads",
      paramLabel = "N",
      description = "threads to compute with (default: all)")
  int threads;

  @Mixin CommonOptions common;

  @Override
  public Integer call() throws IOException {
    requireSplit(split);
    CommonOptions.start(threads);
    if (!Files.exists(model)) {
      throw new IOException("There is no model " + model);
    }
    Map<String, Object> result = evaluate(model, Corpora.open(data), split);
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

  /** The result line for a run or a packed file. */
  static Map<String, Object> evaluate(Path model, TextCorpus corpus, String split)
      throws IOException {
    int[] tokens = tokens(corpus, split);
    boolean packed = Files.isRegularFile(model);
    boolean inNative = packed && NativeLibrary.isAvailable();
    long begin;
    Perplexity perplexity;
    if (inNative) {
      try (PackedLanguageModel packedModel = PackedLanguageModel.open(model)) {
        Run.requireSameWords(packedModel.words(), corpus, model);
        begin = System.nanoTime();
        perplexity = evaluate(packedModel, corpus, tokens);
      }
    } else {
      MultiLayerNetwork network = packed ? unpacked(model, corpus) : ofRun(model, corpus);
      begin = System.nanoTime();
      try (ProgressLine progress = new ProgressLine("evaluating", 0, tokens.length)) {
        perplexity =
            Evaluator.evaluate(
                network,
                TokenIterator.evaluation(tokens, corpus.vocabulary().eos(), SEGMENT),
                n -> progress.step(n, ""));
      }
    }
    Map<String, Object> result = new LinkedHashMap<>();
    result.put("model", model.toString());
    result.put("data", corpus.name());
    result.put("split", split);
    result.put("perplexity", perplexity.perplexity());
    result.put("tokens", perplexity.tokens());
    result.put("seconds", (System.nanoTime() - begin) * 1e-9);
    result.put("runtime", inNative ? "native" : "dl4j");
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

  private static MultiLayerNetwork ofRun(Path model, TextCorpus corpus) throws IOException {
    Run run = Run.open(model);
    run.requireVocabulary(corpus);
    return run.model();
  }

  private static MultiLayerNetwork unpacked(Path model, TextCorpus corpus) throws IOException {
    LanguageModelFile file = LanguageModelFile.read(model);
    Run.requireSameWords(file.words(), corpus, model);
    return LanguageModel.of(file);
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

package org.multibit.cli;

import java.io.IOException;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.concurrent.Callable;
import org.multibit.core.format.FileKind;
import org.multibit.core.format.LanguageModelFile;
import org.multibit.datasets.Split;
import org.multibit.datasets.TextCorpus;
import org.multibit.datasets.Vocabulary;
import org.multibit.training.Backend;
import org.multibit.training.Evaluation;
import org.multibit.training.SavedModel;
import org.multibit.training.SavedModels;
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
    Split part = split(split);
    Backend.start(threads);
    EvaluationProgress progress = new EvaluationProgress();
    TextCorpus corpus;
    Evaluation evaluation;
    if (FileKind.of(model) == FileKind.PACKED) {
      UsageException.require(
          vocabulary == null,
          "--vocab is for models of other libraries: a packed model has its own words");
      Vocabulary words = new Vocabulary(LanguageModelFile.read(model).words());
      corpus = SavedModel.text(data, words, model);
      evaluation = Evaluation.of(model, corpus, part, progress);
    } else {
      SavedModel saved = SavedModels.open(model, vocabulary);
      corpus = saved.text(data);
      evaluation = Evaluation.of(saved, corpus, part, progress);
    }
    common.say(
        "%s on %s (%s): perplexity %.3f over %,d tokens in %.1f s (%s)",
        model,
        corpus.name(),
        split,
        evaluation.perplexity(),
        evaluation.tokens(),
        evaluation.seconds(),
        evaluation.runtime());
    Map<String, Object> result = new LinkedHashMap<>();
    result.put("model", model.toString());
    result.put("data", corpus.name());
    result.put("split", split);
    result.put("perplexity", evaluation.perplexity());
    result.put("tokens", evaluation.tokens());
    result.put("seconds", evaluation.seconds());
    result.put("runtime", evaluation.runtime());
    common.print(result);
    return 0;
  }

  /** The split of this name; throws UsageException if there is none. */
  static Split split(String name) {
    return Arrays.stream(Split.values())
        .filter(split -> split.toString().equals(name))
        .findFirst()
        .orElseThrow(
            () ->
                new UsageException("--split %s: there are train, valid and test".formatted(name)));
  }
}

package org.multibit.training.cli;

import java.io.IOException;
import java.nio.file.Path;
import java.util.concurrent.Callable;
import org.deeplearning4j.nn.multilayer.MultiLayerNetwork;
import org.multibit.datasets.Corpora;
import org.multibit.datasets.TextCorpus;
import org.multibit.training.LanguageModel;
import org.multibit.training.Run;
import org.multibit.training.Settings;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

@Command(
    name = "finetune",
    description = "Train on from a model, at other bits: the paper's way to a quantized model.",
    sortOptions = false)
public final class FinetuneCommand implements Callable<Integer> {
  @Option(
      names = "--model",
      required = true,
      paramLabel = "RUN",
      description = "the run to start from")
  Path model;

  @Mixin Settings settings;
  @Mixin RunOptions runOptions;
  @Mixin CommonOptions common;

  @Override
  public Integer call() throws IOException {
    settings.check();
    CommonOptions.start(runOptions.threads);
    Run parent = Run.open(model);
    MultiLayerNetwork network = parent.model();
    Settings shape = parent.settings();
    settings.cell = shape.cell;
    settings.hidden = shape.hidden;
    settings.layers = shape.layers;
    settings.embedding = shape.embedding;
    settings.parent = model.toString();
    settings.parentSha256 = Run.weightsSha256(network);
    TextCorpus corpus = Corpora.open(settings.data);
    settings.dataSha256 = corpus.sha256();
    parent.requireVocabulary(corpus);
    common.print(
        runOptions.train(
            settings,
            corpus,
            () -> LanguageModel.from(network, settings, corpus.vocabulary().size()),
            common));
    return 0;
  }
}

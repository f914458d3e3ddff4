package org.multibit.training.cli;

import java.io.IOException;
import java.util.concurrent.Callable;
import org.deeplearning4j.nn.multilayer.MultiLayerNetwork;
import org.multibit.datasets.TextCorpus;
import org.multibit.training.LanguageModel;
import org.multibit.training.Run;
import org.multibit.training.SavedModel;
import org.multibit.training.Settings;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;

@Command(
    name = "finetune",
    description = "Train on from a model, at other bits: the paper's way to a quantized model.",
    sortOptions = false)
public final class FinetuneCommand implements Callable<Integer> {
  @Mixin ModelOptions model;

  @Mixin Settings settings;
  @Mixin RunOptions runOptions;
  @Mixin CommonOptions common;

  @Override
  public Integer call() throws IOException {
    settings.check();
    CommonOptions.start(runOptions.threads);
    SavedModel parent = model.open();
    MultiLayerNetwork network = parent.model();
    Settings shape = parent.settings();
    settings.cell = shape.cell;
    settings.hidden = shape.hidden;
    settings.layers = shape.layers;
    settings.embedding = shape.embedding;
    settings.parent = model.model.toString();
    settings.parentSha256 = Run.weightsSha256(network);
    TextCorpus corpus = parent.text(settings.data);
    settings.dataSha256 = corpus.sha256();
    common.print(
        runOptions.train(
            settings,
            corpus,
            () -> LanguageModel.from(network, settings, corpus.vocabulary().size()),
            common));
    return 0;
  }
}

package org.multibit.cli;

import java.io.IOException;
import java.util.concurrent.Callable;
import org.multibit.datasets.Corpora;
import org.multibit.datasets.TextCorpus;
import org.multibit.training.Backend;
import org.multibit.training.LanguageModel;
import org.multibit.training.Settings;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

@Command(
    name = "train",
    description = "Train a language model from scratch.",
    sortOptions = false,
    showDefaultValues = false)
public final class TrainCommand implements Callable<Integer> {
  @Mixin TrainingOptions trainingOptions;
  @Mixin RunOptions runOptions;

  @Option(
      names = "--cell",
      paramLabel = "lstm|gru",
      description = "recurrent cell (default ${DEFAULT-VALUE})")
  String cell = "lstm";

  @Option(
      names = "--hidden",
      paramLabel = "N",
      description = "units of each layer (default ${DEFAULT-VALUE})")
  int hidden = 300;

  @Option(
      names = "--layers",
      paramLabel = "N",
      description = "recurrent layers, 1 to 4, with dropout between (default ${DEFAULT-VALUE})")
  int layers = 1;

  @Option(
      names = "--embedding",
      paramLabel = "N",
      description = "size of the embedding (default: as --hidden)")
  int embedding;

  @Mixin CommonOptions common;

  @Spec CommandSpec spec;

  @Override
  public Integer call() throws IOException {
    Settings settings = trainingOptions.settings();
    settings.cell = cell;
    settings.hidden = hidden;
    settings.layers = layers;
    settings.embedding = embedding;
    if (cell.equals("gru") && !spec.commandLine().getParseResult().hasMatchedOption("--lr")) {
      settings.learningRate = Settings.GRU_LEARNING_RATE;
    }
    settings.check();
    settings.requireBitsOfCell();
    settings.requireEpochsForCodes();
    Backend.start(runOptions.threads);
    TextCorpus corpus = Corpora.open(settings.data);
    settings.dataSha256 = corpus.sha256();
    runOptions.train(
        settings,
        corpus,
        () -> LanguageModel.create(settings, corpus.vocabulary().size()),
        null,
        common);
    return 0;
  }
}

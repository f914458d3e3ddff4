package org.multibit.cli;

import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Callable;
import org.deeplearning4j.nn.multilayer.MultiLayerNetwork;
import org.multibit.core.LayerBits;
import org.multibit.datasets.TextCorpus;
import org.multibit.training.Backend;
import org.multibit.training.LanguageModel;
import org.multibit.training.Run;
import org.multibit.training.SavedModel;
import org.multibit.training.SavedModels;
import org.multibit.training.Settings;
import org.multibit.training.UsageException;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

@Command(
    name = "finetune",
    description = "Train on from a model, at other bits: the paper's way to a quantized model.",
    sortOptions = false)
public final class FinetuneCommand implements Callable<Integer> {
  @Mixin ModelOptions model;

  @Mixin TrainingOptions trainingOptions;
  @Mixin RunOptions runOptions;

  @Option(
      names = "--distill",
      paramLabel = "WEIGHT",
      description =
          "learn from what the full-precision --model, or each --teacher, says of the text too, by this weight, 0 to 1 (default: 0, from the text alone)")
  double distill;

  @Option(
      names = "--teacher",
      paramLabel = "RUN|FILE",
      description =
          "learn by --distill from this full-precision model in place of --model, of any shape; several: from the mean of their logits. Of a file the words are those of --model")
  List<Path> teachers = List.of();

  @Option(
      names = "--distill-temperature",
      paramLabel = "T",
      description = "what logits are divided by for that (default ${DEFAULT-VALUE})")
  double distillTemperature = 1;

  @Mixin CommonOptions common;

  @Override
  public Integer call() throws IOException {
    Settings settings = trainingOptions.settings();
    settings.distill = distill;
    settings.distillTemperature = distillTemperature;
    settings.check();
    UsageException.require(
        distill > 0 || distillTemperature == 1 && teachers.isEmpty(),
        "--teacher and --distill-temperature are for distillation: give its weight too, for example --distill 0.5");
    Backend.start(runOptions.threads);
    SavedModel parent = model.open();
    Settings shape = parent.settings();
    if (distill > 0 && teachers.isEmpty()) {
      requireFullPrecision(parent);
    }
    if (!settings.hasCodesOf(shape)) {
      settings.requireEpochsForCodes();
    }
    MultiLayerNetwork network = parent.model();
    settings.cell = shape.cell;
    settings.hidden = shape.hidden;
    settings.layers = shape.layers;
    settings.embedding = shape.embedding;
    settings.requireBitsOfCell();
    settings.parent = model.model.toString();
    settings.parentSha256 = Run.weightsSha256(network);
    TextCorpus corpus = parent.text(settings.data);
    settings.dataSha256 = corpus.sha256();
    List<MultiLayerNetwork> teaching = teachers(network, corpus, settings);
    runOptions.train(
        settings,
        corpus,
        () -> LanguageModel.from(network, settings, corpus.vocabulary().size()),
        teaching,
        common);
    return 0;
  }

  /** The models to learn from: those that are given, or the parent. The settings name them. */
  private List<MultiLayerNetwork> teachers(
      MultiLayerNetwork network, TextCorpus corpus, Settings settings) throws IOException {
    if (teachers.isEmpty()) {
      return distill > 0 ? List.of(network) : List.of();
    }
    List<MultiLayerNetwork> networks = new ArrayList<>();
    for (Path path : teachers) {
      SavedModel teacher = SavedModels.open(path, corpus.vocabulary());
      requireFullPrecision(teacher);
      Run.requireSameWords(teacher.vocabulary().words(), corpus, path);
      networks.add(teacher.model());
    }
    settings.teachers = teachers.stream().map(Path::toString).toList();
    settings.teachersSha256 = networks.stream().map(Run::weightsSha256).toList();
    return networks;
  }

  private static void requireFullPrecision(SavedModel teacher) throws IOException {
    String bits = teacher.settings().bits;
    UsageException.require(
        LayerBits.parse(bits).isFullPrecision(),
        "--distill learns from a full-precision model, and %s is %s: give another by --teacher"
            .formatted(teacher.path(), bits));
  }
}

package org.multibit.training.cli;

import java.io.IOException;
import java.util.concurrent.Callable;
import org.deeplearning4j.nn.multilayer.MultiLayerNetwork;
import org.multibit.datasets.TextCorpus;
import org.multibit.training.LanguageModel;
import org.multibit.training.Run;
import org.multibit.training.SavedModel;
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

  @Mixin Settings settings;
  @Mixin RunOptions runOptions;

  @Option(
      names = "--distill",
      paramLabel = "WEIGHT",
      description =
          "learn from what the full-precision --model says of the text too, by this weight, 0 to 1 (default: 0, from the text alone)")
  double distill;

  @Option(
      names = "--distill-temperature",
      paramLabel = "T",
      description = "what logits are divided by for that (default ${DEFAULT-VALUE})")
  double distillTemperature = 1;

  @Option(
      names = "--hold-codes",
      description =
          "train coefficients and biases alone: latent weights start from what they are quantized to, and each step keeps their codes. For a model that is quantized already")
  boolean holdCodes;

  @Mixin CommonOptions common;

  @Override
  public Integer call() throws IOException {
    settings.distill = distill;
    settings.distillTemperature = distillTemperature;
    settings.holdCodes = holdCodes;
    settings.check();
    UsageException.require(
        distill > 0 || distillTemperature == 1,
        "--distill-temperature is for distillation: give its weight too, for example --distill 0.5");
    CommonOptions.start(runOptions.threads);
    SavedModel parent = model.open();
    Settings shape = parent.settings();
    UsageException.require(
        distill == 0 || shape.layerBits().isFullPrecision(),
        "--distill learns from a full-precision model, and %s is %s"
            .formatted(model.model, shape.bits));
    MultiLayerNetwork network = parent.model();
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
            settings.distill > 0 ? network : null,
            common));
    return 0;
  }
}

package org.multibit.cli;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Callable;
import java.util.stream.Stream;
import org.deeplearning4j.nn.multilayer.MultiLayerNetwork;
import org.multibit.core.Bits;
import org.multibit.core.MultibitMatrix;
import org.multibit.core.SquaredError;
import org.multibit.core.format.AtomicFile;
import org.multibit.core.format.LanguageModelFile;
import org.multibit.core.format.Matrix;
import org.multibit.datasets.Corpora;
import org.multibit.datasets.Split;
import org.multibit.datasets.TextCorpus;
import org.multibit.layers.QuantizedArrays;
import org.multibit.training.Backend;
import org.multibit.training.Evaluation;
import org.multibit.training.LanguageModel;
import org.multibit.training.PackedExport;
import org.multibit.training.Provenance;
import org.multibit.training.Run;
import org.multibit.training.SavedModel;
import org.multibit.training.Settings;
import org.multibit.training.UsageException;
import org.nd4j.linalg.api.buffer.DataType;
import org.nd4j.linalg.api.ndarray.INDArray;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

@Command(
    name = "quantize",
    description =
        "Quantize a trained model without training it on: spread and relative error of each matrix, and perplexity.",
    sortOptions = false)
public final class QuantizeCommand implements Callable<Integer> {
  @Mixin ModelOptions model;

  @Option(
      names = "--method",
      paramLabel = "METHOD",
      description =
          "uniform, balanced, greedy, refined, alternating, optimal (default ${DEFAULT-VALUE})")
  String method = "alternating";

  @Option(
      names = "--cycles",
      description = "alternating cycles, 0 or more; 0 is greedy (default ${DEFAULT-VALUE})")
  int cycles = 2;

  @Option(
      names = "--scale",
      description = "multiplies what alternating quantizes weights to (default ${DEFAULT-VALUE})")
  float scale = 1;

  @Option(
      names = "--bits",
      required = true,
      paramLabel = "BITS",
      description =
          "W/A (2/2), W/fp, or for each layer: embedding=3,lstm=2/2,softmax=2/3 (gru for lstm; a layer that is not named stays full precision)")
  String bits;

  @Option(
      names = "--data",
      paramLabel = "ptb|wikitext-2|text8|DIR",
      description = "the corpus to evaluate on (default: the one it was trained on)")
  String data;

  @Option(names = "--split", description = "test, valid or train (default ${DEFAULT-VALUE})")
  String split = "test";

  @Option(names = "--out", paramLabel = "FILE.gguf", description = "also write the packed model")
  Path out;

  @Mixin CommonOptions common;

  @Override
  public Integer call() throws IOException {
    Split part = EvaluateCommand.split(split);
    UsageException.require(
        out == null || out.toString().endsWith(".gguf"),
        "--out %s: a packed model's name ends in .gguf".formatted(out));
    if (out != null) {
      AtomicFile.requirePlace(out);
    }
    Backend.start(0);
    SavedModel saved = model.open();
    Settings settings = saved.settings();
    settings.bits = bits;
    settings.method = method;
    settings.cycles = cycles;
    settings.scale = scale;
    // How the model's weights were trained does not hold for what is made of them.
    settings.holdCodes = 0;
    settings.weightBound = 0;
    settings.check();
    settings.requireBitsOfCell();
    if (settings.layerBits().isFullPrecision()) {
      throw new UsageException("--bits fp leaves nothing to quantize: write W/A (2/2) or W/fp");
    }
    if (data != null) {
      settings.data = data;
    }
    UsageException.require(
        settings.data != null, "--data is missing: an imported model does not tell its text");
    UsageException.require(
        data != null || Corpora.isThere(settings.data),
        "--data is missing: %s was trained on %s, which is not there"
            .formatted(model.model, settings.data));
    TextCorpus corpus = saved.text(settings.data);
    settings.dataSha256 = corpus.sha256();
    MultiLayerNetwork parent = saved.model();
    settings.parent = model.model.toString();
    settings.parentSha256 = Run.weightsSha256(parent);
    MultiLayerNetwork network = LanguageModel.from(parent, settings, corpus.vocabulary().size());
    PackedExport export = new PackedExport(network);
    LanguageModelFile packed = export.pack(corpus.vocabulary(), Provenance.of(settings));

    List<Map<String, Object>> matrices = new ArrayList<>();
    SquaredError overall = SquaredError.NONE;
    common.say(
        "%-16s %14s  %18s  %s",
        "matrix", "rows x cols", "standard deviation", "relative squared error");
    for (Map.Entry<String, Matrix> entry : packed.matrices().entrySet()) {
      MultibitMatrix matrix = entry.getValue().packed();
      if (matrix == null) {
        continue; // Full precision: it has no error.
      }
      INDArray original = export.originals().get(entry.getKey());
      SquaredError error = QuantizedArrays.squaredError(matrix, original);
      overall = overall.plus(error);
      double deviation = original.castTo(DataType.DOUBLE).stdNumber().doubleValue();
      Map<String, Object> figures = new LinkedHashMap<>();
      figures.put("name", entry.getKey());
      figures.put("standardDeviation", deviation);
      figures.put("relativeSquaredError", error.relative());
      matrices.add(figures);
      common.say(
          "%-16s %14s  %18.3f  %.6f",
          entry.getKey(), matrix.rows() + "x" + matrix.cols(), deviation, error.relative());
    }

    // Before it is written: a model that cannot be evaluated leaves no file.
    double perplexity =
        Evaluation.of(
                packed, out == null ? model.model : out, corpus, part, new EvaluationProgress())
            .perplexity();
    if (out != null) {
      packed.write(out);
      common.say("%s: %,d bytes", out, Files.size(out));
    }
    common.say(
        "%s %s: relative squared error %.6f over all matrices, perplexity %.2f on %s (%s)",
        method, bits, overall.relative(), perplexity, corpus.name(), split);
    if (Stream.of(settings.layerBits().recurrent(), settings.layerBits().output())
        .anyMatch(Bits::isSlowerThanFullPrecision)) {
      common.say(
          "%s is smaller than full precision, but runs slower: bits of weights times bits of activations up to 16, or W/fp up to 2/fp, run faster",
          bits);
    }
    Map<String, Object> result = new LinkedHashMap<>();
    result.put("method", method);
    result.put("bits", bits);
    result.put("relativeSquaredError", overall.relative());
    result.put("perplexity", perplexity);
    result.put("matrices", matrices);
    common.print(result);
    return 0;
  }
}

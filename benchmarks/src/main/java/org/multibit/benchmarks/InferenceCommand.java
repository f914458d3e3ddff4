package org.multibit.benchmarks;

import java.io.IOException;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Callable;
import org.multibit.cli.CommonOptions;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

@Command(
    name = "inference",
    description = {
      "Token steps of an LSTM language model against ONNX Runtime (fp32 and int8), one thread.",
      "Medians; each system in a process of its own, taking turns. MULTIBIT_ISA forces a tier of ours."
    },
    sortOptions = false)
final class InferenceCommand implements Callable<Integer> {
  @Option(
      names = "--model",
      paramLabel = "VxH",
      description = "words and hidden units of the models (default: 10000x300 and 42000x1024)")
  List<String> models = List.of();

  @Option(
      names = "--bits",
      paramLabel = "W/A",
      description = "bits of weights and activations (default: 2/2 3/3)")
  List<String> bits = List.of();

  @Option(
      names = "--batch",
      paramLabel = "N",
      description = "how many streams at once (default: 1 and 32)")
  List<Integer> batches = InferenceBench.BATCHES;

  @Option(
      names = "--rounds",
      paramLabel = "N",
      description = "turns of each system (default: ${DEFAULT-VALUE})")
  int rounds = InferenceBench.ROUNDS;

  @Option(
      names = "--report",
      paramLabel = "FILE.md",
      description =
          "measure the kernels too, also held to AVX2, and write all tables to this file"
              + " (docs/results/inference.md)")
  Path report;

  @Mixin CommonOptions common;

  @Spec CommandSpec spec;

  @Override
  public Integer call() throws IOException {
    BenchArguments.checkRounds(rounds);
    BenchArguments.checkBatches(batches);
    BenchArguments.checkReport(report);
    InferenceBench bench =
        new InferenceBench(
            models.isEmpty()
                ? InferenceBench.MODELS
                : models.stream().map(InferenceCommand::model).toList(),
            BenchArguments.bits(bits, InferenceBench.BITS),
            batches,
            rounds);
    common.say(WorkerProcess.ENVIRONMENT_NOTE);
    KernelsBench.Result kernels = null;
    KernelsBench.Result forced = null;
    if (report != null) {
      kernels = kernels(KernelsBench.SIZES, KernelsBench.BATCHES, null).measure(common::say);
      // What older machines run, where this one has more.
      if (kernels.isa().startsWith("avx512")) {
        forced =
            kernels(List.of(KernelsBench.SIZES.get(0)), List.of(1), "avx2").measure(common::say);
      }
    }
    InferenceBench.Result measured = bench.measure(common::say);
    if (report != null) {
      Report.write(report, BenchArguments.command(spec), kernels, forced, measured);
      common.say("%s: written", report);
    }
    Map<String, Object> result = new LinkedHashMap<>();
    result.put("systems", measured.systems());
    result.put("rows", measured.rows());
    common.print(result);
    return 0;
  }

  private KernelsBench kernels(List<KernelsBench.Size> sizes, List<Integer> batches, String tier) {
    return new KernelsBench(sizes, KernelsBench.BITS, batches, rounds, tier);
  }

  private static RandomLanguageModel model(String text) {
    KernelsBench.Size size = BenchArguments.size("--model", text);
    return new RandomLanguageModel(size.rows(), size.cols());
  }
}

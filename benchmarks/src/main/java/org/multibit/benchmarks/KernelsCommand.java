package org.multibit.benchmarks;

import java.io.IOException;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Callable;
import org.multibit.cli.CommonOptions;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

@Command(
    name = "kernels",
    description = {
      "Products with quantized matrices against OpenBLAS and MKL, one thread.",
      "Medians; each library in a process of its own, taking turns. MULTIBIT_ISA forces a tier of ours."
    },
    sortOptions = false)
final class KernelsCommand implements Callable<Integer> {
  @Option(
      names = "--size",
      paramLabel = "ROWSxCOLS",
      description = "sizes of the matrix (default: 4096x1024 and 42000x1024)")
  List<String> sizes = List.of();

  @Option(
      names = "--bits",
      paramLabel = "W/A",
      description = "bits of weights and activations (default: 1/1 2/2 2/3 3/3 4/4 2/fp)")
  List<String> bits = List.of();

  @Option(
      names = "--batch",
      paramLabel = "N",
      description = "how many vectors at once (default: 1 and 32)")
  List<Integer> batches = KernelsBench.BATCHES;

  @Option(
      names = "--rounds",
      paramLabel = "N",
      description = "turns of each system (default: ${DEFAULT-VALUE})")
  int rounds = KernelsBench.ROUNDS;

  @Mixin CommonOptions common;

  @Override
  public Integer call() throws IOException {
    BenchArguments.checkRounds(rounds);
    BenchArguments.checkBatches(batches);
    KernelsBench bench =
        new KernelsBench(
            sizes.isEmpty()
                ? KernelsBench.SIZES
                : sizes.stream().map(text -> BenchArguments.size("--size", text)).toList(),
            BenchArguments.bits(bits, KernelsBench.BITS),
            batches,
            rounds,
            null);
    common.say(WorkerProcess.ENVIRONMENT_NOTE);
    KernelsBench.Result measured = bench.measure(common::say);
    Map<String, Object> result = new LinkedHashMap<>();
    result.put("isa", measured.isa());
    result.put("systems", measured.systems());
    result.put("rows", measured.rows());
    common.print(result);
    return 0;
  }
}

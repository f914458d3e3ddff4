package org.multibit.benchmarks;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.multibit.core.Bits;
import org.multibit.training.UsageException;
import picocli.CommandLine.Model.CommandSpec;

/** Checks of the options that the benches share. */
final class BenchArguments {
  private BenchArguments() {}

  static void checkRounds(int rounds) {
    UsageException.requireRange("--rounds", rounds, 1, 1000);
  }

  static void checkBatches(List<Integer> batches) {
    for (int batch : batches) {
      UsageException.requireRange("--batch", batch, 1, 1024);
    }
  }

  /** Where a report goes is looked at before all is measured. */
  static void checkReport(Path report) {
    if (report != null) {
      Path folder = report.toAbsolutePath().getParent();
      UsageException.require(
          Files.isWritable(folder) && !Files.isDirectory(report),
          "--report %s: it takes a file in a folder that can be written".formatted(report));
    }
  }

  /** The command line as it was given to the launcher, with the tier that was forced. */
  static String command(CommandSpec spec) {
    String tier = System.getenv("MULTIBIT_ISA");
    return (tier == null || tier.isEmpty() ? "" : "MULTIBIT_ISA=" + tier + " ")
        + "./multibit bench "
        + String.join(" ", spec.root().commandLine().getParseResult().originalArgs());
  }

  /** The pairs of --bits; the standard ones if there are none. */
  static List<Bits> bits(List<String> texts, List<Bits> standard) {
    return texts.isEmpty() ? standard : texts.stream().map(BenchArguments::bits).toList();
  }

  private static Bits bits(String text) {
    Bits bits;
    try {
      bits = Bits.parse(text);
    } catch (IllegalArgumentException e) {
      throw new UsageException("--bits: " + e.getMessage());
    }
    UsageException.require(bits.weights() > 0, "--bits fp: only quantized products are measured");
    return bits;
  }

  /** A matrix's rows and columns, ROWSxCOLS. */
  static KernelsBench.Size size(String option, String text) {
    UsageException.require(
        text.matches("[1-9][0-9]{0,6}x[1-9][0-9]{0,6}"),
        "%s %s: write two numbers, as in 42000x1024".formatted(option, text));
    String[] numbers = text.split("x");
    int rows = Integer.parseInt(numbers[0]);
    int cols = Integer.parseInt(numbers[1]);
    UsageException.require(
        (long) rows * cols <= 1 << 28,
        "%s %s: over 1 GiB in full precision".formatted(option, text));
    return new KernelsBench.Size(rows, cols);
  }
}

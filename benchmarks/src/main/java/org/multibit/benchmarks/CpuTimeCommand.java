package org.multibit.benchmarks;

import java.io.IOException;
import java.nio.file.Path;
import java.time.LocalDate;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.OptionalDouble;
import java.util.concurrent.Callable;
import org.multibit.cli.CommonOptions;
import org.multibit.cli.reproduce.TableReport;
import org.multibit.core.Bits;
import org.multibit.core.format.AtomicFile;
import org.multibit.training.Provenance;
import org.multibit.training.UsageException;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/** The part of {@code ./multibit reproduce} that needs other libraries: Table 6. */
@Command(
    name = "reproduce",
    hidden = true,
    description = "Measure the CPU time of the paper's Table 6 on this machine.",
    sortOptions = false)
final class CpuTimeCommand implements Callable<Integer> {
  /**
   * The paper's figures, on a Xeon E5-2682 v4: from memory, unverified; null where none is known.
   */
  private record Row(
      KernelsBench.Size size, String bits, String millis, String quantizeMillis, String times) {}

  private static final KernelsBench.Size SMALL = new KernelsBench.Size(4096, 1024);
  private static final KernelsBench.Size LARGE = new KernelsBench.Size(42000, 1024);
  private static final List<Row> PAPER =
      List.of(
          new Row(SMALL, "2/2", "0.35", "0.07", "6.0"),
          new Row(SMALL, "3/3", "0.72", "0.11", "3.0"),
          new Row(SMALL, "fp", "2.10", null, null),
          new Row(LARGE, "2/2", "~3.2", null, null),
          new Row(LARGE, "3/3", "~6.5", null, null),
          new Row(LARGE, "fp", "~19", null, null));

  @Parameters(paramLabel = "table6", description = "the table")
  String table;

  @Option(
      names = "--rounds",
      paramLabel = "N",
      description = "turns of each system (default: ${DEFAULT-VALUE})")
  int rounds = KernelsBench.ROUNDS;

  @Option(
      names = "--results",
      paramLabel = "DIR",
      description = "folder of the table (default: docs/results of this source tree)")
  Path results = Path.of(System.getProperty("multibit.home", ""), "docs/results");

  @Mixin CommonOptions common;

  @Override
  public Integer call() throws IOException {
    UsageException.require(
        table.equals("table6"), "%s is not measured but trained: table6 is".formatted(table));
    BenchArguments.checkRounds(rounds);
    AtomicFile.createFolder(results);
    KernelsBench bench =
        new KernelsBench(
            List.of(SMALL, LARGE),
            List.of(Bits.parse("2/2"), Bits.parse("3/3")),
            List.of(1),
            rounds,
            null);
    KernelsBench.Result measured = bench.measure(common::say);
    TableReport report = report(measured);
    report.write(results, table);
    report.markdown().forEach(common::say);
    Map<String, Object> result = new LinkedHashMap<>();
    result.put("table", table);
    result.put("rows", report.json());
    common.print(result);
    return 0;
  }

  private static TableReport report(KernelsBench.Result measured) throws IOException {
    TableReport report =
        new TableReport(
                "Table 6: CPU time of a matrix-vector product",
                List.of(
                    "Median milliseconds on one thread. The time includes quantizing the vector. The"
                        + " paper's figures (Xeon E5-2682 v4; full precision by MKL) are marked mem: they"
                        + " are from memory and unverified. Its abstract says about 6 times faster than"
                        + " full precision at 2 bits and 3 times at 3 bits. Our kernels: "
                        + measured.isa()
                        + ".",
                    "CPU: %s.".formatted(Cpu.read())),
                "Written by `./multibit reproduce table6` on %s, commit %s."
                    .formatted(LocalDate.now(), Provenance.commit()))
            .column("matrix", "%s")
            .column("bits", "%s")
            .column("paper (mem)", "%s")
            .column("ours", "%.4f")
            .column("paper: of it quantizing (mem)", "%s")
            .column("ours: of it quantizing", "%.4f")
            .column("paper: times faster than MKL (mem)", "%s")
            .column("ours: times faster than MKL", "%.1f")
            .column("ours: times faster than OpenBLAS", "%.1f");
    for (Row row : PAPER) {
      Bits bits = Bits.parse(row.bits);
      Map<String, Object> ours =
          measured.rows().stream()
              .filter(r -> Objects.equals(r.get("kernel"), "gemv"))
              .filter(r -> Objects.equals(r.get("rows"), row.size.rows()))
              .filter(
                  r -> bits.weights() == 0 || Objects.equals(r.get("weightBits"), bits.weights()))
              .findFirst()
              .orElseThrow();
      OptionalDouble mkl = number(ours, "mklMillis");
      OptionalDouble openBlas = number(ours, "openblasMillis");
      boolean quantized = bits.weights() > 0;
      OptionalDouble millis = quantized ? number(ours, "millis") : mkl;
      report.add(
          row.size.toString(),
          quantized ? row.bits : "fp (MKL)",
          row.millis,
          millis,
          row.quantizeMillis,
          quantized ? number(ours, "quantizeMillis") : null,
          row.times,
          quantized ? ratio(mkl, millis) : null,
          ratio(openBlas, millis));
    }
    return report;
  }

  private static OptionalDouble number(Map<String, Object> row, String key) {
    return row.get(key) == null
        ? OptionalDouble.empty()
        : OptionalDouble.of(((Number) row.get(key)).doubleValue());
  }

  private static OptionalDouble ratio(OptionalDouble a, OptionalDouble b) {
    return a.isEmpty() || b.isEmpty()
        ? OptionalDouble.empty()
        : OptionalDouble.of(a.getAsDouble() / b.getAsDouble());
  }
}

package org.multibit.benchmarks;

import java.io.IOException;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Callable;
import org.multibit.cli.CommonOptions;
import org.multibit.training.UsageException;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

@Command(
    name = "training",
    description = {
      "Training steps of an LSTM language model against stock DL4J and PyTorch, all CPUs.",
      "Medians; each system in a process of its own, taking turns, in the fastest of its ways."
    },
    sortOptions = false)
final class TrainingCommand implements Callable<Integer> {
  @Option(
      names = "--shape",
      paramLabel = "VxHxBxT",
      description =
          "words, hidden units, batch and unrolled steps"
              + " (default: 10000x300x20x30 and 33278x512x100x30)")
  List<String> shapes = List.of();

  @Option(
      names = "--rounds",
      paramLabel = "N",
      description = "turns of each system (default: ${DEFAULT-VALUE})")
  int rounds = TrainingBench.ROUNDS;

  @Option(
      names = "--seconds",
      paramLabel = "S",
      description = "length of a turn, at least one segment (default: ${DEFAULT-VALUE})")
  double seconds = TrainingBench.TURN_SECONDS;

  @Option(
      names = "--report",
      paramLabel = "FILE.md",
      description = "write the tables to this file (docs/results/training.md)")
  Path report;

  @Mixin CommonOptions common;

  @Spec CommandSpec spec;

  @Override
  public Integer call() throws IOException {
    BenchArguments.checkRounds(rounds);
    BenchArguments.checkReport(report);
    UsageException.requireRange("--seconds", seconds, 0.001, 600);
    TrainingBench bench =
        new TrainingBench(
            shapes.isEmpty()
                ? TrainingBench.SHAPES
                : shapes.stream().map(TrainingCommand::shape).toList(),
            rounds,
            1000 * seconds);
    common.say(WorkerProcess.ENVIRONMENT_NOTE);
    TrainingBench.Result measured = bench.measure(common::say);
    if (report != null) {
      TrainingReport.write(report, BenchArguments.command(spec), measured);
      common.say("%s: written", report);
    }
    Map<String, Object> result = new LinkedHashMap<>();
    result.put("systems", measured.systems());
    result.put("rows", measured.rows());
    common.print(result);
    return 0;
  }

  private static TrainingBench.Shape shape(String text) {
    UsageException.require(
        text.matches("[1-9][0-9]{0,5}(x[1-9][0-9]{0,3}){3}"),
        "--shape %s: write four numbers, as in 10000x300x20x30".formatted(text));
    String[] numbers = text.split("x");
    return new TrainingBench.Shape(
        Integer.parseInt(numbers[0]),
        Integer.parseInt(numbers[1]),
        Integer.parseInt(numbers[2]),
        Integer.parseInt(numbers[3]));
  }
}

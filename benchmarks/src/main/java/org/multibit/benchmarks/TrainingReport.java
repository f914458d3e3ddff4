package org.multibit.benchmarks;

import java.io.IOException;
import java.nio.file.Path;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;

/** The page of results of training: what was measured, on what, and by which command. */
final class TrainingReport {
  private final MarkdownReport page;

  private TrainingReport(MarkdownReport page) {
    this.page = page;
  }

  static void write(Path path, String command, TrainingBench.Result result) throws IOException {
    TrainingReport report =
        new TrainingReport(new MarkdownReport("Training: speed of a step", command));
    report.systems(result);
    report.speeds(result);
    report.parts(result);
    report.ways(result);
    report.page.write(path);
  }

  private void say(String format, Object... arguments) {
    page.say(format, arguments);
  }

  private void systems(TrainingBench.Result result) {
    result.systems().forEach(page::system);
    say("");
    say(
        "The model has V words, an embedding and one LSTM layer of H units, and a softmax. A step"
            + " trains on a segment of B rows of T tokens, with dropout 0.5 before the LSTM and before"
            + " the softmax, truncated BPTT with carried state, the gradient's norm clipped to 0.25, and"
            + " SGD with rate 20. Stock DL4J cannot clip the whole gradient, so it clips by layer; its"
            + " segments start from zeros. The text is random: the frequency of a word is proportional"
            + " to 1/rank, and half of the words follow from the one before. Every system sees the same"
            + " text. Our step is what `./multibit train` does with a segment.");
    say("");
    say(
        "Times are medians of single steps and include reading the loss. Each system runs in a process"
            + " of its own, which stays warm and has all CPUs. The systems take turns, each with the"
            + " fastest settings that were tried. *x PyTorch* and *x stock DL4J* compare with the faster"
            + " of that system's turns and its earlier trial. *Peak* is the largest resident memory,"
            + " including the Java heap. *Loss* is the mean per token over the given steps, counted"
            + " from the first. Our loss in full precision must fall like PyTorch's. %s",
        WorkerProcess.ENVIRONMENT_NOTE);
    say("");
  }

  private void speeds(TrainingBench.Result result) {
    say("## Tokens per second");
    say("");
    say(
        "| V | H | B | T | system | tokens/s | x PyTorch | x stock DL4J | ms per step | steps timed"
            + " | peak MiB | first loss | loss | of steps |");
    say("|---|---|---|---|---|---|---|---|---|---|---|---|---|---|");
    for (Map<String, Object> row : result.rows()) {
      say(
          "| %,d | %,d | %s | %s | %s | %,.0f | %s | %.2f | %,.1f | %s | %,d | %.3f | %.3f | %s |",
          row.get("vocab"),
          row.get("hidden"),
          row.get("batch"),
          row.get("unroll"),
          row.get("system"),
          row.get("tokensPerSecond"),
          row.containsKey("xPytorch") ? "%.2f".formatted((Double) row.get("xPytorch")) : "-",
          row.get("xDl4j"),
          row.get("millisPerStep"),
          row.get("repetitions"),
          (long) row.get("peakBytes") >> 20,
          row.get("firstLoss"),
          row.get("loss"),
          row.get("lossSteps"));
    }
    say("");
  }

  private void parts(TrainingBench.Result result) {
    Set<String> parts = new TreeSet<>();
    for (Map<String, Object> row : result.rows()) {
      parts.addAll(shares(row).keySet());
    }
    say("## Where the time of a step goes");
    say("");
    say(
        "Per cent of a step, from samples of the training thread's stack. A sample counts for the layer"
            + " or updater that DL4J has called. *Quantizing* is that of weights and activations in"
            + " any layer, except where a kernel quantizes as part of its work. *Weights alone* is the"
            + " time to quantize the weights of a step, measured by itself, as a share of the step.");
    say("");
    say("| V | H | system | %s | weights alone |", String.join(" | ", parts));
    say("|---|---|---|%s---|", "---|".repeat(parts.size()));
    for (Map<String, Object> row : result.rows()) {
      if (shares(row).isEmpty()) {
        continue;
      }
      StringBuilder cells = new StringBuilder();
      for (String part : parts) {
        cells.append(" %.1f |".formatted(100 * shares(row).getOrDefault(part, 0.0)));
      }
      double weights = (double) row.getOrDefault("quantizeWeightsMillis", 0.0);
      say(
          "| %,d | %,d | %s |%s %s |",
          row.get("vocab"),
          row.get("hidden"),
          row.get("system"),
          cells,
          weights == 0 ? "-" : "%.1f".formatted(100 * weights / (double) row.get("millisPerStep")));
    }
    say("");
  }

  private static Map<String, Double> shares(Map<String, Object> row) {
    @SuppressWarnings("unchecked")
    Map<String, Double> parts = (Map<String, Double>) row.getOrDefault("parts", Map.of());
    return parts;
  }

  private void ways(TrainingBench.Result result) {
    say("## Settings that were tried");
    say("");
    say(
        "Each time is the median of the later half of a trial's steps. The fastest settings were then"
            + " measured. Stock DL4J keeps the settings that were fastest for the first model.");
    say("");
    say("| V | H | system | way | ms per step |");
    say("|---|---|---|---|---|");
    for (Map<String, Object> row : result.rows()) {
      if (row.get("triedMillisPerStep") instanceof Map<?, ?> tried) {
        tried.forEach(
            (way, millis) ->
                say(
                    "| %,d | %,d | %s | %s | %,.1f |",
                    row.get("vocab"), row.get("hidden"), row.get("system"), way, millis));
      }
    }
  }
}

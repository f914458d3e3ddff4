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
        "V words, embedding and one LSTM layer of H units, softmax; segments of B rows of T tokens."
            + " Dropout 0.5 before the LSTM and before the softmax, truncated backpropagation with"
            + " carried state, the gradient's norm clipped to 0.25, SGD with rate 20. Stock DL4J has"
            + " no clipping of the whole gradient and clips by layer; its segments start from"
            + " zeros. The text is random: frequencies as 1/rank, half of the words follow from the"
            + " one before; every system sees the same. Ours is what `./multibit train` does with a"
            + " segment.");
    say("");
    say(
        "Medians of single steps, reading the loss included. Each system has a process of its own"
            + " and all CPUs, kept warm; they take turns, and run in the fastest way that was tried."
            + " *x PyTorch* and *x stock DL4J* are against their turns or their trial before, whichever"
            + " was faster."
            + " *Peak* is the most memory resident, with the Java heap. *Loss* is the mean per"
            + " token over the steps given, counted from the first; ours in full precision and"
            + " PyTorch's have to fall alike. %s",
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
        "Per cent, by sampling the stack of the training thread: the layer or updater that DL4J has"
            + " called; *quantizing* is that of weights and activations wherever it is called, but"
            + " not where a kernel does it on the way. *Weights alone* is quantizing the weights that"
            + " a step quantizes, timed by itself, of the step's time.");
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
    say("## Ways of running that were tried");
    say("");
    say(
        "The median of the later half of a trial's steps; the fastest way went on. Stock DL4J keeps"
            + " the way that the first model decides.");
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

package org.multibit.benchmarks;

import java.io.IOException;
import java.nio.file.Path;
import java.util.Map;

/** The page of results: tables of what was measured, on what, and by which command. */
final class Report {
  private final MarkdownReport page;

  private Report(MarkdownReport page) {
    this.page = page;
  }

  /**
   * @param forced our kernels at an older tier; null if none was measured
   */
  static void write(
      Path path,
      String command,
      KernelsBench.Result kernels,
      KernelsBench.Result forced,
      InferenceBench.Result steps)
      throws IOException {
    Report report = new Report(new MarkdownReport("Inference: kernels and token steps", command));
    report.systems(kernels, steps);
    report.kernels("Products, one thread", kernels);
    if (forced != null) {
      report.kernels("Products, our kernels limited to " + forced.isa(), forced);
    }
    report.quantization(kernels);
    report.steps(steps);
    report.page.write(path);
  }

  private void say(String format, Object... arguments) {
    page.say(format, arguments);
  }

  private void systems(KernelsBench.Result kernels, InferenceBench.Result steps) {
    kernels.systems().forEach(page::system);
    steps
        .systems()
        .forEach(
            (name, what) -> {
              if (!name.startsWith("multibit")) {
                page.system(name, what);
              }
            });
    say("");
    say(
        "Times are medians in milliseconds, after a warm-up. Each system runs in a process of its own,"
            + " which stays warm, and the systems take turns. %s",
        WorkerProcess.ENVIRONMENT_NOTE);
    say("");
  }

  private void kernels(String title, KernelsBench.Result result) {
    say("## %s", title);
    say("");
    say(
        "*W/A* is the bits of weights and activations. *Roofline* is the longer of two times: reading"
            + " the matrix once from its place in the caches, and counting all bits in registers."
            + " OpenBLAS and MKL each have the time of their faster storage order of the matrix; *x* is"
            + " how many times faster we are than the faster of the two. Our times include quantizing"
            + " the activations; the next column has that part alone.");
    say("");
    say(
        "| matrix | vectors | W/A | ours | of it quantizing | OpenBLAS | MKL | x | roofline | bound by"
            + " | reached | repetitions |");
    say("|---|---|---|---|---|---|---|---|---|---|---|---|");
    for (Map<String, Object> row : result.rows()) {
      if (row.get("kernel").equals("quantize")) {
        continue;
      }
      double millis = number(row, "millis");
      double openBlas = number(row, "openblasMillis");
      boolean mkl = row.get("mklMillis") != null;
      double best = mkl ? Math.min(openBlas, number(row, "mklMillis")) : openBlas;
      say(
          "| %sx%s | %s | %s/%s | %.4f | %.4f | %.3f | %s | %.1f | %.4f | %s | %.0f%% | %s |",
          row.get("rows"),
          row.get("cols"),
          row.get("batch"),
          row.get("weightBits"),
          row.get("activationBits").equals(0) ? "fp" : row.get("activationBits"),
          millis,
          number(row, "quantizeMillis"),
          openBlas,
          mkl ? "%.3f".formatted(number(row, "mklMillis")) : "-",
          best / millis,
          number(row, "rooflineMillis"),
          row.get("rooflineBound"),
          100 * number(row, "ofRoofline"),
          row.get("repetitions"));
    }
    say("");
  }

  private void quantization(KernelsBench.Result result) {
    for (Map<String, Object> row : result.rows()) {
      if (row.get("kernel").equals("quantize")) {
        say("## Quantizing a whole matrix");
        say("");
        say(
            "%sx%s floats to %s bits, alternating, %s threads: %.2f ms. This is %.1f times as long as"
                + " reading them once with as many threads (%.2f ms; with one thread %.2f ms).",
            row.get("rows"),
            row.get("cols"),
            row.get("weightBits"),
            row.get("threads"),
            number(row, "millis"),
            1 / number(row, "ofRoofline"),
            number(row, "rooflineMillis"),
            number(row, "readMillisOneThread"));
        say("");
      }
    }
  }

  private void steps(InferenceBench.Result result) {
    say("## One token of an LSTM language model, one thread");
    say("");
    say(
        "A token of a model with V words and H hidden units, from the embedding to the logits. ONNX"
            + " Runtime computes with the dequantized weights of our 2-bit model. Before it is timed,"
            + " its logits are compared with ours (activations at full precision); *difference* is"
            + " ||a - b|| / ||b||.");
    say("");
    say("| V | H | streams | system | per token | repetitions | difference |");
    say("|---|---|---|---|---|---|---|");
    for (Map<String, Object> row : result.rows()) {
      Object difference = row.get("logitsDifference");
      say(
          "| %,d | %,d | %s | %s | %.4f | %s | %s |",
          row.get("vocab"),
          row.get("hidden"),
          row.get("batch"),
          row.get("system"),
          number(row, "millisPerToken"),
          row.get("repetitions"),
          difference == null ? "" : "%.1e".formatted((Double) difference));
    }
  }

  private static double number(Map<String, Object> row, String field) {
    return ((Number) row.get(field)).doubleValue();
  }
}

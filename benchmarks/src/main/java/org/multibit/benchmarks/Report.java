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
      report.kernels("Products, our kernels held to " + forced.isa(), forced);
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
        "Times are medians after a warm-up, in milliseconds. Each system has a process of its own,"
            + " kept warm; they take turns. %s",
        WorkerProcess.ENVIRONMENT_NOTE);
    say("");
  }

  private void kernels(String title, KernelsBench.Result result) {
    say("## %s", title);
    say("");
    say(
        "W/A: bits of weights and activations. *Roofline*: the longer of reading the matrix once"
            + " from where it lies in the caches and of counting all bits in registers. Of OpenBLAS"
            + " and MKL the faster storage order of the matrix counts, *x* is ours against the"
            + " faster of the two. Our times include quantizing the activations, which is also"
            + " given by itself.");
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
            "%sx%s floats to %s bits, alternating, %s threads: %.2f, %.1f x the time of reading them"
                + " once with as many threads (%.2f; with one %.2f).",
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
        "V words, H hidden units, embedding to logits. ONNX Runtime computes with the dequantized"
            + " weights of our 2-bit model; before it is timed its logits are compared with ours"
            + " (activations at full precision): *difference* is ||a - b|| / ||b||.");
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

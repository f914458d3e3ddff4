package org.multibit.cli.reproduce;

import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalDouble;
import org.multibit.cli.EvaluationProgress;
import org.multibit.cli.reproduce.Reproduction.Result;
import org.multibit.core.format.LanguageModelFile;
import org.multibit.datasets.Split;
import org.multibit.datasets.TextCorpus;
import org.multibit.training.Evaluation;
import org.multibit.training.SavedModel;

/** Tables 1 and 2: all weight matrices of a full-precision model quantized without retraining. */
final class PostTrainingTable {
  private static final String FIGURES =
      "All weight matrices are quantized without retraining; activations stay at full precision. The"
          + " error is the squared error relative to the squared norm, for all matrices together and for"
          + " each matrix. The perplexity is that of the whole test text in one stream.";
  private static final String LEVELS =
      "The paper does not say over which range the uniform and balanced levels are spread. Here it is"
          + " the largest magnitude of each row. In the last rows it is the largest magnitude of the"
          + " matrix, or [-1; 1]; uniform clips values outside of [-1; 1].";

  private final PaperTables.PostTraining paper;
  private final Reproduction reproduction;
  private final TextCorpus corpus;

  PostTrainingTable(PaperTables.PostTraining paper, Reproduction reproduction, TextCorpus corpus) {
    this.paper = paper;
    this.reproduction = reproduction;
    this.corpus = corpus;
  }

  /**
   * Trains the full-precision model if need be, quantizes it by each method at each width.
   *
   * @param provenance the note that says when and by what the table was written
   */
  TableReport fill(String provenance) throws IOException {
    reproduction.train(paper.parent());
    Result parent = reproduction.result(paper.parent());
    Optional<SavedModel> model = reproduction.fullPrecisionModel(paper.parent());
    LanguageModelFile weights = model.isEmpty() ? null : model.get().pack();
    TableReport report =
        new TableReport(
                paper.title(),
                List.of(
                    FIGURES,
                    LEVELS,
                    "The full-precision model is %s after %s of %d epochs. Its learning rate at the end is %s."
                        .formatted(
                            paper.parent().name(),
                            parent.epochs().orElse(0),
                            paper.parent().settings().epochs,
                            parent.learningRate().isPresent()
                                ? "" + (float) parent.learningRate().getAsDouble()
                                : "-")),
                provenance)
            .column("method", "%s")
            .column("bits", "%d")
            .column("paper: error", "%.3f")
            .column("ours: error", "%.4f")
            .column("error: difference %", "%+.1f")
            .column("paper: perplexity", "%.1f")
            .column("ours: perplexity", "%.1f")
            .column("perplexity: difference %", "%+.1f")
            .column("embedding", "%.4f")
            .column("input", "%.4f")
            .column("recurrent", "%.4f")
            .column("softmax", "%.4f")
            .column("state", "%s");
    OptionalDouble papers = OptionalDouble.of(paper.perplexity());
    report.add(
        "full precision",
        null,
        null,
        null,
        null,
        papers,
        parent.perplexity(),
        TableReport.difference(papers, parent.perplexity()),
        null,
        null,
        null,
        null,
        parent.state());
    List<PostTrainingMethod> methods = new ArrayList<>(PostTrainingMethod.ofRows());
    methods.addAll(PostTrainingMethod.ofOtherRanges());
    for (PostTrainingMethod method : methods) {
      for (int bits : paper.bits()) {
        if (bits <= method.maxBits()) {
          addRow(report, method, bits, weights, parent.state());
        }
      }
    }
    return report;
  }

  /**
   * @param weights null if there is no model yet
   */
  private void addRow(
      TableReport report,
      PostTrainingMethod method,
      int bits,
      LanguageModelFile weights,
      Reproduction.State state)
      throws IOException {
    OptionalDouble error = OptionalDouble.empty();
    OptionalDouble perplexity = OptionalDouble.empty();
    Map<String, Double> errors = Map.of();
    if (weights != null) {
      PostTrainingMethod.Quantized quantized = method.quantize(weights, bits);
      errors = quantized.errors();
      error = OptionalDouble.of(quantized.relativeSquaredError());
      Path name = Path.of("%s-%s-%s".formatted(paper.parent().name(), method.name(), bits));
      perplexity =
          OptionalDouble.of(
              Evaluation.of(quantized.model(), name, corpus, Split.TEST, new EvaluationProgress())
                  .perplexity());
      System.err.printf(
          "%s, %d bits: error %.4f, perplexity %.1f%n",
          method.name(), bits, error.getAsDouble(), perplexity.getAsDouble());
    }
    OptionalDouble paperError = paper.error(method.inPaper(), bits);
    OptionalDouble paperPerplexity = paper.perplexity(method.inPaper(), bits);
    report.add(
        method.name(),
        bits,
        paperError,
        error,
        TableReport.difference(paperError, error),
        paperPerplexity,
        perplexity,
        TableReport.difference(paperPerplexity, perplexity),
        errors.get("embedding"),
        errors.get("rnn.0.input"),
        errors.get("rnn.0.recurrent"),
        errors.get("softmax"),
        weights == null ? Reproduction.State.NOT_RUN : state);
  }
}

package org.multibit.cli;

import java.util.Map;
import org.multibit.training.Settings;
import org.multibit.training.Trainer;

/** Shows a training run as it goes. */
public class TrainingProgress implements Trainer.Listener, AutoCloseable {
  private final boolean distillation;
  private ProgressLine line;
  private double loss = Double.NaN;

  public TrainingProgress(Settings settings) {
    distillation = settings.distill > 0;
  }

  @Override
  public void epochStarted(int epoch, long done, long total) {
    show(new ProgressLine("epoch " + epoch, done, total));
  }

  @Override
  public void trained(long tokens, double lossPerToken) {
    // A running mean, since a single segment says little.
    loss = Double.isNaN(loss) ? lossPerToken : 0.95 * loss + 0.05 * lossPerToken;
    line.step(
        tokens,
        distillation
            ? "loss of distillation %.3f".formatted(loss)
            : "perplexity %.1f".formatted(Math.exp(loss)));
  }

  @Override
  public void validationStarted(long total) {
    show(new ProgressLine("validation", 0, total));
  }

  @Override
  public void validated(long tokens) {
    line.step(tokens, "");
  }

  @Override
  public void epochFinished(Map<String, Object> entry) {
    close();
    System.err.printf(
        "epoch %s: training %s, validation perplexity %.2f (batched), learning rate %.4g, %,d tokens/s%n",
        entry.get("epoch"),
        distillation
            ? "loss of distillation %.3f".formatted(entry.get("trainDistillationLoss"))
            : "perplexity %.2f".formatted(entry.get("trainPerplexity")),
        (double) entry.get("validPerplexityBatched"),
        (double) entry.get("learningRate"),
        (long) entry.get("tokensPerSecond"));
  }

  private void show(ProgressLine next) {
    close();
    line = next;
  }

  @Override
  public void close() {
    if (line != null) {
      line.close();
      line = null;
    }
  }
}

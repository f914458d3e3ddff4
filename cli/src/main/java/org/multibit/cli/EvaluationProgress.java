package org.multibit.cli;

import org.multibit.training.Evaluation;

/** Shows an evaluation as it goes. */
public final class EvaluationProgress implements Evaluation.Listener {
  private ProgressLine line;

  @Override
  public void started(long total) {
    line = new ProgressLine("evaluating", 0, total);
  }

  @Override
  public void evaluated(long tokens) {
    line.step(tokens, "");
  }

  @Override
  public void ended() {
    line.close();
  }
}

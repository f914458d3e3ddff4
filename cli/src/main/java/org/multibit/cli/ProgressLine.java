package org.multibit.cli;

import java.time.Duration;
import java.time.temporal.ChronoUnit;
import me.tongfei.progressbar.ProgressBar;
import me.tongfei.progressbar.ProgressBarBuilder;
import me.tongfei.progressbar.ProgressBarStyle;

/**
 * Progress with the time left: a bar on a terminal, else a plain line every ten seconds. Written to
 * standard error.
 */
final class ProgressLine implements AutoCloseable {
  private static final Duration PLAIN_INTERVAL = Duration.ofSeconds(10);

  private final String task;
  private final long total;
  private final ProgressBar bar;
  private final long start = System.nanoTime();
  private final long first;
  private long done;
  private long reportedAt = start;

  /**
   * @param done where it starts
   */
  ProgressLine(String task, long done, long total) {
    this.task = task;
    this.total = total;
    this.first = done;
    this.done = done;
    boolean terminal = System.console() != null;
    bar =
        terminal
            ? new ProgressBarBuilder()
                .setTaskName(task)
                .setInitialMax(total)
                .startsFrom(done, Duration.ZERO)
                .setUnit(" tokens", 1)
                .setStyle(ProgressBarStyle.ASCII)
                .setSpeedUnit(ChronoUnit.SECONDS)
                .showSpeed()
                .setUpdateIntervalMillis(500)
                .build()
            : null;
  }

  void step(long tokens, String extra) {
    done += tokens;
    if (bar != null) {
      bar.stepBy(tokens);
      bar.setExtraMessage(extra);
    } else if (System.nanoTime() - reportedAt > PLAIN_INTERVAL.toNanos()) {
      reportedAt = System.nanoTime();
      double seconds = (reportedAt - start) * 1e-9;
      double perSecond = (done - first) / seconds;
      System.err.printf(
          "%s: %,d of %,d tokens, %,.0f tokens/s, %.0f s left%s%n",
          task,
          done,
          total,
          perSecond,
          (total - done) / perSecond,
          extra.isEmpty() ? "" : ", " + extra);
    }
  }

  @Override
  public void close() {
    if (bar != null) {
      bar.close();
    }
  }
}

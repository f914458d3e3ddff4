package org.multibit.training.cli;

import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.function.BooleanSupplier;

/**
 * Whether the process has been told to end, by Ctrl-C or SIGTERM. While this is open, the process
 * waits with that, so that what is being trained can be saved first; it ends once this is closed.
 */
public final class StopSignal implements BooleanSupplier, AutoCloseable {
  /** A pass over the validation text may have begun. */
  private static final long LONGEST_WAIT_SECONDS = 120;

  private final CountDownLatch closed = new CountDownLatch(1);
  private final Thread hook = new Thread(this::awaitClose, "stop-signal");
  private volatile boolean given;

  public StopSignal() {
    Runtime.getRuntime().addShutdownHook(hook);
  }

  private void awaitClose() {
    given = true;
    try {
      closed.await(LONGEST_WAIT_SECONDS, TimeUnit.SECONDS);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  @Override
  public boolean getAsBoolean() {
    return given;
  }

  @Override
  public void close() {
    closed.countDown();
    if (!given) {
      try {
        Runtime.getRuntime().removeShutdownHook(hook);
      } catch (IllegalStateException e) {
        // The process has just been told to end: nothing waits any longer.
      }
    }
  }
}

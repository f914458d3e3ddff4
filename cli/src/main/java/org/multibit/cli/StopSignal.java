package org.multibit.cli;

import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.function.BooleanSupplier;

/**
 * Whether the process has been told to end, by Ctrl-C or SIGTERM. A process that is told so while
 * this is open goes on until its command has saved what it trains and {@link #reported} it.
 */
public final class StopSignal implements BooleanSupplier, AutoCloseable {
  private static final int LONGEST_WAIT_SECONDS = 120;
  private static final CountDownLatch REPORTED = new CountDownLatch(1);

  private final Thread hook = new Thread(this::stop, "stop-signal");
  private volatile boolean given;

  public StopSignal() {
    try {
      Runtime.getRuntime().addShutdownHook(hook);
    } catch (IllegalStateException e) {
      given = true; // The process is ending already.
    }
  }

  private void stop() {
    given = true;
    System.err.println("multibit: stopping, once what is trained is saved (kill -9 does not wait)");
    try {
      if (!REPORTED.await(LONGEST_WAIT_SECONDS, TimeUnit.SECONDS)) {
        System.err.printf(
            "multibit: nothing saved in %d seconds: the last checkpoint stands%n",
            LONGEST_WAIT_SECONDS);
      }
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  /** The command has printed all that it prints: a process that was told to end does so now. */
  public static void reported() {
    REPORTED.countDown();
  }

  @Override
  public boolean getAsBoolean() {
    return given;
  }

  @Override
  public void close() {
    if (!given) {
      try {
        Runtime.getRuntime().removeShutdownHook(hook);
      } catch (IllegalStateException e) {
        // The process has just been told to end, and does so once the command is over.
      }
    }
  }
}

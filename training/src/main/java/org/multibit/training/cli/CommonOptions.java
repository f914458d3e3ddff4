package org.multibit.training.cli;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.Map;
import org.bytedeco.openblas.global.openblas_nolapack;
import org.deeplearning4j.util.CrashReportingUtil;
import org.multibit.layers.Versions;
import org.multibit.training.Json;
import org.multibit.training.UsageException;
import org.nd4j.linalg.factory.Nd4j;
import picocli.CommandLine.Option;

/** What every command takes. */
public final class CommonOptions {
  @Option(names = "--json", description = "print one line of JSON as the last line")
  boolean json;

  @Option(names = "--debug", description = "print the stack trace of an error")
  boolean debug;

  @Option(
      names = {"-h", "--help"},
      usageHelp = true,
      description = "show this help")
  boolean help;

  /** Prints the result's JSON line if it was asked for. */
  public void print(Map<String, ?> result) {
    if (json) {
      print(Json.line(result) + "\n");
    }
  }

  /** Prints a line for people. */
  public void say(String format, Object... arguments) {
    print((arguments.length == 0 ? format : format.formatted(arguments)) + "\n");
  }

  /**
   * Prints a text as it is.
   *
   * @throws UncheckedIOException if standard output takes no more: the disk is full, or its reader
   *     has gone
   */
  public static void print(String text) {
    System.out.print(text);
    requireWritten();
  }

  /**
   * Asks whether all was written that was printed so far.
   *
   * @throws UncheckedIOException if not
   */
  public static void requireWritten() {
    if (System.out.checkError()) { // It flushes, too.
      throw new UncheckedIOException(
          new IOException(
              "standard output cannot be written (it is closed, its reader has gone, or the disk is full)"));
    }
  }

  /** How many threads to compute with, as {@link #start} was told. */
  static int threads() {
    // ND4J counts the machine's CPUs, Java those that the process may use.
    return Math.min(Nd4j.getEnvironment().maxThreads(), Runtime.getRuntime().availableProcessors());
  }

  /**
   * Readies ND4J.
   *
   * @param threads to compute with; 0: as many as there are CPUs
   */
  public static void start(int threads) {
    Versions.check();
    // DL4J would leave a file in the working folder where memory ends.
    CrashReportingUtil.crashDumpsEnabled(false);
    UsageException.requireRange("--threads", threads, 0, 1024);
    if (threads > 0) {
      // The thread that shares out work computes too: the common pool gives it the others.
      System.setProperty(
          "java.util.concurrent.ForkJoinPool.common.parallelism", "" + (threads - 1));
      Nd4j.getEnvironment().setMaxThreads(threads);
      Nd4j.getEnvironment().setMaxMasterThreads(threads);
      openblas_nolapack.blas_set_num_threads(threads);
    }
    // A time step's arrays are small: sharing them out over threads costs more than it gives.
    Nd4j.getEnvironment().setElementwiseThreshold(1 << 16);
    // The training loop makes little garbage; ND4J's periodic System.gc() would only stop it.
    Nd4j.getMemoryManager().togglePeriodicGc(false);
  }
}

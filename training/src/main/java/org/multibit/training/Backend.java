package org.multibit.training;

import org.bytedeco.openblas.global.openblas_nolapack;
import org.deeplearning4j.util.CrashReportingUtil;
import org.multibit.layers.Versions;
import org.nd4j.linalg.factory.Nd4j;

/** Settings of ND4J's backend for training and evaluation. They apply to the whole process. */
public final class Backend {
  private Backend() {}

  /**
   * Prepares ND4J. Call it before anything is computed.
   *
   * @param threads number of threads, up to 1024; 0: one per CPU
   * @throws UsageException if the number is out of range
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

  /** The number of threads that {@link #start} set. */
  public static int threads() {
    // ND4J counts the machine's CPUs, Java those that the process may use.
    return Math.min(Nd4j.getEnvironment().maxThreads(), Runtime.getRuntime().availableProcessors());
  }
}

package org.multibit.benchmarks;

import java.util.Map;
import org.nd4j.shade.jackson.databind.JsonNode;

/** One system under measurement. It lives in a process of its own, see {@link WorkerProcess}. */
interface BenchmarkedSystem {
  /** What runs here: library, version, kernels, threads. */
  Map<String, String> describe() throws Exception;

  /**
   * Readies a task, whose repetitions are then timed.
   *
   * @param settings what to do, in the system's own terms
   */
  Task prepare(JsonNode settings) throws Exception;

  /** What is timed. */
  interface Task extends AutoCloseable {
    /** One repetition. */
    void run() throws Exception;

    /** What the task computes, to be compared with what others do; null if nothing is compared. */
    default Object result() throws Exception {
      return null;
    }

    /** The part of the task that a thread with this stack is at; innermost frame first. */
    default String part(StackTraceElement[] stack) {
      throw new UnsupportedOperationException("The task has no parts");
    }

    @Override
    default void close() throws Exception {}
  }
}

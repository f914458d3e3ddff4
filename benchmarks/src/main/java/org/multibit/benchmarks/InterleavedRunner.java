package org.multibit.benchmarks;

import java.io.IOException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** Measures tasks of several processes in turns: A B C, A B C, ... */
final class InterleavedRunner {
  /**
   * Times of single repetitions.
   *
   * @param median milliseconds
   * @param repetitions how many were timed
   */
  record Time(double median, int repetitions) {
    static Time of(long[] nanos) {
      long[] sorted = nanos.clone();
      Arrays.sort(sorted);
      int half = sorted.length / 2;
      double median =
          sorted.length % 2 == 1 ? sorted[half] : 0.5 * (sorted[half - 1] + sorted[half]);
      return new Time(median * 1e-6, sorted.length);
    }
  }

  /**
   * What was measured.
   *
   * @param times by task
   * @param rates by limit: the median of one per round
   */
  record Measured(Map<String, Time> times, Map<String, Double> rates) {}

  private record Entry(WorkerProcess worker, String task, boolean limit) {}

  private final Map<String, Entry> entries = new LinkedHashMap<>();

  /** Readies a task, which takes part from then on. */
  void add(String task, WorkerProcess worker, Map<String, ?> settings) throws IOException {
    add(new Entry(worker, task, false), settings);
  }

  /** A task whose result is a rate, measured anew each round: a limit of the machine. */
  void addLimit(String task, WorkerProcess worker, Map<String, ?> settings) throws IOException {
    add(new Entry(worker, task, true), settings);
  }

  private void add(Entry entry, Map<String, ?> settings) throws IOException {
    String task = entry.task;
    if (entries.putIfAbsent(task, entry) != null) {
      throw new IllegalArgumentException("There is a task " + task + " already");
    }
    entry.worker.prepare(task, settings);
  }

  /**
   * Warms every task up, then goes round.
   *
   * @param millis length of one turn
   */
  Measured measure(double warmUpMillis, int rounds, double millis) throws IOException {
    for (Entry entry : entries.values()) {
      if (!entry.limit) {
        entry.worker.turn(entry.task, warmUpMillis);
      }
    }
    Map<String, List<long[]>> turns = new LinkedHashMap<>();
    Map<String, double[]> limits = new LinkedHashMap<>();
    for (int round = 0; round < rounds; round++) {
      for (Entry entry : entries.values()) {
        if (entry.limit) {
          limits.computeIfAbsent(entry.task, task -> new double[rounds])[round] =
              entry.worker.result(entry.task).asDouble();
        } else {
          turns
              .computeIfAbsent(entry.task, task -> new ArrayList<>())
              .add(entry.worker.turn(entry.task, millis));
        }
      }
    }
    Map<String, Time> times = new LinkedHashMap<>();
    turns.forEach(
        (task, nanos) ->
            times.put(task, Time.of(nanos.stream().flatMapToLong(Arrays::stream).toArray())));
    Map<String, Double> rates = new LinkedHashMap<>();
    limits.forEach(
        (task, perSecond) -> {
          Arrays.sort(perSecond);
          rates.put(task, perSecond[rounds / 2]);
        });
    return new Measured(times, rates);
  }

  /** Gives back what the tasks hold. */
  void release() throws IOException {
    for (Entry entry : entries.values()) {
      entry.worker.release(entry.task);
    }
    entries.clear();
  }
}

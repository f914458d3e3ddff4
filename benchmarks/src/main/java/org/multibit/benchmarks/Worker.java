package org.multibit.benchmarks;

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.HashMap;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ForkJoinPool;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.locks.LockSupport;
import org.multibit.benchmarks.BenchmarkedSystem.Task;
import org.multibit.training.Json;
import org.nd4j.shade.jackson.databind.JsonNode;

/**
 * The worker's side of {@link WorkerProcess}: takes a request per line of standard input and
 * answers each with a line that starts with {@link #MARK}; whatever else a library prints is left
 * alone.
 */
final class Worker {
  static final String MARK = "@multibit-bench ";

  private static final long SAMPLE_NANOS = 1_000_000;

  private final String className;
  private final Map<String, Task> tasks = new HashMap<>();
  private BenchmarkedSystem system;

  private Worker(String className) {
    this.className = className;
  }

  /**
   * @param args class of the system; threads that its repetitions may use
   */
  public static void main(String[] args) throws Exception {
    Worker worker = new Worker(args[0]);
    // Work that is shared out stays among the threads of the pool that it is called in.
    ForkJoinPool pool = new ForkJoinPool(Integer.parseInt(args[1]));
    BufferedReader requests =
        new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    for (String line; (line = requests.readLine()) != null; ) {
      JsonNode request = Json.parse(line);
      Object answer;
      try {
        answer = pool.submit(() -> worker.answer(request)).get();
      } catch (ExecutionException e) {
        e.printStackTrace();
        answer = Map.of("error", reason(e));
      }
      System.out.println(MARK + Json.line(answer));
    }
  }

  private static String reason(Throwable e) {
    Throwable cause = e;
    while (cause.getCause() != null) {
      cause = cause.getCause();
    }
    return cause.getMessage() != null ? cause.getMessage() : cause.toString();
  }

  private Map<String, ?> answer(JsonNode request) throws Exception {
    if (system == null) {
      system = (BenchmarkedSystem) Class.forName(className).getDeclaredConstructor().newInstance();
    }
    String name = request.path("task").asText();
    return switch (request.get("request").asText()) {
      case "describe" -> system.describe();
      case "prepare" -> {
        tasks.put(name, system.prepare(request.get("settings")));
        yield Map.of();
      }
      case "turn" -> {
        Task task = tasks.get(name);
        if (request.get("warm").asBoolean()) {
          task.run(); // Finds cold caches.
        }
        yield Map.of(
            "nanos", turn(task, request.get("nanos").asLong(), request.get("least").asInt()));
      }
      case "parts" -> Map.of("samples", parts(tasks.get(name), request.get("nanos").asLong()));
      case "result" -> Map.of("result", tasks.get(name).result());
      case "release" -> {
        tasks.remove(name).close();
        System.gc(); // Direct memory goes with the buffers' objects.
        yield Map.of();
      }
      default -> throw new IllegalArgumentException("There is no request " + request);
    };
  }

  /** Times repetitions one by one for so long. */
  private static long[] turn(Task task, long nanos, int least) throws Exception {
    long[] times = new long[Math.toIntExact(Math.min(20_000, least + nanos / 1000))];
    int count = 0;
    long begin = System.nanoTime();
    for (long now = begin; count < times.length && (count < least || now - begin < nanos); ) {
      task.run();
      long end = System.nanoTime();
      times[count++] = end - now;
      now = end;
    }
    return Arrays.copyOf(times, count);
  }

  /** Runs repetitions for so long and looks again and again at which part the thread is. */
  private static Map<String, Integer> parts(Task task, long nanos) throws Exception {
    Thread thread = Thread.currentThread();
    Map<String, Integer> samples = new TreeMap<>();
    AtomicBoolean ended = new AtomicBoolean();
    Thread sampler =
        new Thread(
            () -> {
              while (!ended.get()) {
                samples.merge(task.part(thread.getStackTrace()), 1, Integer::sum);
                LockSupport.parkNanos(SAMPLE_NANOS);
              }
            },
            "sampler");
    sampler.start();
    try {
      turn(task, nanos, 1);
    } finally {
      ended.set(true);
      sampler.join();
    }
    return samples;
  }
}

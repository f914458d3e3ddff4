package org.multibit.benchmarks;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.OutputStreamWriter;
import java.io.UncheckedIOException;
import java.io.Writer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.Iterator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.multibit.training.Json;
import org.nd4j.shade.jackson.databind.JsonNode;

/**
 * A {@link BenchmarkedSystem} in a process of its own, so that no library's threads, memory or
 * settings touch another's. It is started once, kept warm, and does what it is asked, one request
 * at a time.
 */
final class WorkerProcess implements AutoCloseable {
  /**
   * What some machines preset for all OpenBLAS programs: it may keep them from their best kernels.
   */
  static final List<String> REMOVED_FROM_ENVIRONMENT =
      List.of("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE");

  static final String ENVIRONMENT_NOTE =
      "The measured processes run without %s in their environment."
          .formatted(String.join(" and ", REMOVED_FROM_ENVIRONMENT));

  private final String name;
  private final Process process;
  private final Writer requests;
  private final BufferedReader answers;
  private final Thread errorReader;
  private final List<String> errors = Collections.synchronizedList(new ArrayList<>());

  /**
   * @param name of the system, for people
   * @param system the class that runs there
   * @param classPath for its JVM
   * @param options further ones of its JVM
   * @param threads that its work may use
   * @param environment added to this process's own; an empty value removes a variable
   */
  WorkerProcess(
      String name,
      Class<? extends BenchmarkedSystem> system,
      String classPath,
      List<String> options,
      int threads,
      Map<String, String> environment)
      throws IOException {
    this.name = name;
    List<String> command = new ArrayList<>();
    command.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
    if (threads == 1) {
      // One thread is measured: the collector's own would only get in its way.
      command.add("-XX:+UseSerialGC");
    }
    command.add("-XX:MaxRAMPercentage=30");
    command.add("-Dorg.slf4j.simpleLogger.defaultLogLevel=warn");
    if (Runtime.version().feature() >= 24) {
      command.add("--enable-native-access=ALL-UNNAMED");
      command.add("--sun-misc-unsafe-memory-access=allow");
    }
    command.addAll(options);
    command.addAll(List.of("-cp", classPath, Worker.class.getName()));
    command.addAll(List.of(system.getName(), Integer.toString(threads)));
    ProcessBuilder builder = new ProcessBuilder(command);
    builder.environment().keySet().removeAll(REMOVED_FROM_ENVIRONMENT);
    builder.environment().putAll(environment);
    builder.environment().values().removeIf(String::isEmpty);
    process = builder.start();
    requests = new OutputStreamWriter(process.getOutputStream(), StandardCharsets.UTF_8);
    answers =
        new BufferedReader(new InputStreamReader(process.getInputStream(), StandardCharsets.UTF_8));
    errorReader = new Thread(this::readErrors, name + " errors");
    errorReader.setDaemon(true);
    errorReader.start();
  }

  /** With this program's own class path. */
  WorkerProcess(
      String name,
      Class<? extends BenchmarkedSystem> system,
      int threads,
      Map<String, String> environment)
      throws IOException {
    this(name, system, System.getProperty("java.class.path"), List.of(), threads, environment);
  }

  private void readErrors() {
    try (BufferedReader reader =
        new BufferedReader(
            new InputStreamReader(process.getErrorStream(), StandardCharsets.UTF_8))) {
      for (String line; (line = reader.readLine()) != null; ) {
        errors.add(line);
      }
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  String name() {
    return name;
  }

  /** What runs there. */
  Map<String, String> describe() throws IOException {
    Map<String, String> description = new LinkedHashMap<>();
    ask(Map.of("request", "describe"))
        .fields()
        .forEachRemaining(e -> description.put(e.getKey(), e.getValue().asText()));
    return description;
  }

  void prepare(String task, Map<String, ?> settings) throws IOException {
    ask(Map.of("request", "prepare", "task", task, "settings", settings));
  }

  /**
   * Times of single repetitions over a stretch of so many milliseconds, at least three, after one
   * that is not timed.
   */
  long[] turn(String task, double millis) throws IOException {
    return turn(task, millis, 3, true);
  }

  /** The same for long repetitions: at least {@code least}, and the first is timed too. */
  long[] longTurn(String task, double millis, int least) throws IOException {
    return turn(task, millis, least, false);
  }

  private long[] turn(String task, double millis, int least, boolean warm) throws IOException {
    Map<String, ?> request =
        Map.of(
            "request", "turn",
            "task", task,
            "nanos", (long) (millis * 1e6),
            "least", least,
            "warm", warm);
    JsonNode nanos = ask(request).get("nanos");
    long[] times = new long[nanos.size()];
    for (int i = 0; i < times.length; i++) {
      times[i] = nanos.get(i).asLong();
    }
    return times;
  }

  /** In which parts of the task its time goes, over so many milliseconds: shares of 1. */
  Map<String, Double> parts(String task, double millis) throws IOException {
    JsonNode samples =
        ask(Map.of("request", "parts", "task", task, "nanos", (long) (millis * 1e6)))
            .get("samples");
    double sum = 0;
    for (JsonNode count : samples) {
      sum += count.asInt();
    }
    Map<String, Double> shares = new LinkedHashMap<>();
    for (Iterator<Map.Entry<String, JsonNode>> i = samples.fields(); i.hasNext(); ) {
      Map.Entry<String, JsonNode> part = i.next();
      shares.put(part.getKey(), part.getValue().asInt() / sum);
    }
    return shares;
  }

  /** The most memory that the process has had resident, in bytes. */
  long peakBytes() throws IOException {
    for (String line : Files.readAllLines(Path.of("/proc/" + process.pid() + "/status"))) {
      if (line.startsWith("VmHWM:")) {
        return 1024 * Long.parseLong(line.replaceAll("[^0-9]", ""));
      }
    }
    throw new IOException("The system does not tell the memory of " + name);
  }

  /** What the task computes. */
  JsonNode result(String task) throws IOException {
    return ask(Map.of("request", "result", "task", task)).get("result");
  }

  /** Gives back what the task holds. */
  void release(String task) throws IOException {
    ask(Map.of("request", "release", "task", task));
  }

  /** The first line on standard error that starts so, without that start; null if none did. */
  String errorLine(String start) {
    synchronized (errors) {
      return errors.stream()
          .filter(line -> line.startsWith(start))
          .map(line -> line.substring(start.length()))
          .findFirst()
          .orElse(null);
    }
  }

  private JsonNode ask(Map<String, ?> request) throws IOException {
    try {
      requests.write(Json.line(request) + "\n");
      requests.flush();
      for (String line; (line = answers.readLine()) != null; ) {
        if (line.startsWith(Worker.MARK)) {
          JsonNode answer = Json.parse(line.substring(Worker.MARK.length()));
          if (answer.has("error")) {
            throw failure(answer.get("error").asText());
          }
          return answer;
        }
      }
      throw failure("its process ended");
    } catch (IOException e) {
      throw process.isAlive() ? e : failure("its process ended");
    }
  }

  /** What the process printed last tells more: the cause holds all of it. */
  private IOException failure(String message) {
    synchronized (errors) {
      String last = errors.isEmpty() ? "" : " (" + errors.get(errors.size() - 1).strip() + ")";
      return new IOException(
          "%s does not run: %s%s".formatted(name, message, process.isAlive() ? "" : last),
          new Exception(String.join("\n", errors)));
    }
  }

  /** Ends the process. */
  @Override
  public void close() {
    process.destroy();
  }
}

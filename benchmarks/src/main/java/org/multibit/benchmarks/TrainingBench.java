package org.multibit.benchmarks;

import java.io.File;
import java.io.IOException;
import java.io.InputStream;
import java.net.URISyntaxException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Consumer;
import java.util.stream.Stream;
import org.multibit.benchmarks.InterleavedRunner.Time;
import org.multibit.core.Bits;
import org.multibit.datasets.TokenIterator;
import org.multibit.training.Json;
import org.nd4j.shade.jackson.databind.JsonNode;

/**
 * Training of an LSTM language model, all CPUs: ours against stock DL4J and PyTorch.
 *
 * @param shapes of models and segments
 * @param rounds how often each system has its turn
 * @param millis length of a turn, which takes at least one segment
 */
record TrainingBench(List<Shape> shapes, int rounds, double millis) {
  /** The paper's for Penn Treebank and WikiText-2. */
  static final List<Shape> SHAPES =
      List.of(new Shape(10_000, 300, 20, 30), new Shape(33_278, 512, 100, 30));

  static final int ROUNDS = 4;
  static final double TURN_SECONDS = 4;

  static final String FULL_PRECISION = "multibit fp";
  static final String DL4J = "dl4j";
  static final String PYTORCH = "pytorch";

  private static final List<Bits> BITS =
      List.of(new Bits(2, 2), new Bits(3, 3), Bits.FULL_PRECISION);

  /** OpenMP's threads spin while they wait, or sleep. */
  private static final List<String> WAIT_POLICIES = List.of("", "passive");

  /** Turns' time that a way of running a system has to show how fast it is. */
  private static final int TRIAL_TURNS = 2;

  /** Steps that a trial between ways has at least; the median of the later half decides. */
  private static final int TRIAL_STEPS = 6;

  /**
   * Most that the losses of PyTorch and of ours in full precision may differ, relatively; they
   * start from other random numbers.
   */
  private static final double LOSS_TOLERANCE = 0.03;

  private static final String STOCK_CLASS_PATH = "stock-dl4j.class-path";

  /**
   * @param vocab words
   * @param hidden units of the LSTM, and size of the embedding
   * @param batch rows of the text side by side
   * @param unroll time steps of a segment
   */
  record Shape(int vocab, int hidden, int batch, int unroll) {
    int tokens() {
      return batch * unroll;
    }

    /** With the recipe that {@code ./multibit train} has by default. */
    TrainingTask.Settings settings(Bits bits) {
      org.multibit.training.Settings recipe = new org.multibit.training.Settings();
      return new TrainingTask.Settings(
          bits.toString(),
          vocab,
          hidden,
          batch,
          unroll,
          recipe.learningRate,
          recipe.clip,
          recipe.dropout);
    }

    @Override
    public String toString() {
      return "V=%,d H=%,d B=%d T=%d".formatted(vocab, hidden, batch, unroll);
    }
  }

  /**
   * What was measured.
   *
   * @param systems what each system says that it runs
   * @param rows as they are in the JSON line
   */
  record Result(Map<String, Map<String, String>> systems, List<Map<String, Object>> rows) {}

  /** A way of running a system. */
  private record Way(
      String name,
      Class<? extends BenchmarkedSystem> systemClass,
      String classPath,
      List<String> options,
      Map<String, String> environment) {}

  /** A system at work, in the fastest of its ways. */
  private static final class Entrant {
    final String system;
    final WorkerProcess worker;
    final Way way;

    /** Median milliseconds of a segment in each way that was tried. */
    final Map<String, Double> tried;

    long[] nanos = {};

    Entrant(String system, WorkerProcess worker, Way way, Map<String, Double> tried) {
      this.system = system;
      this.worker = worker;
      this.way = way;
      this.tried = tried;
    }

    void turn(double millis) throws IOException {
      long[] more = worker.longTurn(system, millis, 1);
      int before = nanos.length;
      nanos = Arrays.copyOf(nanos, before + more.length);
      System.arraycopy(more, 0, nanos, before, more.length);
    }
  }

  Result measure(Consumer<String> say) throws IOException {
    Map<String, Map<String, String>> systems = new LinkedHashMap<>();
    List<Map<String, Object>> rows = new ArrayList<>();
    List<Way> stock = stock();
    for (Shape shape : shapes) {
      List<Entrant> entrants = new ArrayList<>();
      try {
        for (Bits bits : BITS) {
          enter("multibit " + bits, ours(), shape.settings(bits), entrants, systems, say);
        }
        TrainingTask.Settings settings = shape.settings(Bits.FULL_PRECISION);
        // A step of a large model takes it half a minute: the first shape decides.
        stock = List.of(enter(DL4J, stock, settings, entrants, systems, say));
        if (PyTorchTraining.isAvailable()) {
          enter(PYTORCH, pytorch(), settings, entrants, systems, say);
        }
        for (int round = 0; round < rounds; round++) {
          for (Entrant entrant : entrants) {
            entrant.turn(millis);
          }
        }
        rows.addAll(rows(shape, entrants, say));
      } finally {
        entrants.forEach(entrant -> entrant.worker.close());
      }
    }
    return new Result(systems, rows);
  }

  private static List<Way> ours() {
    return List.of(
        new Way(
            "OMP_WAIT_POLICY=passive, as the launcher sets it",
            MultibitTraining.class,
            System.getProperty("java.class.path"),
            List.of(),
            Map.of("OMP_WAIT_POLICY", "passive")));
  }

  private static List<Way> stock() throws IOException {
    String classPath;
    try (InputStream in = TrainingBench.class.getResourceAsStream(STOCK_CLASS_PATH)) {
      if (in == null) {
        throw new IOException("The build lacks " + STOCK_CLASS_PATH + ": run ./multibit bench");
      }
      classPath = new String(in.readAllBytes(), StandardCharsets.UTF_8).strip();
    }
    for (String jar : classPath.split(File.pathSeparator)) {
      if (!Files.exists(Path.of(jar))) {
        throw new IOException("Stock DL4J needs %s: build again to get it".formatted(jar));
      }
    }
    // Its own libraries, and of ours what only talks and reads.
    String withOurs =
        String.join(
            File.pathSeparator,
            classPath,
            location(StockTraining.class),
            location(Json.class),
            location(TokenIterator.class));
    List<Way> ways = new ArrayList<>();
    for (String policy : WAIT_POLICIES) {
      ways.add(
          new Way(
              waiting(policy),
              StockTraining.class,
              withOurs,
              List.of(),
              Map.of("OMP_WAIT_POLICY", policy)));
    }
    return ways;
  }

  private static String location(Class<?> type) {
    try {
      return Path.of(type.getProtectionDomain().getCodeSource().getLocation().toURI()).toString();
    } catch (URISyntaxException e) {
      throw new IllegalStateException("A class path entry that is no file", e);
    }
  }

  private static List<Way> pytorch() {
    List<Way> ways = new ArrayList<>();
    for (String blas : new String[] {"mkl", "openblas"}) {
      List<String> options =
          blas.equals("mkl")
              ? List.of("-D%s=mkl".formatted(PyTorchTraining.BLAS_PROPERTY))
              : List.of();
      for (String policy : WAIT_POLICIES) {
        ways.add(
            new Way(
                "%s, %s".formatted(blas.equals("mkl") ? "MKL" : "OpenBLAS", waiting(policy)),
                PyTorchTraining.class,
                System.getProperty("java.class.path"),
                options,
                Map.of("OMP_WAIT_POLICY", policy)));
      }
    }
    return ways;
  }

  private static String waiting(String policy) {
    return policy.isEmpty() ? "OMP_WAIT_POLICY unset" : "OMP_WAIT_POLICY=" + policy;
  }

  /** Tries all ways of running a system, and keeps and returns the fastest. */
  private Way enter(
      String system,
      List<Way> ways,
      TrainingTask.Settings settings,
      List<Entrant> entrants,
      Map<String, Map<String, String>> systems,
      Consumer<String> say)
      throws IOException {
    Map<String, Double> tried = new LinkedHashMap<>();
    WorkerProcess fastest = null;
    Way way = null;
    for (Way candidate : ways) {
      WorkerProcess worker = start(system, candidate);
      boolean kept = false;
      try {
        Map<String, String> description = worker.describe();
        worker.prepare(system, settings.toMap());
        long[] nanos =
            worker.longTurn(system, TRIAL_TURNS * millis, ways.size() > 1 ? TRIAL_STEPS : 2);
        // The first half is slow: code is yet to be compiled, memory to be had.
        double median = Time.of(Arrays.copyOfRange(nanos, nanos.length / 2, nanos.length)).median();
        tried.put(candidate.name, median);
        if (worker.errorLine("Core: ") != null) {
          description.put("OpenBLAS kernels", worker.errorLine("Core: "));
        }
        say.accept(
            "%s, %s: %,.0f tokens/s; %s"
                .formatted(system, candidate.name, 1000 * settings.tokens() / median, description));
        if (fastest == null || median < tried.get(way.name)) {
          if (fastest != null) {
            fastest.close();
          }
          fastest = worker;
          way = candidate;
          systems.put(system, description);
          kept = true;
        }
      } finally {
        if (!kept) {
          worker.close();
        }
      }
    }
    entrants.add(new Entrant(system, fastest, way, tried));
    return way;
  }

  private static WorkerProcess start(String system, Way way) throws IOException {
    Map<String, String> environment = new LinkedHashMap<>(way.environment);
    environment.put("OPENBLAS_VERBOSE", "2");
    return new WorkerProcess(
        system,
        way.systemClass,
        way.classPath,
        way.options,
        Runtime.getRuntime().availableProcessors(),
        environment);
  }

  private List<Map<String, Object>> rows(Shape shape, List<Entrant> entrants, Consumer<String> say)
      throws IOException {
    Map<String, Double> perSecond = new LinkedHashMap<>();
    Map<String, Double> best = new LinkedHashMap<>();
    for (Entrant entrant : entrants) {
      double median = Time.of(entrant.nanos).median();
      perSecond.put(entrant.system, 1000 * shape.tokens() / median);
      // Others at their best: what was faster when it was tried alone counts.
      double fastest = entrant.tried.values().stream().mapToDouble(t -> t).min().orElse(median);
      best.put(entrant.system, 1000 * shape.tokens() / Math.min(median, fastest));
    }
    List<Map<String, Object>> rows = new ArrayList<>();
    Map<String, JsonNode> losses = new LinkedHashMap<>();
    for (Entrant entrant : entrants) {
      double tokensPerSecond = perSecond.get(entrant.system);
      Map<String, Object> row = new LinkedHashMap<>();
      row.put("system", entrant.system);
      row.put("vocab", shape.vocab);
      row.put("hidden", shape.hidden);
      row.put("batch", shape.batch);
      row.put("unroll", shape.unroll);
      row.put("tokensPerSecond", tokensPerSecond);
      row.put("xDl4j", tokensPerSecond / best.get(DL4J));
      if (perSecond.containsKey(PYTORCH)) {
        row.put("xPytorch", tokensPerSecond / best.get(PYTORCH));
      }
      row.put("millisPerStep", 1000 * shape.tokens() / tokensPerSecond);
      row.put("repetitions", entrant.nanos.length);
      row.put("peakBytes", entrant.worker.peakBytes());
      row.put("way", entrant.way.name);
      if (entrant.tried.size() > 1) {
        row.put("triedMillisPerStep", entrant.tried);
      }
      if (!entrant.system.equals(PYTORCH)) {
        row.put("parts", entrant.worker.parts(entrant.system, millis));
      }
      JsonNode result = entrant.worker.result(entrant.system);
      losses.put(entrant.system, result.get("losses"));
      if (result.has("quantizeWeightsMillis")) {
        row.put("quantizeWeightsMillis", result.get("quantizeWeightsMillis").asDouble());
      }
      rows.add(row);
    }
    // Stock DL4J's steps are too few to be compared over.
    int steps =
        losses.entrySet().stream()
            .filter(all -> !all.getKey().equals(DL4J))
            .mapToInt(all -> all.getValue().size())
            .min()
            .orElseThrow();
    rows.forEach(row -> addLosses(row, losses.get((String) row.get("system")), steps));
    for (Map<String, Object> row : rows) {
      say.accept(
          "%s: %-12s %,6.0f tokens/s, %.2f x PyTorch, %.2f x DL4J, peak %,d MiB; loss %.3f over steps %s; %s"
              .formatted(
                  shape,
                  row.get("system"),
                  row.get("tokensPerSecond"),
                  row.getOrDefault("xPytorch", Double.NaN),
                  row.get("xDl4j"),
                  (long) row.get("peakBytes") >> 20,
                  row.get("loss"),
                  row.get("lossSteps"),
                  parts(row)));
    }
    checkLosses(rows, (double) shape.tokens() * steps / 2);
    return rows;
  }

  /** The mean loss over the second half of so many steps, or of those that there are. */
  private static void addLosses(Map<String, Object> row, JsonNode losses, int steps) {
    int end = Math.min(steps, losses.size());
    int begin = end / 2;
    double sum = 0;
    for (int step = begin; step < end; step++) {
      sum += losses.get(step).asDouble();
    }
    row.put("firstLoss", losses.get(0).asDouble());
    row.put("loss", sum / (end - begin));
    row.put("lossSteps", "%d to %d".formatted(begin + 1, end));
  }

  /**
   * @throws IllegalStateException if PyTorch does not learn as ours in full precision does
   */
  private static void checkLosses(List<Map<String, Object>> rows, double tokens) {
    Map<Object, Double> losses = new LinkedHashMap<>();
    rows.forEach(row -> losses.put(row.get("system"), (Double) row.get("loss")));
    Double pytorch = losses.get(PYTORCH);
    double ours = losses.get(FULL_PRECISION);
    double tolerance = LOSS_TOLERANCE + 1 / Math.sqrt(tokens);
    if (pytorch != null && !(Math.abs(pytorch / ours - 1) <= tolerance)) {
      throw new IllegalStateException(
          "PyTorch does not train the same: its loss is %.3f where ours in full precision is %.3f"
              .formatted(pytorch, ours));
    }
  }

  /** Where the time of a step goes, largest part first; empty if that is not known. */
  static String parts(Map<String, Object> row) {
    if (!(row.get("parts") instanceof Map<?, ?> parts)) {
      return "";
    }
    Stream<? extends Map.Entry<?, ?>> entries = parts.entrySet().stream();
    return String.join(
        ", ",
        entries
            .sorted((a, b) -> Double.compare((Double) b.getValue(), (Double) a.getValue()))
            .map(part -> "%s %.1f%%".formatted(part.getKey(), 100 * (Double) part.getValue()))
            .toList());
  }
}

package org.multibit.benchmarks;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Consumer;
import java.util.stream.Stream;
import org.multibit.benchmarks.InterleavedRunner.Time;
import org.multibit.core.Bits;
import org.multibit.core.format.LanguageModelFile;
import org.nd4j.shade.jackson.databind.JsonNode;

/**
 * Token steps of an LSTM language model, ours against ONNX Runtime, one thread.
 *
 * @param models their shapes
 * @param bits of ours
 * @param batches how many streams at once
 * @param rounds how often each system has its turn
 */
record InferenceBench(
    List<RandomLanguageModel> models, List<Bits> bits, List<Integer> batches, int rounds) {
  static final List<RandomLanguageModel> MODELS =
      List.of(new RandomLanguageModel(10_000, 300), new RandomLanguageModel(42_000, 1024));
  static final List<Bits> BITS = List.of(new Bits(2, 2), new Bits(3, 3));
  static final List<Integer> BATCHES = List.of(1, 32);
  static final int ROUNDS = 10;

  /** ONNX Runtime computes with these weights, dequantized. */
  private static final Bits COMPARED = new Bits(2, 0);

  private static final String FP32 = "onnxruntime fp32";

  /** Without prepacking: sometimes faster for one vector. */
  private static final String FP32_AS_IS = FP32 + " as is";

  private static final String INT8 = "onnxruntime int8";

  /**
   * Most that logits may differ, ||a - b|| / ||b||: by rounding; by 8-bit weights and activations.
   */
  private static final double FP32_TOLERANCE = 1e-4;

  private static final double INT8_TOLERANCE = 0.05;

  private static final double WARM_UP_MILLIS = 500;
  private static final double TURN_MILLIS = 60;

  /**
   * What was measured.
   *
   * @param systems what each system says that it runs
   * @param rows as they are in the JSON line
   */
  record Result(Map<String, Map<String, String>> systems, List<Map<String, Object>> rows) {}

  Result measure(Consumer<String> say) throws IOException {
    Map<String, Map<String, String>> systems = new LinkedHashMap<>();
    List<Map<String, Object>> rows = new ArrayList<>();
    Map<String, WorkerProcess> workers = new LinkedHashMap<>();
    Path folder = Files.createTempDirectory("multibit-bench");
    try {
      for (Bits pair : bits) {
        start(workers, "multibit " + pair, MultibitTokens.class);
      }
      start(workers, FP32, OnnxRuntimeTokens.class);
      start(workers, INT8, OnnxRuntimeTokens.class);
      for (WorkerProcess worker : workers.values()) {
        systems.put(worker.name(), worker.describe());
        say.accept("%s: %s".formatted(worker.name(), systems.get(worker.name())));
      }
      for (RandomLanguageModel model : models) {
        write(model, folder);
        say.accept(
            "V=%,d H=%,d: fp32 %,d bytes as ONNX, multibit %s %,d"
                .formatted(
                    model.vocab(),
                    model.hidden(),
                    Files.size(folder.resolve(FP32)),
                    bits.get(0),
                    Files.size(folder.resolve(fileName(bits.get(0))))));
        for (int batch : batches) {
          rows.addAll(steps(model, folder, batch, workers, say));
        }
      }
    } finally {
      for (WorkerProcess worker : workers.values()) {
        worker.close();
      }
      try (Stream<Path> files = Files.list(folder)) {
        for (Path file : files.toList()) {
          Files.delete(file);
        }
      }
      Files.delete(folder);
    }
    return new Result(systems, rows);
  }

  private static void start(
      Map<String, WorkerProcess> workers, String name, Class<? extends BenchmarkedSystem> system)
      throws IOException {
    workers.put(name, new WorkerProcess(name, system, 1, Map.of()));
  }

  private static String fileName(Bits pair) {
    return pair.toString().replace('/', '-') + ".gguf";
  }

  /** Writes the model in every system's form; ONNX Runtime's have the dequantized weights. */
  private void write(RandomLanguageModel model, Path folder) throws IOException {
    for (Bits pair : bits) {
      model.pack(pair).write(folder.resolve(fileName(pair)));
    }
    LanguageModelFile compared = model.pack(COMPARED);
    compared.write(folder.resolve(fileName(COMPARED)));
    OnnxLanguageModel.write(compared, false, folder.resolve(FP32));
    OnnxLanguageModel.write(compared, true, folder.resolve(INT8));
  }

  private List<Map<String, Object>> steps(
      RandomLanguageModel model,
      Path folder,
      int batch,
      Map<String, WorkerProcess> workers,
      Consumer<String> say)
      throws IOException {
    InterleavedRunner runner = new InterleavedRunner();
    for (Bits pair : bits) {
      WorkerProcess worker = workers.get("multibit " + pair);
      runner.add(worker.name(), worker, multibit(folder, pair, 0, batch));
      if (batch > 1) {
        checkBatch(worker, multibit(folder, pair, batch - 1, 1));
      }
    }
    runner.add(FP32, workers.get(FP32), onnx(model, folder, FP32, batch, true));
    runner.add(FP32_AS_IS, workers.get(FP32), onnx(model, folder, FP32, batch, false));
    runner.add(INT8, workers.get(INT8), onnx(model, folder, INT8, batch, true));
    double[] differences = differences(folder, batch, workers);
    say.accept(
        "V=%,d H=%,d batch %d: logits differ from our reference by %.2g (fp32) and %.2g (int8)"
            .formatted(model.vocab(), model.hidden(), batch, differences[0], differences[1]));
    Map<String, Time> times = runner.measure(WARM_UP_MILLIS, rounds, TURN_MILLIS).times();
    runner.release();
    Time asIs = times.remove(FP32_AS_IS);
    times.computeIfPresent(FP32, (task, time) -> asIs.median() < time.median() ? asIs : time);
    List<Map<String, Object>> rows = new ArrayList<>();
    times.forEach(
        (system, time) -> {
          Map<String, Object> row = new LinkedHashMap<>();
          row.put("system", system);
          row.put("vocab", model.vocab());
          row.put("hidden", model.hidden());
          row.put("batch", batch);
          row.put("threads", 1);
          row.put("millisPerToken", time.median() / batch);
          row.put("millisPerStep", time.median());
          row.put("repetitions", time.repetitions());
          if (system.equals(FP32) || system.equals(INT8)) {
            row.put("logitsDifference", differences[system.equals(FP32) ? 0 : 1]);
          }
          rows.add(row);
          say.accept(
              "V=%,d H=%,d batch %d: %-17s %.4f ms per token"
                  .formatted(model.vocab(), model.hidden(), batch, system, time.median() / batch));
        });
    return rows;
  }

  private static Map<String, Object> onnx(
      RandomLanguageModel model, Path folder, String system, int batch, boolean prepacking) {
    return Map.of(
        "file", folder.resolve(system).toString(),
        "vocab", model.vocab(),
        "hidden", model.hidden(),
        "batch", batch,
        "prepacking", prepacking);
  }

  private static Map<String, Object> multibit(Path folder, Bits pair, int stream, int batch) {
    return Map.of(
        "file", folder.resolve(fileName(pair)).toString(), "stream", stream, "batch", batch);
  }

  /** A stream of a batch, already prepared, computes what it does alone, to the bit. */
  private static void checkBatch(WorkerProcess worker, Map<String, Object> alone)
      throws IOException {
    worker.prepare("alone", alone);
    boolean same = worker.result("alone").equals(worker.result(worker.name()));
    worker.release("alone");
    if (!same) {
      throw new IllegalStateException(
          worker.name()
              + ": the last stream of a batch has other logits than a session of its own");
    }
  }

  /**
   * How far the logits of ONNX Runtime's models, already prepared, are from those of the same
   * weights in our runtime with full-precision activations.
   *
   * @throws IllegalStateException if they do not compute the same
   */
  private double[] differences(Path folder, int batch, Map<String, WorkerProcess> workers)
      throws IOException {
    WorkerProcess multibit = workers.get("multibit " + bits.get(0));
    // ONNX Runtime's result is that of its last stream.
    multibit.prepare("reference", multibit(folder, COMPARED, batch - 1, 1));
    JsonNode reference = multibit.result("reference");
    multibit.release("reference");
    double[] differences = {
      difference(workers.get(FP32).result(FP32), reference),
      difference(workers.get(INT8).result(INT8), reference)
    };
    if (!(differences[0] <= FP32_TOLERANCE && differences[1] <= INT8_TOLERANCE)) {
      throw new IllegalStateException(
          "ONNX Runtime does not compute the same model: logits differ by %.3g (fp32), %.3g (int8)"
              .formatted(differences[0], differences[1]));
    }
    return differences;
  }

  /** ||a - b|| / ||b|| over the logits of all steps. */
  private static double difference(JsonNode a, JsonNode b) {
    double error = 0;
    double norm = 0;
    for (int step = 0; step < b.size(); step++) {
      for (int word = 0; word < b.get(step).size(); word++) {
        double expected = b.get(step).get(word).asDouble();
        double d = a.get(step).get(word).asDouble() - expected;
        error += d * d;
        norm += expected * expected;
      }
    }
    return Math.sqrt(error / norm);
  }
}

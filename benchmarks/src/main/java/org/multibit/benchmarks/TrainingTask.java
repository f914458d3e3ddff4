package org.multibit.benchmarks;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.nd4j.shade.jackson.databind.JsonNode;

/**
 * Training of an LSTM language model, a segment of the text per repetition. Its result has the mean
 * loss per token of every segment so far: {@code losses}.
 */
abstract class TrainingTask implements BenchmarkedSystem.Task {
  /** Segments after which the text begins anew. */
  static final int SEGMENTS = 400;

  private static final Pattern COMPUTES =
      Pattern.compile("/(lib(?:openblas|mkl_rt|mkl_core|gomp|iomp5)[^/ ]*)$");

  /**
   * The model and the recipe, the same for every system.
   *
   * @param bits of weights and activations, as on the command line
   * @param unroll time steps of a segment
   * @param learningRate for the mean loss per token
   * @param clip largest norm of the gradient of that loss
   * @param dropout probability to drop a unit, before the LSTM and before the softmax
   */
  record Settings(
      String bits,
      int vocab,
      int hidden,
      int batch,
      int unroll,
      double learningRate,
      double clip,
      double dropout) {

    static Settings of(JsonNode json) {
      return new Settings(
          json.get("bits").asText(),
          json.get("vocab").asInt(),
          json.get("hidden").asInt(),
          json.get("batch").asInt(),
          json.get("unroll").asInt(),
          json.get("learningRate").asDouble(),
          json.get("clip").asDouble(),
          json.get("dropout").asDouble());
    }

    Map<String, Object> toMap() {
      Map<String, Object> map = new LinkedHashMap<>();
      map.put("bits", bits);
      map.put("vocab", vocab);
      map.put("hidden", hidden);
      map.put("batch", batch);
      map.put("unroll", unroll);
      map.put("learningRate", learningRate);
      map.put("clip", clip);
      map.put("dropout", dropout);
      return map;
    }

    /** Tokens of a segment. */
    int tokens() {
      return batch * unroll;
    }

    /** {@link #SEGMENTS} of the text, to be read in rows side by side. */
    int[] text() {
      return TokenStream.of(vocab, batch * (SEGMENTS * unroll + 1));
    }
  }

  private final List<Double> losses = new ArrayList<>();

  /** Trains on the next segment; its mean loss per token. */
  abstract double step() throws Exception;

  @Override
  public final void run() throws Exception {
    losses.add(step());
  }

  @Override
  public Map<String, Object> result() {
    return Map.of("losses", losses);
  }

  /** The libraries of matrix products and threads that this process has loaded. */
  static String loadedLibraries() throws IOException {
    try (Stream<String> maps = Files.lines(Path.of("/proc/self/maps"))) {
      return maps.map(COMPUTES::matcher)
          .filter(Matcher::find)
          .map(found -> found.group(1))
          .distinct()
          .sorted()
          .collect(Collectors.joining(" "));
    }
  }

  /** The version of a library as its jar on the class path is named. */
  static String version(String artifact) {
    Matcher jar =
        Pattern.compile("/%s-([0-9][^/:]*?)\\.jar(:|$)".formatted(Pattern.quote(artifact)))
            .matcher(System.getProperty("java.class.path"));
    return jar.find() ? jar.group(1) : "unknown";
  }
}

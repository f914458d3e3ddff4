package org.multibit.benchmarks;

import java.io.IOException;
import java.nio.FloatBuffer;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;
import org.multibit.core.format.LanguageModelFile;
import org.multibit.runtime.BatchSession;
import org.multibit.runtime.NativeLibrary;
import org.multibit.runtime.PackedLanguageModel;
import org.multibit.runtime.Session;
import org.nd4j.shade.jackson.databind.JsonNode;

/** Token steps of a packed model in our runtime. */
final class MultibitTokens implements BenchmarkedSystem {
  @Override
  public Map<String, String> describe() {
    Map<String, String> description = new LinkedHashMap<>();
    description.put("library", "multibit");
    description.put("kernels", NativeLibrary.isa());
    description.put("threads", "1");
    return description;
  }

  /**
   * Settings: file, stream (whose tokens are fed), batch (if above 1, so many streams from that one
   * on are fed together).
   */
  @Override
  public Task prepare(JsonNode settings) throws IOException {
    PackedLanguageModel model = PackedLanguageModel.open(Path.of(settings.get("file").asText()));
    int first = settings.get("stream").asInt();
    int batch = settings.get("batch").asInt();
    int[][] tokens = new int[batch][];
    for (int stream = 0; stream < batch; stream++) {
      tokens[stream] = Tokens.of(first + stream, model.vocabularySize());
    }
    return batch == 1 ? new Step(model, tokens[0]) : new BatchStep(model, tokens);
  }

  /** One step of one stream. */
  private static final class Step implements Task {
    private final PackedLanguageModel model;
    private final Session session;
    private final int[] tokens;
    private final FloatBuffer logits;
    private int step;

    Step(PackedLanguageModel model, int[] tokens) {
      this.model = model;
      this.tokens = tokens;
      session = model.newSession();
      logits = LanguageModelFile.directFloats(model.vocabularySize());
    }

    @Override
    public void run() {
      session.step(tokens[step++ % tokens.length]);
      session.logits(logits);
    }

    /** Logits after each of the first steps. */
    @Override
    public Object result() {
      step = 0;
      session.reset();
      float[][] result = new float[Tokens.COMPARED][model.vocabularySize()];
      for (float[] row : result) {
        run();
        logits.get(0, row);
      }
      return result;
    }

    @Override
    public void close() {
      session.close();
      model.close();
    }
  }

  /** One step of all streams. */
  private static final class BatchStep implements Task {
    private final PackedLanguageModel model;
    private final BatchSession batch;
    private final int[][] tokens;
    private final int[] now;
    private float[] logits;
    private int step;

    BatchStep(PackedLanguageModel model, int[][] tokens) {
      this.model = model;
      this.tokens = tokens;
      now = new int[tokens.length];
      batch = model.newBatch(tokens.length);
    }

    /** All logits are computed; only the last stream's are copied to Java. */
    @Override
    public void run() {
      for (int stream = 0; stream < now.length; stream++) {
        now[stream] = tokens[stream][step % tokens[stream].length];
      }
      step++;
      batch.step(now);
      logits = batch.logits(now.length - 1);
    }

    /** Logits of the last stream after each of the first steps. */
    @Override
    public Object result() {
      step = 0;
      batch.reset();
      float[][] result = new float[Tokens.COMPARED][];
      for (int i = 0; i < result.length; i++) {
        run();
        result[i] = logits;
      }
      return result;
    }

    @Override
    public void close() {
      batch.close();
      model.close();
    }
  }
}

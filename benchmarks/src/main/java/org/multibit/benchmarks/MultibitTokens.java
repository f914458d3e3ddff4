package org.multibit.benchmarks;

import java.io.IOException;
import java.nio.FloatBuffer;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;
import org.multibit.core.format.LanguageModelFile;
import org.multibit.runtime.NativeLibrary;
import org.multibit.runtime.PackedLanguageModel;
import org.multibit.runtime.Session;
import org.nd4j.shade.jackson.databind.JsonNode;

/** Token steps of a packed model in our runtime. */
final class MultibitTokens implements Contestant {
  @Override
  public Map<String, String> describe() {
    Map<String, String> description = new LinkedHashMap<>();
    description.put("library", "multibit");
    description.put("kernels", NativeLibrary.isa());
    description.put("threads", "1");
    return description;
  }

  /** Settings: file, stream (whose tokens are fed). */
  @Override
  public Task prepare(JsonNode settings) throws IOException {
    PackedLanguageModel model = PackedLanguageModel.open(Path.of(settings.get("file").asText()));
    return new Step(model, Tokens.of(settings.get("stream").asInt(), model.vocabularySize()));
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
}

package org.multibit.benchmarks;

import ai.onnxruntime.OnnxTensor;
import ai.onnxruntime.OrtEnvironment;
import ai.onnxruntime.OrtException;
import ai.onnxruntime.OrtSession;
import ai.onnxruntime.OrtSession.SessionOptions;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.FloatBuffer;
import java.nio.IntBuffer;
import java.util.LinkedHashMap;
import java.util.Map;
import org.multibit.core.format.LanguageModelFile;
import org.nd4j.shade.jackson.databind.JsonNode;

/**
 * Token steps of an {@link OnnxLanguageModel} in ONNX Runtime. Inputs and outputs are bound to
 * memory that is allocated once; the state swaps between two sets of it.
 */
final class OnnxRuntimeTokens implements BenchmarkedSystem {
  private final OrtEnvironment environment = OrtEnvironment.getEnvironment();

  @Override
  public Map<String, String> describe() {
    Map<String, String> description = new LinkedHashMap<>();
    description.put("library", "ONNX Runtime " + environment.getVersion());
    description.put("kernels", "CPU execution provider");
    description.put(
        "options",
        "all optimizations, sequential, memory pattern, inputs and outputs bound to own memory, int8"
            + " weights per tensor, fp32 with or without prepacking, whichever is faster");
    description.put("threads", "1");
    return description;
  }

  private static SessionOptions options(int batch, boolean prepacking) throws OrtException {
    SessionOptions options = new SessionOptions();
    options.setIntraOpNumThreads(1);
    options.setInterOpNumThreads(1);
    options.setExecutionMode(SessionOptions.ExecutionMode.SEQUENTIAL);
    options.setOptimizationLevel(SessionOptions.OptLevel.ALL_OPT);
    options.setMemoryPatternOptimization(true);
    options.setSymbolicDimensionValue("batch", batch);
    options.addConfigEntry("session.disable_prepacking", prepacking ? "0" : "1");
    return options;
  }

  /** Settings: file, vocab, hidden, batch, prepacking (whether weights are laid out anew). */
  @Override
  public Task prepare(JsonNode settings) throws OrtException {
    int batch = settings.get("batch").asInt();
    try (SessionOptions options = options(batch, settings.get("prepacking").asBoolean())) {
      return new Step(
          environment.createSession(settings.get("file").asText(), options),
          settings.get("vocab").asInt(),
          settings.get("hidden").asInt(),
          batch);
    }
  }

  /** One step of all streams. */
  private final class Step implements Task {
    private final OrtSession session;
    private final int batch;
    private final int vocab;
    private final int[][] tokens;
    private final IntBuffer token;
    private final FloatBuffer[] h = new FloatBuffer[2];
    private final FloatBuffer[] c = new FloatBuffer[2];
    private final FloatBuffer logits;

    /** What goes in and out, for steps of even and of odd number. */
    private final Map<String, OnnxTensor>[] inputs;

    private final Map<String, OnnxTensor>[] outputs;
    private int step;

    @SuppressWarnings("unchecked")
    Step(OrtSession session, int vocab, int hidden, int batch) throws OrtException {
      this.session = session;
      this.batch = batch;
      this.vocab = vocab;
      tokens = new int[batch][];
      for (int stream = 0; stream < batch; stream++) {
        tokens[stream] = Tokens.of(stream, vocab);
      }
      token =
          ByteBuffer.allocateDirect(batch * Integer.BYTES)
              .order(ByteOrder.nativeOrder())
              .asIntBuffer();
      logits = LanguageModelFile.directFloats(batch * vocab);
      OnnxTensor tokenTensor = OnnxTensor.createTensor(environment, token, new long[] {1, batch});
      OnnxTensor logitsTensor =
          OnnxTensor.createTensor(environment, logits, new long[] {1, batch, vocab});
      long[] shape = {1, batch, hidden};
      OnnxTensor[] hTensors = new OnnxTensor[2];
      OnnxTensor[] cTensors = new OnnxTensor[2];
      for (int i = 0; i < 2; i++) {
        h[i] = LanguageModelFile.directFloats(batch * hidden);
        c[i] = LanguageModelFile.directFloats(batch * hidden);
        hTensors[i] = OnnxTensor.createTensor(environment, h[i], shape);
        cTensors[i] = OnnxTensor.createTensor(environment, c[i], shape);
      }
      inputs = new Map[2];
      outputs = new Map[2];
      for (int i = 0; i < 2; i++) {
        inputs[i] = Map.of("token", tokenTensor, "h", hTensors[i], "c", cTensors[i]);
        outputs[i] =
            Map.of("logits", logitsTensor, "h_out", hTensors[1 - i], "c_out", cTensors[1 - i]);
      }
    }

    @Override
    public void run() throws OrtException {
      for (int stream = 0; stream < batch; stream++) {
        token.put(stream, tokens[stream][step % tokens[stream].length]);
      }
      session.run(inputs[step & 1], outputs[step & 1]).close();
      step++;
    }

    /** Logits of the last stream after each of the first steps. */
    @Override
    public Object result() throws OrtException {
      step = 0;
      for (FloatBuffer state : new FloatBuffer[] {h[0], c[0]}) {
        for (int i = 0; i < state.capacity(); i++) {
          state.put(i, 0);
        }
      }
      float[][] result = new float[Tokens.COMPARED][vocab];
      for (float[] row : result) {
        run();
        logits.get((batch - 1) * vocab, row);
      }
      return result;
    }

    @Override
    public void close() throws OrtException {
      session.close();
    }
  }
}

package org.multibit.benchmarks;

import static org.bytedeco.pytorch.global.torch.cross_entropy;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.io.OutputStream;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.SplittableRandom;
import org.bytedeco.javacpp.Loader;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.openblas.presets.openblas_nolapack;
import org.bytedeco.pytorch.EmbeddingImpl;
import org.bytedeco.pytorch.GRUImpl;
import org.bytedeco.pytorch.GRUOptions;
import org.bytedeco.pytorch.LSTMImpl;
import org.bytedeco.pytorch.LSTMOptions;
import org.bytedeco.pytorch.LinearImpl;
import org.bytedeco.pytorch.Module;
import org.bytedeco.pytorch.NoGradGuard;
import org.bytedeco.pytorch.StringTensorDict;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.multibit.datasets.TokenIterator;
import org.multibit.datasets.Vocabulary;
import org.multibit.training.Evaluator;
import org.multibit.training.Json;
import org.multibit.training.importing.ImportedModel;

/** A model of PyTorch's modules has after import the perplexity that PyTorch gives it. */
class PyTorchImportTest {
  private static final int VOCABULARY = 97;
  private static final int EMBEDDING = 24;
  private static final int HIDDEN = 40;
  private static final int TOKENS = 2000;

  @TempDir Path folder;

  @ParameterizedTest
  @CsvSource({"lstm, 1", "lstm, 2", "gru, 1", "gru, 2"})
  void perplexityIsPyTorchs(String cell, int layers) throws IOException {
    assumeTrue(PyTorchTraining.isAvailable(), "PyTorch has no natives for this platform");
    Loader.load(openblas_nolapack.class);
    List<String> words = new ArrayList<>(List.of("<eos>", "<unk>"));
    while (words.size() < VOCABULARY) {
      words.add("word" + words.size());
    }
    SplittableRandom random = new SplittableRandom(4);
    int[] tokens = random.ints(TOKENS, 0, VOCABULARY).map(i -> i * i / VOCABULARY).toArray();
    Path file = folder.resolve("model.safetensors");
    double expected = pyTorch(cell, layers, tokens, file);
    double actual =
        Evaluator.evaluate(
                ImportedModel.open(file, new Vocabulary(words)).model(),
                TokenIterator.evaluation(tokens, 0, 100),
                n -> {})
            .perplexity();
    assertTrue(expected > 1.1 * VOCABULARY, "perplexity " + expected + ": the weights matter");
    assertEquals(expected, actual, expected * 1e-4);
  }

  /** Its perplexity; the model's state dict is in the file then. */
  private static double pyTorch(String cell, int layers, int[] tokens, Path file)
      throws IOException {
    try (PointerScope scope = new PointerScope();
        NoGradGuard none = new NoGradGuard()) {
      // oneDNN's LSTM, which PyTorch takes for inference, is off by 3% in perplexity in this
      // process;
      // PyTorch's own is not.
      torch.globalContext().setUserEnabledMkldnn(false);
      torch.manual_seed(9);
      EmbeddingImpl embedding = new EmbeddingImpl(VOCABULARY, EMBEDDING);
      LinearImpl linear = new LinearImpl(HIDDEN, VOCABULARY);
      for (Tensor parameter : linear.parameters().get()) {
        parameter.mul_(new org.bytedeco.pytorch.Scalar(15.0));
      }
      long[] inputs = new long[TOKENS];
      long[] targets = new long[TOKENS];
      for (int t = 0; t < TOKENS; t++) {
        inputs[t] = t == 0 ? 0 : tokens[t - 1];
        targets[t] = tokens[t];
      }
      Tensor x = embedding.forward(torch.tensor(inputs)).view(TOKENS, 1, EMBEDDING);
      Module recurrent;
      Tensor h;
      if (cell.equals("gru")) {
        GRUOptions options = new GRUOptions(EMBEDDING, HIDDEN);
        options.num_layers().put(layers);
        GRUImpl gru = new GRUImpl(options);
        recurrent = gru;
        h = gru.forward(x).get0();
      } else {
        LSTMOptions options = new LSTMOptions(EMBEDDING, HIDDEN);
        options.num_layers().put(layers);
        LSTMImpl lstm = new LSTMImpl(options);
        recurrent = lstm;
        h = lstm.forward(x).get0();
      }
      Map<String, Tensor> state = new LinkedHashMap<>();
      put(state, "encoder.", embedding);
      put(state, "rnn.", recurrent);
      put(state, "decoder.", linear);
      write(state, file);
      Tensor logits = linear.forward(h.view(TOKENS, HIDDEN)).to(torch.ScalarType.Double);
      return Math.exp(cross_entropy(logits, torch.tensor(targets)).item_double());
    }
  }

  private static void put(Map<String, Tensor> state, String prefix, Module module) {
    StringTensorDict parameters = module.named_parameters();
    for (long i = 0; i < parameters.size(); i++) {
      state.put(prefix + parameters.keys().get(i).getString(), parameters.values().get(i));
    }
  }

  private static void write(Map<String, Tensor> state, Path file) throws IOException {
    Map<String, Object> header = new LinkedHashMap<>();
    long end = 0;
    for (Map.Entry<String, Tensor> entry : state.entrySet()) {
      Tensor tensor = entry.getValue();
      long bytes = 4 * tensor.numel();
      long[] shape = new long[(int) tensor.dim()];
      for (int d = 0; d < shape.length; d++) {
        shape[d] = tensor.size(d);
      }
      header.put(
          entry.getKey(),
          Map.of("dtype", "F32", "shape", shape, "data_offsets", List.of(end, end + bytes)));
      end += bytes;
    }
    byte[] json = Json.line(header).getBytes(StandardCharsets.UTF_8);
    try (OutputStream out = Files.newOutputStream(file)) {
      out.write(ByteBuffer.allocate(8).order(ByteOrder.LITTLE_ENDIAN).putLong(json.length).array());
      out.write(json);
      for (Tensor tensor : state.values()) {
        float[] values = new float[(int) tensor.numel()];
        tensor.contiguous().data_ptr_float().get(values);
        ByteBuffer bytes = ByteBuffer.allocate(4 * values.length).order(ByteOrder.LITTLE_ENDIAN);
        bytes.asFloatBuffer().put(values);
        out.write(bytes.array());
      }
    }
  }
}

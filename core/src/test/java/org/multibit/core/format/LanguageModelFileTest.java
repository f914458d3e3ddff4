package org.multibit.core.format;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.FloatBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import org.multibit.core.Alternating;
import org.multibit.core.Cell;
import org.multibit.core.Greedy;
import org.multibit.core.MultibitMatrix;
import org.multibit.core.Optimal;
import org.multibit.core.Quantizer;

class LanguageModelFileTest extends RandomParts {
  @TempDir Path directory;

  private LanguageModelFile model(
      int v, int e, int h, int layerCount, int bits, int activationBits) {
    return model(Cell.LSTM, false, v, e, h, layerCount, bits, activationBits);
  }

  private LanguageModelFile model(
      Cell cell, boolean tied, int v, int e, int h, int layerCount, int bits, int activationBits) {
    int sums = cell.gates() * h;
    List<Layer> layers = new ArrayList<>();
    for (int l = 0; l < layerCount; l++) {
      layers.add(
          new Layer(
              cell,
              matrix(sums, l == 0 ? e : h, bits, l == 0 && bits > 0 ? bits : activationBits),
              matrix(sums, h, bits, activationBits),
              floats(sums),
              cell.separateSums() ? floats(sums) : null));
    }
    List<String> words = new ArrayList<>();
    for (int t = 0; t < v; t++) {
      words.add(t == 0 ? "<eos>" : t == v - 1 ? "<unk>" : "wört" + t);
    }
    Map<String, Object> provenance = new LinkedHashMap<>();
    provenance.put("commit", "0123abc");
    provenance.put("settings", "{\"lr\": 20}");
    provenance.put("seed", -3L);
    provenance.put("epochs", 40);
    provenance.put("test_perplexity", 95.75);
    Matrix embedding = matrix(v, e, bits, 0);
    return new LanguageModelFile(
        words,
        0,
        v > 1 ? v - 1 : -1,
        embedding,
        layers,
        tied ? embedding.withActivations(activationBits) : matrix(v, h, bits, activationBits),
        floats(v),
        activationBits > 0 ? new Alternating(3, 0.5f) : null,
        bits > 0 ? new Greedy() : null,
        provenance);
  }

  @ParameterizedTest
  @CsvSource({
    // V, E, H, layers, weight bits, activation bits
    "lstm, false, 1, 1, 1, 1, 1, 1",
    "lstm, false, 11, 5, 7, 1, 2, 2",
    "lstm, false, 64, 64, 64, 2, 2, 3",
    "lstm, false, 65, 70, 66, 2, 3, 0",
    "lstm, false, 9, 8, 16, 1, 0, 0",
    "lstm, false, 9, 8, 16, 2, 0, 2",
    "lstm, false, 30, 300, 20, 1, 8, 8",
    "lstm, true, 30, 20, 20, 4, 2, 3",
    "gru, false, 1, 1, 1, 1, 1, 1",
    "gru, false, 65, 70, 66, 2, 3, 2",
    "gru, false, 9, 8, 16, 2, 0, 0",
    "gru, true, 30, 20, 20, 1, 2, 2",
    "gru, true, 30, 20, 20, 2, 0, 0",
  })
  void roundTrip(
      Cell cell, boolean tied, int v, int e, int h, int layers, int bits, int activationBits)
      throws IOException {
    LanguageModelFile model = model(cell, tied, v, e, h, layers, bits, activationBits);
    Path file = directory.resolve("model.gguf");
    model.write(file);
    assertSame(model, LanguageModelFile.read(file));
    assertEquals(0, Files.size(file) % 64);
    for (GgufReader.Tensor tensor : new GgufReader(file).tensors().values()) {
      assertEquals(0, tensor.offset() % 64, tensor.toString());
    }
    byte[] bytes = Files.readAllBytes(file);
    LanguageModelFile.read(file).write(file); // from its own mapping
    assertArrayEquals(bytes, Files.readAllBytes(file));
  }

  private static void assertSame(LanguageModelFile expected, LanguageModelFile actual) {
    assertEquals(expected.words(), actual.words());
    assertEquals(expected.eos(), actual.eos());
    assertEquals(expected.unknown(), actual.unknown());
    assertEquals(expected.cell(), actual.cell());
    assertEquals(expected.tied(), actual.tied());
    assertEquals(expected.softmax().activationBits(), actual.softmax().activationBits());
    assertEquals(expected.embeddingSize(), actual.embeddingSize());
    assertEquals(expected.hiddenSize(), actual.hiddenSize());
    assertEquals(expected.activations(), actual.activations());
    assertEquals(expected.weights(), actual.weights());
    assertEquals(expected.provenance(), actual.provenance());
    assertEquals(expected.softmaxBias(), actual.softmaxBias());
    assertEquals(expected.layers().size(), actual.layers().size());
    for (int l = 0; l < expected.layers().size(); l++) {
      assertEquals(expected.layers().get(l).bias(), actual.layers().get(l).bias());
      assertEquals(
          expected.layers().get(l).recurrentBias(), actual.layers().get(l).recurrentBias());
    }
    Map<String, Matrix> read = actual.matrices();
    assertEquals(expected.matrices().keySet(), read.keySet());
    expected
        .matrices()
        .forEach(
            (name, m) -> {
              assertEquals(m.weightBits(), read.get(name).weightBits());
              assertEquals(m.activationBits(), read.get(name).activationBits());
              assertEquals(m.rows(), read.get(name).rows());
              assertEquals(m.cols(), read.get(name).cols());
              assertEquals(m.bytes(), read.get(name).bytes());
              if (m.packed() == null) {
                assertEquals(m.floats(), read.get(name).floats());
              } else {
                assertEquals(m.packed().planes(), read.get(name).packed().planes());
                assertEquals(m.packed().coefficients(), read.get(name).packed().coefficients());
              }
            });
  }

  /** Every byte of a small file, from docs/format.md alone. */
  @Test
  void theBytesAreThoseOfTheFormat() throws IOException {
    MultibitMatrix recurrent = MultibitMatrix.weights(4, 1, 1);
    for (int r = 0; r < 4; r++) {
      recurrent.coefficients().put(recurrent.coefficientIndex(r, 0), r + 1);
    }
    recurrent.planes().put(recurrent.planeIndex(2, 0, 0), 1);
    Layer layer =
        new Layer(
            Matrix.of(FloatBuffer.wrap(new float[] {1, 2, 3, 4, 5, 6, 7, 8}), 4, 2, 0),
            Matrix.of(recurrent, 3),
            FloatBuffer.wrap(new float[] {-1, -2, -3, -4}));
    Path file = directory.resolve("model.gguf");
    new LanguageModelFile(
            List.of("a", "<eos>", "<unk>"),
            1,
            2,
            Matrix.of(FloatBuffer.wrap(new float[] {10, 11, 12, 13, 14, 15}), 3, 2, 0),
            List.of(layer),
            Matrix.of(FloatBuffer.wrap(new float[] {20, 21, 22}), 3, 1, 2),
            FloatBuffer.wrap(new float[] {30, 31, 32}),
            new Alternating(2, 1),
            new Greedy(),
            Map.of("seed", 7L))
        .write(file);
    byte[] expected =
        GgufBytes.header(7, 27)
            .key("general.architecture", "multibit")
            .key("general.alignment", 64)
            .key("multibit.version", 1)
            .key("multibit.head", "language-model")
            .key("multibit.cell", "lstm")
            .key("multibit.layers", 1)
            .key("multibit.vocabulary_size", 3)
            .key("multibit.embedding_size", 2)
            .key("multibit.hidden_size", 1)
            .key("multibit.embedding.weight_bits", 0)
            .key("multibit.rnn.0.input.weight_bits", 0)
            .key("multibit.rnn.0.input.activation_bits", 0)
            .key("multibit.rnn.0.recurrent.weight_bits", 1)
            .key("multibit.rnn.0.recurrent.activation_bits", 3)
            .key("multibit.softmax.weight_bits", 0)
            .key("multibit.softmax.activation_bits", 2)
            .key("multibit.activation.method", "alternating")
            .key("multibit.activation.cycles", 2)
            .key("multibit.activation.scale", 1f)
            .key("multibit.weight.method", "greedy")
            .key("multibit.weight.cycles", 0)
            .key("multibit.weight.scale", 1f)
            .with(b -> b.string("multibit.provenance.seed").u32(GgufBytes.U64).u64(7))
            .key("tokenizer.ggml.model", "words")
            .key("tokenizer.ggml.tokens", List.of("a", "<eos>", "<unk>"))
            .key("tokenizer.ggml.eos_token_id", 1)
            .key("tokenizer.ggml.unknown_token_id", 2)
            .tensor("embedding.weight", GgufBytes.TENSOR_F32, 0, 2, 3)
            .tensor("rnn.0.input.weight", GgufBytes.TENSOR_F32, 64, 2, 4)
            .tensor("rnn.0.recurrent.planes", GgufBytes.TENSOR_I64, 128, 8, 1, 1, 1)
            .tensor("rnn.0.recurrent.coefficients", GgufBytes.TENSOR_F32, 192, 8, 1, 1)
            .tensor("softmax.weight", GgufBytes.TENSOR_F32, 256, 1, 3)
            .tensor("rnn.0.bias", GgufBytes.TENSOR_F32, 320, 4)
            .tensor("softmax.bias", GgufBytes.TENSOR_F32, 384, 3)
            .pad()
            .with(b -> b.f32(10).f32(11).f32(12).f32(13).f32(14).f32(15).pad())
            .with(b -> b.f32(1).f32(2).f32(3).f32(4).f32(5).f32(6).f32(7).f32(8).pad())
            .with(b -> b.u64(0).u64(0).u64(1).u64(0).u64(0).u64(0).u64(0).u64(0))
            .with(b -> b.f32(1).f32(2).f32(3).f32(4).f32(0).f32(0).f32(0).f32(0).pad())
            .with(b -> b.f32(20).f32(21).f32(22).pad())
            .with(b -> b.f32(-1).f32(-2).f32(-3).f32(-4).pad())
            .with(b -> b.f32(30).f32(31).f32(32).pad())
            .bytes();
    assertArrayEquals(expected, Files.readAllBytes(file));
  }

  /** What readers of version 1 would refuse, and only that, is marked as version 2. */
  @Test
  void theVersionIsTheLeastThatReadsIt() throws IOException {
    Path file = directory.resolve("model.gguf");
    for (Cell cell : Cell.ALL) {
      for (boolean tied : new boolean[] {false, true}) {
        model(cell, tied, 9, 4, 4, 2, 2, 2).write(file);
        GgufReader in = new GgufReader(file);
        assertEquals(cell == Cell.LSTM && !tied ? 1 : 2, in.u32("multibit.version"));
        assertEquals(tied, !in.tensors().containsKey("softmax.planes"));
        assertEquals(tied, in.hasKey("multibit.tied_embedding"));
        assertEquals(cell == Cell.GRU, in.tensors().containsKey("rnn.1.recurrent_bias"));
      }
    }
  }

  @ParameterizedTest
  @CsvSource({"lstm, false, 1", "gru, true, 2"})
  void aFileCutAnywhereIsRefused(Cell cell, boolean tied, int layers) throws IOException {
    Path file = directory.resolve("cut.gguf");
    model(cell, tied, 2, 1, 1, layers, 2, 2).write(file);
    try (FileChannel channel = FileChannel.open(file, StandardOpenOption.WRITE)) {
      // The last tensor is softmax.bias, 2 floats; the padding after it may be missing.
      long whole = channel.size() - 64 + 2 * Float.BYTES;
      channel.truncate(whole);
      LanguageModelFile.read(file);
      for (long length = whole - 1; length >= 0; length--) {
        channel.truncate(length);
        assertUnreadable(file, "");
      }
    }
  }

  /** Each byte before the data in turn: a clear refusal, or a model that can be read. */
  @ParameterizedTest
  @CsvSource({"lstm, false, 1", "gru, true, 2"})
  void aFileAlteredAnywhereIsRefusedOrRead(Cell cell, boolean tied, int layers) throws IOException {
    Path file = directory.resolve("altered.gguf");
    model(cell, tied, 2, 1, 1, layers, 2, 2).write(file);
    byte[] bytes = Files.readAllBytes(file);
    long header =
        new GgufReader(file)
            .tensors().values().stream().mapToLong(GgufReader.Tensor::offset).min().orElseThrow();
    int read = 0;
    try (FileChannel channel = FileChannel.open(file, StandardOpenOption.WRITE)) {
      for (int i = 0; i < header; i++) {
        int flip = List.of(1, 0x80, 0xff, 1 << i % 8).get(i % 4);
        channel.write(ByteBuffer.wrap(new byte[] {(byte) (bytes[i] ^ flip)}), i);
        try {
          LanguageModelFile.read(file);
          read++;
        } catch (IOException e) {
          assertOneLine(e.getMessage());
        }
        channel.write(ByteBuffer.wrap(bytes, i, 1), i);
      }
    }
    LanguageModelFile.read(file);
    assertTrue(read > 0 && read < header / 2, read + " of " + header); // names, words, padding
  }

  private static void assertOneLine(String message) {
    assertTrue(message.contains(".gguf"), message);
    assertTrue(message.length() < 500, message);
    assertFalse(message.contains("\n"), message);
  }

  private static void assertUnreadable(Path file, String why) {
    String message =
        assertThrows(IOException.class, () -> LanguageModelFile.read(file)).getMessage();
    assertTrue(message.contains(why), message);
    assertOneLine(message);
  }

  /** A file with one part replaced, in bytes of the same length. */
  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "language-model   | language-madel   | multibit.head is",
        "multibit.layers  | multibit.loyers  | lacks the key multibit.layers",
        "alternating      | elternating      | no quantization method \"elternating\"",
        "softmax.planes   | saftmax.planes   | lacks the tensor softmax.planes",
        "tokenizer.ggml.t | tokenizer.ggml.u | lacks the key tokenizer.ggml.tokens",
        "multibit.activation.method | multibit.activation.mothod | lacks the key multibit.activation.method",
        "multibit.cell    | multibit.call    | lacks the key multibit.cell",
        "gru              | grv              | no cell \"grv\"",
        "rnn.1.recurrent_bias | rnn.1.recurrent_boas | lacks the tensor rnn.1.recurrent_bias",
        "multibit.rnn.1.input.w | multibit.rnm.1.input.w | lacks the key multibit.rnn.1.input.weight",
      })
  void aPartThatIsMissingOrOtherIsNamed(String part, String other, String why) throws IOException {
    Path file = directory.resolve("altered.gguf");
    model(Cell.GRU, false, 9, 3, 2, 2, 2, 2).write(file);
    String latin = Files.readString(file, StandardCharsets.ISO_8859_1);
    assertTrue(latin.contains(part));
    assertEquals(part.length(), other.length());
    Files.writeString(file, latin.replace(part, other), StandardCharsets.ISO_8859_1);
    assertUnreadable(file, why);
  }

  @Test
  void partsThatDoNotFitTogetherAreRefused() {
    LanguageModelFile m = model(9, 3, 2, 1, 2, 2);
    Layer layer = m.layers().get(0);
    List<Layer> none = List.of();
    Quantizer optimal = new Optimal();
    assertRefused("needs a layer", () -> with(m, m.words(), 0, none, m.activations()));
    assertRefused("embedding is 9 x 3, expected 8 x 3", () -> with(m, m.words().subList(0, 8), 0));
    assertRefused("eos token 9", () -> with(m, m.words(), 9));
    assertRefused("eos token -1", () -> with(m, m.words(), -1));
    assertRefused("no method to quantize", () -> with(m, m.words(), 0, m.layers(), null));
    assertRefused(
        "takes 1 to 2 bits, not 4",
        () ->
            with(
                m,
                m.words(),
                0,
                List.of(new Layer(layer.input(), matrix(8, 2, 2, 4), layer.bias())),
                optimal));
    assertRefused(
        "rnn.0.input takes codes of 3 bits, the embedding has 2",
        () ->
            with(
                m,
                m.words(),
                0,
                List.of(new Layer(matrix(8, 3, 2, 3), layer.recurrent(), layer.bias())),
                optimal));
    assertRefused(
        "rnn.0.recurrent is 8 x 3, expected 8 x 2",
        () ->
            with(
                m,
                m.words(),
                0,
                List.of(new Layer(layer.input(), matrix(8, 3, 2, 2), layer.bias())),
                optimal));
    assertRefused(
        "rnn.0.bias",
        () ->
            with(
                m,
                m.words(),
                0,
                List.of(new Layer(layer.input(), layer.recurrent(), floats(7))),
                optimal));
    Layer gru = new Layer(Cell.GRU, matrix(6, 3, 2, 2), matrix(6, 2, 2, 2), floats(6), floats(6));
    Layer second = new Layer(matrix(8, 2, 2, 2), matrix(8, 2, 2, 2), floats(8));
    assertRefused(
        "rnn.1 is lstm, rnn.0 gru",
        () -> with(m, m.words(), 0, List.of(gru, second), m.activations()));
    assertRefused(
        "rnn.0.input is 8 x 3, expected 6 x 3",
        () ->
            with(
                m,
                m.words(),
                0,
                List.of(
                    new Layer(
                        Cell.GRU, layer.input(), gru.recurrent(), gru.bias(), gru.recurrentBias())),
                optimal));
    assertRefused(
        "rnn.0.recurrent_bias does not have 3 x 2 elements",
        () ->
            with(
                m,
                m.words(),
                0,
                List.of(new Layer(Cell.GRU, gru.input(), gru.recurrent(), gru.bias(), floats(8))),
                optimal));
    assertRefused(
        "rnn.0.input is 8 x 3, expected 12 x 3",
        () ->
            new LanguageModelFile(
                m.words(),
                0,
                -1,
                m.embedding(),
                m.layers(),
                m.embedding().withActivations(2),
                m.softmaxBias(),
                m.activations(),
                m.weights(),
                Map.of()));
    assertRefused("layout", () -> Matrix.of(MultibitMatrix.activations(8, 3, 2), 2));
    assertRefused("activations cannot have 9 bits", () -> matrix(8, 3, 2, 9));
    assertRefused("not 8 x 3", () -> Matrix.of(floats(23), 8, 3, 2));
  }

  /** A file whose values no runtime could use; each is whole otherwise. */
  @Test
  void valuesThatTheFormatForbidsAreRefused() throws IOException {
    Path file = directory.resolve("altered.gguf");
    // 10 rows and 70 columns: both are padded.
    model(Cell.LSTM, false, 10, 70, 9, 1, 2, 2).write(file);
    float nan = Float.NaN;
    assertRefusedWith(file, "softmax.bias", 9, nan, "element 9 of tensor softmax.bias is NaN");
    assertRefusedWith(file, "rnn.0.bias", 0, Float.POSITIVE_INFINITY, "is Infinity, not finite");
    assertRefusedWith(file, "softmax.coefficients", 5, nan, "softmax.coefficients is NaN");
    assertRefusedWith(file, "softmax.coefficients", 16 + 2, 1, "the padding of softmax is not");
    float lowBit = Float.intBitsToFloat(1);
    // Row 10 of 10, then column 70 of 70.
    assertRefusedWith(file, "embedding.planes", 2 * (32 + 2), lowBit, "the padding of embedding");
    assertRefusedWith(
        file, "embedding.planes", 2 * 16, Float.intBitsToFloat(1 << 6), "the padding of embedding");
    model(Cell.GRU, false, 9, 8, 8, 1, 0, 0).write(file);
    assertRefusedWith(file, "embedding.weight", 3, nan, "element 3 of tensor embedding.weight");
    assertRefusedWith(file, "rnn.0.recurrent_bias", 23, nan, "rnn.0.recurrent_bias is NaN");
  }

  private static void assertRefusedWith(
      Path file, String tensor, int element, float value, String why) throws IOException {
    byte[] whole = Files.readAllBytes(file);
    long offset = new GgufReader(file).tensors().get(tensor).offset();
    byte[] altered = whole.clone();
    ByteBuffer.wrap(altered)
        .order(ByteOrder.LITTLE_ENDIAN)
        .putFloat((int) offset + element * Float.BYTES, value);
    Files.write(file, altered);
    assertUnreadable(file, why);
    Files.write(file, whole);
    LanguageModelFile.read(file);
  }

  /** Numbers are of the type that the format names; those of others may mean something else. */
  @ParameterizedTest
  @ValueSource(
      strings = {
        "general.alignment",
        "multibit.version",
        "multibit.layers",
        "multibit.hidden_size",
        "multibit.softmax.weight_bits",
        "multibit.activation.cycles",
        "tokenizer.ggml.eos_token_id"
      })
  void anotherTypeIsRefused(String key) throws IOException {
    Path file = directory.resolve("altered.gguf");
    model(9, 3, 2, 1, 2, 2).write(file);
    String latin = Files.readString(file, StandardCharsets.ISO_8859_1);
    String altered = latin.replace(key + "\4\0\0\0", key + "\5\0\0\0");
    Files.writeString(file, altered, StandardCharsets.ISO_8859_1);
    assertUnreadable(file, "the key " + key + " is of type i32, not u32");
  }

  @Test
  void wordsAreThoseOfATextAndEachIsOneToken() {
    LanguageModelFile m = model(4, 3, 2, 1, 2, 2);
    List<String> good = List.of("<eos>", "a", "b", "<unk>");
    assertEquals(good, with(m, good, 0).words());
    assertRefused("holds \"a\" twice", () -> with(m, List.of("<eos>", "a", "b", "a"), 0));
    assertRefused("is empty or holds", () -> with(m, List.of("<eos>", "a", "", "b"), 0));
    for (String space : List.of(" ", "a b", "\t", "a\n", "\u000B", "\f", "\rb")) {
      assertRefused(
          "is empty or holds white space", () -> with(m, List.of("<eos>", "a", space, "b"), 0));
    }
    assertRefused("the eos token is the word \"a\", not <eos>", () -> with(m, good, 1));
    assertRefused(
        "the unknown token is the word \"b\", not <unk>",
        () ->
            new LanguageModelFile(
                good,
                0,
                2,
                m.embedding(),
                m.layers(),
                m.softmax(),
                m.softmaxBias(),
                m.activations(),
                m.weights(),
                Map.of()));
  }

  /** Direct memory holds what the file would. */
  @Test
  void theFileInMemoryIsTheFile() throws IOException {
    LanguageModelFile model = model(Cell.GRU, true, 9, 66, 66, 2, 2, 2);
    Path file = directory.resolve("model.gguf");
    model.write(file);
    ByteBuffer memory = model.toDirectBuffer();
    assertEquals(ByteBuffer.wrap(Files.readAllBytes(file)), memory);
    assertEquals(Files.size(file), model.fileBytes());
    assertTrue(memory.isDirect());
    assertEquals(0, memory.alignmentOffset(0, 64));
  }

  /** With weights alone quantized there is no activation method, and none is missed. */
  @Test
  void weightsAloneNeedNoActivationMethod() throws IOException {
    LanguageModelFile model = model(9, 3, 2, 1, 2, 0);
    assertNull(model.activations());
    assertEquals(2, model.layers().get(0).input().activationBits());
    Path file = directory.resolve("model.gguf");
    model.write(file);
    assertNull(LanguageModelFile.read(file).activations());
  }

  private static LanguageModelFile with(LanguageModelFile m, List<String> words, int eos) {
    return with(m, words, eos, m.layers(), m.activations());
  }

  private static LanguageModelFile with(
      LanguageModelFile m, List<String> words, int eos, List<Layer> layers, Quantizer activations) {
    return new LanguageModelFile(
        words,
        eos,
        -1,
        m.embedding(),
        layers,
        m.softmax(),
        m.softmaxBias(),
        activations,
        m.weights(),
        m.provenance());
  }

  private static void assertRefused(String why, Runnable construct) {
    String message = assertThrows(IllegalArgumentException.class, construct::run).getMessage();
    assertTrue(message.contains(why), message);
  }
}

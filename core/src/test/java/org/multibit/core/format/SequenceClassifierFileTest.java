package org.multibit.core.format;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.FloatBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.multibit.core.Alternating;
import org.multibit.core.Cell;
import org.multibit.core.Greedy;
import org.multibit.core.Optimal;
import org.multibit.core.Quantizer;

class SequenceClassifierFileTest extends RandomParts {
  @TempDir Path directory;

  private SequenceClassifierFile classifier(
      Cell cell, int n, int h, int c, int layerCount, int bits, int activationBits) {
    int sums = cell.gates() * h;
    List<Layer> layers = new ArrayList<>();
    for (int l = 0; l < layerCount; l++) {
      layers.add(
          new Layer(
              cell,
              matrix(sums, l == 0 ? n : h, bits, activationBits),
              matrix(sums, h, bits, activationBits),
              floats(sums),
              cell.separateSums() ? floats(sums) : null));
    }
    return new SequenceClassifierFile(
        layers,
        matrix(c, h, bits, activationBits),
        floats(c),
        activationBits > 0 ? new Alternating(3, 0.5f) : null,
        bits > 0 ? new Greedy() : null,
        Map.of("commit", "0123abc", "epochs", 4));
  }

  @ParameterizedTest
  @CsvSource({
    // N, H, C, layers, weight bits, activation bits
    "lstm, 1, 1, 1, 1, 1, 1",
    "lstm, 28, 67, 10, 2, 2, 3",
    "lstm, 70, 8, 3, 1, 2, 0",
    "gru, 28, 66, 10, 2, 3, 2",
    "gru, 9, 16, 5, 1, 0, 0",
  })
  void roundTrip(Cell cell, int n, int h, int c, int layers, int bits, int activationBits)
      throws IOException {
    SequenceClassifierFile model = classifier(cell, n, h, c, layers, bits, activationBits);
    Path file = directory.resolve("model.gguf");
    model.write(file);
    SequenceClassifierFile read = SequenceClassifierFile.read(file);
    assertEquals(n, read.inputSize());
    assertEquals(h, read.hiddenSize());
    assertEquals(c, read.classes());
    assertEquals(cell, read.cell());
    assertEquals(layers, read.layers().size());
    assertEquals(model.activations(), read.activations());
    assertEquals(model.weights(), read.weights());
    assertEquals(model.provenance(), read.provenance());
    GgufReader in = new GgufReader(file);
    assertEquals(3, in.u32("multibit.version"));
    assertEquals("classifier", in.string("multibit.head"));
    assertEquals(model.matrices().keySet(), read.matrices().keySet());
    byte[] bytes = Files.readAllBytes(file);
    read.write(file); // from its own mapping
    assertArrayEquals(bytes, Files.readAllBytes(file));
  }

  @Test
  void eachHeadIsReadAsWhatItIs() throws IOException {
    Path file = directory.resolve("model.gguf");
    classifier(Cell.LSTM, 4, 5, 3, 1, 2, 2).write(file);
    String message =
        assertThrows(IOException.class, () -> LanguageModelFile.read(file)).getMessage();
    assertTrue(
        message.contains("is a classifier of float sequences, not a language model"), message);
    assertEquals(1, message.lines().count());
    Layer layer = new Layer(matrix(8, 3, 2, 2), matrix(8, 2, 2, 2), floats(8));
    new LanguageModelFile(
            List.of("<eos>", "a"),
            0,
            -1,
            matrix(2, 3, 2, 0),
            List.of(layer),
            matrix(2, 2, 2, 2),
            floats(2),
            new Alternating(),
            null,
            Map.of())
        .write(file);
    message = assertThrows(IOException.class, () -> SequenceClassifierFile.read(file)).getMessage();
    assertTrue(message.contains("is a language model, not a classifier"), message);
  }

  @Test
  void aFileCutAnywhereIsRefused() throws IOException {
    Path file = directory.resolve("cut.gguf");
    classifier(Cell.GRU, 2, 1, 2, 1, 2, 2).write(file);
    try (FileChannel channel = FileChannel.open(file, StandardOpenOption.WRITE)) {
      // The last tensor is softmax.bias, 2 floats; the padding after it may be missing.
      long whole = channel.size() - 64 + 2 * Float.BYTES;
      channel.truncate(whole);
      SequenceClassifierFile.read(file);
      for (long length = whole - 1; length >= 0; length--) {
        channel.truncate(length);
        assertUnreadable(file, "");
      }
    }
  }

  /** A file with one part replaced, in bytes of the same length. */
  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "classifier          | classifies          | multibit.head is \"classifies\", expected",
        "multibit.input_size | multibit.inpat_size | lacks the key multibit.input_size",
        "multibit.classes    | multibit.clashes    | lacks the key multibit.classes",
        "multibit.hidden_size | multibit.hodden_size | lacks the key multibit.hidden_size",
        "softmax.planes      | saftmax.planes      | lacks the tensor softmax.planes",
        "rnn.1.bias          | rnn.1.bios          | lacks the tensor rnn.1.bias",
        "multibit.activation.method | multibit.activation.mothod | lacks the key multibit.activation.method",
      })
  void aPartThatIsMissingOrOtherIsNamed(String part, String other, String why) throws IOException {
    Path file = directory.resolve("altered.gguf");
    classifier(Cell.LSTM, 3, 2, 4, 2, 2, 2).write(file);
    String latin = Files.readString(file, StandardCharsets.ISO_8859_1);
    assertTrue(latin.contains(part));
    Files.writeString(file, latin.replace(part, other), StandardCharsets.ISO_8859_1);
    assertUnreadable(file, why);
  }

  private static void assertUnreadable(Path file, String why) {
    String message =
        assertThrows(IOException.class, () -> SequenceClassifierFile.read(file)).getMessage();
    assertTrue(message.contains(why) && message.contains(".gguf"), message);
    assertEquals(1, message.lines().count());
  }

  @Test
  void partsThatDoNotFitTogetherAreRefused() {
    SequenceClassifierFile m = classifier(Cell.LSTM, 3, 2, 4, 1, 2, 2);
    Layer second =
        new Layer(Cell.GRU, matrix(6, 2, 2, 2), matrix(6, 2, 2, 2), floats(6), floats(6));
    assertRefused("needs a layer", m, List.of(), m.softmaxBias(), m.activations());
    assertRefused(
        "rnn.1 is gru, rnn.0 lstm",
        m,
        List.of(m.layers().get(0), second),
        m.softmaxBias(),
        m.activations());
    assertRefused("softmax.bias does not have 4", m, m.layers(), floats(3), m.activations());
    assertRefused("no method to quantize", m, m.layers(), m.softmaxBias(), null);
    SequenceClassifierFile wide = classifier(Cell.LSTM, 3, 2, 4, 1, 2, 3);
    assertRefused(
        "takes 1 to 2 bits, not 3", wide, wide.layers(), wide.softmaxBias(), new Optimal());
  }

  /** A user's own quantizer: of weights it leaves values, of activations it would have to run. */
  @Test
  void quantizersThatNoReaderKnows() throws IOException {
    Quantizer own =
        new Quantizer() {
          @Override
          public String method() {
            return "own";
          }

          @Override
          protected void quantizeRow(float[] w, int bits, byte[] codes, float[] coefficients) {}
        };
    SequenceClassifierFile m = classifier(Cell.LSTM, 3, 2, 4, 1, 2, 2);
    assertRefused("activations are quantized by \"own\"", m, m.layers(), m.softmaxBias(), own);
    Path file = directory.resolve("own.gguf");
    new SequenceClassifierFile(
            m.layers(), m.softmax(), m.softmaxBias(), m.activations(), own, Map.of())
        .write(file);
    assertEquals("own", new GgufReader(file).string("multibit.weight.method"));
    assertNull(SequenceClassifierFile.read(file).weights());
  }

  private static void assertRefused(
      String why,
      SequenceClassifierFile m,
      List<Layer> layers,
      FloatBuffer bias,
      Quantizer activations) {
    String message =
        assertThrows(
                IllegalArgumentException.class,
                () ->
                    new SequenceClassifierFile(
                        layers, m.softmax(), bias, activations, m.weights(), Map.of()))
            .getMessage();
    assertTrue(message.contains(why), message);
  }
}

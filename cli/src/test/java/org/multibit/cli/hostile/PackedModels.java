package org.multibit.cli.hostile;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.FloatBuffer;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Random;
import org.multibit.core.Alternating;
import org.multibit.core.Cell;
import org.multibit.core.Greedy;
import org.multibit.core.Kernels;
import org.multibit.core.MultibitMatrix;
import org.multibit.core.format.LanguageModelFile;
import org.multibit.core.format.Layer;
import org.multibit.core.format.Matrix;
import org.multibit.core.format.SequenceClassifierFile;
import org.multibit.runtime.PackedLanguageModel;
import org.multibit.runtime.PackedSequenceClassifier;

/** Packed models, by both readers: Java's and the native one, of which neither may take more. */
final class PackedModels implements Format {
  private final Random random = new Random(1);

  @Override
  public String name() {
    return "packed models";
  }

  @Override
  public String fileName() {
    return "model.gguf";
  }

  @Override
  public List<byte[]> seeds() {
    return List.of(
        languageModel(Cell.LSTM, false, 1, 2, 2, 2),
        languageModel(Cell.GRU, true, 2, 3, 3, 2),
        languageModel(Cell.LSTM, false, 2, 0, 0, 0),
        languageModel(Cell.GRU, false, 1, 2, 4, 0),
        languageModel(Cell.LSTM, true, 1, 0, 2, 3),
        classifier(Cell.LSTM, 1, 2, 2),
        classifier(Cell.GRU, 2, 0, 3));
  }

  @Override
  public byte[] mutant(byte[] seed, Random random) {
    if (random.nextInt(3) == 0) {
      return Mutations.of(seed, random);
    }
    GgufParts parts = new GgufParts(seed);
    for (int times = 1 + random.nextInt(2); times > 0; times--) {
      parts.damage(random);
    }
    return parts.toBytes();
  }

  @Override
  public void read(Path file) throws IOException {
    boolean languageModel =
        agreed(() -> LanguageModelFile.read(file), () -> PackedLanguageModel.open(file).close());
    boolean classifier =
        agreed(
            () -> SequenceClassifierFile.read(file),
            () -> PackedSequenceClassifier.open(file).close());
    if (!languageModel && !classifier) {
      LanguageModelFile.read(file);
    }
  }

  private interface Reader {
    void read() throws IOException;
  }

  private static boolean agreed(Reader java, Reader nativeCode) {
    String inJava = refusal(java);
    String inNative = refusal(nativeCode);
    assertEquals(
        inJava == null, inNative == null, "Java: %s; native: %s".formatted(inJava, inNative));
    return inJava == null;
  }

  /** Null: none. */
  private static String refusal(Reader reader) {
    try {
      reader.read();
      return null;
    } catch (IOException e) {
      return e.getMessage();
    }
  }

  /** With sizes that need padding of rows and columns; softmax bits differ from the others. */
  private byte[] languageModel(
      Cell cell, boolean tied, int layers, int embeddingBits, int bits, int activationBits) {
    int v = 9;
    int e = 5;
    int h = tied ? e : 3;
    List<String> words = new ArrayList<>(List.of("<eos>", "<unk>", "wört"));
    while (words.size() < v) {
      words.add("w" + words.size());
    }
    Matrix embedding = matrix(v, e, embeddingBits, 0);
    return bytes(
        new LanguageModelFile(
                words,
                0,
                1,
                embedding,
                layers(cell, layers, e, h, bits, activationBits, embeddingBits),
                tied
                    ? embedding.withActivations(activationBits)
                    : matrix(v, h, bits == 0 ? 0 : 1, activationBits),
                floats(v),
                activationBits > 0 ? new Alternating() : null,
                bits > 0 ? new Greedy() : null,
                Map.of("seed", 7L, "test_perplexity", 12.5, "settings", "{}"))
            .toDirectBuffer());
  }

  private byte[] classifier(Cell cell, int layers, int bits, int activationBits) {
    int h = 3;
    return bytes(
        new SequenceClassifierFile(
                layers(cell, layers, 5, h, bits, activationBits, activationBits),
                matrix(2, h, bits, activationBits),
                floats(2),
                activationBits > 0 ? new Greedy() : null,
                bits > 0 ? new Greedy() : null,
                Map.of())
            .toDirectBuffer());
  }

  private List<Layer> layers(
      Cell cell, int count, int inputs, int h, int bits, int activationBits, int inputBits) {
    int sums = cell.gates() * h;
    List<Layer> layers = new ArrayList<>();
    for (int l = 0; l < count; l++) {
      layers.add(
          new Layer(
              cell,
              matrix(
                  sums,
                  l == 0 ? inputs : h,
                  bits,
                  l == 0 && inputBits > 0 ? inputBits : activationBits),
              matrix(sums, h, bits, activationBits),
              floats(sums),
              cell.separateSums() ? floats(sums) : null));
    }
    return layers;
  }

  private Matrix matrix(int rows, int cols, int bits, int activationBits) {
    FloatBuffer values = floats(rows * cols);
    if (bits == 0) {
      return Matrix.of(values, rows, cols, activationBits);
    }
    MultibitMatrix packed = MultibitMatrix.weights(rows, cols, bits);
    Kernels.java().quantize(new Greedy(), values, packed);
    return Matrix.of(packed, activationBits);
  }

  private FloatBuffer floats(int count) {
    FloatBuffer floats = LanguageModelFile.directFloats(count);
    for (int i = 0; i < count; i++) {
      floats.put(i, (float) random.nextGaussian());
    }
    return floats;
  }

  private static byte[] bytes(ByteBuffer file) {
    byte[] bytes = new byte[file.remaining()];
    file.get(bytes);
    return bytes;
  }
}

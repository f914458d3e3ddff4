package org.multibit.runtime;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.FloatBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Random;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.multibit.core.Alternating;
import org.multibit.core.Cell;
import org.multibit.core.Kernels;
import org.multibit.core.MultibitMatrix;
import org.multibit.core.Quantizer;
import org.multibit.core.format.LanguageModelFile;
import org.multibit.core.format.Layer;
import org.multibit.core.format.Matrix;
import org.multibit.core.format.SequenceClassifierFile;

/** Small classifiers written by core, opened by native code. */
class PackedSequenceClassifierTest {
  private static final int N = 12;
  private static final int H = 20;
  private static final int CLASSES = 5;
  private static final Kernels JAVA = Kernels.java();

  @TempDir Path folder;

  private final Random random = new Random(1);
  private Path file;

  @BeforeEach
  void writeModel() throws IOException {
    file = folder.resolve("klässifier.gguf");
    classifier(Cell.LSTM, 1, 2, 2).write(file);
  }

  private Matrix matrix(int rows, int cols, int bits, int activationBits) {
    FloatBuffer weights = floats(rows * cols);
    if (bits == 0) {
      return Matrix.of(weights, rows, cols, activationBits);
    }
    MultibitMatrix packed = MultibitMatrix.weights(rows, cols, bits);
    JAVA.quantize(new Alternating(), weights, packed);
    return Matrix.of(packed, activationBits);
  }

  private FloatBuffer floats(int count) {
    FloatBuffer floats = LanguageModelFile.directFloats(count);
    for (int i = 0; i < count; i++) {
      floats.put(i, (float) random.nextGaussian() / 3);
    }
    return floats;
  }

  private SequenceClassifierFile classifier(Cell cell, int layerCount, int bits, int activations) {
    int sums = cell.gates() * H;
    List<Layer> layers = new ArrayList<>();
    for (int l = 0; l < layerCount; l++) {
      layers.add(
          new Layer(
              cell,
              matrix(sums, l == 0 ? N : H, bits, activations),
              matrix(sums, H, bits, activations),
              floats(sums),
              cell.separateSums() ? floats(sums) : null));
    }
    return new SequenceClassifierFile(
        layers,
        matrix(CLASSES, H, bits, activations),
        floats(CLASSES),
        new Alternating(),
        new Alternating(),
        Map.of("seed", 7L));
  }

  /** docs/format.md in loops over doubles. */
  private static final class Reference {
    private final SequenceClassifierFile file;
    private final double[][] h;
    private final double[][] c;

    Reference(SequenceClassifierFile file) {
      this.file = file;
      h = new double[file.layers().size()][H];
      c = new double[file.layers().size()][H];
    }

    double[] step(double[] x) {
      for (int l = 0; l < h.length; l++) {
        Layer layer = file.layers().get(l);
        double[] z = product(layer.input(), x, layer.bias());
        double[] u = product(layer.recurrent(), h[l], layer.recurrentBias());
        for (int j = 0; j < H; j++) {
          if (layer.cell() == Cell.GRU) {
            double update = sigmoid(z[H + j] + u[H + j]);
            double candidate = Math.tanh(z[2 * H + j] + sigmoid(z[j] + u[j]) * u[2 * H + j]);
            h[l][j] = (1 - update) * candidate + update * h[l][j];
          } else {
            c[l][j] =
                sigmoid(z[H + j] + u[H + j]) * c[l][j]
                    + sigmoid(z[j] + u[j]) * Math.tanh(z[2 * H + j] + u[2 * H + j]);
            h[l][j] = sigmoid(z[3 * H + j] + u[3 * H + j]) * Math.tanh(c[l][j]);
          }
        }
        x = h[l];
      }
      return product(file.softmax(), x, file.softmaxBias());
    }

    private static double sigmoid(double x) {
      return 1 / (1 + Math.exp(-x));
    }

    private double[] product(Matrix matrix, double[] x, FloatBuffer bias) {
      float[] q = quantized(x, matrix.activationBits(), file.activations());
      FloatBuffer w = matrix.floats();
      if (matrix.packed() != null) {
        w = LanguageModelFile.directFloats(matrix.rows() * matrix.cols());
        JAVA.dequantize(matrix.packed(), w);
      }
      double[] sums = new double[matrix.rows()];
      for (int r = 0; r < sums.length; r++) {
        sums[r] = bias == null ? 0 : bias.get(r);
        for (int i = 0; i < q.length; i++) {
          sums[r] += (double) w.get(r * q.length + i) * q[i];
        }
      }
      return sums;
    }

    private static float[] quantized(double[] x, int bits, Quantizer quantizer) {
      FloatBuffer values = LanguageModelFile.directFloats(x.length);
      for (int i = 0; i < x.length; i++) {
        values.put(i, (float) x[i]);
      }
      if (bits > 0) {
        MultibitMatrix codes = MultibitMatrix.activations(1, x.length, bits);
        JAVA.quantize(quantizer, values, codes);
        JAVA.dequantize(codes, values);
      }
      float[] result = new float[x.length];
      values.get(0, result);
      return result;
    }
  }

  private double[] vector() {
    double[] x = new double[N];
    for (int i = 0; i < N; i++) {
      x[i] = (float) random.nextGaussian();
    }
    return x;
  }

  private static float[] floats(double[] values) {
    float[] floats = new float[values.length];
    for (int i = 0; i < floats.length; i++) {
      floats[i] = (float) values[i];
    }
    return floats;
  }

  /**
   * What is written in Java is what runs in native code. A state within rounding of a threshold may
   * take another code in the reference: most sequences never see one.
   */
  @ParameterizedTest
  @CsvSource({"lstm, 1, 2, 2", "gru, 2, 2, 2", "lstm, 2, 3, 0", "gru, 1, 0, 0", "lstm, 1, 0, 3"})
  void stepsAreThoseOfTheReference(Cell cell, int layers, int bits, int activations)
      throws IOException {
    Path path = folder.resolve("model.gguf");
    classifier(cell, layers, bits, activations).write(path);
    SequenceClassifierFile written = SequenceClassifierFile.read(path);
    int agree = 0;
    try (PackedSequenceClassifier model = PackedSequenceClassifier.open(path);
        Session session = model.newSession()) {
      for (int sequence = 0; sequence < 10; sequence++) {
        session.reset();
        Reference reference = new Reference(written);
        boolean agrees = true;
        for (int t = 0; t < 8; t++) {
          double[] x = vector();
          session.step(floats(x));
          double[] expected = reference.step(x);
          float[] actual = session.logits();
          assertEquals(CLASSES, actual.length);
          for (int i = 0; i < CLASSES; i++) {
            agrees &= Math.abs(expected[i] - actual[i]) < 1e-4;
          }
        }
        agree += agrees ? 1 : 0;
      }
    }
    assertTrue(agree >= (activations == 0 ? 10 : 8), agree + " of 10 sequences");
  }

  @Test
  void saysWhatTheFileHolds() throws IOException {
    PackedSequenceClassifier model = PackedSequenceClassifier.open(file);
    assertEquals(N, model.inputSize());
    assertEquals(H, model.hiddenSize());
    assertEquals(CLASSES, model.classes());
    assertEquals("lstm", model.cell());
    assertEquals(1, model.layers());
    assertEquals(2, model.weightBits());
    assertEquals(2, model.activationBits());
    assertEquals(Files.size(file), model.fileBytes());
    assertEquals("7", model.metadata("multibit.provenance.seed"));
    model.close();
    assertEquals(CLASSES, model.classes());
  }

  /** A whole sequence is its steps one by one, whatever went before. */
  @Test
  void wholeSequences() throws IOException {
    try (PackedSequenceClassifier model = PackedSequenceClassifier.open(file);
        Session session = model.newSession()) {
      for (int time : new int[] {1, 6}) {
        float[] sequence = new float[time * N];
        session.reset();
        for (int t = 0; t < time; t++) {
          float[] x = floats(vector());
          System.arraycopy(x, 0, sequence, t * N, N);
          session.step(x);
        }
        assertArrayEquals(session.logits(), model.logits(sequence));
      }
      for (int length : new int[] {0, 1, N - 1, 2 * N + 1}) {
        assertThrows(IllegalArgumentException.class, () -> model.logits(new float[length]));
      }
      float[] bad = new float[2 * N];
      bad[N] = Float.NaN;
      assertThrows(IllegalArgumentException.class, () -> model.logits(bad));
    }
  }

  @Test
  void wrongKindsAreRefused() throws IOException {
    try (PackedSequenceClassifier model = PackedSequenceClassifier.open(file);
        Session session = model.newSession()) {
      assertThrows(IllegalArgumentException.class, session::logits);
      session.step(new float[2 * N]);
      float[] before = session.logits();
      String message =
          assertThrows(IllegalArgumentException.class, () -> session.step(0)).getMessage();
      assertTrue(message.contains("is a classifier: it is fed vectors of 12 floats"), message);
      assertThrows(IllegalArgumentException.class, () -> session.evaluate(0, new int[] {1}));
      assertThrows(IllegalArgumentException.class, () -> session.generate(3, 1, 0, 1));
      for (int length : new int[] {0, 1, N - 1, N + 1}) {
        assertThrows(IllegalArgumentException.class, () -> session.step(new float[length]));
      }
      float[] infinite = new float[N];
      infinite[3] = Float.POSITIVE_INFINITY;
      assertThrows(IllegalArgumentException.class, () -> session.step(infinite));
      assertArrayEquals(before, session.logits());
    }
    String message =
        assertThrows(IOException.class, () -> PackedLanguageModel.open(file)).getMessage();
    assertTrue(message.contains("not a language model"), message);
    Path words = folder.resolve("words.gguf");
    new LanguageModelFile(
            List.of("<eos>", "a"),
            0,
            -1,
            matrix(2, N, 2, 0),
            List.of(new Layer(matrix(4 * H, N, 2, 2), matrix(4 * H, H, 2, 2), floats(4 * H))),
            matrix(2, H, 2, 2),
            floats(2),
            new Alternating(),
            null,
            Map.of())
        .write(words);
    message =
        assertThrows(IOException.class, () -> PackedSequenceClassifier.open(words)).getMessage();
    assertTrue(message.contains("not a classifier"), message);
    try (PackedLanguageModel model = PackedLanguageModel.open(words);
        Session session = model.newSession()) {
      assertThrows(IllegalArgumentException.class, () -> session.step(new float[N]));
      session.step(1);
    }
  }

  @Test
  void badFilesAreNamed() throws IOException {
    byte[] bytes = Files.readAllBytes(file);
    Path cut = Files.write(folder.resolve("cut.gguf"), Arrays.copyOf(bytes, bytes.length / 2));
    String message =
        assertThrows(IOException.class, () -> PackedSequenceClassifier.open(cut)).getMessage();
    assertTrue(message.contains(cut.toString()) && message.contains("incomplete"), message);
    Path none = folder.resolve("none.gguf");
    assertThrows(IOException.class, () -> PackedSequenceClassifier.open(none));
  }

  @Test
  void sessionsOutliveTheModelAndClosingTwiceIsSafe() throws IOException {
    PackedSequenceClassifier model = PackedSequenceClassifier.open(file);
    Session session = model.newSession();
    model.close();
    model.close();
    assertThrows(IllegalStateException.class, model::newSession);
    assertThrows(IllegalStateException.class, () -> model.logits(new float[2 * N]));
    session.step(new float[N]);
    assertEquals(CLASSES, session.logits().length);
    session.close();
    session.close();
    assertThrows(IllegalStateException.class, () -> session.step(new float[N]));
  }
}

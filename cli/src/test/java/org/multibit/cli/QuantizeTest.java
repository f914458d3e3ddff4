package org.multibit.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.multibit.cli.Outcome.succeed;

import java.io.IOException;
import java.nio.FloatBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import org.multibit.core.Alternating;
import org.multibit.core.Quantizer;
import org.multibit.core.SquaredError;
import org.multibit.core.Uniform;
import org.multibit.core.format.Matrix;
import org.multibit.datasets.Corpora;
import org.multibit.layers.QuantizedArrays;
import org.multibit.training.SavedModel;
import org.multibit.training.SavedModels;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.nd4j.linalg.factory.Nd4j;
import org.nd4j.shade.jackson.databind.JsonNode;

/** What quantizing loses, of trained weights and of weights that are nothing. */
class QuantizeTest {
  private static final Path MODELS = Path.of("..", "models");

  /** Of the 22,400 or 21,800 rows of a model. */
  private static final int EVERY = 10;

  @TempDir static Path folder;

  private static Path text;
  private static List<String> words;
  private static Path wordsFile;

  @BeforeAll
  static void writeText() throws IOException {
    text = TinyText.write(folder.resolve("text"), 100);
    words = Corpora.open(text.toString()).vocabulary().words();
    wordsFile = Files.write(folder.resolve("words.txt"), words);
  }

  @ParameterizedTest
  @ValueSource(strings = {"lstm", "gru"})
  void theDefaultIsNeverWorseThanUniformNorMoreBitsThanFewer(String cell) throws IOException {
    SavedModel model =
        SavedModels.open(
            MODELS.resolve("ptb-%s-300-fp.safetensors".formatted(cell)),
            MODELS.resolve("ptb-words.txt"));
    for (Matrix matrix : model.pack().matrices().values()) {
      INDArray w = someRows(matrix);
      double[] previous = errors(new Alternating(), 1, w);
      for (int bits = 2; bits <= 8; bits++) {
        double[] errors = errors(new Alternating(), bits, w);
        double[] uniform = errors(new Uniform(), bits, w);
        for (int r = 0; r < errors.length; r++) {
          double bound = bits < 4 ? previous[r] : Math.min(previous[r], uniform[r]);
          int row = r * EVERY;
          String what = "%d bits, row %d: %g > %g".formatted(bits, row, errors[r], bound);
          assertTrue(errors[r] <= bound * (1 + 1e-6), what);
        }
        previous = errors;
      }
    }
  }

  private static INDArray someRows(Matrix matrix) {
    int cols = matrix.cols();
    float[] rows = new float[(matrix.rows() + EVERY - 1) / EVERY * cols];
    for (int r = 0; r * EVERY < matrix.rows(); r++) {
      matrix.floats().get(matrix.floats().position() + r * EVERY * cols, rows, r * cols, cols);
    }
    return Nd4j.createFromArray(rows).reshape(rows.length / cols, cols);
  }

  /** Of each row. */
  private static double[] errors(Quantizer quantizer, int bits, INDArray w) {
    int cols = (int) w.size(1);
    FloatBuffer q = QuantizedArrays.pack(quantizer, w, bits).dequantize();
    float[] x = w.ravel().toFloatVector();
    double[] errors = new double[(int) w.size(0)];
    Arrays.setAll(
        errors,
        r -> SquaredError.of(FloatBuffer.wrap(x, r * cols, cols), q.slice(r * cols, cols)).error());
    return errors;
  }

  @Test
  void theErrorOfNothingIsNothing() throws IOException {
    ForeignModel model = new ForeignModel("lstm", words.size(), 12, 12, 1, 1);
    model.arrays.values().forEach(values -> Arrays.fill(values, 0));
    JsonNode result = quantize(model, "2/2").json();
    assertEquals(0, result.get("relativeSquaredError").asDouble(Double.NaN));
    for (JsonNode matrix : result.get("matrices")) {
      assertEquals(0, matrix.get("relativeSquaredError").asDouble(Double.NaN));
    }
    assertEquals(words.size(), result.get("perplexity").asDouble(), 1e-3);
  }

  @ParameterizedTest
  @CsvSource({
    "2/2, false",
    "4/4, false",
    "2/fp, false",
    "3/fp, true",
    "5/4, true",
    "8/8, true",
    "'embedding=8', false",
    "'embedding=8,lstm=2/2,softmax=8/8', true"
  })
  void slowWidthsAreSaidToBe(String bits, boolean slow) throws IOException {
    ForeignModel model = new ForeignModel("lstm", words.size(), 12, 12, 1, 1);
    List<String> lines = quantize(model, bits).out().lines().toList();
    assertEquals(
        slow, lines.stream().anyMatch(line -> line.contains("slower")), String.join("\n", lines));
  }

  private static Outcome quantize(ForeignModel model, String bits) throws IOException {
    Path file = model.safetensors("F32").write(folder.resolve("model.safetensors"));
    return succeed(
        "quantize",
        "--json",
        "--model",
        file.toString(),
        "--vocab",
        wordsFile.toString(),
        "--data",
        text.toString(),
        "--bits",
        bits);
  }
}

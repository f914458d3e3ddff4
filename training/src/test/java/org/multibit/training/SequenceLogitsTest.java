package org.multibit.training;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.nd4j.linalg.indexing.NDArrayIndex.all;
import static org.nd4j.linalg.indexing.NDArrayIndex.interval;
import static org.nd4j.linalg.indexing.NDArrayIndex.point;

import java.io.IOException;
import java.nio.FloatBuffer;
import java.util.List;
import java.util.Map;
import java.util.Random;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.multibit.core.Alternating;
import org.multibit.core.DirectFloats;
import org.multibit.core.format.Layer;
import org.multibit.core.format.Matrix;
import org.multibit.core.format.SequenceClassifierFile;
import org.multibit.runtime.PackedSequenceClassifier;
import org.nd4j.linalg.api.buffer.DataType;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.nd4j.linalg.factory.Nd4j;

class SequenceLogitsTest {
  private static final int N = 12;
  private static final int H = 20;
  private static final int CLASSES = 5;
  private static final int TIME = 6;

  private final Random random = new Random(1);
  private PackedSequenceClassifier model;
  private INDArray sequences;

  @BeforeEach
  void open() throws IOException {
    SequenceClassifierFile file =
        new SequenceClassifierFile(
            List.of(new Layer(matrix(4 * H, N), matrix(4 * H, H), floats(4 * H))),
            matrix(CLASSES, H),
            floats(CLASSES),
            new Alternating(),
            new Alternating(),
            Map.of());
    model = PackedSequenceClassifier.open(file.toDirectBuffer(), "model");
    sequences = Nd4j.rand(DataType.FLOAT, 4, N, TIME).subi(0.5);
  }

  @AfterEach
  void close() {
    model.close();
  }

  private Matrix matrix(int rows, int cols) {
    return Matrix.of(new Alternating().quantize(floats(rows * cols), cols, 2), 2);
  }

  private FloatBuffer floats(int count) {
    FloatBuffer floats = DirectFloats.allocate(count);
    for (int i = 0; i < count; i++) {
      floats.put(i, (float) random.nextGaussian() / 3);
    }
    return floats;
  }

  private static float[] steps(INDArray sequences, int sequence) {
    return sequences.get(point(sequence), all(), all()).transpose().dup('c').data().asFloat();
  }

  /** A batch of sequences, in any layout, is its sequences one by one. */
  @Test
  void wholeSequences() {
    INDArray logits = SequenceLogits.of(model, sequences);
    assertArrayEquals(new long[] {4, CLASSES}, logits.shape());
    for (int b = 0; b < 4; b++) {
      assertArrayEquals(model.logits(steps(sequences, b)), logits.getRow(b).toFloatVector());
    }
    assertEquals(logits, SequenceLogits.of(model, sequences.dup('f')));
    INDArray timeMajor = sequences.permute(0, 2, 1).dup('c').permute(0, 2, 1);
    assertEquals(logits, SequenceLogits.of(model, timeMajor));
    INDArray third = sequences.get(interval(2, 3), all(), all());
    assertEquals(logits.getRow(2), SequenceLogits.of(model, third).getRow(0));
    for (long[] shape : new long[][] {{4, N}, {4, N + 1, 3}, {N, 3}}) {
      INDArray bad = Nd4j.zeros(DataType.FLOAT, shape);
      assertThrows(IllegalArgumentException.class, () -> SequenceLogits.of(model, bad));
    }
    sequences.putScalar(3, 1, 4, Double.NaN);
    String message =
        assertThrows(IllegalArgumentException.class, () -> SequenceLogits.of(model, sequences))
            .getMessage();
    assertTrue(message.contains("Sequence 3 has NaN at time 4, element 1"), message);
    model.close();
    INDArray zeros = Nd4j.zeros(DataType.FLOAT, 1, N, 2);
    assertThrows(IllegalStateException.class, () -> SequenceLogits.of(model, zeros));
  }

  /** Of a padded batch each sequence is itself without its padding, whatever that holds. */
  @Test
  void paddedSequences() {
    int[] lengths = {6, 1, 4, 3};
    INDArray mask = Nd4j.zeros(DataType.FLOAT, 4, TIME);
    float[] foreign = {Float.NaN, Float.POSITIVE_INFINITY, 1e30f};
    for (int b = 0; b < 4; b++) {
      for (int t = 0; t < TIME; t++) {
        if (t < lengths[b]) {
          mask.putScalar(b, t, 1);
        } else {
          sequences.get(point(b), all(), point(t)).assign(foreign[t % 3]);
        }
      }
    }
    INDArray logits = SequenceLogits.of(model, sequences, lengths);
    for (int b = 0; b < 4; b++) {
      INDArray alone = sequences.get(interval(b, b + 1), all(), interval(0, lengths[b]));
      assertEquals(SequenceLogits.of(model, alone).getRow(0), logits.getRow(b));
    }
    for (DataType type : new DataType[] {DataType.FLOAT, DataType.DOUBLE, DataType.BOOL}) {
      assertEquals(logits, SequenceLogits.of(model, sequences, mask.castTo(type).dup('f')));
    }
    INDArray whole = sequences.get(interval(0, 1), all(), all());
    assertEquals(SequenceLogits.of(model, whole), SequenceLogits.of(model, whole, (INDArray) null));

    refuse("Sequence 1 has length 0: lengths are 1 to 6", sequences, 6, 0, 4, 3);
    refuse("Sequence 3 has length 7: lengths are 1 to 6", sequences, 6, 1, 4, 7);
    refuse("There are 3 lengths for 4 sequences", sequences, 6, 1, 4);
    refuse(
        "Sequence 2 has NaN at time 3, element 0",
        sequences.dup().putScalar(2, 0, 3, Float.NaN),
        lengths);
    refuse("[4, 6], got [6, 4]", mask.transpose());
    refuse("Sequence 1 has length 0", mask.dup().putScalar(1, 0, 0));
    refuse("The mask has 1.0 at sequence 2, time 5, after a 0", mask.dup().putScalar(2, 5, 1));
    refuse(
        "The mask has 0.5 at sequence 0, time 5: the classifier takes ones and then zeros",
        mask.dup().putScalar(0, 5, 0.5));
  }

  private void refuse(String why, INDArray sequences, int... lengths) {
    String message =
        assertThrows(
                IllegalArgumentException.class, () -> SequenceLogits.of(model, sequences, lengths))
            .getMessage();
    assertTrue(message.contains(why), message);
  }

  private void refuse(String why, INDArray mask) {
    String message =
        assertThrows(
                IllegalArgumentException.class, () -> SequenceLogits.of(model, sequences, mask))
            .getMessage();
    assertTrue(message.contains(why), message);
  }
}

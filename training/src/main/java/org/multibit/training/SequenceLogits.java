package org.multibit.training;

import java.util.Arrays;
import org.multibit.runtime.PackedSequenceClassifier;
import org.multibit.runtime.Session;
import org.nd4j.linalg.api.buffer.DataType;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.nd4j.linalg.factory.Nd4j;

/** Runs a packed classifier on a DL4J batch: features and their mask. */
public final class SequenceLogits {
  private SequenceLogits() {}

  /**
   * The logits of whole sequences, each from zero state. The softmax of a row is the network's
   * output, and its largest element marks the class. Every step counts, so padding would be read as
   * data. For padded sequences, give {@link #of(PackedSequenceClassifier, INDArray, int[])} their
   * lengths, or {@link #of(PackedSequenceClassifier, INDArray, INDArray)} the network's features
   * mask.
   *
   * @param sequences [batch, inputSize, time] (NCW), as the network's features
   * @return [batch, classes]
   * @throws IllegalArgumentException if the shape is another, or an element is not finite
   * @throws IllegalStateException if the model is closed
   * @throws ArithmeticException if the model's values are so large that its state overflows
   */
  public static INDArray of(PackedSequenceClassifier classifier, INDArray sequences) {
    checkShape(classifier, sequences);
    int[] lengths = new int[(int) sequences.size(0)];
    Arrays.fill(lengths, (int) sequences.size(2));
    return of(classifier, sequences, lengths);
  }

  /**
   * As {@link #of(PackedSequenceClassifier, INDArray)}, for sequences that are padded at the end.
   * The padding is never read and may contain any values, even NaN.
   *
   * @param lengths the number of steps of each sequence that count, 1 to time
   * @throws IllegalArgumentException also if there are not as many lengths as sequences, or one is
   *     out of range
   */
  public static INDArray of(
      PackedSequenceClassifier classifier, INDArray sequences, int[] lengths) {
    checkShape(classifier, sequences);
    int batch = (int) sequences.size(0);
    int time = (int) sequences.size(2);
    if (lengths.length != batch) {
      throw new IllegalArgumentException(
          "There are %s lengths for %s sequences".formatted(lengths.length, batch));
    }
    for (int b = 0; b < batch; b++) {
      if (lengths[b] < 1 || lengths[b] > time) {
        throw new IllegalArgumentException(
            "Sequence %s has length %s: lengths are 1 to %s, the steps that were given"
                .formatted(b, lengths[b], time));
      }
    }
    int inputSize = classifier.inputSize();
    INDArray steps = sequences.permute(0, 2, 1).castTo(DataType.FLOAT).dup('c');
    float[] values = steps.data().asFloat();
    float[][] inputs = new float[batch][];
    for (int b = 0; b < batch; b++) {
      int start = b * time * inputSize;
      inputs[b] = Arrays.copyOfRange(values, start, start + lengths[b] * inputSize);
      for (int i = 0; i < inputs[b].length; i++) {
        if (!Float.isFinite(inputs[b][i])) {
          throw new IllegalArgumentException(
              "Sequence %s has %s at time %s, element %s: inputs are finite floats"
                  .formatted(b, inputs[b][i], i / inputSize, i % inputSize));
        }
      }
    }
    int classes = classifier.classes();
    float[] logits = new float[batch * classes];
    try (Session session = classifier.newSession()) {
      for (int b = 0; b < batch; b++) {
        session.reset();
        session.step(inputs[b]);
        System.arraycopy(session.logits(), 0, logits, b * classes, classes);
      }
    }
    return Nd4j.create(logits, new long[] {batch, classes}, 'c');
  }

  /**
   * As {@link #of(PackedSequenceClassifier, INDArray, int[])}, with the lengths as DL4J gives them.
   *
   * @param mask [batch, time], a DataSet's features mask: for each sequence ones, then zeros for
   *     the padding at its end; null if every step counts
   * @throws IllegalArgumentException also if the mask has another shape or other values, or masks
   *     steps that are not at the end
   */
  public static INDArray of(
      PackedSequenceClassifier classifier, INDArray sequences, INDArray mask) {
    checkShape(classifier, sequences);
    return mask == null
        ? of(classifier, sequences)
        : of(classifier, sequences, lengths(sequences, mask));
  }

  private static int[] lengths(INDArray sequences, INDArray mask) {
    int batch = (int) sequences.size(0);
    int time = (int) sequences.size(2);
    if (!Arrays.equals(mask.shape(), new long[] {batch, time})) {
      throw new IllegalArgumentException(
          "The mask of these sequences is [batch, time], [%s, %s], got %s"
              .formatted(batch, time, Arrays.toString(mask.shape())));
    }
    float[] values = mask.castTo(DataType.FLOAT).dup('c').data().asFloat();
    int[] lengths = new int[batch];
    for (int b = 0; b < batch; b++) {
      for (int t = 0; t < time; t++) {
        float value = values[b * time + t];
        if (value == 1 && lengths[b] == t) {
          lengths[b]++;
        } else if (value != 0) {
          throw new IllegalArgumentException(
              "The mask has %s at sequence %s, time %s%s: the classifier takes ones and then zeros, so put the steps that count at the start of a sequence and its padding at the end"
                  .formatted(value, b, t, value == 1 ? ", after a 0" : ""));
        }
      }
    }
    return lengths;
  }

  private static void checkShape(PackedSequenceClassifier classifier, INDArray sequences) {
    if (sequences.rank() != 3
        || sequences.size(1) != classifier.inputSize()
        || sequences.isEmpty()) {
      throw new IllegalArgumentException(
          "The classifier takes sequences [batch, %s, time], got %s"
              .formatted(classifier.inputSize(), Arrays.toString(sequences.shape())));
    }
  }
}

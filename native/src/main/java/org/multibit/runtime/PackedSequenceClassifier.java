package org.multibit.runtime;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Path;
import java.util.Arrays;
import org.multibit.runtime.bindings.multibit_model_info;
import org.nd4j.linalg.api.buffer.DataType;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.nd4j.linalg.factory.Nd4j;

/**
 * A packed classifier of float sequences (docs/format.md), mapped and run by native code. Threads
 * may share it; each stream of vectors has its own {@link Session}. What the model says about
 * itself can be asked after it is closed, too.
 */
public final class PackedSequenceClassifier extends PackedModel {
  private final int inputSize;
  private final int classes;

  private PackedSequenceClassifier(Opened opened) {
    super(opened);
    multibit_model_info info = opened.info();
    inputSize = info.input_size();
    classes = info.classes();
  }

  /**
   * Maps a file and checks all of it.
   *
   * @throws IOException if it cannot be read, is damaged, or is not a multibit classifier
   * @throws IllegalStateException if MULTIBIT_ISA names a tier that is unknown or not supported
   *     here
   * @throws UnsatisfiedLinkError if the native library does not load; see {@link NativeLibrary}
   */
  public static PackedSequenceClassifier open(Path path) throws IOException {
    return open(path, PackedSequenceClassifier::of);
  }

  /**
   * A file in memory: of a program that has no file system, or makes the model itself ({@link
   * org.multibit.core.format.SequenceClassifierFile#toDirectBuffer}). Nothing is copied: the memory
   * stays as it is until the model and its sessions are closed, and is kept from the garbage
   * collector until then.
   *
   * @param file direct, from its position to its limit; starts at a multiple of 64
   * @param name stands for the file in messages
   * @throws IllegalArgumentException if the memory is not direct or not aligned
   * @throws IOException if it does not hold a multibit classifier, whole and undamaged
   * @throws IllegalStateException if MULTIBIT_ISA names a tier that is unknown or not supported
   *     here
   * @throws UnsatisfiedLinkError if the native library does not load; see {@link NativeLibrary}
   */
  public static PackedSequenceClassifier open(ByteBuffer file, String name) throws IOException {
    return open(file, name, PackedSequenceClassifier::of);
  }

  private static PackedSequenceClassifier of(Opened opened) throws IOException {
    if (!opened.isClassifier()) {
      throw new IOException(
          opened.name()
              + " is a language model, not a classifier of float sequences: open it as a PackedLanguageModel");
    }
    return new PackedSequenceClassifier(opened);
  }

  /**
   * The logits of whole sequences, each from zero state: a softmax of a row is the network's
   * output, and its largest element the class. Every step counts: of sequences that are padded to
   * one length the padding would be read as data, so give {@link #logits(INDArray, int[])} their
   * lengths, or {@link #logits(INDArray, INDArray)} the network's features mask.
   *
   * @param sequences [batch, inputSize, time] (NCW), as the network's features
   * @return [batch, classes]
   * @throws IllegalArgumentException if the shape is another, or an element is not finite
   * @throws IllegalStateException if the model is closed
   * @throws ArithmeticException if the model's values are so large that its state overflows
   */
  public INDArray logits(INDArray sequences) {
    checkShape(sequences);
    int[] lengths = new int[(int) sequences.size(0)];
    Arrays.fill(lengths, (int) sequences.size(2));
    return logits(sequences, lengths);
  }

  /**
   * As {@link #logits(INDArray)}, of sequences that are padded at the end. What stands in the
   * padding is never looked at: anything may, NaN too.
   *
   * @param lengths how many steps of each sequence count, 1 to time
   * @throws IllegalArgumentException also if there are not as many lengths as sequences, or one is
   *     out of range
   */
  public INDArray logits(INDArray sequences, int[] lengths) {
    checkShape(sequences);
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
    float[] logits = new float[batch * classes];
    try (Session session = newSession()) {
      for (int b = 0; b < batch; b++) {
        session.reset();
        session.step(inputs[b]);
        System.arraycopy(session.logits(), 0, logits, b * classes, classes);
      }
    }
    return Nd4j.create(logits, new long[] {batch, classes}, 'c');
  }

  /**
   * As {@link #logits(INDArray, int[])}, with the lengths as DL4J gives them.
   *
   * @param mask [batch, time], of each sequence ones and then zeros for the padding at its end, as
   *     a DataSet's features mask; null if every step counts
   * @throws IllegalArgumentException also if the mask has another shape, other values, or masks
   *     what is not at the end
   */
  public INDArray logits(INDArray sequences, INDArray mask) {
    return mask == null ? logits(sequences) : logits(sequences, lengths(sequences, mask));
  }

  private int[] lengths(INDArray sequences, INDArray mask) {
    checkShape(sequences);
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

  private void checkShape(INDArray sequences) {
    if (sequences.rank() != 3 || sequences.size(1) != inputSize || sequences.isEmpty()) {
      throw new IllegalArgumentException(
          "The classifier takes sequences [batch, %s, time], got %s"
              .formatted(inputSize, Arrays.toString(sequences.shape())));
    }
  }

  /** N, floats of a time step. */
  public int inputSize() {
    return inputSize;
  }

  /** C. */
  public int classes() {
    return classes;
  }

  @Override
  int logits() {
    return classes;
  }
}

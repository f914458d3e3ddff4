package org.multibit.runtime;

import java.io.IOException;
import java.nio.file.Path;
import java.util.Arrays;
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

  private PackedSequenceClassifier(Path path, NativeHandle handle, Bindings.ModelInfo info) {
    super(path, handle, info);
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
    return open(
        path,
        (handle, info) -> {
          if (!isClassifier(info)) {
            throw new IOException(
                path
                    + " is a language model, not a classifier of float sequences: open it as a PackedLanguageModel");
          }
          return new PackedSequenceClassifier(path, handle, info);
        });
  }

  /**
   * The logits of whole sequences, each from zero state: a softmax of a row is the network's
   * output, and its largest element the class.
   *
   * @param sequences [batch, inputSize, time] (NCW), as the network's features
   * @return [batch, classes]
   * @throws IllegalArgumentException if the shape is another, or an element is not finite
   * @throws IllegalStateException if the model is closed
   * @throws ArithmeticException if the model's values are so large that its state overflows
   */
  public INDArray logits(INDArray sequences) {
    if (sequences.rank() != 3 || sequences.size(1) != inputSize || sequences.isEmpty()) {
      throw new IllegalArgumentException(
          "The classifier takes sequences [batch, %d, time], got %s"
              .formatted(inputSize, Arrays.toString(sequences.shape())));
    }
    INDArray steps = sequences.permute(0, 2, 1).castTo(DataType.FLOAT).dup('c');
    float[] values = steps.data().asFloat();
    int batch = (int) sequences.size(0);
    int each = values.length / batch;
    for (int i = 0; i < values.length; i++) {
      if (!Float.isFinite(values[i])) {
        throw new IllegalArgumentException(
            "Sequence %d has %s at time %d, element %d: inputs are finite floats"
                .formatted(i / each, values[i], i % each / inputSize, i % inputSize));
      }
    }
    float[] logits = new float[batch * classes];
    try (Session session = newSession()) {
      for (int b = 0; b < batch; b++) {
        session.reset();
        session.step(Arrays.copyOfRange(values, b * each, (b + 1) * each));
        System.arraycopy(session.logits(), 0, logits, b * classes, classes);
      }
    }
    return Nd4j.create(logits, new long[] {batch, classes}, 'c');
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

package org.multibit.runtime;

import java.io.IOException;
import java.nio.ByteBuffer;
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

  private PackedSequenceClassifier(Opened opened) {
    super(opened);
    Bindings.ModelInfo info = opened.info();
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

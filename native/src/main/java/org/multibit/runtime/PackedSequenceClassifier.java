package org.multibit.runtime;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Path;
import org.multibit.runtime.bindings.multibit_model_info;

/**
 * A packed classifier of float sequences (docs/format.md), mapped and run by native code. Threads
 * may share it. Each stream of vectors needs its own {@link Session}. The properties of the model
 * stay readable after it is closed.
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
   * Opens a file that is in memory, for example where there is no file system, or if the program
   * makes the model itself ({@link
   * org.multibit.core.format.SequenceClassifierFile#toDirectBuffer}). Nothing is copied. Do not
   * change the memory until the model and its sessions are closed; until then the garbage collector
   * does not free it.
   *
   * @param file direct memory; the file is its bytes from position to limit and starts at a
   *     multiple of 64
   * @param name the file's name in messages
   * @throws IllegalArgumentException if the memory is not direct or not aligned
   * @throws IOException if it does not hold a complete, undamaged multibit classifier
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
   * Computes the logits of a whole sequence from zero state. Their softmax is the network's output,
   * and the largest one marks the class. Every step counts, so pass only the steps of a padded
   * sequence that come before the padding.
   *
   * @param sequence [time, inputSize], one step's vector after the other
   * @return [classes]
   * @throws IllegalArgumentException if the sequence is not one or more whole steps, or an element
   *     is not finite
   * @throws IllegalStateException if the model is closed
   * @throws ArithmeticException if the model's values are so large that its state overflows
   */
  public float[] logits(float[] sequence) {
    try (Session session = newSession()) {
      session.step(sequence);
      return session.logits();
    }
  }

  /** N, the floats of a time step. */
  public int inputSize() {
    return inputSize;
  }

  /** C, the number of classes. */
  public int classes() {
    return classes;
  }

  @Override
  int logits() {
    return classes;
  }
}

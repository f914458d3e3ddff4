package org.multibit.runtime;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Path;
import org.multibit.runtime.bindings.multibit_model_info;

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
   * The logits of a whole sequence, from zero state: their softmax is the network's output, and the
   * largest one the class. Every step counts: of a padded sequence give only the steps before the
   * padding.
   *
   * @param sequence [time, inputSize], one step's vector after the other
   * @return [classes]
   * @throws IllegalArgumentException if that is not one or more whole steps, or an element is not
   *     finite
   * @throws IllegalStateException if the model is closed
   * @throws ArithmeticException if the model's values are so large that its state overflows
   */
  public float[] logits(float[] sequence) {
    try (Session session = newSession()) {
      session.step(sequence);
      return session.logits();
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

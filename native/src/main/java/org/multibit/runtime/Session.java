package org.multibit.runtime;

import java.lang.ref.Reference;
import java.nio.ByteOrder;
import java.nio.FloatBuffer;
import java.nio.ReadOnlyBufferException;
import org.bytedeco.javacpp.FloatPointer;
import org.bytedeco.javacpp.Pointer;
import org.multibit.runtime.bindings.Bindings;

/**
 * One stream through a {@link PackedModel}, which starts with zero state: a stream of tokens
 * through a language model, or of vectors through a classifier. Calls from several threads wait for
 * each other.
 */
public final class Session implements AutoCloseable {
  private final PackedModel model;

  private final NativeHandle handle;

  Session(PackedModel model, Pointer address) {
    this.model = model;
    handle = model.handle.user(address, Bindings::multibit_session_free);
    handle.closeWith(this);
  }

  private Pointer open() {
    return handle.address("The session");
  }

  /** Sets the state back to zero. */
  public void reset() {
    synchronized (handle) {
      NativeLibrary.check(Bindings.multibit_session_reset(open()));
    }
  }

  /**
   * Feeds a language model one token.
   *
   * @throws IllegalArgumentException if there is no such token, or the model is a classifier
   * @throws ArithmeticException if the model's values are so large that its state overflows
   */
  public void step(int token) {
    synchronized (handle) {
      NativeLibrary.check(Bindings.multibit_session_step(open(), token));
    }
  }

  /**
   * Feeds a classifier one time step after another.
   *
   * @param inputs the vectors of the steps, one after the other, {@link
   *     PackedSequenceClassifier#inputSize()} floats each
   * @throws IllegalArgumentException if the floats are not a whole number of steps, an element is
   *     not finite, or the model is a language model; then nothing was fed
   * @throws ArithmeticException if the model's values are so large that its state overflows
   */
  public void step(float[] inputs) {
    synchronized (handle) {
      NativeLibrary.check(Bindings.multibit_session_step_floats(open(), inputs, inputs.length));
    }
  }

  /**
   * The logits after the last step, one per word or class.
   *
   * @throws IllegalArgumentException if nothing was fed since the start or a reset
   */
  public float[] logits() {
    synchronized (handle) {
      try (FloatPointer logits = new FloatPointer((Pointer) null)) {
        NativeLibrary.check(Bindings.multibit_session_logits(open(), logits));
        float[] copy = new float[model.logits()];
        logits.get(copy);
        return copy;
      }
    }
  }

  /**
   * Writes the logits after the last step from the buffer's position on. The position does not
   * change.
   *
   * @param into one float per word or class; direct memory in native order is fastest
   * @throws IllegalArgumentException if nothing was fed since the start or a reset, or the buffer
   *     is too small
   * @throws ReadOnlyBufferException if the buffer is read-only
   */
  public void logits(FloatBuffer into) {
    synchronized (handle) {
      int count = model.logits();
      if (into.remaining() < count) {
        throw new IllegalArgumentException(
            "%s floats do not hold %s logits".formatted(into.remaining(), count));
      }
      if (into.isReadOnly()) {
        throw new ReadOnlyBufferException();
      }
      if (into.isDirect() && into.order() == ByteOrder.nativeOrder()) {
        // A slice: JavaCPP 1.5.12 gets positions wrong.
        FloatPointer out = new FloatPointer(into.slice());
        NativeLibrary.check(Bindings.multibit_session_write_logits(open(), out));
        Reference.reachabilityFence(into);
      } else {
        into.put(into.position(), logits());
      }
    }
  }

  /**
   * Feeds {@code first}, then each token except the last. Each token of the array is a target. With
   * {@code first} = eos on a new session, exp(loss / tokens) is the reported perplexity.
   *
   * @return the natural-log losses of all targets, summed in double
   * @throws IllegalArgumentException if a token is outside the vocabulary, or the model is a
   *     classifier; then nothing was fed
   */
  public double evaluate(int first, int[] tokens) {
    synchronized (handle) {
      double[] loss = new double[1];
      NativeLibrary.check(
          Bindings.multibit_session_evaluate(open(), first, tokens, tokens.length, loss));
      return loss[0];
    }
  }

  /**
   * Samples tokens and feeds each one. The same seed gives the same tokens.
   *
   * @param temperature 0 takes the most likely token each time
   * @param topK the number of most likely tokens to sample from; 0 = all
   * @throws IllegalArgumentException if an argument is out of range, no token was fed yet, or the
   *     model is a classifier
   */
  public int[] generate(int count, float temperature, int topK, long seed) {
    synchronized (handle) {
      if (count < 0) {
        throw new IllegalArgumentException("Cannot generate " + count + " tokens");
      }
      int[] tokens = new int[count];
      NativeLibrary.check(
          Bindings.multibit_session_generate(open(), temperature, topK, seed, tokens, count));
      return tokens;
    }
  }

  /**
   * The seed with which another call of {@link #generate} continues as one call would. The seed is
   * the initial state of its generator (SplitMix64), and each draw advances the state by a
   * constant.
   *
   * @param draws the number of tokens that were drawn from the seed so far
   */
  public static long seedAfter(long seed, long draws) {
    return seed + draws * 0x9e3779b97f4a7c15L;
  }

  /** Frees the session. Closing again does nothing. */
  @Override
  public void close() {
    handle.close();
  }
}

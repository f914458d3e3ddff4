package org.multibit.runtime;

import java.util.Arrays;
import org.bytedeco.javacpp.FloatPointer;
import org.bytedeco.javacpp.Pointer;
import org.multibit.runtime.bindings.Bindings;

/**
 * Streams of tokens that are fed to a {@link PackedLanguageModel} together. A step reads the
 * weights once for all of them. The logits of a stream are, to the bit, those of a {@link Session}
 * that is fed the same tokens. A server can give each client a stream: call {@link #reset(int)}
 * when a client comes, and feed {@link #IDLE} while the client sends nothing. Calls from several
 * threads wait for each other.
 */
public final class BatchSession implements AutoCloseable {
  /** Stands for a token: the stream takes no part in the step and keeps its state. */
  public static final int IDLE = -1;

  private final PackedLanguageModel model;

  /** Whether the last step fed a stream and no reset followed. */
  private final boolean[] fed;

  private final NativeHandle handle;

  BatchSession(PackedLanguageModel model, Pointer address, int streams) {
    this.model = model;
    handle = model.handle.user(address, Bindings::multibit_batch_free);
    handle.closeWith(this);
    fed = new boolean[streams];
  }

  private Pointer open() {
    return handle.address("The batch");
  }

  /** The number of streams. */
  public int streams() {
    return fed.length;
  }

  /** Sets all streams back to zero state. */
  public void reset() {
    synchronized (handle) {
      NativeLibrary.check(Bindings.multibit_batch_reset_all(open()));
      Arrays.fill(fed, false);
    }
  }

  /**
   * Sets one stream back to zero state.
   *
   * @throws IllegalArgumentException if there is no such stream
   */
  public void reset(int stream) {
    synchronized (handle) {
      NativeLibrary.check(Bindings.multibit_batch_reset(open(), stream));
      fed[stream] = false;
    }
  }

  /**
   * Feeds one token per stream.
   *
   * @param tokens a token or {@link #IDLE} for each stream
   * @throws IllegalArgumentException if there are not as many tokens as streams, or a token is not
   *     in the vocabulary; then nothing was fed
   * @throws ArithmeticException if the model's values are so large that a state overflows; reset
   *     the streams of this step then
   */
  public void step(int... tokens) {
    synchronized (handle) {
      Pointer batch = open();
      if (tokens.length != fed.length) {
        throw new IllegalArgumentException(
            "There are %s tokens for %s streams".formatted(tokens.length, fed.length));
      }
      int code = Bindings.multibit_batch_step(batch, tokens);
      if (code != Bindings.MULTIBIT_ERROR_ARGUMENT) {
        for (int stream = 0; stream < fed.length; stream++) {
          fed[stream] = code == Bindings.MULTIBIT_OK && tokens[stream] != IDLE;
        }
      }
      NativeLibrary.check(code);
    }
  }

  /**
   * The logits of a stream after the last step, one per word.
   *
   * @throws IllegalArgumentException if there is no such stream, or the last step did not feed it
   * @throws ArithmeticException if the model's values are so large that logits overflow
   */
  public float[] logits(int stream) {
    synchronized (handle) {
      Pointer batch = open();
      if (stream < 0 || stream >= fed.length) {
        throw new IllegalArgumentException(
            "There is no stream %s in a batch of %s".formatted(stream, fed.length));
      }
      if (!fed[stream]) {
        throw new IllegalArgumentException(
            "There are no logits of stream %s: the last step did not feed it".formatted(stream));
      }
      try (FloatPointer logits = new FloatPointer((Pointer) null)) {
        NativeLibrary.check(Bindings.multibit_batch_logits(batch, logits));
        float[] copy = new float[model.vocabularySize()];
        logits.position((long) stream * copy.length).get(copy);
        return copy;
      }
    }
  }

  /** Frees the batch; closing again does nothing. */
  @Override
  public void close() {
    handle.close();
  }
}

package org.multibit.runtime;

import java.util.Objects;
import org.bytedeco.javacpp.FloatPointer;
import org.bytedeco.javacpp.PointerPointer;

/**
 * One stream of tokens through a {@link PackedLanguageModel}. Its methods may be called from any
 * thread, one at a time (they are synchronized). After {@link #close} (twice does no harm) they
 * throw IllegalStateException.
 */
public final class Session implements AutoCloseable {
  private final PackedLanguageModel model;
  private final int vocabularySize;
  private NativeBinding.multibit_session session;

  Session(PackedLanguageModel model, NativeBinding.multibit_session session) {
    this.model = model;
    this.vocabularySize = model.vocabularySize();
    this.session = session;
  }

  /** Back to zero state. */
  public synchronized void reset() {
    PackedLanguageModel.check(NativeBinding.multibit_session_reset(open()));
  }

  /**
   * Feeds one token.
   *
   * @throws IllegalArgumentException if it is outside the vocabulary
   */
  public synchronized void step(int token) {
    PackedLanguageModel.check(NativeBinding.multibit_session_step(open(), token));
  }

  /** The logits after the last step, one per word. */
  public synchronized float[] logits() {
    try (PointerPointer<FloatPointer> out = new PointerPointer<>(1)) {
      PackedLanguageModel.check(NativeBinding.multibit_session_logits(open(), out));
      FloatPointer pointer = NativeBinding.floats(out);
      float[] logits = new float[vocabularySize];
      pointer.get(logits);
      return logits;
    }
  }

  /**
   * Feeds {@code first}, then each token but the last.
   *
   * @param tokens the targets
   * @return the sum of -ln p over all targets, in float64
   */
  public synchronized double evaluate(int first, int[] tokens) {
    double[] loss = new double[1];
    PackedLanguageModel.check(
        NativeBinding.multibit_session_evaluate(
            open(), first, Objects.requireNonNull(tokens, "tokens"), tokens.length, loss));
    return loss[0];
  }

  /**
   * Draws one token after another and feeds it. There must have been a step before.
   *
   * @param temperature 0 takes the likeliest word each time
   * @param topK draw among so many of the likeliest words; 0 = all
   * @param seed the same seed gives the same tokens
   */
  public synchronized int[] generate(int count, float temperature, int topK, long seed) {
    if (count < 0) {
      throw new IllegalArgumentException("Cannot generate " + count + " tokens");
    }
    int[] tokens = new int[count];
    PackedLanguageModel.check(
        NativeBinding.multibit_session_generate(open(), temperature, topK, seed, tokens, count));
    return tokens;
  }

  private NativeBinding.multibit_session open() {
    if (session == null) {
      throw new IllegalStateException("The session is closed");
    }
    return session;
  }

  @Override
  public synchronized void close() {
    if (session != null) {
      NativeBinding.multibit_session_free(session);
      session = null;
      model.sessionClosed();
    }
  }
}

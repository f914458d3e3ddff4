package org.multibit.datasets;

import java.util.List;
import java.util.Locale;
import java.util.NoSuchElementException;
import org.nd4j.linalg.api.buffer.DataType;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.nd4j.linalg.dataset.DataSet;
import org.nd4j.linalg.dataset.api.DataSetPreProcessor;
import org.nd4j.linalg.dataset.api.iterator.DataSetIterator;
import org.nd4j.linalg.factory.Nd4j;

/**
 * A token stream as mini-batches for truncated BPTT with carried state. The stream is cut into
 * {@code batch} rows of equal length; the remainder at its end is dropped. The rows are read side
 * by side in segments of {@code unroll} time steps, so row r of a segment continues row r of the
 * segment before. At each step the feature is the id of a token, and the label is the id of the
 * next token of the row. The first token of a row is never a label, and the last one is never a
 * feature.
 *
 * <p>Features and labels are [batch, 1, time] floats. The last segment may be shorter. The array of
 * tokens is not copied.
 */
public final class TokenIterator implements DataSetIterator {

  private static final long serialVersionUID = 1;

  private final int[] tokens;
  private final int batch;
  private final int unroll;
  private final int rowLength;
  private int position;
  private DataSetPreProcessor preProcessor;

  /**
   * @param tokens the stream
   * @param batch rows read side by side
   * @param unroll time steps of a segment
   * @throws IllegalArgumentException if batch or unroll are not positive, or the stream is too
   *     short for the batch
   */
  public TokenIterator(int[] tokens, int batch, int unroll) {
    if (batch < 1 || unroll < 1) {
      throw new IllegalArgumentException(
          "Batch and unroll must be at least 1, not %s and %s".formatted(batch, unroll));
    }
    if (tokens.length < 2L * batch) {
      throw new IllegalArgumentException(
          String.format(
              Locale.ROOT,
              "The text is too short: a batch of %,d needs at least %,d tokens, and it has %,d",
              batch,
              2L * batch,
              tokens.length));
    }
    this.tokens = tokens;
    this.batch = batch;
    this.unroll = unroll;
    rowLength = tokens.length / batch;
  }

  /**
   * For perplexity: one row in which every token of the text is a label, and the first feature is
   * {@code <eos>}.
   *
   * @param tokens the text, copied
   * @param eos the id of {@code <eos>}
   * @param unroll time steps of a segment
   */
  public static TokenIterator evaluation(int[] tokens, int eos, int unroll) {
    if (tokens.length == 0) {
      throw new IllegalArgumentException("The text to evaluate is empty");
    }
    int[] stream = new int[tokens.length + 1];
    stream[0] = eos;
    System.arraycopy(tokens, 0, stream, 1, tokens.length);
    return new TokenIterator(stream, 1, unroll);
  }

  /** The number of segments. */
  public int segments() {
    return (rowLength - 2) / unroll + 1;
  }

  /** The number of labels in all segments together. */
  public long labels() {
    return (long) batch * (rowLength - 1);
  }

  /** How many segments have been read since the start, 0 to {@link #segments()}. */
  public int position() {
    return position;
  }

  /**
   * Continues reading as if {@code position} segments had been read.
   *
   * @throws IllegalArgumentException if there are fewer segments
   */
  public void seek(int position) {
    if (position < 0 || position > segments()) {
      throw new IllegalArgumentException(
          "No position %s in a text of %s segments".formatted(position, segments()));
    }
    this.position = position;
  }

  @Override
  public boolean hasNext() {
    return position < segments();
  }

  @Override
  public DataSet next() {
    if (!hasNext()) {
      throw new NoSuchElementException(
          "The text has ended after " + position + " segments; call reset()");
    }
    int start = position * unroll;
    int time = Math.min(unroll, rowLength - 1 - start);
    DataSet data = new DataSet(array(start, time), array(start + 1, time));
    position++;
    if (preProcessor != null) {
      preProcessor.preProcess(data);
    }
    return data;
  }

  /** The tokens from {@code start} on in each row, [batch, 1, time]. */
  private INDArray array(int start, int time) {
    float[] ids = new float[batch * time];
    for (int row = 0; row < batch; row++) {
      for (int t = 0; t < time; t++) {
        ids[row * time + t] = tokens[row * rowLength + start + t];
      }
    }
    return Nd4j.create(ids, new long[] {batch, 1, time}, 'c').castTo(DataType.FLOAT);
  }

  /**
   * The rows carry state, so a segment always has all of them: {@code num} must be {@link
   * #batch()}.
   */
  @Override
  public DataSet next(int num) {
    if (num != batch) {
      throw new UnsupportedOperationException(
          "Each segment has %s rows that go on from the last one; it cannot have %s"
              .formatted(batch, num));
    }
    return next();
  }

  /** One token id per step. */
  @Override
  public int inputColumns() {
    return 1;
  }

  /** One token id per step: labels are sparse. */
  @Override
  public int totalOutcomes() {
    return 1;
  }

  @Override
  public boolean resetSupported() {
    return true;
  }

  /**
   * False: with a thread that reads ahead, {@link #position()} would not be the position of
   * training.
   */
  @Override
  public boolean asyncSupported() {
    return false;
  }

  @Override
  public void reset() {
    position = 0;
  }

  @Override
  public int batch() {
    return batch;
  }

  @Override
  public void setPreProcessor(DataSetPreProcessor preProcessor) {
    this.preProcessor = preProcessor;
  }

  @Override
  public DataSetPreProcessor getPreProcessor() {
    return preProcessor;
  }

  /** Null: the ids have no class names here; see {@link Vocabulary#words()}. */
  @Override
  public List<String> getLabels() {
    return null;
  }
}

package org.multibit.datasets;

import java.io.DataInputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.URI;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashSet;
import java.util.Iterator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.NoSuchElementException;
import java.util.Set;
import org.datavec.api.conf.Configuration;
import org.datavec.api.records.Record;
import org.datavec.api.records.SequenceRecord;
import org.datavec.api.records.metadata.RecordMetaData;
import org.datavec.api.records.metadata.RecordMetaDataIndex;
import org.datavec.api.records.reader.BaseRecordReader;
import org.datavec.api.records.reader.SequenceRecordReader;
import org.datavec.api.split.InputSplit;
import org.datavec.api.writable.IntWritable;
import org.datavec.api.writable.Writable;

/**
 * Reads text files as sequences of token ids for DataVec. A sequence is a line, or a window of a
 * fixed number of tokens (the last of a file may be shorter). Each time step has two columns: the
 * previous token (a file begins as if after {@code <eos>}) and the token. So the second column has
 * every token of a file once, including {@code <eos>} at the end of each line:
 *
 * <pre>{@code
 * SequenceRecordReader reader = new TokenSequenceRecordReader(vocabulary);
 * reader.initialize(new FileSplit(file));
 * new SequenceRecordReaderDataSetIterator(reader, 32, -1, 1, true);  // features, sparse labels: [32, 1, longest]
 * }</pre>
 */
public final class TokenSequenceRecordReader extends BaseRecordReader
    implements SequenceRecordReader {

  private static final long serialVersionUID = 1;
  private static final int LINES = 0;

  private final Vocabulary vocabulary;
  private final int window;
  private Configuration configuration;
  private transient Iterator<URI> files;
  private transient Sequences sequences;
  private transient SequenceRecord next;

  /** Makes each line a sequence. */
  public TokenSequenceRecordReader(Vocabulary vocabulary) {
    this.vocabulary = vocabulary;
    window = LINES;
  }

  /**
   * Makes each {@code window} tokens a sequence.
   *
   * @throws IllegalArgumentException if the window is not positive
   */
  public TokenSequenceRecordReader(Vocabulary vocabulary, int window) {
    if (window < 1) {
      throw new IllegalArgumentException("A window takes at least 1 token, not " + window);
    }
    this.vocabulary = vocabulary;
    this.window = window;
  }

  /** The sequences of one file. */
  private final class Sequences implements AutoCloseable {

    private final URI uri;
    private final TokenReader tokens;
    private int before = vocabulary.eos();
    private long index;

    Sequences(URI uri) throws IOException {
      this.uri = uri;
      tokens = new TokenReader(streamCreatorFn.apply(uri), uri.toString(), vocabulary::find);
    }

    Sequences(URI uri, DataInputStream in) {
      this.uri = uri;
      tokens = new TokenReader(in, String.valueOf(uri), vocabulary::find);
    }

    /** The next sequence, or null at the end of the file. */
    SequenceRecord next() throws IOException {
      List<List<Writable>> steps = steps();
      return steps.isEmpty()
          ? null
          : new org.datavec.api.records.impl.SequenceRecord(
              steps, new RecordMetaDataIndex(index++, uri, TokenSequenceRecordReader.class));
    }

    private List<List<Writable>> steps() throws IOException {
      List<List<Writable>> steps = new ArrayList<>();
      do {
        int token = tokens.next();
        if (token < 0) {
          break;
        }
        steps.add(Arrays.asList(new IntWritable(before), new IntWritable(token)));
        before = token;
      } while (window == LINES ? !tokens.atLineEnd() : steps.size() < window);
      return steps;
    }

    @Override
    public void close() throws IOException {
      tokens.close();
    }
  }

  @Override
  public void initialize(InputSplit split) throws IOException, InterruptedException {
    super.initialize(split);
    URI[] locations = split.locations();
    if (locations == null || locations.length == 0) {
      throw new IllegalArgumentException("No files in the " + split.getClass().getSimpleName());
    }
    rewind();
  }

  @Override
  public void initialize(Configuration configuration, InputSplit split)
      throws IOException, InterruptedException {
    setConf(configuration);
    initialize(split);
  }

  private void rewind() throws IOException {
    close();
    files = inputSplit.locationsIterator();
    advance();
  }

  private void advance() throws IOException {
    next = null;
    while (next == null && (sequences != null || files.hasNext())) {
      if (sequences == null) {
        sequences = new Sequences(files.next());
      }
      next = sequences.next();
      if (next == null) {
        close();
      }
    }
  }

  @Override
  public boolean hasNext() {
    checkInitialized();
    return next != null;
  }

  private void checkInitialized() {
    if (files == null) {
      throw new IllegalStateException("Call initialize(split) first");
    }
  }

  /** The next line's or window's time steps, each [token before, token] as ids. */
  @Override
  public List<List<Writable>> sequenceRecord() {
    return nextSequence().getSequenceRecord();
  }

  @Override
  public SequenceRecord nextSequence() {
    if (!hasNext()) {
      throw new NoSuchElementException("The text has ended; call reset()");
    }
    SequenceRecord sequence = next;
    invokeListeners(sequence);
    try {
      advance();
    } catch (IOException e) {
      throw new UncheckedIOException(e.getMessage(), e);
    }
    return sequence;
  }

  /** All tokens of a stream as one sequence. */
  @Override
  public List<List<Writable>> sequenceRecord(URI uri, DataInputStream in) throws IOException {
    List<List<Writable>> steps = new ArrayList<>();
    Sequences whole = new Sequences(uri, in);
    for (SequenceRecord part = whole.next(); part != null; part = whole.next()) {
      steps.addAll(part.getSequenceRecord());
    }
    return steps;
  }

  @Override
  public SequenceRecord loadSequenceFromMetaData(RecordMetaData metaData) throws IOException {
    return loadSequenceFromMetaData(List.of(metaData)).get(0);
  }

  /** Reads each file once. */
  @Override
  public List<SequenceRecord> loadSequenceFromMetaData(List<RecordMetaData> metaData)
      throws IOException {
    Map<URI, Set<Long>> wanted = new LinkedHashMap<>();
    for (RecordMetaData data : metaData) {
      if (!(data instanceof RecordMetaDataIndex)) {
        throw new IllegalArgumentException("Not the meta data of this reader's sequences: " + data);
      }
      wanted
          .computeIfAbsent(data.getURI(), uri -> new HashSet<>())
          .add(((RecordMetaDataIndex) data).getIndex());
    }
    Map<RecordMetaData, SequenceRecord> found = new LinkedHashMap<>();
    for (Map.Entry<URI, Set<Long>> file : wanted.entrySet()) {
      try (Sequences all = new Sequences(file.getKey())) {
        int left = file.getValue().size();
        for (SequenceRecord one = all.next(); one != null && left > 0; one = all.next()) {
          if (file.getValue().contains(((RecordMetaDataIndex) one.getMetaData()).getIndex())) {
            found.put(one.getMetaData(), one);
            left--;
          }
        }
      }
    }
    List<SequenceRecord> sequences = new ArrayList<>();
    for (RecordMetaData data : metaData) {
      SequenceRecord sequence = found.get(data);
      if (sequence == null) {
        throw new IOException(
            "No sequence " + ((RecordMetaDataIndex) data).getIndex() + " in " + data.getURI());
      }
      sequences.add(sequence);
    }
    return sequences;
  }

  @Override
  public void reset() {
    checkInitialized();
    try {
      rewind();
    } catch (IOException e) {
      throw new UncheckedIOException(e.getMessage(), e);
    }
  }

  @Override
  public boolean resetSupported() {
    return true;
  }

  @Override
  public void close() throws IOException {
    if (sequences != null) {
      sequences.close();
      sequences = null;
    }
  }

  /** The vocabulary's words. */
  @Override
  public List<String> getLabels() {
    return vocabulary.words();
  }

  @Override
  public void setConf(Configuration configuration) {
    this.configuration = configuration;
  }

  @Override
  public Configuration getConf() {
    return configuration;
  }

  @Override
  public List<Writable> next() {
    throw new UnsupportedOperationException("This reader reads sequences: call sequenceRecord()");
  }

  @Override
  public Record nextRecord() {
    throw new UnsupportedOperationException("This reader reads sequences: call nextSequence()");
  }

  @Override
  public List<Writable> record(URI uri, DataInputStream in) {
    throw new UnsupportedOperationException(
        "This reader reads sequences: call sequenceRecord(uri, stream)");
  }

  @Override
  public Record loadFromMetaData(RecordMetaData metaData) {
    throw new UnsupportedOperationException(
        "This reader reads sequences: call loadSequenceFromMetaData");
  }

  @Override
  public List<Record> loadFromMetaData(List<RecordMetaData> metaData) {
    throw new UnsupportedOperationException(
        "This reader reads sequences: call loadSequenceFromMetaData");
  }
}

package org.multibit.datasets;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.DataInputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.URI;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.datavec.api.records.SequenceRecord;
import org.datavec.api.records.reader.SequenceRecordReader;
import org.datavec.api.split.CollectionInputSplit;
import org.datavec.api.split.FileSplit;
import org.deeplearning4j.datasets.datavec.SequenceRecordReaderDataSetIterator;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.nd4j.linalg.dataset.DataSet;
import org.nd4j.linalg.factory.Nd4j;

class TokenSequenceRecordReaderTest {

  private static final Vocabulary VOCABULARY = new Vocabulary(List.of("<eos>", "<unk>", "a", "b"));

  @TempDir Path folder;
  private Path first;
  private Path second;

  @BeforeEach
  void write() throws IOException {
    first = Files.writeString(folder.resolve("1.txt"), "a b\n\nb zebra a\n");
    second = Files.writeString(folder.resolve("2.txt"), "b\n");
  }

  private SequenceRecordReader open(TokenSequenceRecordReader reader) throws Exception {
    reader.initialize(new CollectionInputSplit(List.of(first.toUri(), second.toUri())));
    return reader;
  }

  /** Each sequence as its columns: tokens before, tokens. */
  private static List<String> read(SequenceRecordReader reader) {
    List<String> sequences = new ArrayList<>();
    while (reader.hasNext()) {
      sequences.add(text(reader.nextSequence()));
    }
    return sequences;
  }

  private static String text(SequenceRecord sequence) {
    return sequence.getSequenceRecord().toString();
  }

  @Test
  void linesAreSequences() throws Exception {
    SequenceRecordReader reader = open(new TokenSequenceRecordReader(VOCABULARY));
    List<String> expected =
        List.of(
            "[[0, 2], [2, 3], [3, 0]]",
            "[[0, 0]]",
            "[[0, 3], [3, 1], [1, 2], [2, 0]]",
            "[[0, 3], [3, 0]]");
    assertEquals(expected, read(reader));
    Files.writeString(first, "a b\r\rb zebra a\r");
    reader.reset();
    assertEquals(expected, read(reader));
    assertEquals(VOCABULARY.words(), reader.getLabels());
  }

  @Test
  void windowsAreSequences() throws Exception {
    SequenceRecordReader reader = open(new TokenSequenceRecordReader(VOCABULARY, 5));
    assertEquals(
        List.of(
            "[[0, 2], [2, 3], [3, 0], [0, 0], [0, 3]]",
            "[[3, 1], [1, 2], [2, 0]]",
            "[[0, 3], [3, 0]]"),
        read(reader));
  }

  @Test
  void loadsAgainByMetaData() throws Exception {
    SequenceRecordReader reader = open(new TokenSequenceRecordReader(VOCABULARY));
    List<SequenceRecord> all = new ArrayList<>();
    while (reader.hasNext()) {
      all.add(reader.nextSequence());
    }
    List<SequenceRecord> wanted = List.of(all.get(3), all.get(2), all.get(0), all.get(2));
    assertEquals(
        wanted,
        reader.loadSequenceFromMetaData(wanted.stream().map(SequenceRecord::getMetaData).toList()));
    Files.writeString(first, "a\n");
    IOException e =
        assertThrows(
            IOException.class, () -> reader.loadSequenceFromMetaData(all.get(2).getMetaData()));
    assertEquals("No sequence 2 in " + first.toUri(), e.getMessage());
  }

  @Test
  void readsAStreamAsOneSequence() throws Exception {
    try (DataInputStream in = new DataInputStream(Files.newInputStream(first))) {
      assertEquals(
          "[[0, 2], [2, 3], [3, 0], [0, 0], [0, 3], [3, 1], [1, 2], [2, 0]]",
          new TokenSequenceRecordReader(VOCABULARY).sequenceRecord(first.toUri(), in).toString());
    }
  }

  /** DL4J's own iterator makes [batch, 1, time] of it, with masks for the shorter lines. */
  @Test
  void feedsDl4jsIterator() throws Exception {
    TokenSequenceRecordReader reader = new TokenSequenceRecordReader(VOCABULARY);
    reader.initialize(new FileSplit(first.toFile()));
    SequenceRecordReaderDataSetIterator iterator =
        new SequenceRecordReaderDataSetIterator(reader, 3, -1, 1, true);
    DataSet data = iterator.next();
    assertFalse(iterator.hasNext());
    assertEquals(
        Nd4j.createFromArray(new float[][][] {{{0, 2, 3, 0}}, {{0, 0, 0, 0}}, {{0, 3, 1, 2}}}),
        data.getFeatures());
    assertEquals(
        Nd4j.createFromArray(new float[][][] {{{2, 3, 0, 0}}, {{0, 0, 0, 0}}, {{3, 1, 2, 0}}}),
        data.getLabels());
    assertArrayEquals(
        new float[][] {{1, 1, 1, 0}, {1, 0, 0, 0}, {1, 1, 1, 1}},
        data.getLabelsMaskArray().toFloatMatrix());
  }

  @Test
  void namesFileAndLineOfBadText() throws Exception {
    Files.writeString(first, "a\nb <eos>\n");
    SequenceRecordReader reader = open(new TokenSequenceRecordReader(VOCABULARY));
    UncheckedIOException e = assertThrows(UncheckedIOException.class, reader::nextSequence);
    assertTrue(e.getMessage().startsWith(first.toUri() + ", line 2: "), e.getMessage());
  }

  @Test
  void refusesMisuse() throws Exception {
    TokenSequenceRecordReader reader = new TokenSequenceRecordReader(VOCABULARY);
    assertThrows(IllegalStateException.class, reader::hasNext);
    assertThrows(
        IllegalArgumentException.class, () -> new TokenSequenceRecordReader(VOCABULARY, 0));
    assertThrows(
        IllegalArgumentException.class,
        () -> reader.initialize(new CollectionInputSplit(new URI[0])));
    assertThrows(UnsupportedOperationException.class, reader::next);
  }
}

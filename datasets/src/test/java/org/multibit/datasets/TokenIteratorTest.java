package org.multibit.datasets;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.NoSuchElementException;
import java.util.stream.IntStream;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.constraints.IntRange;
import org.junit.jupiter.api.Test;
import org.nd4j.common.util.SerializationUtils;
import org.nd4j.linalg.api.buffer.DataType;
import org.nd4j.linalg.dataset.DataSet;

class TokenIteratorTest {

  /** All different, so that a token's id says where it came from. */
  private static int[] tokens(int count) {
    return IntStream.range(100, 100 + count).toArray();
  }

  /** The batches laid side by side again are the rows of the stream, labels one token ahead. */
  @Property(tries = 200)
  void rowsAreTheStreamAndLabelsTheNextToken(
      @ForAll @IntRange(min = 1, max = 5) int batch,
      @ForAll @IntRange(min = 1, max = 8) int unroll,
      @ForAll @IntRange(max = 60) int more) {
    int[] tokens = tokens(2 * batch + more);
    int rowLength = tokens.length / batch;
    TokenIterator iterator = new TokenIterator(tokens, batch, unroll);
    List<List<Integer>> features = rows(batch);
    List<List<Integer>> labels = rows(batch);
    int segments = 0;
    while (iterator.hasNext()) {
      DataSet data = iterator.next();
      segments++;
      int time = (int) data.getFeatures().size(2);
      assertEquals(segments < iterator.segments() ? unroll : (rowLength - 2) % unroll + 1, time);
      assertArrayEquals(new long[] {batch, 1, time}, data.getFeatures().shape());
      assertArrayEquals(new long[] {batch, 1, time}, data.getLabels().shape());
      assertEquals(DataType.FLOAT, data.getFeatures().dataType());
      assertEquals(DataType.FLOAT, data.getLabels().dataType());
      for (int row = 0; row < batch; row++) {
        for (int t = 0; t < time; t++) {
          features.get(row).add(data.getFeatures().getInt(row, 0, t));
          labels.get(row).add(data.getLabels().getInt(row, 0, t));
        }
      }
    }
    assertEquals(iterator.segments(), segments);
    for (int row = 0; row < batch; row++) {
      int start = row * rowLength;
      assertEquals(list(tokens, start, start + rowLength - 1), features.get(row));
      assertEquals(list(tokens, start + 1, start + rowLength), labels.get(row));
    }
    assertEquals(iterator.labels(), labels.stream().mapToLong(List::size).sum());
  }

  /**
   * The protocol of perplexity: first the end of a line, then every token once as a label, in
   * order.
   */
  @Property(tries = 100)
  void evaluationHasEveryTokenAsALabel(
      @ForAll @IntRange(min = 1, max = 70) int count,
      @ForAll @IntRange(min = 1, max = 9) int unroll) {
    int[] tokens = tokens(count);
    TokenIterator iterator = TokenIterator.evaluation(tokens, 7, unroll);
    List<Integer> features = new ArrayList<>();
    List<Integer> labels = new ArrayList<>();
    while (iterator.hasNext()) {
      DataSet data = iterator.next();
      Arrays.stream(data.getFeatures().data().asInt()).forEach(features::add);
      Arrays.stream(data.getLabels().data().asInt()).forEach(labels::add);
    }
    assertEquals(list(tokens, 0, count), labels);
    assertEquals(count, iterator.labels());
    assertEquals(7, features.get(0));
    assertEquals(list(tokens, 0, count - 1), features.subList(1, count));
  }

  @Property(tries = 100)
  void seekEqualsReadingOn(
      @ForAll @IntRange(min = 1, max = 4) int batch,
      @ForAll @IntRange(min = 1, max = 5) int unroll,
      @ForAll @IntRange(max = 60) int more,
      @ForAll @IntRange(max = 70) int position) {
    int[] tokens = tokens(2 * batch + more);
    TokenIterator read = new TokenIterator(tokens, batch, unroll);
    for (int i = 0; i < position % read.segments(); i++) {
      read.next();
    }
    TokenIterator sought = new TokenIterator(tokens, batch, unroll);
    sought.seek(read.position());
    while (read.hasNext()) {
      assertEquals(read.next(), sought.next());
      assertEquals(read.position(), sought.position());
    }
    assertFalse(sought.hasNext());
    assertThrows(NoSuchElementException.class, sought::next);
    sought.reset();
    assertEquals(100, sought.next().getFeatures().getInt(0, 0, 0));
    assertThrows(IllegalArgumentException.class, () -> sought.seek(read.segments() + 1));
    assertThrows(IllegalArgumentException.class, () -> sought.seek(-1));
  }

  @Test
  void saysHowManyTokensABatchNeeds() {
    Exception e =
        assertThrows(IllegalArgumentException.class, () -> new TokenIterator(tokens(39), 20, 30));
    assertEquals(
        "The text is too short: a batch of 20 needs at least 40 tokens, and it has 39",
        e.getMessage());
    assertEquals(1, new TokenIterator(tokens(40), 20, 30).segments());
    assertThrows(IllegalArgumentException.class, () -> new TokenIterator(tokens(40), 0, 30));
    assertThrows(IllegalArgumentException.class, () -> new TokenIterator(tokens(40), 20, 0));
    assertThrows(IllegalArgumentException.class, () -> TokenIterator.evaluation(new int[0], 0, 30));
  }

  @Test
  void isADataSetIteratorLikeOthers() {
    TokenIterator iterator = new TokenIterator(tokens(20), 2, 4);
    iterator.setPreProcessor(data -> data.getFeatures().addi(1));
    assertEquals(101, iterator.next(2).getFeatures().getInt(0, 0, 0));
    assertThrows(UnsupportedOperationException.class, () -> iterator.next(3));
    iterator.setPreProcessor(null);
    TokenIterator copy = SerializationUtils.fromByteArray(SerializationUtils.toByteArray(iterator));
    assertEquals(1, copy.position());
    assertEquals(iterator.next(), copy.next());
  }

  private static List<List<Integer>> rows(int batch) {
    return IntStream.range(0, batch).<List<Integer>>mapToObj(row -> new ArrayList<>()).toList();
  }

  private static List<Integer> list(int[] tokens, int from, int to) {
    return Arrays.stream(tokens, from, to).boxed().toList();
  }
}

package org.multibit.datasets;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Set;
import java.util.stream.Stream;
import net.jqwik.api.Arbitraries;
import net.jqwik.api.Arbitrary;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.Provide;
import net.jqwik.api.constraints.IntRange;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class VocabularyTest {

  @Property(tries = 100)
  void savedAndLoadedIsEqual(@ForAll("words") Set<String> words) throws IOException {
    List<String> all = new ArrayList<>(words);
    all.add(Vocabulary.EOS);
    Vocabulary vocabulary = new Vocabulary(all);
    Path folder = Files.createTempDirectory("vocabulary");
    Path file = folder.resolve("vocabulary.txt");
    vocabulary.save(file);
    vocabulary.save(file);
    try (Stream<Path> files = Files.list(folder)) {
      assertEquals(List.of(file), files.toList(), "only the file itself is left");
    }
    assertEquals(vocabulary, Vocabulary.load(file));
    Files.delete(file);
    Files.delete(folder);
  }

  @Provide
  Arbitrary<Set<String>> words() {
    return Arbitraries.strings()
        .all()
        .excludeChars('\0', ' ', '\t', '\n', '\u000B', '\f', '\r', '\uFEFF')
        .ofMinLength(1)
        .ofMaxLength(6)
        .filter(word -> word.chars().noneMatch(c -> Character.isSurrogate((char) c)))
        .set()
        .ofMaxSize(20);
  }

  /**
   * Against a plain restatement: no word left out is more frequent, or as frequent and earlier,
   * than one kept.
   */
  @Property(tries = 300)
  void keepsTheMostFrequentInOrderOfAppearance(
      @ForAll List<@IntRange(max = 12) Integer> text,
      @ForAll @IntRange(min = 3, max = 10) int maxSize,
      @ForAll @IntRange(min = 1, max = 3) int minCount) {
    List<String> words = text.stream().map(i -> i == 0 ? Vocabulary.EOS : "w" + i).toList();
    Vocabulary.Builder builder = new Vocabulary.Builder();
    words.forEach(builder::add);
    Vocabulary built = builder.build(maxSize, minCount);

    List<String> byFrequency = new ArrayList<>(new LinkedHashSet<>(words));
    byFrequency.removeIf(word -> word.equals(Vocabulary.EOS) || count(words, word) < minCount);
    byFrequency.sort((a, b) -> Long.compare(count(words, b), count(words, a)));
    Set<String> expected = new LinkedHashSet<>(words);
    expected.retainAll(byFrequency.subList(0, Math.min(maxSize - 2, byFrequency.size())));
    Set<String> inOrder = new LinkedHashSet<>(words);
    inOrder.removeIf(word -> !expected.contains(word) && !word.equals(Vocabulary.EOS));
    inOrder.add(Vocabulary.EOS);
    inOrder.add(Vocabulary.UNK);
    assertEquals(List.copyOf(inOrder), built.words());
    assertTrue(built.size() <= maxSize);
  }

  private static long count(List<String> words, String word) {
    return words.stream().filter(word::equals).count();
  }

  @Test
  void encodesUnknownWordsAsUnk() {
    Vocabulary vocabulary = new Vocabulary(List.of("a", "<unk>", "<eos>", "b"));
    assertArrayEquals(new int[] {3, 1, 0}, vocabulary.encode(" b  ccc\ta\n"));
    assertEquals(1, vocabulary.unk());
    assertEquals(2, vocabulary.eos());
    assertEquals("b", vocabulary.word(3));
    assertThrows(IllegalArgumentException.class, () -> vocabulary.word(4));
  }

  /** What cannot be seen of a word splits nothing, and is seen in messages. */
  @Test
  void showsWhatCannotBeSeen(@TempDir Path folder) throws IOException {
    List<String> words = List.of("a\u00A0b", "\u2028", "<eos>");
    Path file = folder.resolve("v.txt");
    for (String end : List.of("\n", "\r", "\r\n")) {
      Files.writeString(file, String.join(end, words));
      assertEquals(words, Vocabulary.load(file).words());
    }
    Vocabulary vocabulary = new Vocabulary(words);
    assertArrayEquals(new int[] {0, 1, 2}, vocabulary.encode("a\u00A0b \u2028\r<eos>\u000B"));
    for (String[] word :
        new String[][] {
          {"\u2029", "\\u2029"},
          {"\u0000\u0085", "\\u0000\\u0085"},
          {"\u3000\u00AD\u202Ex\u200B", "\\u3000\\u00AD\\u202Ex\\u200B"},
          {"\uFEFF\uFE0F\uD800", "\\uFEFF\\uFE0F\\uD800"},
          {"\uDB40\uDC41\uD83D\uDE00", "\\u{E0041}\uD83D\uDE00"},
          {"戦\u0301\u05D0", "戦\u0301\u05D0"},
          {"x".repeat(80), "x".repeat(80)},
          {"x".repeat(81), "x".repeat(80) + "..."}
        }) {
      Exception e =
          assertThrows(IllegalArgumentException.class, () -> vocabulary.encode(word[0] + " a"));
      assertEquals(
          "'%s' is not in the vocabulary, which has no <unk>".formatted(word[1]), e.getMessage());
    }
  }

  /** Whatever Unicode calls a blank, a control or a format character. */
  @Property
  void whatUnicodeCallsInvisibleIsShown(@ForAll @IntRange(max = 0x10FFFF) int c) {
    int type = Character.getType(c);
    boolean visible = Words.shown(Character.toString(c)).codePointAt(0) == c;
    if (type == Character.SPACE_SEPARATOR
        || type == Character.LINE_SEPARATOR
        || type == Character.PARAGRAPH_SEPARATOR
        || type == Character.CONTROL) {
      assertEquals(c == ' ', visible, Integer.toHexString(c));
    } else if (type == Character.LOWERCASE_LETTER || type == Character.DECIMAL_DIGIT_NUMBER) {
      assertTrue(visible, Integer.toHexString(c));
    }
  }

  @Test
  void refusesUnknownWordsWithoutUnk() {
    Vocabulary vocabulary = new Vocabulary(List.of("a", "<eos>"));
    assertEquals(-1, vocabulary.unk());
    Exception e = assertThrows(IllegalArgumentException.class, () -> vocabulary.encode("a zebra"));
    assertEquals("'zebra' is not in the vocabulary, which has no <unk>", e.getMessage());
  }

  @ParameterizedTest
  @CsvSource({
    "'a\nb\n', lacks <eos>",
    "'a\n\n<eos>\n', line 2: a vocabulary has exactly one word on each line",
    "'a b\n<eos>\n', line 1: a vocabulary has exactly one word on each line",
    "'a\n<eos>\na\n', 'holds ''a'' twice, as word 0 and word 2'",
    "'', lacks <eos>",
  })
  void refusesAFileThatHoldsNoVocabulary(String content, String message, @TempDir Path folder)
      throws IOException {
    Path file = Files.writeString(folder.resolve("v.txt"), content);
    IOException e = assertThrows(IOException.class, () -> Vocabulary.load(file));
    assertTrue(e.getMessage().contains(message), e.getMessage());
    assertTrue(e.getMessage().startsWith(file.toString()), e.getMessage());
  }

  @Test
  void namesAMissingFile(@TempDir Path folder) {
    Path file = folder.resolve("none.txt");
    IOException e = assertThrows(IOException.class, () -> Vocabulary.load(file));
    assertEquals("No vocabulary file " + file, e.getMessage());
  }
}

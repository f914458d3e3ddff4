package org.multibit.datasets;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import net.jqwik.api.Arbitraries;
import net.jqwik.api.Arbitrary;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.Provide;
import net.jqwik.api.constraints.IntRange;
import net.jqwik.api.constraints.Size;
import org.junit.jupiter.api.Test;

class TextReaderTest {

  /** Against String's own splitting, on texts that straddle the reader's buffer too. */
  @Property(tries = 300)
  void splitsAsStringDoes(@ForAll("texts") String text) throws IOException {
    String padded = text.length() % 2 == 0 ? text : "x".repeat((1 << 16) - text.length()) + text;
    List<List<String>> expected = new ArrayList<>();
    for (String line : padded.split("\r\n|[\n\r]", -1)) {
      expected.add(Arrays.stream(line.split("[ \t\u000B\f]+")).filter(w -> !w.isEmpty()).toList());
    }
    if (padded.isEmpty() || padded.matches("(?s).*[\n\r]")) {
      expected.remove(expected.size() - 1);
    }
    assertEquals(expected, read(padded.getBytes(StandardCharsets.UTF_8)));
  }

  @Provide
  Arbitrary<String> texts() {
    return Arbitraries.of(
            "a",
            "bc",
            "<unk>",
            "ä",
            "戦場",
            "\uD83D\uDE00",
            "\u00A0",
            " ",
            "  ",
            "\t",
            "\n",
            "\u2028",
            "\r",
            "\r\n",
            "\n\n")
        .list()
        .ofMaxSize(30)
        .map(parts -> String.join("", parts));
  }

  /** The lines of a text are the same whatever ends them, also where a buffer ends between two. */
  @Property(tries = 100)
  void lineEndsAreAlike(
      @ForAll @Size(min = 1, max = 9) List<@IntRange(max = 2) Integer> wordsOfLines,
      @ForAll @IntRange(max = 3) int before)
      throws IOException {
    String start = "x".repeat((1 << 16) - before);
    List<List<String>> lines = new ArrayList<>();
    lines.add(List.of(start));
    wordsOfLines.forEach(count -> lines.add(Collections.nCopies(count, "a")));
    for (String end : List.of("\n", "\r", "\r\n")) {
      StringBuilder text = new StringBuilder();
      lines.forEach(line -> text.append(String.join(" ", line)).append(end));
      assertEquals(lines, read(text.toString().getBytes(StandardCharsets.UTF_8)));
    }
  }

  @Test
  void countsLinesWhateverEndsThem() {
    for (String end : List.of("\n", "\r", "\r\n")) {
      byte[] latin1 = ("a" + end + end + "caf\u00E9").getBytes(StandardCharsets.ISO_8859_1);
      IOException e = assertThrows(IOException.class, () -> read(latin1));
      assertTrue(e.getMessage().startsWith("some.txt, line 3: "), e.getMessage());
    }
  }

  private static List<List<String>> read(byte[] bytes) throws IOException {
    List<List<String>> lines = new ArrayList<>();
    try (TextReader reader = new TextReader(new ByteArrayInputStream(bytes), "some.txt")) {
      while (reader.nextLine()) {
        List<String> line = new ArrayList<>();
        for (String word = reader.nextWord(); word != null; word = reader.nextWord()) {
          line.add(word);
        }
        lines.add(line);
      }
    }
    return lines;
  }

  @Test
  void wordsAreBounded() throws IOException {
    String longest = "x".repeat(1 << 20);
    assertEquals(
        List.of(List.of("a", longest)), read(("a " + longest).getBytes(StandardCharsets.UTF_8)));
    byte[] longer = ("a\nb " + longest + "x").getBytes(StandardCharsets.UTF_8);
    IOException e = assertThrows(IOException.class, () -> read(longer));
    assertEquals(
        "some.txt, line 2: a word of more than 1048576 bytes at byte 4 of the file: split the text into words by white space",
        e.getMessage());
  }

  @Test
  void skipsAByteOrderMark() throws IOException {
    assertEquals(
        List.of(List.of("a"), List.of("b")), read("\uFEFFa\nb\n".getBytes(StandardCharsets.UTF_8)));
    assertEquals(
        List.of(List.of(), List.of("b")), read("\uFEFF\nb\n".getBytes(StandardCharsets.UTF_8)));
  }

  @Test
  void namesLineAndByteOfBrokenEncoding() {
    byte[] latin1 = "one\ntwo caf\u00E9 three\n".getBytes(StandardCharsets.ISO_8859_1);
    IOException e = assertThrows(IOException.class, () -> read(latin1));
    assertEquals(
        "some.txt, line 2: not UTF-8 at byte 11 of the file (0xE9); convert the file to UTF-8",
        e.getMessage());

    byte[] cut = Arrays.copyOf("ok 戦".getBytes(StandardCharsets.UTF_8), 5);
    e = assertThrows(IOException.class, () -> read(cut));
    assertTrue(
        e.getMessage().contains("line 1: not UTF-8 at byte 3 of the file (0xE6)"), e.getMessage());

    byte[] utf16 = "one two".getBytes(StandardCharsets.UTF_16LE);
    e = assertThrows(IOException.class, () -> read(utf16));
    assertEquals(
        "some.txt, line 1: a zero byte at byte 1 of the file, which is no UTF-8 text",
        e.getMessage());
  }
}

package org.multibit.core;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.stream.Collectors;
import java.util.stream.IntStream;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import org.junit.jupiter.api.Test;

class PrintableTest {

  @Test
  void controlCharactersAndLoneSurrogatesBecomeQuestionMarks() {
    String controls =
        IntStream.rangeClosed(0, 0x9F)
            .filter(c -> c < 0x20 || c >= 0x7F)
            .mapToObj(Character::toString)
            .collect(Collectors.joining());
    assertEquals("?".repeat(32 + 33), Printable.of(controls));
    assertEquals("?[31mred?0m??", Printable.of("\u001b[31mred\u009b0m\r\n"));
    assertEquals("a?", Printable.of("a\uD83D"));
    assertEquals("?b", Printable.of("\uDE00b"));
  }

  @Test
  void otherTextStays() {
    String text = " ~\u00A0\u00E9\u4E16\uD83D\uDE00\uFFFD";
    assertEquals(text, Printable.of(text));
  }

  @Test
  void aLongTextIsCutBetweenCharacters() {
    assertEquals("abc", Printable.of("abc", 3));
    assertEquals("abc...", Printable.of("abcd", 3));
    assertEquals("ab...", Printable.of("ab\uD83D\uDE00", 3));
  }

  @Property
  void nothingThatIsShownMovesTheCursor(@ForAll String text) {
    String shown = Printable.of(text);
    assertTrue(
        shown
            .codePoints()
            .noneMatch(
                c -> Character.isISOControl(c) || Character.getType(c) == Character.SURROGATE));
    assertEquals(text.length(), shown.length());
  }
}

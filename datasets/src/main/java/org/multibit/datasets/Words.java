package org.multibit.datasets;

import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Locale;
import java.util.StringTokenizer;

/**
 * Splits texts, vocabulary files and prompts into words. Words end only at ASCII white space. A
 * no-break space, a zero-width space or a line separator is part of its word; {@link #shown} makes
 * it visible.
 */
public final class Words {

  /** Space, tab, line feed, vertical tab, form feed, carriage return. */
  private static final String WHITE_SPACE = " \t\n\u000B\f\r";

  /** The largest number of characters of a word that a message shows. */
  private static final int MOST_SHOWN = 80;

  /**
   * First and last characters of the ranges of invisible characters: controls, Unicode's blanks,
   * and its default ignorable characters. native/runtime/text.cpp has the same list.
   */
  private static final int[] INVISIBLE = {
    0x00, 0x1F, 0x7F, 0xA0, 0xAD, 0xAD, 0x34F, 0x34F, 0x61C, 0x61C, 0x115F, 0x1160, 0x1680, 0x1680,
    0x17B4, 0x17B5, 0x180B, 0x180F, 0x2000, 0x200F, 0x2028, 0x202F, 0x205F, 0x206F, 0x2800, 0x2800,
    0x3000, 0x3000, 0x3164, 0x3164, 0xD800, 0xDFFF, 0xFE00, 0xFE0F, 0xFEFF, 0xFEFF, 0xFFA0, 0xFFA0,
    0xFFF0, 0xFFFB, 0x1BCA0, 0x1BCA3, 0x1D173, 0x1D17A, 0xE0000, 0xE0FFF
  };

  private Words() {}

  static boolean isWhiteSpace(int c) {
    return WHITE_SPACE.indexOf(c) >= 0;
  }

  /** The words of a text, in order. */
  public static List<String> of(String text) {
    return Collections.list(new StringTokenizer(text, WHITE_SPACE)).stream()
        .map(String.class::cast)
        .toList();
  }

  /**
   * A word as messages show it, cut after 80 characters. Each invisible character (Unicode's
   * blanks, control, zero-width, bidirectional and separator characters) appears as its code, for
   * example {@code \u00A0}.
   */
  public static String shown(String word) {
    StringBuilder shown = new StringBuilder();
    int[] characters = word.codePoints().limit(MOST_SHOWN + 1L).toArray();
    for (int i = 0; i < Math.min(characters.length, MOST_SHOWN); i++) {
      int c = characters[i];
      if (!isInvisible(c)) {
        shown.appendCodePoint(c);
      } else {
        String form = Character.isBmpCodePoint(c) ? "\\u%04X" : "\\u{%X}";
        shown.append(String.format(Locale.ROOT, form, c));
      }
    }
    return characters.length > MOST_SHOWN ? shown + "..." : shown.toString();
  }

  private static boolean isInvisible(int c) {
    // The number of ends of ranges before c is odd within a range.
    int at = Arrays.binarySearch(INVISIBLE, c);
    return at >= 0 || (-at - 1) % 2 == 1;
  }
}

package org.multibit.core;

/**
 * What a terminal is shown of text that may hold anything: the words and keys of a file, a name, a
 * prompt. A control character could move the cursor, change colours or end the line; it becomes a
 * question mark. The native programs follow the same rule.
 */
public final class Printable {
  private Printable() {}

  /**
   * The text with '?' in place of each control character (U+0000 to U+001F, U+007F to U+009F) and
   * each surrogate that is not one of a pair.
   */
  public static String of(String text) {
    return of(text, text.length());
  }

  /**
   * The same for the start of a text, followed by "..." where that is not all.
   *
   * @param most chars of the text that are shown; a pair of surrogates is not split
   */
  public static String of(String text, int most) {
    StringBuilder shown = new StringBuilder();
    int next = 0;
    while (next < text.length()) {
      int character = text.codePointAt(next);
      int chars = Character.charCount(character);
      if (next + chars > most) {
        return shown.append("...").toString();
      }
      shown.appendCodePoint(isPrintable(character) ? character : '?');
      next += chars;
    }
    return shown.toString();
  }

  private static boolean isPrintable(int character) {
    return !Character.isISOControl(character)
        && !(Character.isBmpCodePoint(character) && Character.isSurrogate((char) character));
  }
}

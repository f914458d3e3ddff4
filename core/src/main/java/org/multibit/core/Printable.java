package org.multibit.core;

/**
 * Makes text from a file, a name or a prompt safe to print on a terminal. A control character could
 * move the cursor, change colours or end the line, so it becomes a question mark. The native
 * programs follow the same rule.
 */
public final class Printable {
  private Printable() {}

  /**
   * The text with '?' in place of each control character (U+0000 to U+001F, U+007F to U+009F) and
   * each unpaired surrogate.
   */
  public static String of(String text) {
    return of(text, text.length());
  }

  /**
   * The start of the text in the same form, followed by "..." if the text is longer.
   *
   * @param most the largest number of chars of the text to show; a pair of surrogates is not split
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

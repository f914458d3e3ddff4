package org.multibit.training;

import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.nio.CharBuffer;
import java.nio.charset.CharsetDecoder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Locale;

/** Small text files of a run. */
public final class Utf8 {
  private Utf8() {}

  /**
   * The text of a file.
   *
   * @param most the largest number of bytes that it may have
   * @throws IOException if it cannot be read, has more bytes, or is not UTF-8; the message has
   *     file, line and byte
   */
  public static String read(Path file, int most) throws IOException {
    byte[] content;
    try (InputStream in = Files.newInputStream(file)) {
      content = in.readNBytes(most + 1);
    }
    if (content.length > most) {
      throw new IOException("%s is damaged: it has more than %s bytes".formatted(file, most));
    }
    ByteBuffer bytes = ByteBuffer.wrap(content);
    CharBuffer text = CharBuffer.allocate(content.length);
    CharsetDecoder decoder = StandardCharsets.UTF_8.newDecoder();
    if (decoder.decode(bytes, text, true).isError()) {
      int at = bytes.position();
      String before = new String(Arrays.copyOf(content, at), StandardCharsets.UTF_8);
      throw new IOException(
          String.format(
              Locale.ROOT,
              "%s is damaged: line %d is not UTF-8 at byte %d of the file (0x%02X)",
              file,
              before.split("\\R", -1).length,
              at,
              content[at]));
    }
    return text.flip().toString();
  }
}

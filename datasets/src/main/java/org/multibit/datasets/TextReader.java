package org.multibit.datasets;

import java.io.Closeable;
import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.nio.CharBuffer;
import java.nio.charset.CharsetDecoder;
import java.nio.charset.CoderResult;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;

/**
 * Reads a UTF-8 text line by line and word by word. Its memory does not grow with the text or its
 * lines (Text8 is one line of 100 MB). A line ends with a line feed, a carriage return, or a
 * carriage return and a line feed. {@link Words} defines where words are split. Bytes that are not
 * UTF-8 are an error; they are never replaced.
 */
final class TextReader implements Closeable {

  private static final String BYTE_ORDER_MARK = "\uFEFF";

  /** As a packed model's words may have (docs/format.md). */
  private static final int MAX_WORD = 1 << 20;

  private final InputStream in;
  private final String file;
  private final CharsetDecoder decoder = StandardCharsets.UTF_8.newDecoder();
  private final byte[] buffer = new byte[1 << 16];
  private int position;
  private int limit;
  private long bufferOffset;
  private byte[] word = new byte[64];
  private long line;
  private boolean inLine;

  /**
   * @param in the text's bytes; closed with this reader
   * @param file the name for messages
   */
  TextReader(InputStream in, String file) {
    this.in = in;
    this.file = file;
  }

  /** File and line, for messages. */
  String place() {
    return file + ", line " + line;
  }

  /** Goes to the next line and skips the rest of this one. Returns false at the end of the text. */
  boolean nextLine() throws IOException {
    while (inLine) {
      nextWord();
    }
    if (peek() < 0) {
      return false;
    }
    line++;
    inLine = true;
    return true;
  }

  /** The line's next word, or null at its end. */
  String nextWord() throws IOException {
    while (inLine) {
      long start = bufferOffset + position;
      int length = 0;
      int c;
      while ((c = peek()) >= 0 && !Words.isWhiteSpace(c)) {
        if (c == 0) {
          throw new IOException(
              "%s: a zero byte at byte %s of the file, which is no UTF-8 text"
                  .formatted(place(), bufferOffset + position));
        }
        if (length == MAX_WORD) {
          throw new IOException(
              "%s: a word of more than %s bytes at byte %s of the file: split the text into words by white space"
                  .formatted(place(), MAX_WORD, start));
        }
        if (length == word.length) {
          word = Arrays.copyOf(word, 2 * length);
        }
        word[length++] = (byte) c;
        position++;
      }
      if (length > 0) {
        String decoded = decode(start, length);
        if (!decoded.isEmpty()) {
          return decoded;
        }
      } else if (c < 0) {
        inLine = false;
      } else {
        position++;
        inLine = c != '\n' && c != '\r';
        if (c == '\r' && peek() == '\n') {
          position++;
        }
      }
    }
    return null;
  }

  /** The next byte, without reading it, or -1 at the end of the text. */
  private int peek() throws IOException {
    if (position >= limit) {
      bufferOffset += limit;
      position = 0;
      limit = Math.max(0, in.read(buffer));
      if (limit == 0) {
        return -1;
      }
    }
    return buffer[position] & 0xFF;
  }

  private String decode(long start, int length) throws IOException {
    ByteBuffer bytes = ByteBuffer.wrap(word, 0, length);
    CharBuffer chars = CharBuffer.allocate(length);
    CoderResult result = decoder.reset().decode(bytes, chars, true);
    if (result.isError()) {
      throw new IOException(
          "%s: not UTF-8 at byte %s of the file (0x%02X); convert the file to UTF-8"
              .formatted(place(), start + bytes.position(), word[bytes.position()]));
    }
    String decoded = chars.flip().toString();
    return start == 0 && decoded.startsWith(BYTE_ORDER_MARK) ? decoded.substring(1) : decoded;
  }

  @Override
  public void close() throws IOException {
    in.close();
  }
}

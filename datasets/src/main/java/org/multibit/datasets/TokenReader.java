package org.multibit.datasets;

import java.io.Closeable;
import java.io.IOException;
import java.io.InputStream;
import java.util.function.ToIntFunction;
import java.util.stream.IntStream;

/**
 * Reads a text as tokens: its words, and {@code <eos>} at the end of each line, including blank
 * lines.
 */
final class TokenReader implements Closeable {

  private final TextReader text;
  private final ToIntFunction<String> ids;
  private boolean inLine;

  /**
   * @param in the text's bytes; closed with this reader
   * @param file the name for messages
   * @param ids gives a word's id, or -1 for a word that has none
   */
  TokenReader(InputStream in, String file, ToIntFunction<String> ids) {
    text = new TextReader(in, file);
    this.ids = ids;
  }

  /** The next token's id, or -1 at the end of the text. */
  int next() throws IOException {
    if (!inLine && !text.nextLine()) {
      return -1;
    }
    String word = text.nextWord();
    inLine = word != null;
    if (!inLine) {
      return ids.applyAsInt(Vocabulary.EOS);
    }
    if (word.equals(Vocabulary.EOS)) {
      throw new IOException(
          "%s: the text holds the word %s, which is put at the end of each line anyway; remove it"
              .formatted(text.place(), Vocabulary.EOS));
    }
    int id = ids.applyAsInt(word);
    if (id < 0) {
      throw new IOException(
          "%s: '%s' is not in the vocabulary, which has no %s"
              .formatted(text.place(), Words.shown(word), Vocabulary.UNK));
    }
    return id;
  }

  /** Whether the token just read was the end of a line. */
  boolean atLineEnd() {
    return !inLine;
  }

  /** All tokens left. */
  int[] readAll() throws IOException {
    IntStream.Builder tokens = IntStream.builder();
    for (int token = next(); token >= 0; token = next()) {
      tokens.add(token);
    }
    return tokens.build().toArray();
  }

  @Override
  public void close() throws IOException {
    text.close();
  }
}

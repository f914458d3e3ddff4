package org.multibit.datasets;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;

/**
 * Finds a corpus by the value of {@code --data}: {@code ptb}, {@code wikitext-2}, {@code text8} or
 * a folder.
 */
public final class Corpora {
  private static final List<String> NAMES = List.of(PennTreebank.NAME, WikiText2.NAME, Text8.NAME);

  private Corpora() {}

  /**
   * Reads a corpus with the vocabulary of its training split.
   *
   * @param data {@code ptb}, {@code wikitext-2}, {@code text8} or a folder's path ({@code ./ptb}
   *     for a folder of that name)
   * @throws IllegalArgumentException if {@code data} is neither of the names nor a folder
   * @throws IOException if a split is missing, empty, not UTF-8, or cannot be downloaded
   */
  public static TextCorpus open(String data) throws IOException {
    return TextCorpus.read(source(data));
  }

  /**
   * Reads a corpus with a model's vocabulary.
   *
   * @throws IllegalArgumentException if {@code data} is neither of the names nor a folder
   * @throws IOException as above, or if the text has a word that a vocabulary without {@code <unk>}
   *     lacks
   */
  public static TextCorpus open(String data, Vocabulary vocabulary) throws IOException {
    return TextCorpus.read(source(data), vocabulary);
  }

  /** Whether {@code data} is one of the names, or a folder. */
  public static boolean isThere(String data) {
    return NAMES.contains(data) || Files.isDirectory(Path.of(data));
  }

  /**
   * Finds a corpus without reading it.
   *
   * @throws IllegalArgumentException if {@code data} is neither of the names nor a folder
   * @throws IOException if the folder holds no corpus
   */
  public static TextSource source(String data) throws IOException {
    switch (data) {
      case PennTreebank.NAME:
        return new PennTreebank();
      case WikiText2.NAME:
        return new WikiText2();
      case Text8.NAME:
        return new Text8();
      default:
        break;
    }
    Path folder = Path.of(data);
    if (!Files.isDirectory(folder)) {
      throw new IllegalArgumentException(
          "%s '%s': the data is %s, %s, %s or a folder with train.txt, valid.txt and test.txt"
              .formatted(
                  Files.exists(folder) ? "Not a folder:" : "No such data or folder:",
                  data,
                  PennTreebank.NAME,
                  WikiText2.NAME,
                  Text8.NAME));
    }
    return Text8.isIn(folder) ? Text8.in(folder) : new TextFolder(folder);
  }
}

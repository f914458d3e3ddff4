package org.multibit.datasets;

import java.io.IOException;
import java.security.DigestInputStream;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.Arrays;
import java.util.EnumMap;
import java.util.HexFormat;
import java.util.Locale;
import java.util.Map;
import java.util.function.ToIntFunction;

/**
 * A corpus as token ids. Each split is one stream, with {@code <eos>} at the end of each line,
 * including blank lines. The arrays belong to the corpus: do not write to them.
 */
public final class TextCorpus {

  private final String name;
  private final Vocabulary vocabulary;
  private final Map<Split, int[]> tokens;
  private final String sha256;

  private TextCorpus(String name, Vocabulary vocabulary, Map<Split, int[]> tokens, String sha256) {
    this.name = name;
    this.vocabulary = vocabulary;
    this.tokens = tokens;
    this.sha256 = sha256;
  }

  /**
   * Reads a corpus with the vocabulary of its training split, in order of first appearance. If the
   * training split has no {@code <unk>}, it is added for the words that only the other splits have.
   *
   * @throws IOException if a split cannot be opened, is empty, is not UTF-8, or contains the word
   *     {@code <eos>}
   */
  public static TextCorpus read(TextSource source) throws IOException {
    Vocabulary.Builder builder = new Vocabulary.Builder();
    MessageDigest digest = newDigest();
    int[] train = read(source, Split.TRAIN, digest, builder::add);
    Vocabulary vocabulary = builder.build(Vocabulary.MAX_SIZE, source.minCount());
    builder.renumber(train, vocabulary);
    return readRest(source, vocabulary, train, digest);
  }

  /**
   * Reads a corpus with a given vocabulary.
   *
   * @throws IOException as above, or if the text has a word that a vocabulary without {@code <unk>}
   *     lacks; the message has file and line
   */
  public static TextCorpus read(TextSource source, Vocabulary vocabulary) throws IOException {
    MessageDigest digest = newDigest();
    int[] train = read(source, Split.TRAIN, digest, vocabulary::find);
    return readRest(source, vocabulary, train, digest);
  }

  private static TextCorpus readRest(
      TextSource source, Vocabulary vocabulary, int[] train, MessageDigest digest)
      throws IOException {
    Map<Split, int[]> tokens = new EnumMap<>(Split.class);
    tokens.put(Split.TRAIN, train);
    tokens.put(Split.VALID, read(source, Split.VALID, digest, vocabulary::find));
    tokens.put(Split.TEST, read(source, Split.TEST, digest, vocabulary::find));
    return new TextCorpus(
        source.name(), vocabulary, tokens, HexFormat.of().formatHex(digest.digest()));
  }

  private static int[] read(
      TextSource source, Split split, MessageDigest digest, ToIntFunction<String> ids)
      throws IOException {
    String file = source.file(split);
    try (TokenReader reader =
        new TokenReader(new DigestInputStream(source.open(split), digest), file, ids)) {
      int[] tokens = reader.readAll();
      if (tokens.length == 0) {
        throw new IOException(file + " is empty: the " + split + " split needs text");
      }
      return tokens;
    }
  }

  private static MessageDigest newDigest() {
    try {
      return MessageDigest.getInstance("SHA-256");
    } catch (NoSuchAlgorithmException e) {
      throw new AssertionError("Every Java platform has SHA-256", e);
    }
  }

  /** The corpus's name, as results show it. */
  public String name() {
    return name;
  }

  public Vocabulary vocabulary() {
    return vocabulary;
  }

  /** The token ids of a split. */
  public int[] tokens(Split split) {
    return tokens.get(split);
  }

  public int[] train() {
    return tokens(Split.TRAIN);
  }

  public int[] valid() {
    return tokens(Split.VALID);
  }

  public int[] test() {
    return tokens(Split.TEST);
  }

  /**
   * SHA-256 over the bytes of the training, validation and test text, one after the other, in
   * lower-case hex.
   */
  public String sha256() {
    return sha256;
  }

  /**
   * The beginning of each split, with a new vocabulary: the most frequent words of the training
   * slice; all other words become {@code <unk>}. The SHA-256 stays that of the whole source.
   *
   * @param maxTrainTokens the largest number of tokens of the training split; a shorter split stays
   *     whole
   * @param maxValidTokens the same for the validation split
   * @param maxTestTokens the same for the test split
   * @param vocabularySize the largest number of words, including {@code <eos>} and {@code <unk>};
   *     at least 3
   */
  public TextCorpus slice(
      int maxTrainTokens, int maxValidTokens, int maxTestTokens, int vocabularySize) {
    Map<Split, int[]> slices = new EnumMap<>(Split.class);
    slices.put(Split.TRAIN, first(maxTrainTokens, Split.TRAIN));
    slices.put(Split.VALID, first(maxValidTokens, Split.VALID));
    slices.put(Split.TEST, first(maxTestTokens, Split.TEST));
    Vocabulary.Builder builder = new Vocabulary.Builder();
    for (int token : slices.get(Split.TRAIN)) {
      builder.add(vocabulary.word(token));
    }
    Vocabulary sliced = builder.build(vocabularySize, 1);
    int[] ids = vocabulary.words().stream().mapToInt(sliced::find).toArray();
    for (int[] slice : slices.values()) {
      Arrays.setAll(slice, i -> ids[slice[i]]);
    }
    return new TextCorpus(name, sliced, slices, sha256);
  }

  private int[] first(int max, Split split) {
    if (max < 1) {
      throw new IllegalArgumentException(
          "A slice needs at least one token of the %s split, not %s".formatted(split, max));
    }
    int[] all = tokens(split);
    return Arrays.copyOf(all, Math.min(max, all.length));
  }

  @Override
  public String toString() {
    return String.format(
        Locale.ROOT,
        "%s: %,d / %,d / %,d tokens, %,d words",
        name,
        train().length,
        valid().length,
        test().length,
        vocabulary.size());
  }
}

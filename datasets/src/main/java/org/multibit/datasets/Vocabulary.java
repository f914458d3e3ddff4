package org.multibit.datasets;

import java.io.IOException;
import java.io.Serializable;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.stream.IntStream;
import org.multibit.core.format.AtomicFile;

/**
 * The words that a model knows and their ids, 0 to {@code size() - 1}. It always contains {@code
 * <eos>}, which ends each line of a text and begins each evaluation. A vocabulary that is built
 * from a text also contains {@code <unk>}, which stands for every word that the vocabulary lacks.
 * Immutable.
 */
public final class Vocabulary implements Serializable {

  /** Stands for every word that the vocabulary lacks. */
  public static final String UNK = "<unk>";

  /** Ends each line. */
  public static final String EOS = "<eos>";

  /**
   * The largest number of words: DL4J passes ids as floats, which represent whole numbers exactly
   * up to here.
   */
  public static final int MAX_SIZE = 1 << 24;

  private static final long serialVersionUID = 1;

  private final String[] words;
  private final HashMap<String, Integer> ids;

  /**
   * Numbers words in the given order.
   *
   * @throws IllegalArgumentException if a word is empty, contains white space or occurs twice,
   *     {@code <eos>} is missing, or there are more than {@link #MAX_SIZE}
   */
  public Vocabulary(List<String> words) {
    if (words.size() > MAX_SIZE) {
      throw new IllegalArgumentException(
          String.format(
              Locale.ROOT,
              "A vocabulary takes at most %,d words, not %,d",
              MAX_SIZE,
              words.size()));
    }
    this.words = words.toArray(String[]::new);
    ids = new HashMap<>(words.size() * 4 / 3 + 1);
    for (int id = 0; id < this.words.length; id++) {
      String word = this.words[id];
      if (word.isEmpty() || word.chars().anyMatch(Words::isWhiteSpace)) {
        throw new IllegalArgumentException(
            "Word %s of the vocabulary, '%s', is empty or holds white space"
                .formatted(id, Words.shown(word)));
      }
      Integer first = ids.putIfAbsent(word, id);
      if (first != null) {
        throw new IllegalArgumentException(
            "The vocabulary holds '%s' twice, as word %s and word %s"
                .formatted(Words.shown(word), first, id));
      }
    }
    if (!ids.containsKey(EOS)) {
      throw new IllegalArgumentException(
          "The vocabulary lacks " + EOS + ", which ends each line of a text");
    }
  }

  /**
   * Reads a vocabulary from a file: one word per line in the order of the ids, UTF-8.
   *
   * @throws IOException if the file cannot be read or has no vocabulary; the message has the file's
   *     name and line
   */
  public static Vocabulary load(Path file) throws IOException {
    if (!Files.isRegularFile(file)) {
      throw new IOException("No vocabulary file " + file);
    }
    List<String> words = new ArrayList<>();
    try (TextReader text = new TextReader(Files.newInputStream(file), file.toString())) {
      while (text.nextLine()) {
        String word = text.nextWord();
        if (word == null || text.nextWord() != null) {
          throw new IOException(text.place() + ": a vocabulary has exactly one word on each line");
        }
        words.add(word);
      }
    }
    try {
      return new Vocabulary(words);
    } catch (IllegalArgumentException e) {
      throw new IOException(file + ": " + e.getMessage(), e);
    }
  }

  /**
   * Writes the words to a file, one per line, in UTF-8. Replaces a file of that name; if writing
   * fails, the older file stays unchanged.
   */
  public void save(Path file) throws IOException {
    AtomicFile.write(file, String.join("\n", words) + "\n");
  }

  /** The number of words, including {@code <eos>} and {@code <unk>}. */
  public int size() {
    return words.length;
  }

  /** The id of {@code <eos>}. */
  public int eos() {
    return ids.get(EOS);
  }

  /** The id of {@code <unk>}, or -1 if there is none. */
  public int unk() {
    return ids.getOrDefault(UNK, -1);
  }

  /** Whether the word has an id of its own. */
  public boolean contains(String word) {
    return ids.containsKey(word);
  }

  /** The word's id, or else that of {@code <unk>}, or else -1. */
  int find(String word) {
    Integer id = ids.get(word);
    return id == null ? unk() : id;
  }

  /**
   * The word's id, or that of {@code <unk>} if the vocabulary lacks the word.
   *
   * @throws IllegalArgumentException if it lacks both
   */
  public int id(String word) {
    int id = find(word);
    if (id < 0) {
      throw new IllegalArgumentException(
          "'%s' is not in the vocabulary, which has no %s".formatted(Words.shown(word), UNK));
    }
    return id;
  }

  /**
   * The ids of a text's {@link Words}, without {@code <eos>}.
   *
   * @throws IllegalArgumentException as {@link #id}
   */
  public int[] encode(String text) {
    return Words.of(text).stream().mapToInt(this::id).toArray();
  }

  /** The word of an id. */
  public String word(int id) {
    if (id < 0 || id >= words.length) {
      throw new IllegalArgumentException(
          "No word %s in a vocabulary of %s".formatted(id, words.length));
    }
    return words[id];
  }

  /** All words in the order of their ids. */
  public List<String> words() {
    return List.of(words);
  }

  @Override
  public boolean equals(Object other) {
    return other instanceof Vocabulary && Arrays.equals(words, ((Vocabulary) other).words);
  }

  @Override
  public int hashCode() {
    return Arrays.hashCode(words);
  }

  @Override
  public String toString() {
    return "vocabulary of " + words.length + " words";
  }

  /** Counts the words of a training text and makes a vocabulary of them. */
  public static final class Builder {

    private final Map<String, Integer> numbers = new HashMap<>();
    private final List<String> words = new ArrayList<>();
    private long[] counts = new long[1024];

    /**
     * Counts a word.
     *
     * @return its number, 0, 1, ... in order of first appearance; not its id if {@link #build}
     *     leaves words out
     */
    public int add(String word) {
      Integer number = numbers.putIfAbsent(word, words.size());
      if (number == null) {
        number = words.size();
        words.add(word);
        if (number == counts.length) {
          counts = Arrays.copyOf(counts, 2 * number);
        }
      }
      counts[number]++;
      return number;
    }

    /** Turns the numbers that {@link #add} gave into the ids of the vocabulary built. */
    void renumber(int[] numbers, Vocabulary vocabulary) {
      int[] ids = words.stream().mapToInt(vocabulary::find).toArray();
      Arrays.setAll(numbers, i -> ids[numbers[i]]);
    }

    /**
     * Builds a vocabulary of all counted words, in order of first appearance. {@code <eos>} and
     * {@code <unk>} are added at the end if missing.
     */
    public Vocabulary build() {
      return build(MAX_SIZE, 1);
    }

    /**
     * Builds a vocabulary of the most frequent words, in order of first appearance. It always
     * contains {@code <eos>} and {@code <unk>}, at the end if the text lacks them.
     *
     * @param maxSize the largest number of words, at least 3; of equally frequent words, those that
     *     appear first are kept
     * @param minCount words that occur fewer times in the text are left out
     */
    public Vocabulary build(int maxSize, int minCount) {
      if (maxSize < 3) {
        throw new IllegalArgumentException(
            "A vocabulary of %s is too small: %s, %s and one word make 3"
                .formatted(maxSize, EOS, UNK));
      }
      Set<String> kept = new HashSet<>(Set.of(EOS, UNK));
      IntStream.range(0, words.size())
          .filter(number -> counts[number] >= minCount && !kept.contains(words.get(number)))
          .boxed()
          .sorted(Comparator.comparing((Integer number) -> counts[number]).reversed())
          .limit(maxSize - 2L)
          .toList()
          .forEach(number -> kept.add(words.get(number)));
      List<String> ordered = new ArrayList<>(words);
      ordered.removeIf(word -> !kept.contains(word));
      for (String special : List.of(EOS, UNK)) {
        if (!numbers.containsKey(special)) {
          ordered.add(special);
        }
      }
      return new Vocabulary(ordered);
    }
  }
}

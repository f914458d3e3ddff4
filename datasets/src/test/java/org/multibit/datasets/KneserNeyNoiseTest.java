package org.multibit.datasets;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.Arrays;
import java.util.HashSet;
import java.util.Random;
import java.util.Set;
import org.junit.jupiter.api.Test;

class KneserNeyNoiseTest {
  private static final int WORDS = 20;

  /** Words of a skewed distribution; 19 is always followed by 18. */
  private static int[] text() {
    Random random = new Random(5);
    int[] text = new int[40_000];
    for (int i = 0; i < text.length; i++) {
      boolean follows = i > 0 && text[i - 1] == 19;
      text[i] = follows ? 18 : (int) (WORDS * random.nextDouble() * random.nextDouble());
    }
    return text;
  }

  /** Replaced as often and by what the definition says, counted here by sets of bigrams. */
  @Test
  void ratesAreThoseOfTheirDefinition() {
    int[] text = text();
    double gamma = 0.9;
    int[] count = new int[WORDS];
    Set<Integer> bigrams = new HashSet<>();
    for (int i = 0; i + 1 < text.length; i++) {
      count[text[i]]++;
      bigrams.add(text[i] * WORDS + text[i + 1]);
    }
    double[] follow = new double[WORDS];
    double[] precede = new double[WORDS];
    for (int bigram : bigrams) {
      follow[bigram / WORDS]++;
      precede[bigram % WORDS]++;
    }
    // Few words make few replacements: many texts make them a rate.
    double[] changed = new double[WORDS];
    double[] by = new double[WORDS];
    KneserNeyNoise noise = new KneserNeyNoise(text, WORDS, gamma);
    int texts = 400;
    for (int seed = 0; seed < texts; seed++) {
      int[] noised = noise.text(seed);
      for (int i = 0; i < text.length; i++) {
        if (noised[i] != text[i]) {
          changed[text[i]]++;
          by[noised[i]]++;
        }
      }
    }
    double expectedChanges = 0;
    for (int w = 0; w < WORDS; w++) {
      // A word that is drawn for itself is no change.
      double expected = texts * gamma * follow[w] * (1 - precede[w] / bigrams.size());
      assertEquals(expected, changed[w], 6 * Math.sqrt(expected) + 1e-9, "word " + w);
      expectedChanges += expected;
    }
    for (int w = 0; w < WORDS; w++) {
      double share = precede[w] / bigrams.size();
      double itself = texts * gamma * follow[w] * share;
      double expected = share * (texts * gamma * bigrams.size()) - itself;
      assertEquals(expected, by[w], 6 * Math.sqrt(expected) + 1e-9, "by word " + w);
    }
    assertTrue(expectedChanges > 50_000);
  }

  @Test
  void sameSeedSameText() {
    int[] text = text();
    int[] copy = text.clone();
    KneserNeyNoise noise = new KneserNeyNoise(text, WORDS, 0.5);
    assertArrayEquals(noise.text(3), noise.text(3));
    assertFalse(Arrays.equals(noise.text(3), noise.text(4)));
    assertArrayEquals(copy, text);
    assertArrayEquals(text, new KneserNeyNoise(text, WORDS, 0).text(3));
  }

  @Test
  void refusals() {
    for (double gamma : new double[] {-0.1, 1.1, Double.NaN}) {
      assertThrows(IllegalArgumentException.class, () -> new KneserNeyNoise(text(), WORDS, gamma));
    }
    assertThrows(
        IllegalArgumentException.class, () -> new KneserNeyNoise(new int[] {1}, WORDS, 0.1));
  }
}

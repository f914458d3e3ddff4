package org.multibit.training;

import java.util.Comparator;
import java.util.SplittableRandom;
import java.util.stream.IntStream;

/** Samples words from a distribution, where there is no native runtime to do it. */
public final class Sampler {
  private final double temperature;
  private final int topK;
  private final SplittableRandom random;

  /**
   * @param temperature 0 takes the most likely word
   * @param topK the number of most likely words to sample from; 0 = all
   */
  public Sampler(double temperature, int topK, long seed) {
    this.temperature = temperature;
    this.topK = topK;
    this.random = new SplittableRandom(seed);
  }

  /**
   * @param probabilities of each word
   */
  public int draw(float[] probabilities) {
    int[] candidates =
        IntStream.range(0, probabilities.length)
            .boxed()
            .sorted(Comparator.comparing(i -> -probabilities[i]))
            .limit(temperature == 0 ? 1 : topK == 0 ? probabilities.length : topK)
            .mapToInt(i -> i)
            .toArray();
    if (candidates.length == 1) {
      return candidates[0];
    }
    double[] weights = new double[candidates.length];
    double sum = 0;
    for (int i = 0; i < candidates.length; i++) {
      weights[i] =
          Math.pow(
              probabilities[candidates[i]] / (double) probabilities[candidates[0]],
              1 / temperature);
      sum += weights[i];
    }
    double point = random.nextDouble() * sum;
    int chosen = 0;
    while (chosen < candidates.length - 1 && (point -= weights[chosen]) >= 0) {
      chosen++;
    }
    return candidates[chosen];
  }
}

package org.multibit.benchmarks;

import java.nio.FloatBuffer;
import java.util.SplittableRandom;
import org.multibit.core.format.LanguageModelFile;

/** Random weights and activations in direct memory. */
final class Floats {
  private Floats() {}

  /** Normal weights. */
  static FloatBuffer normal(int count, double deviation, long seed) {
    SplittableRandom random = new SplittableRandom(seed);
    FloatBuffer floats = LanguageModelFile.directFloats(count);
    for (int i = 0; i < count; i++) {
      floats.put(i, (float) (deviation * random.nextGaussian()));
    }
    return floats;
  }

  /** Hidden states lie between -1 and 1. */
  static FloatBuffer hiddenStates(int count, long seed) {
    FloatBuffer floats = normal(count, 1, seed);
    for (int i = 0; i < count; i++) {
      floats.put(i, (float) Math.tanh(floats.get(i)));
    }
    return floats;
  }
}

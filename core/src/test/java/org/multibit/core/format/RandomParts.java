package org.multibit.core.format;

import java.nio.FloatBuffer;
import java.util.Random;
import org.multibit.core.Alternating;
import org.multibit.core.Kernels;
import org.multibit.core.MultibitMatrix;

/** What tests make models of. */
class RandomParts {
  private final Random random = new Random(1);

  FloatBuffer floats(int count) {
    FloatBuffer floats = LanguageModelFile.directFloats(count);
    for (int i = 0; i < count; i++) {
      floats.put(i, (float) random.nextGaussian());
    }
    return floats;
  }

  /** {@code bits} 0: full precision. */
  Matrix matrix(int rows, int cols, int bits, int activationBits) {
    FloatBuffer w = floats(rows * cols);
    if (bits == 0) {
      return Matrix.of(w, rows, cols, activationBits);
    }
    MultibitMatrix packed = MultibitMatrix.weights(rows, cols, bits);
    Kernels.java().quantize(new Alternating(), w, packed);
    return Matrix.of(packed, activationBits);
  }
}

package org.multibit.benchmarks;

import java.nio.FloatBuffer;
import java.util.List;
import java.util.Map;
import java.util.stream.IntStream;
import org.multibit.core.Alternating;
import org.multibit.core.Bits;
import org.multibit.core.Kernels;
import org.multibit.core.MultibitMatrix;
import org.multibit.core.format.LanguageModelFile;
import org.multibit.core.format.Layer;
import org.multibit.core.format.Matrix;

/**
 * An LSTM language model with random weights: what a step costs does not depend on their values.
 *
 * @param vocab V words
 * @param hidden H, also the size of the embedding
 */
record RandomLanguageModel(int vocab, int hidden) {
  /**
   * Quantizes the weights. The same bits of weights give the same weights.
   *
   * @param bits of every product
   */
  LanguageModelFile pack(Bits bits) {
    // States stay in the range where sigmoid and tanh bend.
    double deviation = 1 / Math.sqrt(hidden);
    Layer layer =
        new Layer(
            // Rows of the embedding are codes of the weights' bits already.
            matrix(4 * hidden, hidden, deviation, 2, bits.weights(), bits.weights()),
            matrix(4 * hidden, hidden, deviation, 3, bits.weights(), bits.activations()),
            Floats.normal(4 * hidden, 0.1, 4));
    return new LanguageModelFile(
        IntStream.range(0, vocab).mapToObj(i -> i == 0 ? "<eos>" : "word" + i).toList(),
        0,
        -1,
        matrix(vocab, hidden, 1, 1, bits.weights(), 0),
        List.of(layer),
        matrix(vocab, hidden, deviation, 5, bits.weights(), bits.activations()),
        Floats.normal(vocab, 0.1, 6),
        new Alternating(),
        new Alternating(),
        Map.of());
  }

  private static Matrix matrix(
      int rows, int cols, double deviation, long seed, int weightBits, int activationBits) {
    FloatBuffer floats = Floats.normal(rows * cols, deviation, seed);
    MultibitMatrix packed = MultibitMatrix.weights(rows, cols, weightBits);
    Kernels.get().quantize(new Alternating(), floats, packed);
    return Matrix.of(packed, activationBits);
  }
}

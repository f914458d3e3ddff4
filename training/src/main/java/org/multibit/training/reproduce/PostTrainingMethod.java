package org.multibit.training.reproduce;

import java.lang.ref.Reference;
import java.nio.FloatBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.function.BiFunction;
import org.multibit.core.Balanced;
import org.multibit.core.FloatRows;
import org.multibit.core.MultibitMatrix;
import org.multibit.core.Quantizer;
import org.multibit.core.Quantizers;
import org.multibit.core.Uniform;
import org.multibit.core.format.LanguageModelFile;
import org.multibit.core.format.LanguageModelFile.Layer;
import org.multibit.core.format.LanguageModelFile.Matrix;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.nd4j.linalg.factory.Nd4j;

/**
 * A way to quantize all weight matrices of a trained model at once (Tables 1 and 2). The paper does
 * not say over what uniform and balanced levels spread, so there are all ways.
 *
 * @param name as the table shows it
 * @param inPaper the method in the paper that this is; null if it has none
 * @param values the quantized values of a matrix, in its shape
 */
record PostTrainingMethod(
    String name, String inPaper, int maxBits, BiFunction<INDArray, Integer, INDArray> values) {

  /** The paper's methods, levels of a row spread over that row, and the exact optimum. */
  static List<PostTrainingMethod> ofRows() {
    List<PostTrainingMethod> methods = new ArrayList<>();
    for (String method : Quantizers.METHODS) {
      Quantizer quantizer = Quantizers.of(method);
      methods.add(
          new PostTrainingMethod(
              method,
              quantizer.maxBits() < Quantizer.MAX_BITS ? null : method,
              quantizer.maxBits(),
              byRow(quantizer)));
    }
    return methods;
  }

  /** Uniform and balanced with other ranges. */
  static List<PostTrainingMethod> ofOtherRanges() {
    return List.of(
        ranged(
            "uniform, scaled by the matrix's maximum",
            "uniform",
            (w, bits) -> byRow(new Uniform(w.amaxNumber().floatValue())).apply(w, bits)),
        ranged("uniform, clipped to [-1, 1]", "uniform", byRow(new Uniform(1))),
        ranged(
            "balanced over the matrix, scaled by its maximum",
            "balanced",
            overMatrix(new Balanced())),
        ranged("balanced by row, clipped to [-1, 1]", "balanced", byRow(new Balanced(1))),
        ranged(
            "balanced over the matrix, clipped to [-1, 1]",
            "balanced",
            overMatrix(new Balanced(1))));
  }

  private static PostTrainingMethod ranged(
      String name, String inPaper, BiFunction<INDArray, Integer, INDArray> values) {
    return new PostTrainingMethod(name, inPaper, Quantizer.MAX_BITS, values);
  }

  private static BiFunction<INDArray, Integer, INDArray> byRow(Quantizer quantizer) {
    return (w, bits) -> quantizer.quantize(w, bits).dequantize();
  }

  private static BiFunction<INDArray, Integer, INDArray> overMatrix(Quantizer quantizer) {
    return (w, bits) -> {
      MultibitMatrix oneRow = quantizer.quantize(w.reshape(1, w.length()), bits);
      return oneRow.dequantize().reshape(w.shape());
    };
  }

  /**
   * A quantized model.
   *
   * @param model the values as full-precision matrices
   * @param relativeSquaredError over all matrices together
   */
  record Quantized(LanguageModelFile model, double relativeSquaredError) {}

  /** Quantizes all matrices of a full-precision model; biases stay as they are. */
  Quantized quantize(LanguageModelFile model, int bits) {
    Errors errors = new Errors();
    List<Layer> layers = new ArrayList<>();
    for (Layer layer : model.layers()) {
      layers.add(
          new Layer(
              quantize(layer.input(), bits, errors),
              quantize(layer.recurrent(), bits, errors),
              layer.bias(),
              layer.recurrentBias()));
    }
    Matrix embedding = quantize(model.embedding(), bits, errors);
    Matrix softmax = model.tied() ? embedding : quantize(model.softmax(), bits, errors);
    return new Quantized(
        new LanguageModelFile(
            model.words(),
            model.eos(),
            model.unknown(),
            embedding,
            layers,
            softmax,
            model.softmaxBias(),
            null,
            null,
            model.provenance()),
        errors.squaredError / errors.squaredNorm);
  }

  private static final class Errors {
    private double squaredError;
    private double squaredNorm;
  }

  private Matrix quantize(Matrix matrix, int bits, Errors errors) {
    float[] floats = new float[matrix.dense().remaining()];
    matrix.dense().duplicate().get(floats);
    INDArray weights = Nd4j.createFromArray(floats).reshape(matrix.rows(), matrix.cols());
    INDArray quantized = values.apply(weights, bits);
    FloatBuffer copy = LanguageModelFile.directFloats(floats.length);
    copy.put(FloatRows.of(quantized)).flip();
    Reference.reachabilityFence(quantized);
    for (int i = 0; i < floats.length; i++) {
      double error = (double) floats[i] - copy.get(i);
      errors.squaredError += error * error;
      errors.squaredNorm += (double) floats[i] * floats[i];
    }
    return Matrix.of(copy, matrix.rows(), matrix.cols(), 0);
  }
}

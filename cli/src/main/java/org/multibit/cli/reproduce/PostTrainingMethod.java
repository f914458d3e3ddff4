package org.multibit.cli.reproduce;

import java.lang.ref.Reference;
import java.nio.FloatBuffer;
import java.util.ArrayList;
import java.util.IdentityHashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.BiFunction;
import org.multibit.core.Balanced;
import org.multibit.core.MultibitMatrix;
import org.multibit.core.PaperAlternating;
import org.multibit.core.Quantizer;
import org.multibit.core.Quantizers;
import org.multibit.core.SquaredError;
import org.multibit.core.Uniform;
import org.multibit.core.format.LanguageModelFile;
import org.multibit.core.format.Layer;
import org.multibit.core.format.Matrix;
import org.multibit.layers.FloatRows;
import org.multibit.layers.QuantizedArrays;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.nd4j.linalg.factory.Nd4j;

/**
 * A way to quantize all weight matrices of a trained model at once (Tables 1 and 2). The paper does
 * not say over what uniform and balanced levels spread, so there are all ways.
 *
 * @param name as the table shows it
 * @param inPaper the name in the paper of the method that this is
 * @param maxBits the most that it can
 * @param values the quantized values of a matrix, in its shape
 */
record PostTrainingMethod(
    String name, String inPaper, int maxBits, BiFunction<INDArray, Integer, INDArray> values) {

  /** The paper's methods, levels of a row spread over that row, and the exact optimum. */
  static List<PostTrainingMethod> ofRows() {
    List<PostTrainingMethod> methods = new ArrayList<>();
    for (String method : Quantizers.METHODS) {
      // With more than 3 bits the paper's alternating is another than ours.
      Quantizer quantizer =
          method.equals("alternating") ? new PaperAlternating() : Quantizers.of(method);
      methods.add(new PostTrainingMethod(method, method, quantizer.maxBits(), byRow(quantizer)));
    }
    return methods;
  }

  /** Uniform and balanced with other ranges. */
  static List<PostTrainingMethod> ofOtherRanges() {
    return List.of(
        ranged(
            "uniform over the matrix",
            "uniform",
            (w, bits) -> byRow(new Uniform(w.amaxNumber().floatValue())).apply(w, bits)),
        ranged("uniform over [-1; 1]", "uniform", byRow(new Uniform(1))),
        ranged("balanced over the matrix", "balanced", overMatrix(new Balanced())),
        ranged("balanced by row over [-1; 1]", "balanced", byRow(new Balanced(1))),
        ranged("balanced over the matrix over [-1; 1]", "balanced", overMatrix(new Balanced(1))));
  }

  private static PostTrainingMethod ranged(
      String name, String inPaper, BiFunction<INDArray, Integer, INDArray> values) {
    return new PostTrainingMethod(name, inPaper, Quantizer.MAX_BITS, values);
  }

  private static BiFunction<INDArray, Integer, INDArray> byRow(Quantizer quantizer) {
    return (w, bits) -> QuantizedArrays.unpack(QuantizedArrays.pack(quantizer, w, bits));
  }

  private static BiFunction<INDArray, Integer, INDArray> overMatrix(Quantizer quantizer) {
    return (w, bits) -> {
      MultibitMatrix oneRow = QuantizedArrays.pack(quantizer, w.reshape(1, w.length()), bits);
      return QuantizedArrays.unpack(oneRow).reshape(w.shape());
    };
  }

  /**
   * A quantized model.
   *
   * @param model the values as full-precision matrices
   * @param relativeSquaredError over all matrices together
   * @param errors the same of each matrix, by its name in the file
   */
  record Quantized(
      LanguageModelFile model, double relativeSquaredError, Map<String, Double> errors) {}

  /** Quantizes all matrices of a full-precision model; biases stay as they are. */
  Quantized quantize(LanguageModelFile model, int bits) {
    Map<String, Double> errors = new LinkedHashMap<>();
    SquaredError overall = SquaredError.NONE;
    Map<Matrix, Matrix> quantized = new IdentityHashMap<>();
    for (Map.Entry<String, Matrix> entry : model.matrices().entrySet()) {
      Matrix matrix = entry.getValue();
      float[] weights = new float[matrix.floats().remaining()];
      matrix.floats().duplicate().get(weights);
      FloatBuffer values = values(weights, matrix, bits);
      SquaredError error = SquaredError.of(FloatBuffer.wrap(weights), values);
      overall = overall.plus(error);
      errors.put(entry.getKey(), error.relative());
      quantized.put(matrix, Matrix.of(values, matrix.rows(), matrix.cols(), 0));
    }
    List<Layer> layers = new ArrayList<>();
    for (Layer layer : model.layers()) {
      layers.add(
          new Layer(
              layer.cell(),
              quantized.get(layer.input()),
              quantized.get(layer.recurrent()),
              layer.bias(),
              layer.recurrentBias()));
    }
    return new Quantized(
        new LanguageModelFile(
            model.words(),
            model.eos(),
            model.unknown(),
            quantized.get(model.embedding()),
            layers,
            quantized.get(model.tied() ? model.embedding() : model.softmax()),
            model.softmaxBias(),
            null,
            null,
            model.provenance()),
        overall.relative(),
        errors);
  }

  private FloatBuffer values(float[] weights, Matrix matrix, int bits) {
    INDArray quantized =
        values.apply(Nd4j.createFromArray(weights).reshape(matrix.rows(), matrix.cols()), bits);
    FloatBuffer copy = LanguageModelFile.directFloats(weights.length);
    copy.put(FloatRows.of(quantized)).flip();
    Reference.reachabilityFence(quantized);
    return copy;
  }
}

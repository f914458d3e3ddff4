package org.multibit.layers;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.multibit.layers.Networks.B;
import static org.multibit.layers.Networks.E;
import static org.multibit.layers.Networks.H;
import static org.multibit.layers.Networks.T;
import static org.multibit.layers.Networks.V;
import static org.multibit.layers.Networks.assertClose;
import static org.multibit.layers.Networks.assertIdentical;
import static org.multibit.layers.Networks.data;
import static org.multibit.layers.Networks.gradient;
import static org.multibit.layers.Networks.network;

import java.util.Map;
import org.deeplearning4j.nn.conf.layers.Layer;
import org.deeplearning4j.nn.multilayer.MultiLayerNetwork;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.multibit.core.Alternating;
import org.multibit.core.Greedy;
import org.multibit.core.Quantization;
import org.nd4j.linalg.api.buffer.DataType;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.nd4j.linalg.dataset.DataSet;

/**
 * The straight-through gradient: dL/dw := dL/dq(w) and dL/dh := dL/dq(h), that is the gradient of
 * the full-precision model at the dequantized weights and activations.
 */
class StraightThroughTest {

  /** Weights alone: DL4J's own layers with the dequantized weights have the same gradient. */
  @ParameterizedTest
  @CsvSource({"1", "2", "3"})
  void weightsAloneAgainstStock(int bits) {
    Quantization weights = Quantization.alternating(bits);
    MultiLayerNetwork ours =
        network(
            new QuantizedEmbedding.Builder().nIn(V).nOut(E).weights(weights).build(),
            new QuantizedLSTM.Builder().nIn(E).nOut(H).weights(weights).build(),
            new QuantizedLSTM.Builder().nIn(H).nOut(H).weights(weights).build(),
            new QuantizedSoftmaxOutput.Builder().nIn(H).nOut(V).weights(weights).build());
    MultiLayerNetwork stock = network(Networks.stock(2));
    ours.paramTable()
        .forEach(
            (key, values) ->
                stock
                    .getParam(key)
                    .assign(
                        key.endsWith("b")
                            ? values
                            : key.startsWith("0")
                                ? QuantizedArrays.quantized(weights, values)
                                : QuantizedArrays.quantized(weights, values.transpose())
                                    .transpose()));
    DataSet data = data(1);
    INDArray latent = ours.params().dup();
    assertClose(gradient(stock, data), gradient(ours, data), 2e-5);
    assertEquals(stock.score(), ours.score(), 1e-5);
    assertIdentical(latent, ours.params());
    assertClose(stock.output(data.getFeatures()), ours.output(data.getFeatures()), 1e-5, "output");
  }

  /**
   * Weights and activations, each at its own bits, with dropout after quantizing; the embedding's
   * rows quantized again or taken as the codes that they are.
   */
  @ParameterizedTest
  @CsvSource({
    "2, 2, 1, true",
    "2, 3, 1, true",
    "1, 1, 1, true",
    "0, 2, 1, true",
    "2, 2, 0.6, true",
    "0, 0, 0.6, true",
    "2, 2, 1, false",
    "3, 2, 0.6, false"
  })
  void everythingAgainstTheReference(
      int weightBits, int activationBits, double retain, boolean inputsAgain) {
    Quantization weights = weightBits == 0 ? null : Quantization.alternating(weightBits);
    Quantization activations =
        activationBits == 0 ? null : new Quantization(new Greedy(), activationBits);
    Quantization inputs =
        activationBits == 0 || !inputsAgain
            ? null
            : new Quantization(new Alternating(3, 1), activationBits);
    MultiLayerNetwork network =
        network(
            new QuantizedEmbedding.Builder().nIn(V).nOut(E).weights(weights).build(),
            new QuantizedLSTM.Builder()
                .nIn(E)
                .nOut(H)
                .weights(weights)
                .activations(activations)
                .inputActivations(inputs)
                .dropOut(retain)
                .build(),
            new QuantizedSoftmaxOutput.Builder()
                .nIn(H)
                .nOut(V)
                .weights(weights)
                .activations(activations)
                .dropOut(retain)
                .build());
    DataSet data = data(7);
    Map<String, INDArray> actual = gradient(network, data);
    ReferenceModel reference =
        new ReferenceModel(network.paramTable(), weights, inputs, activations, retain, 3, 0);
    Map<String, INDArray> expected = reference.gradient(data);
    assertEquals(reference.loss() / B, network.score(), 1e-5);
    assertClose(expected, actual, 1e-5);
  }

  /** With many bits quantization fades out. */
  @Test
  void manyBitsApproachFullPrecision() {
    MultiLayerNetwork full = network(Networks.ours(1));
    double before = Double.MAX_VALUE;
    for (int bits : new int[] {1, 2, 4, 6}) {
      Quantization q = Quantization.alternating(bits);
      Layer[] layers = {
        new QuantizedEmbedding.Builder().nIn(V).nOut(E).weights(q).build(),
        new QuantizedLSTM.Builder().nIn(E).nOut(H).weights(q).recurrentActivations(q).build(),
        new QuantizedSoftmaxOutput.Builder().nIn(H).nOut(V).weights(q).activations(q).build()
      };
      MultiLayerNetwork quantized = network(layers);
      quantized.params().assign(full.params());
      INDArray x = data(DataType.FLOAT, 3, B, T).getFeatures();
      double distance = full.output(x).distance2(quantized.output(x));
      assertEquals(true, distance < before * 0.8, bits + " bits: " + distance);
      before = distance;
    }
  }
}

package org.multibit.layers;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.multibit.layers.Networks.B;
import static org.multibit.layers.Networks.E;
import static org.multibit.layers.Networks.H;
import static org.multibit.layers.Networks.T;
import static org.multibit.layers.Networks.V;

import java.util.List;
import java.util.Map;
import org.deeplearning4j.nn.conf.layers.Layer;
import org.deeplearning4j.nn.multilayer.MultiLayerNetwork;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.multibit.core.Alternating;
import org.multibit.core.Quantization;
import org.multibit.layers.Networks.Cell;
import org.nd4j.linalg.api.buffer.DataType;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.nd4j.linalg.dataset.DataSet;
import org.nd4j.linalg.factory.Nd4j;
import org.nd4j.linalg.ops.transforms.Transforms;

class DistillationTest {
  static MultiLayerNetwork network(DataType type, long seed, Layer... layers) {
    return Networks.network(b -> b.dataType(type).seed(seed), l -> l, layers);
  }

  private static MultiLayerNetwork teacher(DataType type) {
    return network(type, 17, Networks.ours(Cell.GRU, 2));
  }

  private static DataSet taught(Distillation distillation, DataSet data) {
    distillation.preProcess(data);
    return data;
  }

  /** The loss is what its definition gives from the outputs of both networks. */
  @Test
  void lossIsThatOfItsDefinition() {
    MultiLayerNetwork teacher = teacher(DataType.DOUBLE);
    MultiLayerNetwork student = network(DataType.DOUBLE, 3, Networks.ours(1));
    DataSet data = Networks.data(DataType.DOUBLE, 2, B, T);
    double hard = student.score(data, true);
    INDArray p = tempered(teacher.output(data.getFeatures()), 2);
    INDArray q = tempered(student.output(data.getFeatures()), 2);
    double divergence = Transforms.log(p).sub(Transforms.log(q)).mul(p).sumNumber().doubleValue();
    Distillation distillation = new Distillation(teacher, 0.3, 2);
    distillation.applyTo(student);
    DataSet taught = taught(distillation, data.copy());
    assertEquals(0.7 * hard + 0.3 * 4 * divergence / B, student.score(taught, true), 1e-9);
    // Without training the labels alone count, with or without the teacher's part.
    assertEquals(hard, student.score(taught, false), 1e-9);
    assertEquals(hard, student.score(data, false), 1e-9);
  }

  /** softmax(z / temperature) from softmax(z), [B, V, T]. */
  private static INDArray tempered(INDArray probabilities, double temperature) {
    INDArray powers = Transforms.pow(probabilities, 1 / temperature);
    return powers.div(powers.sum(true, 1).broadcast(powers.shape()));
  }

  /** Of another size and cell each: a softmax of the mean of their logits. */
  @Test
  void severalTeachersSayTheirGeometricMean() {
    List<MultiLayerNetwork> teachers =
        List.of(
            teacher(DataType.DOUBLE),
            network(
                DataType.DOUBLE,
                5,
                new QuantizedEmbedding.Builder().nIn(V).nOut(E).build(),
                new QuantizedLSTM.Builder().nIn(E).nOut(H + 2).build(),
                new QuantizedSoftmaxOutput.Builder().nIn(H + 2).nOut(V).hasBias(false).build()));
    MultiLayerNetwork student = network(DataType.DOUBLE, 3, Networks.ours(1));
    DataSet data = Networks.data(DataType.DOUBLE, 2, B, T);
    INDArray product = Nd4j.ones(DataType.DOUBLE, B, V, T);
    teachers.forEach(teacher -> product.muli(teacher.output(data.getFeatures())));
    INDArray p = tempered(product, 2); // the root of the product
    INDArray q = student.output(data.getFeatures());
    double divergence = Transforms.log(p).sub(Transforms.log(q)).mul(p).sumNumber().doubleValue();
    Distillation distillation = new Distillation(teachers, 1, 1);
    distillation.applyTo(student);
    assertEquals(divergence / B, student.score(taught(distillation, data), true), 1e-9);
    assertEquals(3, distillation.getTeacherState().size());
  }

  /** Kernels against ND4J, with more rows than are computed at a time. */
  @Test
  void floatEqualsDouble() {
    Map<String, INDArray> expected = null;
    for (DataType type : List.of(DataType.DOUBLE, DataType.FLOAT)) {
      MultiLayerNetwork student = network(type, 3, Networks.ours(1));
      MultiLayerNetwork teacher = teacher(type);
      student.params().assign(Nd4j.linspace(DataType.DOUBLE, -0.9, 1e-3, student.numParams()));
      teacher.params().assign(Nd4j.linspace(DataType.DOUBLE, -0.8, 2e-3, teacher.numParams()));
      Distillation distillation = new Distillation(teacher, 0.4, 3);
      distillation.applyTo(student);
      Map<String, INDArray> gradient =
          Networks.gradient(student, taught(distillation, Networks.data(type, 5, 3, 200)));
      if (expected != null) {
        double largest =
            expected.values().stream()
                .mapToDouble(g -> g.amaxNumber().doubleValue())
                .max()
                .orElse(0);
        Networks.assertClose(expected, gradient, 1e-5 * largest);
      }
      expected = gradient;
    }
  }

  @Test
  void ofWeightZeroIsTrainingWithoutATeacher() {
    Quantization bits = new Quantization(new Alternating(), 2);
    DataSet data = Networks.data(4);
    Map<String, INDArray> expected =
        Networks.gradient(network(DataType.FLOAT, 3, Networks.quantized(bits, bits)), data);
    MultiLayerNetwork student = network(DataType.FLOAT, 3, Networks.quantized(bits, bits));
    Distillation distillation = new Distillation(teacher(DataType.FLOAT), 0, 2);
    distillation.applyTo(student);
    Networks.assertClose(expected, Networks.gradient(student, taught(distillation, data)), 1e-5);
  }

  /** A student with the teacher's weights has nothing to learn from it. */
  @Test
  void teacherAndStudentAlikeHaveNoGradient() {
    MultiLayerNetwork teacher = teacher(DataType.FLOAT);
    Distillation distillation = new Distillation(teacher, 1, 2);
    MultiLayerNetwork student = teacher.clone();
    distillation.applyTo(student);
    DataSet data = taught(distillation, Networks.data(4));
    Networks.gradient(student, data)
        .forEach((key, g) -> assertEquals(0, g.amaxNumber().doubleValue(), 1e-5, key));
    assertEquals(0, student.score(data, true), 1e-5);
  }

  @ParameterizedTest
  @EnumSource(Cell.class)
  void teacherGoesOnFromItsState(Cell cell) {
    MultiLayerNetwork teacher = network(DataType.FLOAT, 17, Networks.ours(cell, 2));
    Distillation distillation = new Distillation(teacher, 0.5, 1);
    INDArray fromZeros = taught(distillation, Networks.data(1)).getLabels();
    List<INDArray[]> state = distillation.getTeacherState();
    INDArray second = taught(distillation, Networks.data(1)).getLabels();
    assertNotEquals(fromZeros, second);
    distillation.clearTeacherState();
    Networks.assertIdentical(fromZeros, taught(distillation, Networks.data(1)).getLabels());
    distillation.clearTeacherState();
    distillation.setTeacherState(state);
    Networks.assertIdentical(second, taught(distillation, Networks.data(1)).getLabels());
  }

  @Test
  void refusals() {
    MultiLayerNetwork teacher = teacher(DataType.FLOAT);
    for (double weight : new double[] {-0.1, 1.1, Double.NaN, Double.POSITIVE_INFINITY}) {
      refused("weight is from 0 to 1", () -> new Distillation(teacher, weight, 1));
    }
    for (double temperature : new double[] {0, -1, Double.NaN, Double.POSITIVE_INFINITY}) {
      refused("temperature .* above 0", () -> new Distillation(teacher, 0.5, temperature));
    }
    Quantization bits = new Quantization(new Alternating(), 2);
    refused(
        "full-precision",
        () -> new Distillation(network(DataType.FLOAT, 1, Networks.quantized(bits, bits)), 0.5, 1));
    refused(
        "NetworkQuantizer",
        () -> new Distillation(network(DataType.FLOAT, 1, Networks.stock(1)), 0.5, 1));

    refused("needs a teacher", () -> new Distillation(List.of(), 0.5, 1));
    refused(
        "one in FLOAT, another in DOUBLE",
        () -> new Distillation(List.of(teacher, teacher(DataType.DOUBLE)), 0.5, 1));
    refused(
        "one has 11 words, another 12",
        () ->
            new Distillation(
                List.of(
                    teacher,
                    network(
                        DataType.FLOAT,
                        1,
                        new QuantizedEmbedding.Builder().nIn(V).nOut(E).build(),
                        new QuantizedSoftmaxOutput.Builder().nIn(E).nOut(12).build())),
                0.5,
                1));
    Distillation distillation = new Distillation(teacher, 0.5, 1);
    refused(
        "The teacher's vocabulary has 11 words, the student's 12",
        () ->
            distillation.applyTo(
                network(
                    DataType.FLOAT,
                    1,
                    new QuantizedEmbedding.Builder().nIn(V).nOut(E).build(),
                    new QuantizedLSTM.Builder().nIn(E).nOut(H).build(),
                    new QuantizedSoftmaxOutput.Builder().nIn(H).nOut(12).build())));
    refused("FLOAT", () -> distillation.applyTo(network(DataType.DOUBLE, 1, Networks.ours(1))));
    MultiLayerNetwork student = network(DataType.FLOAT, 3, Networks.ours(1));
    distillation.applyTo(student);
    refused(
        "takes labels \\[3, 8, 6\\] of class ids and the teacher's hidden states .*pre-processor.*got \\[3, 1, 6\\]",
        () -> student.fit(Networks.data(1)));
    refused(
        "takes labels \\[3, 1, 6\\] of class ids, got \\[3, 8, 6\\]",
        () ->
            network(DataType.FLOAT, 3, Networks.ours(1))
                .fit(taught(distillation, Networks.data(1))));
  }

  private static void refused(String pattern, Runnable call) {
    String message = assertThrows(IllegalArgumentException.class, call::run).getMessage();
    assertTrue(message.matches("(?s).*" + pattern + ".*"), message);
  }
}

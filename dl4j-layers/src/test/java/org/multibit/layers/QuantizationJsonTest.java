package org.multibit.layers;

import static org.junit.jupiter.api.Assertions.assertDoesNotThrow;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.multibit.core.Alternating;
import org.multibit.core.Balanced;
import org.multibit.core.Greedy;
import org.multibit.core.Optimal;
import org.multibit.core.Quantization;
import org.multibit.core.Quantizer;
import org.multibit.core.RefinedGreedy;
import org.multibit.core.Uniform;
import org.nd4j.serde.json.JsonMappers;
import org.nd4j.shade.jackson.databind.DeserializationFeature;
import org.nd4j.shade.jackson.databind.MapperFeature;
import org.nd4j.shade.jackson.databind.ObjectMapper;
import org.nd4j.shade.jackson.databind.SerializationFeature;
import org.nd4j.shade.jackson.databind.exc.InvalidTypeIdException;
import org.nd4j.shade.jackson.databind.jsontype.BasicPolymorphicTypeValidator;

/** Quantizers survive the mappers that DL4J writes its configurations with. */
class QuantizationJsonTest {

  static Stream<Quantization> quantizations() {
    return Stream.of(
        new Quantization(new Uniform(), 4),
        new Quantization(new Uniform(0.5f), 2),
        new Quantization(new Balanced(), 3),
        new Quantization(new Balanced(2), 3),
        new Quantization(new Greedy(), 1),
        new Quantization(new RefinedGreedy(), 8),
        new Quantization(new Optimal(), 2),
        new Quantization(new Alternating(), 2),
        new Quantization(new Alternating(5, 0.3f), 3));
  }

  /** As a layer holds them. */
  static final class Layer {
    @QuantizationJson public Quantization weights;
    @QuantizationJson public Quantization activations;

    private static Layer of(Quantization weights) {
      Layer layer = new Layer();
      layer.weights = weights;
      return layer;
    }
  }

  /** The last has the settings of NeuralNetConfiguration's mapper. */
  private static List<ObjectMapper> mappers() {
    ObjectMapper dl4j = new ObjectMapper();
    dl4j.configure(DeserializationFeature.FAIL_ON_UNKNOWN_PROPERTIES, false);
    dl4j.configure(SerializationFeature.FAIL_ON_EMPTY_BEANS, false);
    dl4j.configure(MapperFeature.SORT_PROPERTIES_ALPHABETICALLY, true);
    dl4j.enable(SerializationFeature.INDENT_OUTPUT);
    return List.of(new ObjectMapper(), JsonMappers.getMapper(), JsonMappers.getYamlMapper(), dl4j);
  }

  @ParameterizedTest
  @MethodSource("quantizations")
  void jsonRoundTrip(Quantization quantization) throws Exception {
    Layer layer = Layer.of(quantization);
    for (ObjectMapper mapper : mappers()) {
      String json = mapper.writeValueAsString(layer);
      Layer read = mapper.readValue(json, Layer.class);
      assertEquals(quantization, read.weights, json);
      assertEquals(quantization.hashCode(), read.weights.hashCode());
      assertEquals(null, read.activations);
      assertEquals(quantization.toString(), read.weights.toString());
      assertEquals(json, mapper.writeValueAsString(read));
      assertEquals(quantization, mapper.convertValue(layer, Layer.class).weights);
    }
  }

  /** What one mapper wrote, another reads: only what is stated is written. */
  @Test
  void jsonHoldsTheSettingsAndNothingElse() throws Exception {
    for (ObjectMapper mapper : mappers()) {
      assertEquals(
          mapper.readTree(
              """
              {"weights":{"quantizer":{"@class":"org.multibit.core.Alternating","cycles":5,"scale":0.3},"bits":3},"activations":null}
              """),
          mapper.readTree(
              mapper.writeValueAsString(Layer.of(new Quantization(new Alternating(5, 0.3f), 3)))));
      assertEquals(
          mapper.readTree(
              """
              {"weights":{"quantizer":{"@class":"org.multibit.core.Greedy"},"bits":2},"activations":null}
              """),
          mapper.readTree(mapper.writeValueAsString(Layer.of(new Quantization(new Greedy(), 2)))));
    }
  }

  @Test
  void impossibleSettingsInJsonAreRefused() {
    for (ObjectMapper mapper : mappers()) {
      Throwable e =
          assertThrows(
              IOException.class,
              () ->
                  mapper.readValue(
                      """
                      {"weights":{"quantizer":{"@class":"org.multibit.core.Optimal"},"bits":3}}
                      """,
                      Layer.class));
      assertTrue(e.getMessage().contains("takes 1 to 2 bits, not 3"), e.getMessage());
      assertThrows(
          IOException.class, () -> mapper.readValue("{\"weights\":{\"bits\":3}}", Layer.class));
    }
  }

  /** A mapper that is told which classes to take is asked about quantizers, too. */
  @Test
  void classesThatAMapperDeniesAreNotMade() {
    for (ObjectMapper mapper : mappers()) {
      ObjectMapper restricted =
          mapper
              .copy()
              .setPolymorphicTypeValidator(
                  BasicPolymorphicTypeValidator.builder()
                      .allowIfSubType("org.multibit.core.")
                      .build());
      assertEquals(
          new Quantization(new Greedy(), 2),
          assertDoesNotThrow(
                  () -> restricted.readValue(json("org.multibit.core.Greedy"), Layer.class))
              .weights);
      Exception e =
          assertThrows(
              InvalidTypeIdException.class,
              () -> restricted.readValue(json(Own.class.getName()), Layer.class));
      assertTrue(e.getMessage().contains("denied"), e.getMessage());
      assertThrows(
          InvalidTypeIdException.class,
          () -> mapper.readValue(json("java.lang.Object"), Layer.class));
    }
  }

  private static String json(String quantizer) {
    return "{\"weights\":{\"quantizer\":{\"@class\":\"%s\"},\"bits\":2}}".formatted(quantizer);
  }

  /** A method of a package that is not allowed. */
  static final class Own extends Quantizer {
    @Override
    public String method() {
      return "own";
    }

    @Override
    protected void quantizeRow(float[] w, int bits, byte[] codes, float[] coefficients) {
      throw new UnsupportedOperationException();
    }
  }
}

package org.multibit.core;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.ObjectInputStream;
import java.io.ObjectOutputStream;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.nd4j.serde.json.JsonMappers;
import org.nd4j.shade.jackson.databind.DeserializationFeature;
import org.nd4j.shade.jackson.databind.MapperFeature;
import org.nd4j.shade.jackson.databind.ObjectMapper;
import org.nd4j.shade.jackson.databind.SerializationFeature;

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
    public Quantization weights;
    public Quantizer method;
    public Quantization activations;
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
    Layer layer = new Layer();
    layer.weights = quantization;
    layer.method = quantization.quantizer();
    for (ObjectMapper mapper : mappers()) {
      String json = mapper.writeValueAsString(layer);
      Layer read = mapper.readValue(json, Layer.class);
      assertEquals(quantization, read.weights, json);
      assertEquals(quantization.hashCode(), read.weights.hashCode());
      assertEquals(quantization.quantizer(), read.method);
      assertEquals(null, read.activations);
      assertEquals(quantization.toString(), read.weights.toString());
      assertEquals(json, mapper.writeValueAsString(read));
      assertEquals(
          quantization,
          mapper.readValue(mapper.writeValueAsString(quantization), Quantization.class));
    }
  }

  /** What one mapper wrote, another reads: only what is stated is written. */
  @Test
  void jsonHoldsTheSettingsAndNothingElse() throws Exception {
    for (ObjectMapper mapper : mappers()) {
      assertEquals(
          mapper.readTree(
              """
              {"quantizer":{"@class":"org.multibit.core.Alternating","cycles":5,"scale":0.3},"bits":3}
              """),
          mapper.readTree(
              mapper.writeValueAsString(new Quantization(new Alternating(5, 0.3f), 3))));
      assertEquals(
          mapper.readTree("{\"quantizer\":{\"@class\":\"org.multibit.core.Greedy\"},\"bits\":2}"),
          mapper.readTree(mapper.writeValueAsString(new Quantization(new Greedy(), 2))));
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
                      "{\"quantizer\":{\"@class\":\"org.multibit.core.Optimal\"},\"bits\":3}",
                      Quantization.class));
      assertTrue(e.getMessage().contains("takes 1 to 2 bits, not 3"), e.getMessage());
      assertThrows(IOException.class, () -> mapper.readValue("{\"bits\":3}", Quantization.class));
    }
  }

  @ParameterizedTest
  @MethodSource("quantizations")
  void javaSerializationRoundTrip(Quantization quantization) throws Exception {
    ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    try (ObjectOutputStream out = new ObjectOutputStream(bytes)) {
      out.writeObject(quantization);
    }
    try (ObjectInputStream in =
        new ObjectInputStream(new ByteArrayInputStream(bytes.toByteArray()))) {
      assertEquals(quantization, in.readObject());
    }
  }

  @Test
  void differentSettingsDiffer() {
    List<Quantization> all = quantizations().toList();
    for (int i = 0; i < all.size(); i++) {
      for (int j = 0; j < i; j++) {
        assertNotEquals(all.get(i), all.get(j));
      }
    }
    assertNotEquals(Quantization.alternating(2), Quantization.alternating(3));
    assertNotEquals(new Alternating(2, 1), new Alternating(3, 1));
    for (String method : Quantizers.METHODS) {
      assertEquals(method, Quantizers.of(method).method());
      assertEquals(Quantizers.of(method), Quantizers.of(method, 2, 1));
    }
  }
}

package org.multibit.training;

import java.io.IOException;
import org.nd4j.shade.jackson.core.JsonProcessingException;
import org.nd4j.shade.jackson.databind.DeserializationFeature;
import org.nd4j.shade.jackson.databind.JsonNode;
import org.nd4j.shade.jackson.databind.ObjectMapper;
import org.nd4j.shade.jackson.databind.SerializationFeature;
import org.nd4j.shade.jackson.databind.node.ObjectNode;

/** JSON by the Jackson that ND4J ships. */
public final class Json {
  private static final ObjectMapper MAPPER =
      new ObjectMapper()
          .configure(SerializationFeature.FAIL_ON_EMPTY_BEANS, false)
          .configure(DeserializationFeature.FAIL_ON_UNKNOWN_PROPERTIES, true);

  private Json() {}

  /** The value on one line. */
  public static String line(Object value) {
    try {
      return MAPPER.writeValueAsString(value);
    } catch (JsonProcessingException e) {
      throw new IllegalArgumentException("Not representable as JSON: " + e.getMessage(), e);
    }
  }

  /** The value, indented. */
  static String pretty(Object value) {
    try {
      return MAPPER.writerWithDefaultPrettyPrinter().writeValueAsString(value);
    } catch (JsonProcessingException e) {
      throw new IllegalArgumentException("Not representable as JSON: " + e.getMessage(), e);
    }
  }

  /** The tree of a JSON text. */
  public static JsonNode parse(String text) throws IOException {
    return MAPPER.readTree(text);
  }

  static ObjectNode tree(Object settings) {
    return MAPPER.valueToTree(settings);
  }

  static <T> T parse(String text, Class<T> type) throws IOException {
    return MAPPER.readValue(text, type);
  }
}

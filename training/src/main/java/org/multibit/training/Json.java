package org.multibit.training;

import java.io.IOException;
import org.nd4j.shade.jackson.core.JsonGenerator;
import org.nd4j.shade.jackson.core.JsonParseException;
import org.nd4j.shade.jackson.core.JsonParser;
import org.nd4j.shade.jackson.core.JsonProcessingException;
import org.nd4j.shade.jackson.core.JsonToken;
import org.nd4j.shade.jackson.core.SerializableString;
import org.nd4j.shade.jackson.core.io.CharacterEscapes;
import org.nd4j.shade.jackson.core.io.SerializedString;
import org.nd4j.shade.jackson.databind.DeserializationFeature;
import org.nd4j.shade.jackson.databind.JsonNode;
import org.nd4j.shade.jackson.databind.JsonSerializer;
import org.nd4j.shade.jackson.databind.ObjectMapper;
import org.nd4j.shade.jackson.databind.ObjectWriter;
import org.nd4j.shade.jackson.databind.SerializationFeature;
import org.nd4j.shade.jackson.databind.SerializerProvider;
import org.nd4j.shade.jackson.databind.module.SimpleModule;
import org.nd4j.shade.jackson.databind.node.ObjectNode;

/**
 * JSON with the Jackson that ND4J ships. Texts may come from strangers. They are bounded before
 * they are parsed, since a number of a million digits, or a million nested arrays, costs far more
 * than its length.
 */
public final class Json {
  private static final int MAX_DEPTH = 200;
  private static final int MAX_NUMBER = 100;

  private static final ObjectMapper MAPPER =
      new ObjectMapper()
          .configure(SerializationFeature.FAIL_ON_EMPTY_BEANS, false)
          .configure(DeserializationFeature.FAIL_ON_UNKNOWN_PROPERTIES, true)
          .configure(DeserializationFeature.FAIL_ON_TRAILING_TOKENS, true)
          .configure(JsonParser.Feature.STRICT_DUPLICATE_DETECTION, true);

  /** Writes lines for programs and terminals. */
  private static final ObjectMapper LINES =
      MAPPER
          .copy()
          .registerModule(
              new SimpleModule()
                  .addSerializer(Double.class, new FiniteOrNull())
                  .addSerializer(double.class, new FiniteOrNull()));

  static {
    LINES.getFactory().setCharacterEscapes(new ControlCharacters());
  }

  private Json() {}

  /** Writes null for NaN and infinity, which JSON does not have. */
  private static final class FiniteOrNull extends JsonSerializer<Double> {
    @Override
    public void serialize(Double value, JsonGenerator out, SerializerProvider provider)
        throws IOException {
      if (Double.isFinite(value)) {
        out.writeNumber(value);
      } else {
        out.writeNull();
      }
    }
  }

  /**
   * Escapes control characters that JSON allows unescaped and terminals obey: DEL and the controls
   * from 0x80 on.
   */
  private static final class ControlCharacters extends CharacterEscapes {
    private static final long serialVersionUID = 1;

    @Override
    public int[] getEscapeCodesForAscii() {
      int[] codes = standardAsciiEscapesForJSON();
      codes[0x7f] = ESCAPE_STANDARD;
      return codes;
    }

    @Override
    public SerializableString getEscapeSequence(int character) {
      return character >= 0x7f && character < 0xa0
          ? new SerializedString("\\u%04x".formatted(character))
          : null;
    }
  }

  /** The value on one line. NaN and infinity become null. */
  public static String line(Object value) {
    return write(LINES.writer(), value);
  }

  /** The value, indented. */
  static String pretty(Object value) {
    return write(MAPPER.writerWithDefaultPrettyPrinter(), value);
  }

  /** The value as JSON from which {@link #parse(String, Class)} restores it to the bit. */
  static String exact(Object value) {
    return write(MAPPER.writer(), value);
  }

  private static String write(ObjectWriter writer, Object value) {
    try {
      return writer.writeValueAsString(value);
    } catch (JsonProcessingException e) {
      throw new IllegalArgumentException("Not representable as JSON: " + e.getMessage(), e);
    }
  }

  /**
   * The tree of a JSON text.
   *
   * @throws JsonProcessingException if it is not JSON, is nested too deeply, or has a number that
   *     is too long
   */
  public static JsonNode parse(String text) throws IOException {
    check(text);
    return MAPPER.readTree(text);
  }

  static ObjectNode tree(Object settings) {
    return MAPPER.valueToTree(settings);
  }

  /** Parses a value, never null, from a JSON text. Throws like {@link #parse(String)}. */
  static <T> T parse(String text, Class<T> type) throws IOException {
    check(text);
    T value = MAPPER.readValue(text, type);
    if (value == null) {
      throw new JsonParseException(null, "it is null");
    }
    return value;
  }

  /** A parser for texts that may be too large for a tree. The caller must set bounds. */
  public static JsonParser parser(byte[] utf8) throws IOException {
    return MAPPER.getFactory().createParser(utf8);
  }

  private static void check(String text) throws IOException {
    try (JsonParser parser = MAPPER.getFactory().createParser(text)) {
      int depth = 0;
      for (JsonToken token = parser.nextToken(); token != null; token = parser.nextToken()) {
        depth += token.isStructStart() ? 1 : token.isStructEnd() ? -1 : 0;
        if (depth > MAX_DEPTH) {
          throw new JsonParseException(
              parser, "it is nested more than %s deep".formatted(MAX_DEPTH));
        }
        if (token.isNumeric() && parser.getTextLength() > MAX_NUMBER) {
          throw new JsonParseException(
              parser, "it has a number of %s characters".formatted(parser.getTextLength()));
        }
      }
    }
  }
}

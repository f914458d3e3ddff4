package org.multibit.layers;

import java.io.IOException;
import org.multibit.core.Alternating;
import org.multibit.core.Balanced;
import org.multibit.core.Quantization;
import org.multibit.core.Quantizer;
import org.multibit.core.Uniform;
import org.nd4j.shade.jackson.annotation.JsonCreator;
import org.nd4j.shade.jackson.annotation.JsonProperty;
import org.nd4j.shade.jackson.annotation.JsonTypeInfo;
import org.nd4j.shade.jackson.core.JsonGenerator;
import org.nd4j.shade.jackson.core.JsonParser;
import org.nd4j.shade.jackson.core.ObjectCodec;
import org.nd4j.shade.jackson.databind.DeserializationContext;
import org.nd4j.shade.jackson.databind.JsonDeserializer;
import org.nd4j.shade.jackson.databind.JsonSerializer;
import org.nd4j.shade.jackson.databind.ObjectMapper;
import org.nd4j.shade.jackson.databind.SerializerProvider;

/**
 * Writes and reads quantizations with a copy of the current mapper. The copy adds the annotations
 * that {@code core} cannot have, since it does not depend on Jackson. DL4J's mappers are shared by
 * the whole program, so they are not changed. The copy keeps their settings and their check of
 * class names.
 */
final class QuantizationMapper {
  private QuantizationMapper() {}

  static final class Writer extends JsonSerializer<Quantization> {
    @Override
    public void serialize(Quantization value, JsonGenerator out, SerializerProvider provider)
        throws IOException {
      annotated(out.getCodec()).writeValue(out, value);
    }
  }

  static final class Reader extends JsonDeserializer<Quantization> {
    @Override
    public Quantization deserialize(JsonParser in, DeserializationContext context)
        throws IOException {
      return annotated(in.getCodec()).readValue(in, Quantization.class);
    }
  }

  private static ObjectMapper annotated(ObjectCodec mapper) {
    return ((ObjectMapper) mapper)
        .copy()
        .addMixIn(Quantization.class, OfQuantization.class)
        .addMixIn(Quantizer.class, OfQuantizer.class)
        .addMixIn(Alternating.class, OfAlternating.class)
        .addMixIn(Uniform.class, OfRange.class)
        .addMixIn(Balanced.class, OfRange.class);
  }

  private abstract static class OfQuantization {
    @JsonCreator
    OfQuantization(
        @JsonProperty("quantizer") Quantizer quantizer, @JsonProperty("bits") int bits) {}

    @JsonProperty("quantizer")
    abstract Quantizer quantizer();

    @JsonProperty("bits")
    abstract int bits();
  }

  @JsonTypeInfo(use = JsonTypeInfo.Id.CLASS, property = "@class")
  private abstract static class OfQuantizer {}

  private abstract static class OfAlternating {
    @JsonCreator
    OfAlternating(@JsonProperty("cycles") int cycles, @JsonProperty("scale") float scale) {}

    @JsonProperty("cycles")
    abstract int cycles();

    @JsonProperty("scale")
    abstract float scale();
  }

  private abstract static class OfRange {
    @JsonCreator
    OfRange(@JsonProperty("range") float range) {}

    @JsonProperty("range")
    abstract float range();
  }
}

package org.multibit.layers;

import java.lang.annotation.ElementType;
import java.lang.annotation.Retention;
import java.lang.annotation.RetentionPolicy;
import java.lang.annotation.Target;
import org.multibit.core.Quantization;
import org.nd4j.shade.jackson.annotation.JacksonAnnotationsInside;
import org.nd4j.shade.jackson.databind.annotation.JsonDeserialize;
import org.nd4j.shade.jackson.databind.annotation.JsonSerialize;

/**
 * Includes a field of type {@link Quantization} in a DL4J configuration's JSON: {@code {"bits": 2,
 * "quantizer": {"@class": "org.multibit.core.Alternating", "cycles": 2, "scale": 1.0}}}. Use it in
 * your own layer if it has such a field. Your own quantizer is written with its class name and the
 * properties that Jackson sees.
 */
@Retention(RetentionPolicy.RUNTIME)
@Target(ElementType.FIELD)
@JacksonAnnotationsInside
@JsonSerialize(using = QuantizationMapper.Writer.class)
@JsonDeserialize(using = QuantizationMapper.Reader.class)
public @interface QuantizationJson {}

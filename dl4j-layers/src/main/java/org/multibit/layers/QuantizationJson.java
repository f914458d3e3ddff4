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
 * Makes a field of type {@link Quantization} a part of a DL4J configuration's JSON: {@code {"bits":
 * 2, "quantizer": {"@class": "org.multibit.core.Alternating", "cycles": 2, "scale": 1.0}}}. For a
 * layer of your own that holds one. A quantizer of your own is written as Jackson sees it, with its
 * class name.
 */
@Retention(RetentionPolicy.RUNTIME)
@Target(ElementType.FIELD)
@JacksonAnnotationsInside
@JsonSerialize(using = QuantizationMapper.Writer.class)
@JsonDeserialize(using = QuantizationMapper.Reader.class)
public @interface QuantizationJson {}

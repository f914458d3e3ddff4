package org.multibit.layers;

import org.deeplearning4j.nn.api.Model;

/**
 * The result of {@link NetworkQuantizer}.
 *
 * @param network the converted network
 * @param report what became of each layer
 */
public record Conversion<N extends Model>(N network, ConversionReport report) {}

package org.multibit.layers;

import org.deeplearning4j.nn.api.Model;

/**
 * What {@link NetworkQuantizer} made of a network.
 *
 * @param network the converted one
 * @param report what became of each layer
 */
public record Conversion<N extends Model>(N network, ConversionReport report) {}

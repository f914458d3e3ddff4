package org.multibit.layers;

import org.multibit.core.Quantization;

/** The configuration of a layer that can quantize its weights. */
interface QuantizesWeights {
  /** Null = full precision. */
  Quantization getWeightQuantization();
}

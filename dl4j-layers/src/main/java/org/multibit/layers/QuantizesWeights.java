package org.multibit.layers;

import org.multibit.core.Quantization;

/** The configuration of a layer that can quantize its weights and what it multiplies them with. */
interface QuantizesWeights {
  /** Null = full precision. */
  Quantization getWeightQuantization();

  /** Of the activations that the layer multiplies with its weights; null = full precision. */
  Quantization activationQuantization();

  /**
   * Sets both; null = full precision.
   *
   * @param codes whether the input is codes already, which are not quantized again
   */
  void quantize(Quantization weights, Quantization activations, boolean codes);
}

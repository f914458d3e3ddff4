package org.multibit.layers;

import org.multibit.core.Quantization;

/** A layer with one product, of its input and its weights, each quantized or not. */
interface QuantizesProduct extends QuantizesWeights {
  void setWeightQuantization(Quantization quantization);

  /** How the input is quantized before the product; null = full precision. */
  Quantization getActivationQuantization();

  void setActivationQuantization(Quantization quantization);

  @Override
  default Quantization activationQuantization() {
    return getActivationQuantization();
  }

  @Override
  default void quantize(Quantization weights, Quantization activations, boolean codes) {
    setWeightQuantization(weights);
    setActivationQuantization(codes ? null : activations);
  }
}

package org.multibit.layers;

import org.multibit.core.Quantization;

/** A layer of one product: its input, quantized or not, with its weights. */
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

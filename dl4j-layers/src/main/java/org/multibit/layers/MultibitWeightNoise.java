package org.multibit.layers;

import org.multibit.core.Quantization;
import org.nd4j.shade.jackson.annotation.JsonProperty;

/**
 * The name of {@link WeightQuantization} until version 0.1, so that configurations which were saved
 * with it can be read.
 */
@Deprecated
public final class MultibitWeightNoise extends WeightQuantization {
  private static final long serialVersionUID = 1;

  public MultibitWeightNoise(@JsonProperty("quantization") Quantization quantization) {
    super(quantization);
  }

  @Override
  @SuppressWarnings("deprecation")
  public MultibitWeightNoise clone() {
    return new MultibitWeightNoise(quantization());
  }
}

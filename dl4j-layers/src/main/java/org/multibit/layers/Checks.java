package org.multibit.layers;

import java.util.Arrays;
import org.deeplearning4j.exception.DL4JInvalidConfigException;
import org.deeplearning4j.exception.DL4JInvalidInputException;
import org.deeplearning4j.nn.conf.RNNFormat;
import org.deeplearning4j.nn.conf.inputs.InputType;
import org.multibit.core.Quantization;
import org.nd4j.linalg.activations.IActivation;
import org.nd4j.linalg.api.buffer.DataType;
import org.nd4j.linalg.api.ndarray.INDArray;

/** Checks of the configuration that all quantizing layers need. */
final class Checks {
  private Checks() {}

  /**
   * Throws if a layer that quantizes does not compute in FLOAT: codes and coefficients are defined
   * in float.
   */
  static void precision(String layer, DataType type, Quantization... quantizations) {
    for (Quantization quantization : quantizations) {
      if (quantization != null && type != DataType.FLOAT) {
        throw new DL4JInvalidConfigException(
            "%s quantizes (%s), which is done in FLOAT, but the network's data type is %s: set dataType(DataType.FLOAT), convert a network that exists by convertDataType(DataType.FLOAT) first, or take the quantization away"
                .formatted(layer, quantization, type));
      }
    }
  }

  /**
   * @param set the activation function that the user set; null = none
   */
  static void activation(
      String layer, IActivation set, Class<? extends IActivation> needed, String why) {
    if (set != null && !needed.isInstance(set)) {
      throw new DL4JInvalidConfigException(
          "%s cannot have the activation function %s: %s".formatted(layer, set, why));
    }
  }

  /** The type of a sequence in DL4J's NCW layout [batch, size, time], or an error. */
  static InputType.InputTypeRecurrent sequence(String layer, InputType type) {
    if (type instanceof InputType.InputTypeRecurrent sequence
        && sequence.getFormat() == RNNFormat.NCW) {
      return sequence;
    }
    throw new DL4JInvalidConfigException(
        "%s takes sequences [batch, size, time]: setInputType(InputType.recurrent(size, time)), not %s"
            .formatted(layer, type));
  }

  /** Throws unless the mask is null or has a row for each of the layer's rows. */
  static void mask(String layer, INDArray mask, long rows) {
    if (mask != null && (mask.rank() != 2 || mask.size(0) != rows)) {
      throw new DL4JInvalidInputException(
          "%s takes a mask [%s, 1], one element for each row of its input, got %s"
              .formatted(layer, rows, Arrays.toString(mask.shape())));
    }
  }

  /** Throws unless the input is [examples, size]. */
  static void rows(String layer, INDArray input, long size) {
    if (input.rank() != 2 || input.size(1) != size) {
      throw new DL4JInvalidInputException(
          "%s takes input [batch, %s], got %s"
              .formatted(layer, size, Arrays.toString(input.shape())));
    }
  }
}

package org.multibit.layers;

import java.util.List;
import java.util.stream.Collectors;
import org.deeplearning4j.nn.conf.layers.misc.FrozenLayer;
import org.deeplearning4j.nn.conf.layers.recurrent.Bidirectional;
import org.deeplearning4j.nn.conf.layers.wrapper.BaseWrapperLayer;

/**
 * What became of each layer of a network that {@link NetworkQuantizer} converted. Its text form has
 * one line per layer.
 *
 * @param layers every layer, in the order in which the network computes them
 */
public record ConversionReport(List<Layer> layers) {
  public ConversionReport {
    layers = List.copyOf(layers);
  }

  /** What became of a layer. */
  public enum Outcome {
    /** One of DL4J's layers became one of ours. */
    CONVERTED("converted"),
    /** One of our layers got other bits, or another quantizer. */
    REQUANTIZED("requantized"),
    /** One of our layers quantizes as it is wanted already. */
    UNCHANGED("unchanged"),
    /** It stays one of DL4J's, with weights that {@link WeightQuantization} quantizes. */
    WEIGHT_NOISE("weight noise"),
    /** It stays one of DL4J's, at full precision. */
    FULL_PRECISION("full precision"),
    /** It has no weight matrix, so that there is nothing to quantize. */
    NO_WEIGHTS("no weights");

    private final String text;

    Outcome(String text) {
      this.text = text;
    }

    @Override
    public String toString() {
      return text;
    }
  }

  /**
   * A layer, or a vertex of a graph.
   *
   * @param name its name in the network
   * @param kind its kind before conversion, as {@link ConversionReport#kind} returns it
   * @param outcome what became of it
   * @param detail what it is now, or why it is not quantized; may be empty
   */
  public record Layer(String name, String kind, Outcome outcome, String detail) {
    @Override
    public String toString() {
      String text = "%s (%s): %s".formatted(name, kind, outcome);
      return detail.isEmpty() ? text : text + ", " + detail;
    }
  }

  /**
   * The simple name of a layer's class with what it wraps: {@code LastTimeStep(LSTM)}.
   *
   * @param conf its configuration
   */
  public static String kind(org.deeplearning4j.nn.conf.layers.Layer conf) {
    String kind = conf.getClass().getSimpleName();
    org.deeplearning4j.nn.conf.layers.Layer inner = null;
    if (conf instanceof BaseWrapperLayer wrapper) {
      inner = wrapper.getUnderlying();
    } else if (conf instanceof FrozenLayer frozen) {
      inner = frozen.getLayer();
    } else if (conf instanceof Bidirectional both) {
      inner = both.getFwd();
    }
    return inner == null ? kind : kind + "(" + kind(inner) + ")";
  }

  /** The layers with this outcome. */
  public List<Layer> of(Outcome outcome) {
    return layers.stream().filter(layer -> layer.outcome() == outcome).toList();
  }

  @Override
  public String toString() {
    return layers.stream().map(Layer::toString).collect(Collectors.joining("\n"));
  }
}

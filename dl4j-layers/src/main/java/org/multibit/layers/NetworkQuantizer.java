package org.multibit.layers;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.stream.Collectors;
import org.deeplearning4j.nn.api.layers.LayerConstraint;
import org.deeplearning4j.nn.conf.ComputationGraphConfiguration;
import org.deeplearning4j.nn.conf.MultiLayerConfiguration;
import org.deeplearning4j.nn.conf.NeuralNetConfiguration;
import org.deeplearning4j.nn.conf.RNNFormat;
import org.deeplearning4j.nn.conf.dropout.Dropout;
import org.deeplearning4j.nn.conf.graph.GraphVertex;
import org.deeplearning4j.nn.conf.graph.LayerVertex;
import org.deeplearning4j.nn.conf.layers.AbstractLSTM;
import org.deeplearning4j.nn.conf.layers.BaseLayer;
import org.deeplearning4j.nn.conf.layers.BaseOutputLayer;
import org.deeplearning4j.nn.conf.layers.Convolution1DLayer;
import org.deeplearning4j.nn.conf.layers.ConvolutionLayer;
import org.deeplearning4j.nn.conf.layers.DenseLayer;
import org.deeplearning4j.nn.conf.layers.EmbeddingSequenceLayer;
import org.deeplearning4j.nn.conf.layers.FeedForwardLayer;
import org.deeplearning4j.nn.conf.layers.LSTM;
import org.deeplearning4j.nn.conf.layers.Layer;
import org.deeplearning4j.nn.conf.layers.OutputLayer;
import org.deeplearning4j.nn.conf.layers.RnnOutputLayer;
import org.deeplearning4j.nn.conf.layers.misc.FrozenLayer;
import org.deeplearning4j.nn.conf.layers.recurrent.Bidirectional;
import org.deeplearning4j.nn.conf.layers.recurrent.SimpleRnn;
import org.deeplearning4j.nn.conf.layers.wrapper.BaseWrapperLayer;
import org.deeplearning4j.nn.conf.weightnoise.IWeightNoise;
import org.deeplearning4j.nn.graph.ComputationGraph;
import org.deeplearning4j.nn.multilayer.MultiLayerNetwork;
import org.multibit.core.Alternating;
import org.multibit.core.Bits;
import org.multibit.core.LayerBits;
import org.multibit.core.Quantization;
import org.multibit.core.Quantizer;
import org.multibit.layers.ConversionReport.Outcome;
import org.nd4j.linalg.activations.IActivation;
import org.nd4j.linalg.activations.impl.ActivationIdentity;
import org.nd4j.linalg.activations.impl.ActivationSigmoid;
import org.nd4j.linalg.activations.impl.ActivationSoftmax;
import org.nd4j.linalg.activations.impl.ActivationTanH;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.nd4j.linalg.lossfunctions.impl.LossSparseMCXENT;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Makes a quantized network of a trained one. DL4J's EmbeddingSequenceLayer, LSTM, DenseLayer,
 * OutputLayer and RnnOutputLayer (softmax with sparse labels) become {@link QuantizedEmbedding},
 * {@link QuantizedLSTM}, {@link QuantizedDense}, {@link QuantizedOutput} and {@link
 * QuantizedSoftmaxOutput} with the same parameters, dropout, updaters, regularization and
 * constraints. Our own layers keep all they have and get other bits. Wrappers (LastTimeStep,
 * Bidirectional, MaskZeroLayer, TimeDistributed, FrozenLayer and others) stay around what they
 * wrap. A {@link WeightQuantization} goes where the layer itself quantizes from then on, and a
 * {@link LatentWeightProjection} onto other codes.
 *
 * <p>Layers that it does not know, or that compute something that our layers cannot, stay as they
 * are. A warning says which layers and why; {@link #convertAndReport} reports every layer. The
 * state of updaters is lost.
 *
 * <p>Sequences must be NCW [batch, size, time], DL4J's default.
 */
public final class NetworkQuantizer {
  private static final Logger LOG = LoggerFactory.getLogger(NetworkQuantizer.class);

  private final LayerBits bits;
  private final Quantizer quantizer;
  private final List<ConversionReport.Layer> report = new ArrayList<>();

  /** Whether the result has a layer of ours, and whether one quantizes its weights. */
  private boolean anyOurs;

  private boolean anyQuantized;

  private NetworkQuantizer(LayerBits bits, Quantizer quantizer) {
    this.bits = bits;
    this.quantizer = quantizer;
  }

  /**
   * @param network not changed
   * @param spec bits as {@link LayerBits#parse} takes them; the quantizer is alternating
   *     minimization
   * @throws IllegalArgumentException if the spec is invalid, if the network is not initialized, or
   *     if no layer can be converted; then the message says why for each layer
   */
  public static MultiLayerNetwork convert(MultiLayerNetwork network, String spec) {
    return convertAndReport(network, spec).network();
  }

  /** As {@link #convert(MultiLayerNetwork, String)}, by another quantizer. */
  public static MultiLayerNetwork convert(
      MultiLayerNetwork network, LayerBits bits, Quantizer quantizer) {
    return convertAndReport(network, bits, quantizer).network();
  }

  /** As {@link #convert(MultiLayerNetwork, String)}, with a report of each layer. */
  public static Conversion<MultiLayerNetwork> convertAndReport(
      MultiLayerNetwork network, String spec) {
    return convertAndReport(network, LayerBits.parse(spec), new Alternating());
  }

  /** As {@link #convertAndReport(MultiLayerNetwork, String)}, by another quantizer. */
  public static Conversion<MultiLayerNetwork> convertAndReport(
      MultiLayerNetwork network, LayerBits bits, Quantizer quantizer) {
    requireInitialized(network.isInitCalled());
    NetworkQuantizer converter = new NetworkQuantizer(bits, quantizer);
    // DL4J's clone would share updaters, and what wrappers hold, with the network.
    MultiLayerConfiguration conf =
        MultiLayerConfiguration.fromJson(network.getLayerWiseConfigurations().toJson());
    boolean codes = false;
    for (int i = 0; i < network.getnLayers(); i++) {
      Layer layer = conf.getConf(i).getLayer();
      String name = layer.getLayerName() == null ? "layer" + i : layer.getLayerName();
      Layer converted =
          converter.converted(name, layer, network.getLayer(i).paramTable().values(), codes);
      codes = isCodes(converted);
      conf.getConf(i).setLayer(converted);
    }
    converter.check();
    MultiLayerNetwork converted = new MultiLayerNetwork(conf);
    converted.init();
    network.paramTable().forEach((key, values) -> converted.getParam(key).assign(values));
    return new Conversion<>(converted, new ConversionReport(converter.report));
  }

  /** As {@link #convert(MultiLayerNetwork, String)}. */
  public static ComputationGraph convert(ComputationGraph graph, String spec) {
    return convertAndReport(graph, spec).network();
  }

  /** As {@link #convert(MultiLayerNetwork, String)}, by another quantizer. */
  public static ComputationGraph convert(
      ComputationGraph graph, LayerBits bits, Quantizer quantizer) {
    return convertAndReport(graph, bits, quantizer).network();
  }

  /** As {@link #convertAndReport(MultiLayerNetwork, String)}. */
  public static Conversion<ComputationGraph> convertAndReport(ComputationGraph graph, String spec) {
    return convertAndReport(graph, LayerBits.parse(spec), new Alternating());
  }

  /** As {@link #convertAndReport(MultiLayerNetwork, String)}, by another quantizer. */
  public static Conversion<ComputationGraph> convertAndReport(
      ComputationGraph graph, LayerBits bits, Quantizer quantizer) {
    requireInitialized(graph.getVertices() != null);
    NetworkQuantizer converter = new NetworkQuantizer(bits, quantizer);
    ComputationGraphConfiguration conf =
        ComputationGraphConfiguration.fromJson(graph.getConfiguration().toJson());
    Map<String, GraphVertex> vertices = conf.getVertices();
    for (int index : graph.topologicalSortOrder()) {
      var from = graph.getVertices()[index];
      String name = from.getVertexName();
      if (vertices.get(name) instanceof LayerVertex vertex) {
        List<String> inputs = conf.getVertexInputs().get(name);
        boolean codes =
            inputs.size() == 1
                && vertices.get(inputs.get(0)) instanceof LayerVertex before
                && isCodes(before.getLayerConf().getLayer());
        NeuralNetConfiguration layer = vertex.getLayerConf();
        layer.setLayer(
            converter.converted(
                name, layer.getLayer(), graph.getLayer(name).paramTable().values(), codes));
      } else if (!from.paramTable(false).isEmpty()) {
        String kind = vertices.get(name).getClass().getSimpleName();
        converter.add(name, kind, stays("it is a vertex with weights of its own, not a layer"));
      }
    }
    converter.check();
    ComputationGraph converted = new ComputationGraph(conf);
    converted.init();
    graph.paramTable().forEach((key, values) -> converted.getParam(key).assign(values));
    return new Conversion<>(converted, new ConversionReport(converter.report));
  }

  private static void requireInitialized(boolean initialized) {
    if (!initialized) {
      throw new IllegalArgumentException(
          "The network has no parameters yet: call init() before it is converted");
    }
  }

  /**
   * Throws if the result does not have what was asked for; warns of layers that stayed as they
   * were.
   */
  private void check() {
    if (bits.isFullPrecision() ? !anyOurs : !anyQuantized) {
      String layers =
          report.stream()
              .filter(layer -> layer.outcome() != Outcome.NO_WEIGHTS)
              .map(ConversionReport.Layer::toString)
              .collect(Collectors.joining("; "));
      throw new IllegalArgumentException(
          (anyOurs
                  ? "Nothing in the network was quantized, since the bits name none of its layers: "
                  : "Nothing in the network was converted: ")
              + (layers.isEmpty() ? "no layer has weights" : layers));
    }
    for (ConversionReport.Layer layer : report) {
      if (layer.outcome() == Outcome.FULL_PRECISION) {
        LOG.warn("{} ({}) stays at full precision: {}", layer.name(), layer.kind(), layer.detail());
      }
    }
  }

  /** Whether a layer's output is codes, which the next layer must not quantize again. */
  private static boolean isCodes(Layer layer) {
    return layer instanceof FrozenLayer frozen
        ? isCodes(frozen.getLayer())
        : layer instanceof QuantizedEmbedding e && e.getWeightQuantization() != null;
  }

  /**
   * What a layer becomes.
   *
   * @param layer null if it stays
   */
  private record Result(Layer layer, Outcome outcome, String detail) {}

  private static Result stays(String why) {
    return new Result(null, Outcome.FULL_PRECISION, why);
  }

  /**
   * The layer that replaces a layer in the converted network, possibly itself. Adds it to the
   * report.
   *
   * @param conf a copy, which is changed
   * @param params the layer's
   * @param codes whether its input is codes
   */
  private Layer converted(String name, Layer conf, Collection<INDArray> params, boolean codes) {
    String kind = ConversionReport.kind(conf);
    Result result = convert(conf, params, codes);
    add(name, kind, result);
    return result.layer() == null ? conf : result.layer();
  }

  private void add(String name, String kind, Result result) {
    report.add(new ConversionReport.Layer(name, kind, result.outcome(), result.detail()));
  }

  /** Converts a layer or what it wraps. The outcome of the wrapped layer is that of the whole. */
  private Result convert(Layer conf, Collection<INDArray> params, boolean codes) {
    Result inner;
    Layer outer;
    if (conf instanceof BaseWrapperLayer wrapper) {
      inner = convert(wrapper.getUnderlying(), params, codes);
      if (inner.layer() != null) {
        wrapper.setUnderlying(inner.layer());
      }
      outer = wrapper;
    } else if (conf instanceof FrozenLayer frozen) {
      inner = convert(frozen.getLayer(), params, codes);
      outer = inner.layer() == null ? frozen : frozen(inner.layer(), frozen);
    } else if (conf instanceof Bidirectional both) {
      // DL4J's mappers and constructors give both directions the same configuration.
      inner = convert(both.getFwd(), params, codes);
      Result backward = convert(both.getBwd(), params, codes);
      if (inner.layer() != null) {
        both.setFwd(inner.layer());
        both.setBwd(backward.layer());
        both.setInitializer(null); // it would remember the layers before
      }
      outer = both;
    } else {
      return convertPlain(conf, params, codes);
    }
    return new Result(outer, inner.outcome(), inner.detail());
  }

  private static FrozenLayer frozen(Layer inner, FrozenLayer before) {
    FrozenLayer frozen = new FrozenLayer(inner);
    frozen.setLayerName(before.getLayerName());
    frozen.setIDropout(before.getIDropout());
    frozen.setConstraints(inner.getConstraints());
    return frozen;
  }

  private Result convertPlain(Layer conf, Collection<INDArray> params, boolean codes) {
    if (conf instanceof QuantizesWeights) {
      BaseLayer layer = (BaseLayer) conf;
      Layer before = layer.clone();
      quantize(layer, params, codes);
      if (layer.equals(before)) {
        return new Result(layer, Outcome.UNCHANGED, describe(layer));
      }
      return new Result(
          layer, Outcome.REQUANTIZED, describe(layer) + ", before " + precision(before));
    }
    String obstacle = obstacle(conf);
    if (obstacle == null) {
      BaseLayer layer = ours((BaseLayer) conf);
      quantize(layer, params, codes);
      return new Result(layer, Outcome.CONVERTED, describe(layer));
    }
    if (params.stream().allMatch(INDArray::isVectorOrScalar)) {
      return new Result(null, Outcome.NO_WEIGHTS, "");
    }
    if (takesWeightNoise(conf)) {
      IWeightNoise noise = ((BaseLayer) conf).getWeightNoise();
      if (noise instanceof WeightQuantization) {
        return new Result(
            null, Outcome.WEIGHT_NOISE, noise + " quantizes its weights; " + obstacle);
      }
      if (noise == null) {
        obstacle += "; weightNoise(new WeightQuantization(...)) would quantize its weights";
      }
    }
    return stays(obstacle);
  }

  /** Sets the bits of a layer of ours by the spec. */
  private void quantize(BaseLayer layer, Collection<INDArray> params, boolean codes) {
    Bits own;
    if (layer instanceof QuantizedEmbedding) {
      own = bits.embedding();
    } else if (layer instanceof QuantizedRecurrent) {
      own = bits.recurrent();
    } else if (layer instanceof QuantizedDense) {
      own = bits.dense();
    } else {
      own = bits.output();
    }
    Quantization weights = own.weightsBy(quantizer);
    ((QuantizesWeights) layer).quantize(weights, own.activationsBy(quantizer), codes);
    if (layer.getWeightNoise() instanceof WeightQuantization) {
      layer.setWeightNoise(null);
    }
    constrain(layer, weights, params);
    anyOurs = true;
    anyQuantized |= weights != null;
  }

  /**
   * Clips the latent weights of a layer that quantizes them, and removes a projection onto other
   * codes.
   */
  private static void constrain(
      BaseLayer layer, Quantization weights, Collection<INDArray> params) {
    List<LayerConstraint> constraints = new ArrayList<>();
    if (layer.getConstraints() != null) {
      constraints.addAll(layer.getConstraints());
    }
    constraints.removeIf(
        constraint ->
            constraint instanceof LatentWeightProjection projection
                    && !projection.getQuantization().equals(weights)
                || constraint instanceof LatentWeightClip && weights == null);
    layer.setConstraints(constraints.isEmpty() ? null : constraints);
    if (constraints.stream().noneMatch(LatentWeightClip.class::isInstance)) {
      double largest =
          params.stream().mapToDouble(p -> p.amaxNumber().doubleValue()).max().orElse(0);
      LatentWeightClip.addTo(layer, weights, Math.max(1, largest));
    }
  }

  private static String describe(Layer ours) {
    return ours.getClass().getSimpleName() + " " + precision(ours);
  }

  private static String precision(Layer ours) {
    QuantizesWeights conf = (QuantizesWeights) ours;
    Quantization weights = conf.getWeightQuantization();
    Quantization activations = conf.activationQuantization();
    if (weights == null && activations == null) {
      return "at full precision";
    }
    String text = "at " + (weights == null ? "fp" : weights.bits());
    if (!(ours instanceof QuantizedEmbedding)) {
      text += "/" + (activations == null ? "fp" : activations.bits());
    }
    return text + " bits by " + (weights == null ? activations : weights).quantizer();
  }

  /** Our layer, at full precision, for a DL4J layer that has no {@link #obstacle}. */
  private static BaseLayer ours(BaseLayer from) {
    BaseLayer to;
    if (from instanceof EmbeddingSequenceLayer) {
      to = new QuantizedEmbedding.Builder().build();
    } else if (from instanceof LSTM lstm) {
      to = new QuantizedLSTM.Builder().forgetGateBiasInit(lstm.getForgetGateBiasInit()).build();
    } else if (from instanceof DenseLayer dense) {
      to =
          new QuantizedDense.Builder()
              .hasBias(dense.hasBias())
              .activation(dense.getActivationFn())
              .build();
    } else if (from instanceof OutputLayer output) {
      to =
          new QuantizedOutput.Builder(output.getLossFn())
              .hasBias(output.hasBias())
              .activation(output.getActivationFn())
              .build();
    } else {
      to = new QuantizedSoftmaxOutput.Builder().hasBias(((RnnOutputLayer) from).hasBias()).build();
    }
    copySettings((FeedForwardLayer) from, (FeedForwardLayer) to);
    return to;
  }

  /** Whether DL4J asks a layer's weight noise for the weights; some layers never do. */
  private static boolean takesWeightNoise(Layer conf) {
    return (conf instanceof ConvolutionLayer && !(conf instanceof Convolution1DLayer))
        || conf instanceof AbstractLSTM
        || conf instanceof SimpleRnn
        || conf instanceof DenseLayer
        || conf instanceof BaseOutputLayer;
  }

  /** Why a layer cannot become one of ours; null if it can. */
  private static String obstacle(Layer conf) {
    if (conf instanceof EmbeddingSequenceLayer e) {
      // DL4J ignores dropout and weight noise of these, so they are no obstacle.
      return first(
          when(e.hasBias(), "it has a bias"),
          format(e.getOutputFormat()),
          activation(e, ActivationIdentity.class));
    }
    if (conf.getClass() == LSTM.class) {
      LSTM lstm = (LSTM) conf;
      return first(
          format(lstm.getRnnDataFormat()),
          shared(lstm),
          activation(lstm, ActivationTanH.class),
          when(
              !(lstm.getGateActivationFn() instanceof ActivationSigmoid),
              "its gate activation is " + lstm.getGateActivationFn()));
    }
    if (conf instanceof RnnOutputLayer output) {
      boolean sparse =
          output.getLossFn() instanceof LossSparseMCXENT loss && loss.getWeights() == null;
      return first(
          format(output.getRnnDataFormat()),
          shared(output),
          activation(output, ActivationSoftmax.class),
          when(
              !sparse,
              "its loss is " + output.getLossFn() + ", not the unweighted LossSparseMCXENT"));
    }
    if (conf.getClass() == DenseLayer.class) {
      DenseLayer dense = (DenseLayer) conf;
      return first(when(dense.hasLayerNorm(), "it has layer normalization"), shared(dense));
    }
    if (conf.getClass() == OutputLayer.class) {
      return shared((BaseLayer) conf);
    }
    return "it is no EmbeddingSequenceLayer, LSTM, DenseLayer, OutputLayer or RnnOutputLayer";
  }

  private static String first(String... obstacles) {
    return Arrays.stream(obstacles).filter(Objects::nonNull).findFirst().orElse(null);
  }

  private static String when(boolean holds, String obstacle) {
    return holds ? obstacle : null;
  }

  private static String format(RNNFormat format) {
    return when(format == RNNFormat.NWC, "its sequences are NWC");
  }

  private static String shared(BaseLayer layer) {
    return first(
        when(
            layer.getWeightNoise() != null
                && !(layer.getWeightNoise() instanceof WeightQuantization),
            "its weight noise is " + layer.getWeightNoise()),
        when(
            layer.getIDropout() != null && !(layer.getIDropout() instanceof Dropout),
            "its dropout is " + layer.getIDropout()));
  }

  private static String activation(BaseLayer layer, Class<? extends IActivation> needed) {
    return when(
        !needed.isInstance(layer.getActivationFn()),
        "its activation is " + layer.getActivationFn());
  }

  private static void copySettings(FeedForwardLayer from, FeedForwardLayer to) {
    to.setLayerName(from.getLayerName());
    to.setNIn(from.getNIn());
    to.setNOut(from.getNOut());
    if (!(from instanceof EmbeddingSequenceLayer)) {
      to.setIDropout(from.getIDropout());
    }
    to.setWeightInitFn(from.getWeightInitFn());
    to.setBiasInit(from.getBiasInit());
    to.setRegularization(from.getRegularization());
    to.setRegularizationBias(from.getRegularizationBias());
    to.setIUpdater(from.getIUpdater());
    to.setBiasUpdater(from.getBiasUpdater());
    to.setGradientNormalization(from.getGradientNormalization());
    to.setGradientNormalizationThreshold(from.getGradientNormalizationThreshold());
    to.setConstraints(from.getConstraints());
  }
}

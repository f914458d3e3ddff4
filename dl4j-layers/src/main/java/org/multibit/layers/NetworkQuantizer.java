package org.multibit.layers;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import org.deeplearning4j.nn.api.layers.LayerConstraint;
import org.deeplearning4j.nn.conf.ComputationGraphConfiguration;
import org.deeplearning4j.nn.conf.MultiLayerConfiguration;
import org.deeplearning4j.nn.conf.RNNFormat;
import org.deeplearning4j.nn.conf.dropout.Dropout;
import org.deeplearning4j.nn.conf.graph.GraphVertex;
import org.deeplearning4j.nn.conf.graph.LayerVertex;
import org.deeplearning4j.nn.conf.layers.BaseLayer;
import org.deeplearning4j.nn.conf.layers.DenseLayer;
import org.deeplearning4j.nn.conf.layers.EmbeddingSequenceLayer;
import org.deeplearning4j.nn.conf.layers.FeedForwardLayer;
import org.deeplearning4j.nn.conf.layers.LSTM;
import org.deeplearning4j.nn.conf.layers.Layer;
import org.deeplearning4j.nn.conf.layers.OutputLayer;
import org.deeplearning4j.nn.conf.layers.RnnOutputLayer;
import org.deeplearning4j.nn.conf.layers.recurrent.LastTimeStep;
import org.deeplearning4j.nn.graph.ComputationGraph;
import org.deeplearning4j.nn.multilayer.MultiLayerNetwork;
import org.multibit.core.Alternating;
import org.multibit.core.LayerBits;
import org.multibit.core.Quantization;
import org.multibit.core.Quantizer;
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
 * Makes a quantized network of a trained one: DL4J's EmbeddingSequenceLayer, LSTM (also inside
 * LastTimeStep), DenseLayer, OutputLayer and RnnOutputLayer (softmax with sparse labels) become
 * {@link QuantizedEmbedding}, {@link QuantizedLSTM}, {@link QuantizedDense}, {@link
 * QuantizedOutput} and {@link QuantizedSoftmaxOutput} with the same parameters, dropout, updaters,
 * regularization and constraints. Layers that it does not know, or that compute what ours cannot,
 * stay as they are, and a warning says which and why. The state of updaters is not kept.
 *
 * <p>Sequences must be NCW [batch, size, time], as DL4J's are unless set otherwise.
 */
public final class NetworkQuantizer {
  private static final Logger LOG = LoggerFactory.getLogger(NetworkQuantizer.class);

  private final LayerBits bits;
  private final Quantizer quantizer;

  private NetworkQuantizer(LayerBits bits, Quantizer quantizer) {
    this.bits = bits;
    this.quantizer = quantizer;
  }

  /**
   * @param network is left as it is
   * @param spec bits as {@link LayerBits#parse} takes them, quantized by alternating minimization
   * @throws IllegalArgumentException if the spec is none
   */
  public static MultiLayerNetwork convert(MultiLayerNetwork network, String spec) {
    return convert(network, LayerBits.parse(spec), new Alternating());
  }

  /** As {@link #convert(MultiLayerNetwork, String)}, by another quantizer. */
  public static MultiLayerNetwork convert(
      MultiLayerNetwork network, LayerBits bits, Quantizer quantizer) {
    NetworkQuantizer converter = new NetworkQuantizer(bits, quantizer);
    // DL4J's clone would share updaters, and what wrappers hold, with the network.
    MultiLayerConfiguration conf =
        MultiLayerConfiguration.fromJson(network.getLayerWiseConfigurations().toJson());
    boolean codes = false;
    for (int i = 0; i < network.getnLayers(); i++) {
      Layer ours =
          converter.ours(
              "layer " + i, conf.getConf(i).getLayer(), network.getLayer(i).paramTable(), codes);
      codes = isCodes(ours);
      if (ours != null) {
        conf.getConf(i).setLayer(ours);
      }
    }
    MultiLayerNetwork converted = new MultiLayerNetwork(conf);
    converted.init();
    network.paramTable().forEach((key, values) -> converted.getParam(key).assign(values));
    return converted;
  }

  /** As {@link #convert(MultiLayerNetwork, String)}. */
  public static ComputationGraph convert(ComputationGraph graph, String spec) {
    return convert(graph, LayerBits.parse(spec), new Alternating());
  }

  /** As {@link #convert(MultiLayerNetwork, String)}, by another quantizer. */
  public static ComputationGraph convert(
      ComputationGraph graph, LayerBits bits, Quantizer quantizer) {
    NetworkQuantizer converter = new NetworkQuantizer(bits, quantizer);
    ComputationGraphConfiguration conf =
        ComputationGraphConfiguration.fromJson(graph.getConfiguration().toJson());
    Map<String, GraphVertex> vertices = conf.getVertices();
    for (int index : graph.topologicalSortOrder()) {
      String name = graph.getVertices()[index].getVertexName();
      if (vertices.get(name) instanceof LayerVertex vertex) {
        List<String> inputs = conf.getVertexInputs().get(name);
        boolean codes =
            inputs.size() == 1
                && vertices.get(inputs.get(0)) instanceof LayerVertex before
                && isCodes(before.getLayerConf().getLayer());
        Layer ours =
            converter.ours(
                "vertex " + name,
                vertex.getLayerConf().getLayer(),
                graph.getLayer(name).paramTable(),
                codes);
        if (ours != null) {
          vertex.getLayerConf().setLayer(ours);
        }
      }
    }
    ComputationGraph converted = new ComputationGraph(conf);
    converted.init();
    graph.paramTable().forEach((key, values) -> converted.getParam(key).assign(values));
    return converted;
  }

  /** Whether a layer's output is codes, which its reader is not to quantize again. */
  private static boolean isCodes(Layer layer) {
    return layer instanceof QuantizedEmbedding e && e.getWeightQuantization() != null;
  }

  /**
   * Our layer in place of another.
   *
   * @param conf of a wrapper what it wraps is replaced
   * @param codes whether its input is codes
   * @return null if it stays as it is
   */
  private Layer ours(String name, Layer conf, Map<String, INDArray> params, boolean codes) {
    if (conf instanceof LastTimeStep last) {
      Layer inner = ours(name, last.getUnderlying(), params, codes);
      if (inner != null) {
        last.setUnderlying(inner);
      }
      return last;
    }
    String obstacle = obstacle(conf);
    if (obstacle != null) {
      LOG.warn(
          "{} ({}) stays at full precision: {}", name, conf.getClass().getSimpleName(), obstacle);
      return null;
    }
    BaseLayer from = (BaseLayer) conf;
    double bound = 1;
    for (INDArray param : params.values()) {
      bound = Math.max(bound, param.amaxNumber().doubleValue());
    }
    BaseLayer to;
    if (from instanceof EmbeddingSequenceLayer) {
      to =
          new QuantizedEmbedding.Builder()
              .weights(bits.embedding().weightsBy(quantizer))
              .latentWeightBound(bound)
              .build();
    } else if (from instanceof LSTM lstm) {
      Quantization activations = bits.recurrent().activationsBy(quantizer);
      to =
          new QuantizedLSTM.Builder()
              .weights(bits.recurrent().weightsBy(quantizer))
              .inputActivations(codes ? null : activations)
              .recurrentActivations(activations)
              .forgetGateBiasInit(lstm.getForgetGateBiasInit())
              .latentWeightBound(bound)
              .build();
    } else if (from instanceof DenseLayer dense) {
      to =
          new QuantizedDense.Builder()
              .weights(bits.dense().weightsBy(quantizer))
              .activations(codes ? null : bits.dense().activationsBy(quantizer))
              .hasBias(dense.hasBias())
              .activation(dense.getActivationFn())
              .latentWeightBound(bound)
              .build();
    } else if (from instanceof OutputLayer output) {
      to =
          new QuantizedOutput.Builder(output.getLossFn())
              .weights(bits.output().weightsBy(quantizer))
              .activations(codes ? null : bits.output().activationsBy(quantizer))
              .hasBias(output.hasBias())
              .activation(output.getActivationFn())
              .latentWeightBound(bound)
              .build();
    } else {
      to =
          new QuantizedSoftmaxOutput.Builder()
              .weights(bits.output().weightsBy(quantizer))
              .activations(codes ? null : bits.output().activationsBy(quantizer))
              .hasBias(((RnnOutputLayer) from).hasBias())
              .latentWeightBound(bound)
              .build();
    }
    copySettings((FeedForwardLayer) from, (FeedForwardLayer) to);
    return to;
  }

  /** Why a layer cannot be ours; null if it can. */
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
        when(layer.getWeightNoise() != null, "it has weight noise"),
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
    List<LayerConstraint> constraints = new ArrayList<>();
    for (List<LayerConstraint> some : new List[] {from.getConstraints(), to.getConstraints()}) {
      if (some != null) {
        constraints.addAll(some);
      }
    }
    to.setConstraints(constraints.isEmpty() ? null : constraints);
  }
}

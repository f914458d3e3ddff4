package org.multibit.training.importing;

import static org.multibit.training.importing.Refusal.unless;

import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import org.deeplearning4j.nn.api.Layer;
import org.deeplearning4j.nn.conf.InputPreProcessor;
import org.deeplearning4j.nn.conf.layers.BaseLayer;
import org.deeplearning4j.nn.conf.layers.BaseRecurrentLayer;
import org.deeplearning4j.nn.conf.layers.DropoutLayer;
import org.deeplearning4j.nn.conf.layers.EmbeddingSequenceLayer;
import org.deeplearning4j.nn.conf.layers.GravesLSTM;
import org.deeplearning4j.nn.conf.layers.LSTM;
import org.deeplearning4j.nn.conf.layers.RnnOutputLayer;
import org.deeplearning4j.nn.conf.layers.wrapper.BaseWrapperLayer;
import org.deeplearning4j.nn.graph.ComputationGraph;
import org.deeplearning4j.nn.graph.vertex.GraphVertex;
import org.deeplearning4j.nn.multilayer.MultiLayerNetwork;
import org.multibit.core.Cell;
import org.multibit.training.NetworkZip;
import org.nd4j.linalg.activations.IActivation;
import org.nd4j.linalg.activations.impl.ActivationIdentity;
import org.nd4j.linalg.activations.impl.ActivationSigmoid;
import org.nd4j.linalg.activations.impl.ActivationSoftmax;
import org.nd4j.linalg.activations.impl.ActivationTanH;
import org.nd4j.linalg.api.ndarray.INDArray;

/**
 * Finds a language model in a DL4J zip: a MultiLayerNetwork, or a ComputationGraph that is a chain,
 * of an EmbeddingSequenceLayer, LSTMs and an RnnOutputLayer.
 */
final class Dl4jModel {
  /** DL4J's blocks are candidate, forget, output, input gate. */
  private static final int[] FROM_DL4J = {3, 1, 0, 2};

  /** A layer with the preprocessor of its input. */
  private record Link(String name, Layer layer, InputPreProcessor preProcessor) {}

  private Dl4jModel() {}

  /**
   * @throws Refusal if DL4J cannot restore it, or it is not such a model
   */
  static FullPrecisionModel read(Path path) {
    try (NetworkZip zip = new NetworkZip(path, Set.of())) {
      return read(zip.isGraph() ? chain(zip.graph()) : chain(zip.network()));
    } catch (Refusal e) {
      throw e;
    } catch (IOException e) {
      throw new Refusal(e.getMessage(), e);
    } catch (RuntimeException e) {
      throw new Refusal("DL4J cannot restore it: " + e.getMessage(), e);
    }
  }

  private static List<Link> chain(MultiLayerNetwork network) {
    List<Link> chain = new ArrayList<>();
    for (int i = 0; i < network.getnLayers(); i++) {
      Layer layer = network.getLayer(i);
      chain.add(
          new Link(
              "layer " + i, layer, network.getLayerWiseConfigurations().getInputPreProcess(i)));
    }
    return chain;
  }

  private static List<Link> chain(ComputationGraph graph) {
    unless(
        graph.getNumInputArrays() == 1 && graph.getNumOutputArrays() == 1,
        "the graph has %s inputs and %s outputs: a language model has one of each",
        graph.getNumInputArrays(),
        graph.getNumOutputArrays());
    List<Link> chain = new ArrayList<>();
    GraphVertex[] vertices = graph.getVertices();
    for (int index : graph.topologicalSortOrder()) {
      GraphVertex vertex = vertices[index];
      if (vertex.isInputVertex()) {
        continue;
      }
      String name = "vertex " + vertex.getVertexName();
      unless(
          vertex.hasLayer(),
          "%s (%s) cannot be kept: the graph must be a chain of layers",
          name,
          vertex.getClass().getSimpleName());
      boolean last =
          vertex.getVertexName().equals(graph.getConfiguration().getNetworkOutputs().get(0));
      unless(
          vertex.getNumInputArrays() == 1 && vertex.getNumOutputConnections() == (last ? 0 : 1),
          "%s has %s inputs and goes to %s vertices: the graph must be a chain of layers",
          name,
          vertex.getNumInputArrays(),
          vertex.getNumOutputConnections());
      chain.add(
          new Link(
              name,
              vertex.getLayer(),
              ((org.deeplearning4j.nn.conf.graph.LayerVertex)
                      graph.getConfiguration().getVertices().get(vertex.getVertexName()))
                  .getPreProcessor()));
    }
    return chain;
  }

  private static FullPrecisionModel read(List<Link> chain) {
    Parameter embedding = null;
    List<FullPrecisionModel.Layer> layers = new ArrayList<>();
    Parameter[] softmax = null;
    for (Link link : chain) {
      var conf = link.layer.conf().getLayer();
      String name = "%s (%s)".formatted(link.name, conf.getClass().getSimpleName());
      unless(
          link.preProcessor == null,
          "%s has a preprocessor (%s), which cannot be kept",
          name,
          link.preProcessor);
      unless(
          !(conf instanceof BaseLayer base) || base.getWeightNoise() == null,
          "%s has weight noise, which cannot be kept",
          name);
      unless(
          embedding != null
              || !(conf instanceof BaseRecurrentLayer) && !(conf instanceof BaseWrapperLayer),
          "it has no EmbeddingSequenceLayer before %s: it takes vectors (one-hot, if they stand for words), not tokens; such models are not taken yet",
          name);
      boolean inPlace =
          embedding == null ? conf instanceof EmbeddingSequenceLayer : softmax == null;
      if (conf instanceof DropoutLayer) {
        continue; // Nothing at inference.
      } else if (conf instanceof EmbeddingSequenceLayer e && inPlace && embedding == null) {
        requireActivation(name, "activation", e.getActivationFn(), ActivationIdentity.class);
        INDArray rows = link.layer.getParam("W");
        embedding =
            parameter(
                name + " W", e.hasBias() ? rows.addRowVector(link.layer.getParam("b")) : rows);
      } else if (conf.getClass() == LSTM.class && inPlace) {
        LSTM lstm = (LSTM) conf;
        requireActivation(name, "activation", lstm.getActivationFn(), ActivationTanH.class);
        requireActivation(
            name, "gate activation", lstm.getGateActivationFn(), ActivationSigmoid.class);
        INDArray bias = link.layer.getParam("b");
        layers.add(
            new FullPrecisionModel.Layer(
                parameter(name + " W", link.layer.getParam("W").transpose()).blocks(FROM_DL4J),
                parameter(name + " RW", link.layer.getParam("RW").transpose()).blocks(FROM_DL4J),
                parameter(name + " b", bias.reshape(bias.length())).blocks(FROM_DL4J),
                Parameter.zeros(name + " b", bias.length())));
      } else if (conf instanceof RnnOutputLayer output && inPlace && !layers.isEmpty()) {
        requireActivation(name, "activation", output.getActivationFn(), ActivationSoftmax.class);
        INDArray weights = link.layer.getParam("W").transpose();
        softmax =
            new Parameter[] {
              parameter(name + " W", weights),
              output.hasBias()
                  ? parameter(name + " b", link.layer.getParam("b").reshape(weights.size(0)))
                  : Parameter.zeros(name + " b", weights.size(0))
            };
      } else {
        throw new Refusal(
            "%s cannot be kept%s: a language model is an EmbeddingSequenceLayer, LSTMs, and an RnnOutputLayer, in this order"
                .formatted(name, conf instanceof GravesLSTM ? ", since it has peepholes" : ""));
      }
    }
    unless(softmax != null, "it has no RnnOutputLayer at its end");
    return new FullPrecisionModel(Cell.LSTM, embedding, layers, softmax[0], softmax[1]);
  }

  private static Parameter parameter(String name, INDArray values) {
    return new Parameter(name, values);
  }

  private static void requireActivation(
      String layer, String which, IActivation activation, Class<? extends IActivation> needed) {
    unless(
        needed.isInstance(activation),
        "%s has the %s %s, which cannot be kept: only %s can",
        layer,
        which,
        activation,
        needed.getSimpleName().replace("Activation", "").toLowerCase(java.util.Locale.ROOT));
  }
}

package org.multibit.layers;

import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.deeplearning4j.nn.api.ParamInitializer;
import org.deeplearning4j.nn.conf.NeuralNetConfiguration;
import org.deeplearning4j.nn.conf.layers.FeedForwardLayer;
import org.deeplearning4j.nn.conf.layers.Layer;
import org.nd4j.linalg.api.ndarray.INDArray;

/**
 * The parameter of an embedding: a matrix W [nIn, nOut] in 'c' order, so that each word's row is
 * contiguous.
 */
final class EmbeddingParams implements ParamInitializer {
  static final EmbeddingParams INSTANCE = new EmbeddingParams();

  static final String WEIGHTS = "W";

  private EmbeddingParams() {}

  @Override
  public long numParams(NeuralNetConfiguration conf) {
    return numParams(conf.getLayer());
  }

  @Override
  public long numParams(Layer layer) {
    FeedForwardLayer embedding = (FeedForwardLayer) layer;
    return embedding.getNIn() * embedding.getNOut();
  }

  @Override
  public List<String> paramKeys(Layer layer) {
    return List.of(WEIGHTS);
  }

  @Override
  public List<String> weightKeys(Layer layer) {
    return List.of(WEIGHTS);
  }

  @Override
  public List<String> biasKeys(Layer layer) {
    return List.of();
  }

  @Override
  public boolean isWeightParam(Layer layer, String key) {
    return WEIGHTS.equals(key);
  }

  @Override
  public boolean isBiasParam(Layer layer, String key) {
    return false;
  }

  @Override
  public Map<String, INDArray> init(
      NeuralNetConfiguration conf, INDArray paramsView, boolean initializeParams) {
    FeedForwardLayer embedding = (FeedForwardLayer) conf.getLayer();
    conf.addVariable(WEIGHTS);
    if (initializeParams) {
      // Fan-in 1 as in DL4J's embedding layers: the vocabulary's size has no part in it.
      embedding
          .getWeightInitFn()
          .init(
              1,
              embedding.getNOut(),
              new long[] {embedding.getNIn(), embedding.getNOut()},
              'c',
              paramsView.reshape(paramsView.length()));
    }
    return Collections.synchronizedMap(getGradientsFromFlattened(conf, paramsView));
  }

  @Override
  public Map<String, INDArray> getGradientsFromFlattened(
      NeuralNetConfiguration conf, INDArray flattened) {
    FeedForwardLayer embedding = (FeedForwardLayer) conf.getLayer();
    if (flattened.length() != numParams(embedding)) {
      throw new IllegalStateException(
          "Expected a view of %s parameters, got %s"
              .formatted(numParams(embedding), flattened.length()));
    }
    Map<String, INDArray> views = new LinkedHashMap<>();
    views.put(WEIGHTS, flattened.reshape('c', embedding.getNIn(), embedding.getNOut()));
    return views;
  }
}

package org.multibit.layers;

import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.deeplearning4j.nn.api.ParamInitializer;
import org.deeplearning4j.nn.conf.NeuralNetConfiguration;
import org.deeplearning4j.nn.conf.layers.Layer;
import org.deeplearning4j.nn.weights.IWeightInit;
import org.multibit.core.Cell;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.nd4j.linalg.indexing.NDArrayIndex;

/**
 * The parameters of {@link QuantizedRecurrent}: input weights, recurrent weights and biases, with
 * the keys and in the order of DL4J's LSTM.
 */
final class RecurrentParams implements ParamInitializer {
  static final String INPUT_WEIGHTS = "W";
  static final String RECURRENT_WEIGHTS = "RW";
  static final String BIAS = "b";

  /** The bias that is added only to the recurrent product. */
  static final String RECURRENT_BIAS = "rb";

  private final int gates;
  private final List<String> biases;

  RecurrentParams(Cell cell) {
    gates = cell.gates();
    biases = cell.separateSums() ? List.of(BIAS, RECURRENT_BIAS) : List.of(BIAS);
  }

  int gates() {
    return gates;
  }

  boolean hasRecurrentBias() {
    return biases.contains(RECURRENT_BIAS);
  }

  @Override
  public long numParams(NeuralNetConfiguration conf) {
    return numParams(conf.getLayer());
  }

  @Override
  public long numParams(Layer layer) {
    QuantizedRecurrent recurrent = (QuantizedRecurrent) layer;
    return gates * recurrent.getNOut() * (recurrent.getNIn() + recurrent.getNOut() + biases.size());
  }

  @Override
  public List<String> paramKeys(Layer layer) {
    List<String> keys = new ArrayList<>(weightKeys(layer));
    keys.addAll(biases);
    return keys;
  }

  @Override
  public List<String> weightKeys(Layer layer) {
    return List.of(INPUT_WEIGHTS, RECURRENT_WEIGHTS);
  }

  @Override
  public List<String> biasKeys(Layer layer) {
    return biases;
  }

  @Override
  public boolean isWeightParam(Layer layer, String key) {
    return weightKeys(layer).contains(key);
  }

  @Override
  public boolean isBiasParam(Layer layer, String key) {
    return biases.contains(key);
  }

  @Override
  public Map<String, INDArray> init(
      NeuralNetConfiguration conf, INDArray paramsView, boolean initializeParams) {
    QuantizedRecurrent layer = (QuantizedRecurrent) conf.getLayer();
    paramKeys(layer).forEach(conf::addVariable);
    Map<String, INDArray> params =
        Collections.synchronizedMap(getGradientsFromFlattened(conf, paramsView));
    if (initializeParams) {
      long in = layer.getNIn();
      long out = layer.getNOut();
      IWeightInit input = layer.getWeightInitFn();
      IWeightInit recurrent =
          layer.getWeightInitFnRecurrent() == null ? input : layer.getWeightInitFnRecurrent();
      initialize(input, params.get(INPUT_WEIGHTS), in, out);
      initialize(recurrent, params.get(RECURRENT_WEIGHTS), in, out);
      biases.forEach(bias -> params.get(bias).assign(0));
      layer.initializeBiases(params);
    }
    return params;
  }

  /** Fan-in and fan-out as DL4J's LSTM has them. */
  private static void initialize(IWeightInit init, INDArray weights, long in, long out) {
    init.init(
        out,
        in + out,
        weights.shape(),
        IWeightInit.DEFAULT_WEIGHT_INIT_ORDER,
        weights.reshape('f', new long[] {weights.length()}));
  }

  /**
   * Views into a flattened array, in the order of the keys; matrices in 'f' order, so that a unit's
   * weights are contiguous.
   */
  @Override
  public Map<String, INDArray> getGradientsFromFlattened(
      NeuralNetConfiguration conf, INDArray flattened) {
    QuantizedRecurrent layer = (QuantizedRecurrent) conf.getLayer();
    long out = layer.getNOut();
    if (flattened.length() != numParams(layer)) {
      throw new IllegalStateException(
          "Expected a view of %s parameters, got %s"
              .formatted(numParams(layer), flattened.length()));
    }
    INDArray flat = flattened.reshape(flattened.length());
    Map<String, INDArray> views = new LinkedHashMap<>();
    long start = 0;
    for (String key : paramKeys(layer)) {
      long rows = key.equals(INPUT_WEIGHTS) ? layer.getNIn() : out;
      boolean bias = biases.contains(key);
      long end = start + (bias ? 1 : rows) * gates * out;
      INDArray view = flat.get(NDArrayIndex.interval(start, end));
      views.put(key, bias ? view : view.reshape('f', rows, gates * out));
      start = end;
    }
    return views;
  }
}

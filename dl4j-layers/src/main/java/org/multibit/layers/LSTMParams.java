package org.multibit.layers;

import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.deeplearning4j.nn.api.ParamInitializer;
import org.deeplearning4j.nn.conf.NeuralNetConfiguration;
import org.deeplearning4j.nn.conf.layers.Layer;
import org.deeplearning4j.nn.weights.IWeightInit;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.nd4j.linalg.indexing.NDArrayIndex;

/** The parameters of DL4J's LSTM, by its keys and in its order, for {@link QuantizedLSTM}. */
final class LSTMParams implements ParamInitializer {
  static final LSTMParams INSTANCE = new LSTMParams();

  static final String INPUT_WEIGHTS = "W";
  static final String RECURRENT_WEIGHTS = "RW";
  static final String BIAS = "b";

  private LSTMParams() {}

  @Override
  public long numParams(NeuralNetConfiguration conf) {
    return numParams(conf.getLayer());
  }

  @Override
  public long numParams(Layer layer) {
    QuantizedLSTM lstm = (QuantizedLSTM) layer;
    return 4 * lstm.getNOut() * (lstm.getNIn() + lstm.getNOut() + 1);
  }

  @Override
  public List<String> paramKeys(Layer layer) {
    return List.of(INPUT_WEIGHTS, RECURRENT_WEIGHTS, BIAS);
  }

  @Override
  public List<String> weightKeys(Layer layer) {
    return List.of(INPUT_WEIGHTS, RECURRENT_WEIGHTS);
  }

  @Override
  public List<String> biasKeys(Layer layer) {
    return List.of(BIAS);
  }

  @Override
  public boolean isWeightParam(Layer layer, String key) {
    return weightKeys(layer).contains(key);
  }

  @Override
  public boolean isBiasParam(Layer layer, String key) {
    return BIAS.equals(key);
  }

  @Override
  public Map<String, INDArray> init(
      NeuralNetConfiguration conf, INDArray paramsView, boolean initializeParams) {
    QuantizedLSTM lstm = (QuantizedLSTM) conf.getLayer();
    paramKeys(lstm).forEach(conf::addVariable);
    Map<String, INDArray> params =
        Collections.synchronizedMap(getGradientsFromFlattened(conf, paramsView));
    if (initializeParams) {
      long in = lstm.getNIn();
      long out = lstm.getNOut();
      IWeightInit input = lstm.getWeightInitFn();
      IWeightInit recurrent =
          lstm.getWeightInitFnRecurrent() == null ? input : lstm.getWeightInitFnRecurrent();
      initialize(input, params.get(INPUT_WEIGHTS), in, out);
      initialize(recurrent, params.get(RECURRENT_WEIGHTS), in, out);
      INDArray bias = params.get(BIAS);
      bias.assign(0);
      bias.get(NDArrayIndex.interval(out, 2 * out)).assign(lstm.getForgetGateBiasInit());
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
   * Views into a flattened array: W, then RW, then b; matrices in 'f' order, so that a unit's
   * weights are contiguous.
   */
  @Override
  public Map<String, INDArray> getGradientsFromFlattened(
      NeuralNetConfiguration conf, INDArray flattened) {
    QuantizedLSTM lstm = (QuantizedLSTM) conf.getLayer();
    long in = lstm.getNIn();
    long out = lstm.getNOut();
    if (flattened.length() != numParams(lstm)) {
      throw new IllegalStateException(
          "Expected a view of %d parameters, got %d"
              .formatted(numParams(lstm), flattened.length()));
    }
    INDArray flat = flattened.reshape(flattened.length());
    long recurrent = in * 4 * out;
    long bias = recurrent + out * 4 * out;
    Map<String, INDArray> views = new LinkedHashMap<>();
    views.put(
        INPUT_WEIGHTS, flat.get(NDArrayIndex.interval(0, recurrent)).reshape('f', in, 4 * out));
    views.put(
        RECURRENT_WEIGHTS,
        flat.get(NDArrayIndex.interval(recurrent, bias)).reshape('f', out, 4 * out));
    views.put(BIAS, flat.get(NDArrayIndex.interval(bias, bias + 4 * out)));
    return views;
  }
}

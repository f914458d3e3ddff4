package org.multibit.layers;

import org.deeplearning4j.nn.conf.NeuralNetConfiguration;
import org.deeplearning4j.nn.gradient.Gradient;
import org.deeplearning4j.nn.layers.BaseLayer;
import org.deeplearning4j.nn.params.DefaultParamInitializer;
import org.deeplearning4j.nn.workspace.LayerWorkspaceMgr;
import org.nd4j.common.primitives.Pair;
import org.nd4j.linalg.api.buffer.DataType;
import org.nd4j.linalg.api.ndarray.INDArray;

/** Computes {@link QuantizedDense}. */
public final class QuantizedDenseLayer extends BaseLayer<QuantizedDense> {
  private static final String W = DefaultParamInitializer.WEIGHT_KEY;
  private static final String B = DefaultParamInitializer.BIAS_KEY;

  private final QuantizedLinear product = new QuantizedLinear();

  public QuantizedDenseLayer(NeuralNetConfiguration conf, DataType dataType) {
    super(conf, dataType);
  }

  private QuantizedLinear.Operands operands(boolean training, LayerWorkspaceMgr workspaceMgr) {
    assertInputSet(training);
    Checks.rows(layerId(), input, layerConf().getNIn());
    return product.operands(
        this,
        layerId(),
        input,
        maskArray,
        null,
        getParamWithNoise(W, training, workspaceMgr),
        hasBias() ? getParamWithNoise(B, training, workspaceMgr) : null,
        layerConf().getWeightQuantization(),
        layerConf().getActivationQuantization(),
        training ? layerConf().getIDropout() : null);
  }

  @Override
  protected Pair<INDArray, INDArray> preOutputWithPreNorm(
      boolean training, boolean forBackprop, LayerWorkspaceMgr workspaceMgr) {
    INDArray sums = operands(training, workspaceMgr).product(workspaceMgr);
    return new Pair<>(sums, sums);
  }

  @Override
  public Pair<Gradient, INDArray> backpropGradient(
      INDArray epsilon, LayerWorkspaceMgr workspaceMgr) {
    QuantizedLinear.Operands operands = operands(true, workspaceMgr);
    INDArray sums = operands.product(workspaceMgr);
    INDArray delta = layerConf().getActivationFn().backprop(sums, epsilon).getFirst();
    if (maskArray != null) {
      applyMask(delta);
    }
    Pair<Gradient, INDArray> result =
        operands.backward(
            delta, gradientViews.get(W), hasBias() ? gradientViews.get(B) : null, workspaceMgr);
    weightNoiseParams.clear();
    return result;
  }

  @Override
  public boolean hasBias() {
    return layerConf().hasBias();
  }

  @Override
  public boolean isPretrainLayer() {
    return false;
  }
}

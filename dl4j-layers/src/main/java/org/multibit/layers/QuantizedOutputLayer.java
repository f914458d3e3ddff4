package org.multibit.layers;

import java.util.Arrays;
import org.deeplearning4j.exception.DL4JInvalidInputException;
import org.deeplearning4j.nn.conf.NeuralNetConfiguration;
import org.deeplearning4j.nn.gradient.Gradient;
import org.deeplearning4j.nn.layers.BaseOutputLayer;
import org.deeplearning4j.nn.params.DefaultParamInitializer;
import org.deeplearning4j.nn.workspace.ArrayType;
import org.deeplearning4j.nn.workspace.LayerWorkspaceMgr;
import org.nd4j.common.primitives.Pair;
import org.nd4j.linalg.api.buffer.DataType;
import org.nd4j.linalg.api.ndarray.INDArray;

/** Computes {@link QuantizedOutput}. Masks and scores are DL4J's. */
public final class QuantizedOutputLayer extends BaseOutputLayer<QuantizedOutput> {
  private static final String W = DefaultParamInitializer.WEIGHT_KEY;
  private static final String B = DefaultParamInitializer.BIAS_KEY;

  private final QuantizedLinear product = new QuantizedLinear();

  public QuantizedOutputLayer(NeuralNetConfiguration conf, DataType dataType) {
    super(conf, dataType);
  }

  private QuantizedLinear.Operands operands(boolean training, LayerWorkspaceMgr workspaceMgr) {
    assertInputSet(training);
    checkNoSequences("input [batch, %s]".formatted(layerConf().getNIn()), input);
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
    INDArray delta =
        layerConf()
            .getLossFn()
            .computeGradient(checkedLabels(), sums, layerConf().getActivationFn(), maskArray);
    return operands.backward(
        delta, gradientViews.get(W), hasBias() ? gradientViews.get(B) : null, workspaceMgr);
  }

  @Override
  protected INDArray getLabels2d(LayerWorkspaceMgr workspaceMgr, ArrayType arrayType) {
    return checkedLabels();
  }

  private INDArray checkedLabels() {
    String takes = "labels [batch, %s]".formatted(layerConf().getNOut());
    checkNoSequences(takes, labels);
    if (labels.size(0) != input.size(0)) {
      throw new DL4JInvalidInputException(
          "%s takes %s, one row for each of %s examples, got %s"
              .formatted(layerId(), takes, input.size(0), Arrays.toString(labels.shape())));
    }
    return labels;
  }

  private void checkNoSequences(String takes, INDArray array) {
    if (array.rank() == 3) {
      throw new DL4JInvalidInputException(
          "%s takes %s, got the sequences %s: for one output a sequence put the recurrent layer before it into LastTimeStep, for one at each step use QuantizedSoftmaxOutput or DL4J's RnnOutputLayer"
              .formatted(layerId(), takes, Arrays.toString(array.shape())));
    }
  }
}

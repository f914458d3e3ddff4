package org.multibit.layers;

import java.util.Collection;
import java.util.Objects;
import org.deeplearning4j.nn.api.Layer;
import org.deeplearning4j.nn.api.ParamInitializer;
import org.deeplearning4j.nn.conf.NeuralNetConfiguration;
import org.deeplearning4j.nn.conf.layers.BaseOutputLayer;
import org.deeplearning4j.nn.conf.layers.LayerValidation;
import org.deeplearning4j.nn.params.DefaultParamInitializer;
import org.deeplearning4j.optimize.api.TrainingListener;
import org.multibit.core.Quantization;
import org.nd4j.linalg.activations.impl.ActivationSoftmax;
import org.nd4j.linalg.api.buffer.DataType;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.nd4j.linalg.lossfunctions.ILossFunction;
import org.nd4j.linalg.lossfunctions.LossFunctions.LossFunction;

/**
 * A {@link QuantizedDense} with a loss: the head of a classifier or of a regression. Its input is
 * [B, nIn]; labels and output are [B, nOut]. It takes any of DL4J's losses and activation
 * functions; the default is multi-class cross-entropy and softmax. Its parameters are W [nIn, nOut]
 * and b [1, nOut], as in DL4J.
 *
 * <p>It takes no sequences. Wrap a recurrent layer before it in LastTimeStep. For an output at each
 * step use {@link QuantizedSoftmaxOutput} or DL4J's RnnOutputLayer.
 *
 * <p>The layer quantizes each example of its input and then applies dropout. Without quantizations
 * it is DL4J's {@link org.deeplearning4j.nn.conf.layers.OutputLayer}.
 */
public class QuantizedOutput extends BaseOutputLayer implements QuantizesProduct {
  private static final String NAME = "QuantizedOutput";

  @QuantizationJson private Quantization weightQuantization;
  @QuantizationJson private Quantization activationQuantization;

  /** For JSON. */
  public QuantizedOutput() {}

  private QuantizedOutput(Builder builder) {
    super(builder);
    weightQuantization = builder.weightQuantization;
    activationQuantization = builder.activationQuantization;
    DropoutMask.retain(getIDropout());
    initializeConstraints(builder);
    LatentWeightClip.addTo(this, weightQuantization, builder.latentWeightBound);
  }

  /** How W is quantized, each column (one output's weights) by itself; null = full precision. */
  @Override
  public Quantization getWeightQuantization() {
    return weightQuantization;
  }

  @Override
  public void setWeightQuantization(Quantization weightQuantization) {
    this.weightQuantization = weightQuantization;
  }

  /** How the input is quantized before the product; null = full precision. */
  @Override
  public Quantization getActivationQuantization() {
    return activationQuantization;
  }

  @Override
  public void setActivationQuantization(Quantization activationQuantization) {
    this.activationQuantization = activationQuantization;
  }

  @Override
  public Layer instantiate(
      NeuralNetConfiguration conf,
      Collection<TrainingListener> trainingListeners,
      int layerIndex,
      INDArray layerParamsView,
      boolean initializeParams,
      DataType networkDataType) {
    LayerValidation.assertNInNOutSet(NAME, getLayerName(), layerIndex, getNIn(), getNOut());
    DropoutMask.retain(getIDropout());
    Checks.precision(
        NAME + " (layer " + layerIndex + ")",
        networkDataType,
        weightQuantization,
        activationQuantization);
    BlasReport.once();
    return Instantiation.complete(
        new QuantizedOutputLayer(conf, networkDataType),
        initializer(),
        conf,
        trainingListeners,
        layerIndex,
        layerParamsView,
        initializeParams);
  }

  @Override
  public ParamInitializer initializer() {
    return DefaultParamInitializer.getInstance();
  }

  @Override
  public boolean equals(Object other) {
    return other instanceof QuantizedOutput o
        && super.equals(other)
        && Objects.equals(weightQuantization, o.weightQuantization)
        && Objects.equals(activationQuantization, o.activationQuantization);
  }

  @Override
  public int hashCode() {
    return Objects.hash(super.hashCode(), weightQuantization, activationQuantization);
  }

  @Override
  public boolean canEqual(Object other) {
    return other instanceof QuantizedOutput;
  }

  /** Builds a {@link QuantizedOutput}; full precision unless told otherwise. */
  public static class Builder extends BaseOutputLayer.Builder<Builder> {
    private Quantization weightQuantization;
    private Quantization activationQuantization;
    private double latentWeightBound = 1;

    /** Multi-class cross-entropy. */
    public Builder() {
      this(LossFunction.MCXENT);
    }

    public Builder(LossFunction loss) {
      this(loss.getILossFunction());
    }

    public Builder(ILossFunction loss) {
      super(loss);
      activationFn = new ActivationSoftmax();
    }

    /** How to quantize W; null = full precision. */
    public Builder weights(Quantization quantization) {
      weightQuantization = quantization;
      return this;
    }

    /** How to quantize the input; null = full precision. */
    public Builder activations(Quantization quantization) {
      activationQuantization = quantization;
      return this;
    }

    /** Latent weights are clipped to [-bound, bound] where weights are quantized; 1 unless set. */
    public Builder latentWeightBound(double bound) {
      latentWeightBound = bound;
      return this;
    }

    @Override
    @SuppressWarnings("unchecked")
    public QuantizedOutput build() {
      return new QuantizedOutput(this);
    }
  }
}

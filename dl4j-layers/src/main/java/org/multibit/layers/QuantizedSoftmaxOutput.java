package org.multibit.layers;

import java.util.Collection;
import java.util.Objects;
import org.deeplearning4j.exception.DL4JInvalidConfigException;
import org.deeplearning4j.nn.api.Layer;
import org.deeplearning4j.nn.api.ParamInitializer;
import org.deeplearning4j.nn.conf.InputPreProcessor;
import org.deeplearning4j.nn.conf.NeuralNetConfiguration;
import org.deeplearning4j.nn.conf.RNNFormat;
import org.deeplearning4j.nn.conf.inputs.InputType;
import org.deeplearning4j.nn.conf.layers.BaseOutputLayer;
import org.deeplearning4j.nn.conf.layers.LayerValidation;
import org.deeplearning4j.nn.params.DefaultParamInitializer;
import org.deeplearning4j.optimize.api.TrainingListener;
import org.multibit.core.Quantization;
import org.nd4j.linalg.activations.impl.ActivationSoftmax;
import org.nd4j.linalg.api.buffer.DataType;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.nd4j.linalg.lossfunctions.impl.LossMCXENT;
import org.nd4j.linalg.lossfunctions.impl.LossSparseMCXENT;

/**
 * A softmax over a vocabulary with cross-entropy on sparse labels, with quantized weights and
 * activations. Its input is [B, nIn, T] (NCW), its labels are class ids [B, 1, T], and its output
 * is probabilities [B, nOut, T]. Its parameters are W [nIn, nOut] and b [1, nOut], as in DL4J.
 *
 * <p>The layer quantizes its input and then applies dropout. Without quantizations it is DL4J's
 * {@link org.deeplearning4j.nn.conf.layers.RnnOutputLayer} with {@link LossSparseMCXENT}. A label
 * mask [B, T] weights the loss of time steps; where it is 0, any label is allowed.
 */
public class QuantizedSoftmaxOutput extends BaseOutputLayer implements QuantizesProduct {
  private static final String NAME = "QuantizedSoftmaxOutput";

  @QuantizationJson private Quantization weightQuantization;
  @QuantizationJson private Quantization activationQuantization;
  private boolean averageOverTime;
  private boolean averageOverBatch;

  /** For JSON. */
  public QuantizedSoftmaxOutput() {}

  private QuantizedSoftmaxOutput(Builder builder) {
    super(builder);
    weightQuantization = builder.weightQuantization;
    activationQuantization = builder.activationQuantization;
    averageOverTime = builder.averageOverTime;
    averageOverBatch = builder.averageOverBatch;
    Checks.activation(NAME, builder.getActivationFn(), ActivationSoftmax.class, "it is a softmax");
    activationFn = new ActivationSoftmax();
    if (!(builder.getLossFn() instanceof LossMCXENT loss) || loss.getWeights() != null) {
      throw new DL4JInvalidConfigException(
          NAME
              + " has the unweighted cross-entropy of sparse labels as its loss, not "
              + builder.getLossFn());
    }
    lossFn = new LossSparseMCXENT();
    DropoutMask.retain(getIDropout());
    initializeConstraints(builder);
    LatentWeightClip.addTo(this, weightQuantization, builder.latentWeightBound);
  }

  /** How W is quantized, each column (one class's weights) by itself; null = full precision. */
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

  /**
   * Whether score and gradient are divided by the number of time steps T, including masked steps.
   * This gives the mean loss per token instead of per sequence.
   */
  public boolean isAverageOverTime() {
    return averageOverTime;
  }

  public void setAverageOverTime(boolean averageOverTime) {
    this.averageOverTime = averageOverTime;
  }

  /**
   * Whether this layer divides score and gradient by the batch size, which costs nothing here. Then
   * the network must have {@code miniBatch(false)}; otherwise DL4J divides the gradient of every
   * parameter again.
   */
  public boolean isAverageOverBatch() {
    return averageOverBatch;
  }

  public void setAverageOverBatch(boolean averageOverBatch) {
    this.averageOverBatch = averageOverBatch;
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
    if (averageOverBatch && conf.isMiniBatch()) {
      throw new DL4JInvalidConfigException(
          "%s (layer %s) averages over the batch, and so would DL4J: set miniBatch(false) for the network"
              .formatted(NAME, layerIndex));
    }
    Checks.precision(
        NAME + " (layer " + layerIndex + ")",
        networkDataType,
        weightQuantization,
        activationQuantization);
    BlasReport.once();
    return Instantiation.complete(
        new QuantizedSoftmaxOutputLayer(conf, networkDataType),
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
  public InputType getOutputType(int layerIndex, InputType inputType) {
    InputType.InputTypeRecurrent sequence =
        Checks.sequence(NAME + " (layer " + layerIndex + ")", inputType);
    return InputType.recurrent(nOut, sequence.getTimeSeriesLength(), RNNFormat.NCW);
  }

  @Override
  public void setNIn(InputType inputType, boolean override) {
    if (nIn <= 0 || override) {
      nIn = Checks.sequence(NAME, inputType).getSize();
    }
  }

  @Override
  public InputPreProcessor getPreProcessorForInputType(InputType inputType) {
    return null;
  }

  @Override
  public boolean equals(Object other) {
    return other instanceof QuantizedSoftmaxOutput s
        && super.equals(other)
        && Objects.equals(weightQuantization, s.weightQuantization)
        && Objects.equals(activationQuantization, s.activationQuantization)
        && averageOverTime == s.averageOverTime
        && averageOverBatch == s.averageOverBatch;
  }

  @Override
  public int hashCode() {
    return Objects.hash(
        super.hashCode(),
        weightQuantization,
        activationQuantization,
        averageOverTime,
        averageOverBatch);
  }

  @Override
  public boolean canEqual(Object other) {
    return other instanceof QuantizedSoftmaxOutput;
  }

  /** Builds a {@link QuantizedSoftmaxOutput}; full precision unless told otherwise. */
  public static class Builder extends BaseOutputLayer.Builder<Builder> {
    private Quantization weightQuantization;
    private Quantization activationQuantization;
    private double latentWeightBound = 1;
    private boolean averageOverTime;
    private boolean averageOverBatch;

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

    /** Divide score and gradient by the number of time steps; DL4J sums over them. */
    public Builder averageOverTime(boolean average) {
      averageOverTime = average;
      return this;
    }

    /**
     * Divides score and gradient by the batch size in this layer instead of parameter by parameter
     * in the updater. This gives the same mean at less cost. Set {@code miniBatch(false)} with it.
     */
    public Builder averageOverBatch(boolean average) {
      averageOverBatch = average;
      return this;
    }

    @Override
    @SuppressWarnings("unchecked")
    public QuantizedSoftmaxOutput build() {
      return new QuantizedSoftmaxOutput(this);
    }
  }
}

package org.multibit.layers;

import java.util.Collection;
import java.util.Objects;
import org.deeplearning4j.nn.api.Layer;
import org.deeplearning4j.nn.api.ParamInitializer;
import org.deeplearning4j.nn.conf.NeuralNetConfiguration;
import org.deeplearning4j.nn.conf.inputs.InputType;
import org.deeplearning4j.nn.conf.layers.FeedForwardLayer;
import org.deeplearning4j.nn.conf.layers.LayerValidation;
import org.deeplearning4j.nn.conf.memory.LayerMemoryReport;
import org.deeplearning4j.nn.conf.memory.MemoryReport;
import org.deeplearning4j.optimize.api.TrainingListener;
import org.multibit.core.Quantization;
import org.nd4j.linalg.api.buffer.DataType;
import org.nd4j.linalg.api.ndarray.INDArray;

/**
 * A dense layer with quantized weights and activations that learns with the straight-through
 * estimator. It computes activation(x W + b), with input [B, nIn] and output [B, nOut]. Its
 * parameters are W [nIn, nOut] and b [1, nOut], as in DL4J.
 *
 * <p>The layer quantizes each example of its input and then applies dropout. Without quantizations
 * it is DL4J's {@link org.deeplearning4j.nn.conf.layers.DenseLayer} without layer normalization. As
 * there, DL4J turns the steps of a sequence into examples.
 */
public class QuantizedDense extends FeedForwardLayer implements QuantizesProduct {
  private static final String NAME = "QuantizedDense";

  @QuantizationJson private Quantization weightQuantization;
  @QuantizationJson private Quantization activationQuantization;
  private boolean hasBias = true;

  /** For JSON. */
  public QuantizedDense() {}

  private QuantizedDense(Builder builder) {
    super(builder);
    weightQuantization = builder.weightQuantization;
    activationQuantization = builder.activationQuantization;
    hasBias = builder.hasBias;
    DropoutMask.retain(getIDropout());
    initializeConstraints(builder);
    LatentWeightClip.addTo(this, weightQuantization, builder.latentWeightBound);
  }

  /** How W is quantized, each column (one unit's weights) by itself; null = full precision. */
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

  public boolean hasBias() {
    return hasBias;
  }

  /** For JSON. */
  public boolean isHasBias() {
    return hasBias;
  }

  public void setHasBias(boolean hasBias) {
    this.hasBias = hasBias;
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
        new QuantizedDenseLayer(conf, networkDataType),
        initializer(),
        conf,
        trainingListeners,
        layerIndex,
        layerParamsView,
        initializeParams);
  }

  @Override
  public ParamInitializer initializer() {
    return DenseParams.of(hasBias);
  }

  @Override
  public LayerMemoryReport getMemoryReport(InputType inputType) {
    InputType outputType = getOutputType(-1, inputType);
    long params = initializer().numParams(this);
    // Per example: the input as it was consumed, and the sums.
    return new LayerMemoryReport.Builder(layerName, getClass(), inputType, outputType)
        .standardMemory(params, getIUpdater().stateSize(params))
        .workingMemory(0, 0, params, nIn + nOut)
        .cacheMemory(MemoryReport.CACHE_MODE_ALL_ZEROS, MemoryReport.CACHE_MODE_ALL_ZEROS)
        .build();
  }

  @Override
  public boolean equals(Object other) {
    return other instanceof QuantizedDense d
        && super.equals(other)
        && Objects.equals(weightQuantization, d.weightQuantization)
        && Objects.equals(activationQuantization, d.activationQuantization)
        && hasBias == d.hasBias;
  }

  @Override
  public int hashCode() {
    return Objects.hash(super.hashCode(), weightQuantization, activationQuantization, hasBias);
  }

  @Override
  public boolean canEqual(Object other) {
    return other instanceof QuantizedDense;
  }

  /** Builds a {@link QuantizedDense}; full precision unless told otherwise. */
  public static class Builder extends FeedForwardLayer.Builder<Builder> {
    private Quantization weightQuantization;
    private Quantization activationQuantization;
    private double latentWeightBound = 1;
    private boolean hasBias = true;

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

    /** Whether there is a bias; true unless set. */
    public Builder hasBias(boolean bias) {
      hasBias = bias;
      return this;
    }

    @Override
    @SuppressWarnings("unchecked")
    public QuantizedDense build() {
      return new QuantizedDense(this);
    }
  }
}

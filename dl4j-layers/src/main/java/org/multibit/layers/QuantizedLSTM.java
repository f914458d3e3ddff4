package org.multibit.layers;

import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import org.deeplearning4j.exception.DL4JInvalidConfigException;
import org.deeplearning4j.nn.api.ParamInitializer;
import org.deeplearning4j.nn.api.layers.LayerConstraint;
import org.deeplearning4j.nn.conf.NeuralNetConfiguration;
import org.deeplearning4j.nn.conf.RNNFormat;
import org.deeplearning4j.nn.conf.inputs.InputType;
import org.deeplearning4j.nn.conf.layers.BaseRecurrentLayer;
import org.deeplearning4j.nn.conf.layers.Layer;
import org.deeplearning4j.nn.conf.layers.LayerValidation;
import org.deeplearning4j.nn.conf.memory.LayerMemoryReport;
import org.deeplearning4j.nn.conf.memory.MemoryReport;
import org.deeplearning4j.optimize.api.TrainingListener;
import org.multibit.core.Quantization;
import org.nd4j.linalg.activations.impl.ActivationTanH;
import org.nd4j.linalg.api.buffer.DataType;
import org.nd4j.linalg.api.ndarray.INDArray;

/**
 * An LSTM (without peepholes) that multiplies quantized weights with quantized activations and
 * learns through the straight-through estimator. Without quantizations it is DL4J's {@link
 * org.deeplearning4j.nn.conf.layers.LSTM}, with the same parameters: W [nIn, 4 nOut], RW [nOut, 4
 * nOut], b [4 nOut], columns candidate, forget, output, input gate.
 *
 * <p>Input and hidden state are full precision; the layer quantizes them itself, and then applies
 * its dropout to the input (zeros are not codes). Sequences are [B, C, T] (NCW). Gates are
 * sigmoids, candidate and output tanh. As in DL4J's LSTM, masked time steps are left to the loss.
 */
public class QuantizedLSTM extends BaseRecurrentLayer {
  private static final String NAME = "QuantizedLSTM";

  private Quantization weightQuantization;
  private Quantization inputActivationQuantization;
  private Quantization recurrentActivationQuantization;
  private double forgetGateBiasInit;
  private boolean stateful;

  /** For JSON. */
  public QuantizedLSTM() {}

  private QuantizedLSTM(Builder builder) {
    super(builder);
    weightQuantization = builder.weightQuantization;
    inputActivationQuantization = builder.inputActivationQuantization;
    recurrentActivationQuantization = builder.recurrentActivationQuantization;
    forgetGateBiasInit = builder.forgetGateBiasInit;
    stateful = builder.stateful;
    Checks.activation(
        NAME, builder.getActivationFn(), ActivationTanH.class, "candidate and output are tanh");
    activationFn = new ActivationTanH();
    checkInput();
    initializeConstraints(builder);
    LatentWeightClip.addTo(this, weightQuantization, builder.latentWeightBound);
  }

  /** As in DL4J's LSTM, with {@code constrainInputWeights} too, which it ignores. */
  @Override
  protected void initializeConstraints(Layer.Builder<?> builder) {
    super.initializeConstraints(builder);
    Builder own = (Builder) builder;
    constrain(own.getInputWeightConstraints(), LSTMParams.INPUT_WEIGHTS);
    constrain(own.getRecurrentConstraints(), LSTMParams.RECURRENT_WEIGHTS);
  }

  private void constrain(List<LayerConstraint> added, String parameter) {
    if (added != null) {
      constraints = constraints == null ? new ArrayList<>() : constraints;
      for (LayerConstraint constraint : added) {
        LayerConstraint own = constraint.clone();
        own.setParams(Set.of(parameter));
        constraints.add(own);
      }
    }
  }

  /** What a network's defaults, set after the layer was built, can spoil. */
  private void checkInput() {
    DropoutMask.retain(getIDropout());
    if (rnnDataFormat != null && rnnDataFormat != RNNFormat.NCW) {
      throw new DL4JInvalidConfigException(
          "%s takes sequences as NCW [batch, size, time], not %s".formatted(NAME, rnnDataFormat));
    }
  }

  /**
   * How W and RW are quantized, each column (one unit's weights) by itself; null = full precision.
   */
  public Quantization getWeightQuantization() {
    return weightQuantization;
  }

  public void setWeightQuantization(Quantization weightQuantization) {
    this.weightQuantization = weightQuantization;
  }

  /** How the input is quantized before its product with W; null = not, or not again. */
  public Quantization getInputActivationQuantization() {
    return inputActivationQuantization;
  }

  public void setInputActivationQuantization(Quantization quantization) {
    this.inputActivationQuantization = quantization;
  }

  /** How the hidden state is quantized before its product with RW; null = full precision. */
  public Quantization getRecurrentActivationQuantization() {
    return recurrentActivationQuantization;
  }

  public void setRecurrentActivationQuantization(Quantization quantization) {
    this.recurrentActivationQuantization = quantization;
  }

  public double getForgetGateBiasInit() {
    return forgetGateBiasInit;
  }

  public void setForgetGateBiasInit(double forgetGateBiasInit) {
    this.forgetGateBiasInit = forgetGateBiasInit;
  }

  /**
   * Whether training by standard backpropagation carries the state from one {@code fit} to the
   * next.
   */
  public boolean isStateful() {
    return stateful;
  }

  public void setStateful(boolean stateful) {
    this.stateful = stateful;
  }

  @Override
  public org.deeplearning4j.nn.api.Layer instantiate(
      NeuralNetConfiguration conf,
      Collection<TrainingListener> trainingListeners,
      int layerIndex,
      INDArray layerParamsView,
      boolean initializeParams,
      DataType networkDataType) {
    LayerValidation.assertNInNOutSet(NAME, getLayerName(), layerIndex, getNIn(), getNOut());
    checkInput();
    Checks.precision(
        NAME + " (layer " + layerIndex + ")",
        networkDataType,
        weightQuantization,
        inputActivationQuantization,
        recurrentActivationQuantization);
    BlasReport.once();
    QuantizedLSTMLayer layer = new QuantizedLSTMLayer(conf, networkDataType);
    layer.setListeners(trainingListeners);
    layer.setIndex(layerIndex);
    layer.setParamsViewArray(layerParamsView);
    Map<String, INDArray> params = initializer().init(conf, layerParamsView, initializeParams);
    layer.setParamTable(params);
    layer.setConf(conf);
    return layer;
  }

  @Override
  public ParamInitializer initializer() {
    return LSTMParams.INSTANCE;
  }

  @Override
  public LayerMemoryReport getMemoryReport(InputType inputType) {
    InputType outputType = getOutputType(-1, inputType);
    long params = initializer().numParams(this);
    // Per example and step, in units: gates 4, cell, its tanh, hidden state and its codes 4; the
    // gradients of gates, cell and hidden state 6; and the input.
    long perStep = 14 * nOut + nIn;
    long steps = ((InputType.InputTypeRecurrent) inputType).getTimeSeriesLength();
    return new LayerMemoryReport.Builder(layerName, QuantizedLSTM.class, inputType, outputType)
        .standardMemory(params, getIUpdater().stateSize(params))
        .workingMemory(0, 0, params, Math.max(1, steps) * perStep)
        .cacheMemory(MemoryReport.CACHE_MODE_ALL_ZEROS, MemoryReport.CACHE_MODE_ALL_ZEROS)
        .build();
  }

  @Override
  public boolean equals(Object other) {
    return other instanceof QuantizedLSTM l
        && super.equals(other)
        && Objects.equals(weightQuantization, l.weightQuantization)
        && Objects.equals(inputActivationQuantization, l.inputActivationQuantization)
        && Objects.equals(recurrentActivationQuantization, l.recurrentActivationQuantization)
        && forgetGateBiasInit == l.forgetGateBiasInit
        && stateful == l.stateful;
  }

  @Override
  public int hashCode() {
    return Objects.hash(
        super.hashCode(),
        weightQuantization,
        inputActivationQuantization,
        recurrentActivationQuantization,
        forgetGateBiasInit,
        stateful);
  }

  @Override
  public boolean canEqual(Object other) {
    return other instanceof QuantizedLSTM;
  }

  /** Builds a {@link QuantizedLSTM}; full precision unless told otherwise. */
  public static class Builder extends BaseRecurrentLayer.Builder<Builder> {
    private Quantization weightQuantization;
    private Quantization inputActivationQuantization;
    private Quantization recurrentActivationQuantization;
    private double latentWeightBound = 1;
    private double forgetGateBiasInit = 1;
    private boolean stateful;

    /** How to quantize W and RW; null = full precision. */
    public Builder weights(Quantization quantization) {
      weightQuantization = quantization;
      return this;
    }

    /** How to quantize both input and hidden state; null = full precision. */
    public Builder activations(Quantization quantization) {
      return inputActivations(quantization).recurrentActivations(quantization);
    }

    /**
     * How to quantize the input; null where the layer below gives codes already (a quantized
     * embedding).
     */
    public Builder inputActivations(Quantization quantization) {
      inputActivationQuantization = quantization;
      return this;
    }

    /** How to quantize the hidden state; null = full precision. */
    public Builder recurrentActivations(Quantization quantization) {
      recurrentActivationQuantization = quantization;
      return this;
    }

    /** Latent weights are clipped to [-bound, bound] where weights are quantized; 1 unless set. */
    public Builder latentWeightBound(double bound) {
      latentWeightBound = bound;
      return this;
    }

    /** The forget gate's bias at the start; 1 unless set. */
    public Builder forgetGateBiasInit(double bias) {
      forgetGateBiasInit = bias;
      return this;
    }

    /**
     * Whether training by standard backpropagation carries the state from one {@code fit} to the
     * next.
     */
    public Builder stateful(boolean carry) {
      stateful = carry;
      return this;
    }

    @Override
    @SuppressWarnings("unchecked")
    public QuantizedLSTM build() {
      return new QuantizedLSTM(this);
    }
  }
}

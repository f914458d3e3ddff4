package org.multibit.layers;

import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import org.deeplearning4j.exception.DL4JInvalidConfigException;
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
import org.multibit.core.Cell;
import org.multibit.core.Quantization;
import org.nd4j.linalg.activations.impl.ActivationTanH;
import org.nd4j.linalg.api.buffer.DataType;
import org.nd4j.linalg.api.ndarray.INDArray;

/**
 * A recurrent layer that multiplies quantized weights by quantized activations and learns with the
 * straight-through estimator. For a cell with G gates its weights are W [nIn, G nOut] and RW [nOut,
 * G nOut].
 *
 * <p>Input and hidden state are full precision. The layer quantizes them and then applies its
 * dropout to the input, since zeros are not codes. Sequences are [B, C, T] (NCW). Gates use
 * sigmoid; candidate and output use tanh.
 *
 * <p>Masks of time steps work as in DL4J's LSTM. A layer that is not wrapped leaves them to the
 * loss. Inside LastTimeStep or MaskZeroLayer, the output and the states of each step are multiplied
 * by the mask. The mask may have any values: padding at the end or at the start, gaps, fractions.
 * Gradients are those of this forward pass, whereas the LSTM of DL4J 1.0.0-M2.1 ignores the mask in
 * its backward pass. Steps with a mask of 0 may contain NaN or infinity.
 */
public abstract class QuantizedRecurrent extends BaseRecurrentLayer implements QuantizesWeights {
  @QuantizationJson private Quantization weightQuantization;
  @QuantizationJson private Quantization inputActivationQuantization;
  @QuantizationJson private Quantization recurrentActivationQuantization;
  private boolean stateful;

  /** For JSON. */
  QuantizedRecurrent() {}

  QuantizedRecurrent(Builder<?> builder) {
    super(builder);
    weightQuantization = builder.weightQuantization;
    inputActivationQuantization = builder.inputActivationQuantization;
    recurrentActivationQuantization = builder.recurrentActivationQuantization;
    stateful = builder.stateful;
    Checks.activation(
        name(), builder.getActivationFn(), ActivationTanH.class, "its candidate is tanh");
    activationFn = new ActivationTanH();
    checkInput();
    initializeConstraints(builder);
    LatentWeightClip.addTo(this, weightQuantization, builder.latentWeightBound);
  }

  private String name() {
    return getClass().getSimpleName();
  }

  /** The cell of this layer. */
  public abstract Cell cell();

  /** The builder of a cell's layer. */
  public static Builder<?> builder(Cell cell) {
    if (cell == Cell.LSTM) {
      return new QuantizedLSTM.Builder();
    }
    if (cell == Cell.GRU) {
      return new QuantizedGRU.Builder();
    }
    throw new IllegalArgumentException("There is no layer of the cell " + cell);
  }

  /** The cell's time steps for one layer. */
  abstract RecurrentCell newCell();

  /** Sets the initial biases, which are 0 before. */
  abstract void initializeBiases(Map<String, INDArray> params);

  @Override
  public RecurrentParams initializer() {
    return new RecurrentParams(cell());
  }

  /** As in DL4J's LSTM, but also with {@code constrainInputWeights}, which that ignores. */
  @Override
  protected void initializeConstraints(Layer.Builder<?> builder) {
    super.initializeConstraints(builder);
    Builder<?> own = (Builder<?>) builder;
    constrain(own.getInputWeightConstraints(), RecurrentParams.INPUT_WEIGHTS);
    constrain(own.getRecurrentConstraints(), RecurrentParams.RECURRENT_WEIGHTS);
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

  /** Checks settings that a network's defaults can change after the layer was built. */
  private void checkInput() {
    DropoutMask.retain(getIDropout());
    if (rnnDataFormat != null && rnnDataFormat != RNNFormat.NCW) {
      throw new DL4JInvalidConfigException(
          "%s takes sequences as NCW [batch, size, time], not %s".formatted(name(), rnnDataFormat));
    }
  }

  /**
   * How W and RW are quantized, each column (one unit's weights) by itself; null = full precision.
   */
  @Override
  public Quantization getWeightQuantization() {
    return weightQuantization;
  }

  public void setWeightQuantization(Quantization weightQuantization) {
    this.weightQuantization = weightQuantization;
  }

  @Override
  public Quantization activationQuantization() {
    return recurrentActivationQuantization;
  }

  @Override
  public void quantize(Quantization weights, Quantization activations, boolean codes) {
    weightQuantization = weights;
    inputActivationQuantization = codes ? null : activations;
    recurrentActivationQuantization = activations;
  }

  /**
   * How the input is quantized before its product with W; null = full precision, or the input is
   * codes.
   */
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

  /** See {@link Builder#stateful}. */
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
    LayerValidation.assertNInNOutSet(name(), getLayerName(), layerIndex, getNIn(), getNOut());
    checkInput();
    Checks.precision(
        name() + " (layer " + layerIndex + ")",
        networkDataType,
        weightQuantization,
        inputActivationQuantization,
        recurrentActivationQuantization);
    BlasReport.once();
    return Instantiation.complete(
        new QuantizedRecurrentLayer(conf, networkDataType),
        initializer(),
        conf,
        trainingListeners,
        layerIndex,
        layerParamsView,
        initializeParams);
  }

  @Override
  public LayerMemoryReport getMemoryReport(InputType inputType) {
    InputType outputType = getOutputType(-1, inputType);
    long params = initializer().numParams(this);
    // Per example and step: what the cell keeps, the hidden state's codes, and the input.
    long perStep = (RecurrentCell.floatsPerUnit(cell()) + 1) * nOut + nIn;
    long steps = ((InputType.InputTypeRecurrent) inputType).getTimeSeriesLength();
    return new LayerMemoryReport.Builder(layerName, getClass(), inputType, outputType)
        .standardMemory(params, getIUpdater().stateSize(params))
        .workingMemory(0, 0, params, Math.max(1, steps) * perStep)
        .cacheMemory(MemoryReport.CACHE_MODE_ALL_ZEROS, MemoryReport.CACHE_MODE_ALL_ZEROS)
        .build();
  }

  @Override
  public boolean equals(Object other) {
    return other instanceof QuantizedRecurrent l
        && super.equals(other)
        && Objects.equals(weightQuantization, l.weightQuantization)
        && Objects.equals(inputActivationQuantization, l.inputActivationQuantization)
        && Objects.equals(recurrentActivationQuantization, l.recurrentActivationQuantization)
        && stateful == l.stateful;
  }

  @Override
  public int hashCode() {
    return Objects.hash(
        super.hashCode(),
        weightQuantization,
        inputActivationQuantization,
        recurrentActivationQuantization,
        stateful);
  }

  @Override
  public boolean canEqual(Object other) {
    return getClass().isInstance(other);
  }

  /** Builds a layer; full precision unless told otherwise. */
  public abstract static class Builder<T extends Builder<T>> extends BaseRecurrentLayer.Builder<T> {
    private Quantization weightQuantization;
    private Quantization inputActivationQuantization;
    private Quantization recurrentActivationQuantization;
    private double latentWeightBound = 1;
    private boolean stateful;

    /** How to quantize W and RW; null = full precision. */
    public T weights(Quantization quantization) {
      weightQuantization = quantization;
      return self();
    }

    /** How to quantize both input and hidden state; null = full precision. */
    public T activations(Quantization quantization) {
      return inputActivations(quantization).recurrentActivations(quantization);
    }

    /**
     * How to quantize the input. Set null if the layer below already returns codes (a quantized
     * embedding).
     */
    public T inputActivations(Quantization quantization) {
      inputActivationQuantization = quantization;
      return self();
    }

    /** How to quantize the hidden state; null = full precision. */
    public T recurrentActivations(Quantization quantization) {
      recurrentActivationQuantization = quantization;
      return self();
    }

    /** Latent weights are clipped to [-bound, bound] where weights are quantized; 1 unless set. */
    public T latentWeightBound(double bound) {
      latentWeightBound = bound;
      return self();
    }

    /**
     * Whether training by standard backpropagation carries the state from one {@code fit} to the
     * next. One network must get the segments in order. ParallelWrapper and Spark distribute them
     * to copies of the network, each with its own state, so a network that they train must not be
     * stateful.
     */
    public T stateful(boolean carry) {
      stateful = carry;
      return self();
    }

    @SuppressWarnings("unchecked")
    private T self() {
      return (T) this;
    }
  }
}

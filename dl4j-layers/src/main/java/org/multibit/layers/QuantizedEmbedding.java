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
import org.deeplearning4j.nn.conf.layers.FeedForwardLayer;
import org.deeplearning4j.nn.conf.layers.LayerValidation;
import org.deeplearning4j.nn.conf.memory.LayerMemoryReport;
import org.deeplearning4j.nn.conf.memory.MemoryReport;
import org.deeplearning4j.optimize.api.TrainingListener;
import org.multibit.core.Quantization;
import org.nd4j.linalg.activations.impl.ActivationIdentity;
import org.nd4j.linalg.api.buffer.DataType;
import org.nd4j.linalg.api.ndarray.INDArray;

/**
 * An embedding with quantized rows. Its input is token ids [B, 1, T] or [B, T], its output [B,
 * nOut, T] (NCW). Each row of W [nIn, nOut] is quantized by itself. The output consists of codes,
 * so the next layer must not quantize it again. The gradient goes straight through to the latent
 * rows.
 *
 * <p>Without quantization it is DL4J's {@link
 * org.deeplearning4j.nn.conf.layers.EmbeddingSequenceLayer}, with contiguous rows.
 */
public class QuantizedEmbedding extends FeedForwardLayer implements QuantizesWeights {
  private static final String NAME = "QuantizedEmbedding";

  @QuantizationJson private Quantization weightQuantization;

  /** For JSON. */
  public QuantizedEmbedding() {}

  private QuantizedEmbedding(Builder builder) {
    super(builder);
    weightQuantization = builder.weightQuantization;
    Checks.activation(
        NAME, builder.getActivationFn(), ActivationIdentity.class, "it looks rows up");
    activationFn = new ActivationIdentity();
    checkDropout();
    initializeConstraints(builder);
    LatentWeightClip.addTo(this, weightQuantization, builder.latentWeightBound);
  }

  private void checkDropout() {
    if (DropoutMask.retain(getIDropout()) != 1) {
      throw new DL4JInvalidConfigException(
          NAME
              + " takes no dropout: give it to the layer that follows, which drops after quantizing; against a dropout for all layers set dropOut(1) here");
    }
  }

  /** How each word's row is quantized; null = full precision. */
  @Override
  public Quantization getWeightQuantization() {
    return weightQuantization;
  }

  public void setWeightQuantization(Quantization weightQuantization) {
    this.weightQuantization = weightQuantization;
  }

  /** Null: rows are looked up, not multiplied. */
  @Override
  public Quantization activationQuantization() {
    return null;
  }

  @Override
  public void quantize(Quantization weights, Quantization activations, boolean codes) {
    weightQuantization = weights;
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
    checkDropout();
    Checks.precision(NAME + " (layer " + layerIndex + ")", networkDataType, weightQuantization);
    return Instantiation.complete(
        new QuantizedEmbeddingLayer(conf, networkDataType),
        initializer(),
        conf,
        trainingListeners,
        layerIndex,
        layerParamsView,
        initializeParams);
  }

  @Override
  public ParamInitializer initializer() {
    return EmbeddingParams.INSTANCE;
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
  public LayerMemoryReport getMemoryReport(InputType inputType) {
    InputType outputType = getOutputType(-1, inputType);
    long params = initializer().numParams(this);
    return new LayerMemoryReport.Builder(layerName, QuantizedEmbedding.class, inputType, outputType)
        .standardMemory(params, getIUpdater().stateSize(params))
        .workingMemory(0, 0, 0, 2 * outputType.arrayElementsPerExample())
        .cacheMemory(MemoryReport.CACHE_MODE_ALL_ZEROS, MemoryReport.CACHE_MODE_ALL_ZEROS)
        .build();
  }

  @Override
  public boolean equals(Object other) {
    return other instanceof QuantizedEmbedding e
        && super.equals(other)
        && Objects.equals(weightQuantization, e.weightQuantization);
  }

  @Override
  public int hashCode() {
    return Objects.hash(super.hashCode(), weightQuantization);
  }

  @Override
  public boolean canEqual(Object other) {
    return other instanceof QuantizedEmbedding;
  }

  /** Builds a {@link QuantizedEmbedding}; full precision unless told otherwise. */
  public static class Builder extends FeedForwardLayer.Builder<Builder> {
    private Quantization weightQuantization;
    private double latentWeightBound = 1;

    /** How to quantize each word's row; null = full precision. */
    public Builder weights(Quantization quantization) {
      weightQuantization = quantization;
      return this;
    }

    /** Latent weights are clipped to [-bound, bound] where weights are quantized; 1 unless set. */
    public Builder latentWeightBound(double bound) {
      latentWeightBound = bound;
      return this;
    }

    @Override
    @SuppressWarnings("unchecked")
    public QuantizedEmbedding build() {
      return new QuantizedEmbedding(this);
    }
  }
}

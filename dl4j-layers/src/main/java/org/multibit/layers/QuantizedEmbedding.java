package org.multibit.layers;

import java.util.Collection;
import java.util.Objects;
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
 * Looks up quantized word rows: token ids [B, 1, T] in, [B, nOut, T] (NCW) out. Each row of W [nIn,
 * nOut] is quantized by itself; what comes out is codes already and is not to be quantized again.
 * The gradient goes straight through to the latent rows.
 *
 * <p>Without quantization it is DL4J's {@link
 * org.deeplearning4j.nn.conf.layers.EmbeddingSequenceLayer}, with rows contiguous.
 */
public class QuantizedEmbedding extends FeedForwardLayer {
  private Quantization weightQuantization;

  /** For JSON. */
  public QuantizedEmbedding() {}

  private QuantizedEmbedding(Builder builder) {
    super(builder);
    weightQuantization = builder.weightQuantization;
    activationFn = new ActivationIdentity();
    if (builder.getIDropout() != null) {
      throw new IllegalArgumentException(
          "QuantizedEmbedding takes no dropout: give it to the layer that follows, which drops after quantizing");
    }
    initializeConstraints(builder);
    LatentWeightClip.addTo(this, weightQuantization, builder.latentWeightBound);
  }

  /** How each word's row is quantized; null = full precision. */
  public Quantization getWeightQuantization() {
    return weightQuantization;
  }

  public void setWeightQuantization(Quantization weightQuantization) {
    this.weightQuantization = weightQuantization;
  }

  @Override
  public Layer instantiate(
      NeuralNetConfiguration conf,
      Collection<TrainingListener> trainingListeners,
      int layerIndex,
      INDArray layerParamsView,
      boolean initializeParams,
      DataType networkDataType) {
    LayerValidation.assertNInNOutSet(
        "QuantizedEmbedding", getLayerName(), layerIndex, getNIn(), getNOut());
    QuantizedEmbeddingLayer layer = new QuantizedEmbeddingLayer(conf, networkDataType);
    layer.setListeners(trainingListeners);
    layer.setIndex(layerIndex);
    layer.setParamsViewArray(layerParamsView);
    layer.setParamTable(initializer().init(conf, layerParamsView, initializeParams));
    layer.setConf(conf);
    return layer;
  }

  @Override
  public ParamInitializer initializer() {
    return EmbeddingParams.INSTANCE;
  }

  @Override
  public InputType getOutputType(int layerIndex, InputType inputType) {
    if (!(inputType instanceof InputType.InputTypeRecurrent sequence)
        || sequence.getFormat() != RNNFormat.NCW) {
      throw new IllegalStateException(
          "QuantizedEmbedding (layer %d) takes sequences of token ids: setInputType(InputType.recurrent(vocabulary, time)), not %s"
              .formatted(layerIndex, inputType));
    }
    return InputType.recurrent(nOut, sequence.getTimeSeriesLength(), RNNFormat.NCW);
  }

  @Override
  public void setNIn(InputType inputType, boolean override) {
    if ((nIn <= 0 || override) && inputType instanceof InputType.InputTypeRecurrent sequence) {
      nIn = sequence.getSize();
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

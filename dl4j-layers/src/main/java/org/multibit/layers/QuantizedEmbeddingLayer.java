package org.multibit.layers;

import java.util.Arrays;
import org.deeplearning4j.nn.conf.NeuralNetConfiguration;
import org.deeplearning4j.nn.gradient.DefaultGradient;
import org.deeplearning4j.nn.gradient.Gradient;
import org.deeplearning4j.nn.layers.BaseLayer;
import org.deeplearning4j.nn.workspace.ArrayType;
import org.deeplearning4j.nn.workspace.LayerWorkspaceMgr;
import org.multibit.core.Quantization;
import org.nd4j.common.primitives.Pair;
import org.nd4j.linalg.api.buffer.DataType;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.nd4j.linalg.api.ops.impl.scatter.ScatterUpdate;
import org.nd4j.linalg.factory.Nd4j;

/** Computes {@link QuantizedEmbedding}. Only the rows that a batch looks up are quantized. */
public final class QuantizedEmbeddingLayer extends BaseLayer<QuantizedEmbedding> {
  public QuantizedEmbeddingLayer(NeuralNetConfiguration conf, DataType dataType) {
    super(conf, dataType);
  }

  @Override
  public INDArray activate(boolean training, LayerWorkspaceMgr workspaceMgr) {
    assertInputSet(false);
    int[] tokens = tokens();
    int[] words = Arrays.stream(tokens).sorted().distinct().toArray();
    INDArray weights = getParamWithNoise(EmbeddingParams.WEIGHTS, training, workspaceMgr);
    INDArray rows = Nd4j.pullRows(weights, 1, words);
    Quantization quantization = layerConf().getWeightQuantization();
    if (quantization != null) {
      quantization.quantizeTo(rows, rows);
    }
    INDArray out =
        workspaceMgr.createUninitialized(
            ArrayType.ACTIVATIONS,
            dataType,
            new long[] {tokens.length, layerConf().getNOut()},
            'c');
    int[] position = Arrays.stream(tokens).map(t -> Arrays.binarySearch(words, t)).toArray();
    Nd4j.pullRows(rows, out, 1, position);
    return TimeMajor.sequence(out, input.size(0));
  }

  /** The batch's token ids, time-major. */
  private int[] tokens() {
    if (input.rank() != 3 || input.size(1) != 1) {
      throw new IllegalArgumentException(
          "%s takes token ids [batch, 1, time], got %s"
              .formatted(layerId(), Arrays.toString(input.shape())));
    }
    if (maskArray != null) {
      throw new UnsupportedOperationException(
          "Masks are not supported by QuantizedEmbedding " + layerId());
    }
    int[] tokens = TimeMajor.rows(input).dup('c').data().asInt();
    for (int i = 0; i < tokens.length; i++) {
      if (tokens[i] < 0 || tokens[i] >= layerConf().getNIn()) {
        throw new IllegalArgumentException(
            "%s got token %d at batch %d, time %d: there are %d words"
                .formatted(
                    layerId(),
                    tokens[i],
                    i % input.size(0),
                    i / input.size(0),
                    layerConf().getNIn()));
      }
    }
    return tokens;
  }

  @Override
  public Pair<Gradient, INDArray> backpropGradient(
      INDArray epsilon, LayerWorkspaceMgr workspaceMgr) {
    assertInputSet(true);
    INDArray dW = gradientViews.get(EmbeddingParams.WEIGHTS);
    dW.assign(0);
    INDArray tokens = Nd4j.createFromArray(tokens());
    Nd4j.scatterUpdate(ScatterUpdate.UpdateOp.ADD, dW, tokens, TimeMajor.rows(epsilon), 1);
    Gradient gradient = new DefaultGradient();
    gradient.setGradientFor(EmbeddingParams.WEIGHTS, dW);
    weightNoiseParams.clear();
    // Token ids have no gradient.
    return new Pair<>(gradient, null);
  }

  @Override
  public Type type() {
    return Type.RECURRENT;
  }

  @Override
  public boolean isPretrainLayer() {
    return false;
  }

  @Override
  public boolean hasBias() {
    return false;
  }
}

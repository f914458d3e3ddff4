package org.multibit.layers;

import java.util.Arrays;
import org.deeplearning4j.nn.conf.NeuralNetConfiguration;
import org.deeplearning4j.nn.gradient.DefaultGradient;
import org.deeplearning4j.nn.gradient.Gradient;
import org.deeplearning4j.nn.layers.BaseLayer;
import org.deeplearning4j.nn.workspace.ArrayType;
import org.deeplearning4j.nn.workspace.LayerWorkspaceMgr;
import org.multibit.core.MultibitMatrix;
import org.multibit.core.Quantization;
import org.nd4j.common.primitives.Pair;
import org.nd4j.linalg.api.buffer.DataType;
import org.nd4j.linalg.api.ndarray.INDArray;

/** Computes {@link QuantizedEmbedding}. Only the rows that a batch looks up are quantized. */
public final class QuantizedEmbeddingLayer extends BaseLayer<QuantizedEmbedding> {
  private final Scratch wordRows = new Scratch();
  private final RowQuantizer rowQuantizer = RowQuantizer.ofActivations("word rows looked up");
  private final EmbeddedCodes embedded = new EmbeddedCodes();

  public QuantizedEmbeddingLayer(NeuralNetConfiguration conf, DataType dataType) {
    super(conf, dataType);
  }

  @Override
  public INDArray activate(boolean training, LayerWorkspaceMgr workspaceMgr) {
    assertInputSet(false);
    int[] tokens = tokens();
    int[] words = Arrays.stream(tokens).sorted().distinct().toArray();
    INDArray weights = getParamWithNoise(EmbeddingParams.WEIGHTS, training, workspaceMgr);
    INDArray rows = wordRows.get(dataType, words.length, layerConf().getNOut());
    Matrices.pullRows(weights, words, rows);
    int[] position = Arrays.stream(tokens).map(t -> Arrays.binarySearch(words, t)).toArray();
    INDArray mask = mask();
    Quantization quantization = layerConf().getWeightQuantization();
    EmbeddedCodes.leaveNone();
    if (quantization != null) {
      MultibitMatrix codes = rowQuantizer.pack(quantization, rows, layerId());
      RowQuantizer.unpack(codes, rows);
      if (mask == null) {
        embedded.leave(codes, position);
      }
    }
    INDArray out =
        workspaceMgr.createUninitialized(
            ArrayType.ACTIVATIONS,
            dataType,
            new long[] {tokens.length, layerConf().getNOut()},
            'c');
    Matrices.pullRows(rows, position, out);
    if (mask != null) {
      out.muliColumnVector(mask);
    }
    return TimeMajor.sequence(out, input.size(0));
  }

  /** The batch's token ids, time-major. */
  private int[] tokens() {
    if (input.rank() == 3 ? input.size(1) != 1 : input.rank() != 2) {
      throw new IllegalArgumentException(
          "%s takes token ids [batch, 1, time], got %s"
              .formatted(layerId(), Arrays.toString(input.shape())));
    }
    INDArray ids = input.rank() == 3 ? input : input.reshape(input.size(0), 1, input.size(1));
    return ClassIds.timeMajor(ids, layerConf().getNIn(), mask(), layerId() + " got token");
  }

  private INDArray mask() {
    long time = input.size(input.rank() - 1);
    return ClassIds.mask(maskArray, input.size(0), time, dataType, layerId());
  }

  @Override
  public Pair<Gradient, INDArray> backpropGradient(
      INDArray epsilon, LayerWorkspaceMgr workspaceMgr) {
    assertInputSet(true);
    INDArray rowGradients = TimeMajor.rows(epsilon);
    INDArray mask = mask();
    if (mask != null) {
      rowGradients = rowGradients.mulColumnVector(mask);
      MaskedRows.clear(rowGradients, mask);
    }
    INDArray dW = gradientViews.get(EmbeddingParams.WEIGHTS);
    Matrices.clear(dW);
    Matrices.scatterAdd(rowGradients, tokens(), dW);
    Gradient gradient = new DefaultGradient();
    gradient.setGradientFor(EmbeddingParams.WEIGHTS, dW);
    weightNoiseParams.clear();
    // Token ids have no gradient.
    return new Pair<>(gradient, null);
  }

  /** The layer's parameters are in 'c' order, unlike DL4J's. */
  @Override
  public void setParams(INDArray params) {
    if (params != paramsFlattened) {
      setParams(params, 'c');
    }
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

package org.multibit.layers;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.FloatBuffer;
import java.nio.IntBuffer;
import java.util.Arrays;
import org.deeplearning4j.nn.conf.NeuralNetConfiguration;
import org.deeplearning4j.nn.gradient.DefaultGradient;
import org.deeplearning4j.nn.gradient.Gradient;
import org.deeplearning4j.nn.layers.BaseOutputLayer;
import org.deeplearning4j.nn.params.DefaultParamInitializer;
import org.deeplearning4j.nn.workspace.ArrayType;
import org.deeplearning4j.nn.workspace.LayerWorkspaceMgr;
import org.multibit.core.FloatRows;
import org.multibit.core.Kernels;
import org.multibit.core.Quantization;
import org.nd4j.common.primitives.Pair;
import org.nd4j.linalg.api.buffer.DataType;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.nd4j.linalg.factory.Nd4j;
import org.nd4j.linalg.ops.transforms.Transforms;

/**
 * Computes {@link QuantizedSoftmaxOutput}. In FLOAT, softmax, cross-entropy and its gradient are
 * one pass over the logits by {@link Kernels}; in DOUBLE (gradient checks) they are ND4J
 * operations.
 */
public final class QuantizedSoftmaxOutputLayer extends BaseOutputLayer<QuantizedSoftmaxOutput> {
  private static final String W = DefaultParamInitializer.WEIGHT_KEY;
  private static final String B = DefaultParamInitializer.BIAS_KEY;

  private final Scratch weightScratch = new Scratch();
  private final Scratch inputScratch = new Scratch();
  private final Scratch maskScratch = new Scratch();
  private final Scratch logitsScratch = new Scratch();

  private Losses losses;

  /**
   * The loss of each token of the last backward pass, which the score is made of.
   *
   * @param of the input that they belong to
   * @param perToken time-major [T*B]
   */
  private record Losses(INDArray of, int iteration, double[] perToken) {}

  /**
   * The product.
   *
   * @param x quantized input after dropout, [T*B, nIn]
   * @param mask dropout mask of x; null without dropout
   * @param w quantized W, as rows [nOut, nIn]
   * @param logits [T*B, nOut]
   */
  private record Product(INDArray x, INDArray mask, INDArray w, INDArray logits) {}

  public QuantizedSoftmaxOutputLayer(NeuralNetConfiguration conf, DataType dataType) {
    super(conf, dataType);
  }

  private Product product(boolean training, INDArray logits, LayerWorkspaceMgr workspaceMgr) {
    INDArray rows = getParamWithNoise(W, training, workspaceMgr).transpose();
    Quantization quantization = layerConf().getWeightQuantization();
    INDArray w = rows;
    if (quantization != null) {
      w = weightScratch.get(dataType, rows.shape());
      quantization.quantizeTo(rows, w);
    }
    INDArray x = inputScratch.get(dataType, input.size(0) * input.size(2), input.size(1));
    Quantization activations = layerConf().getActivationQuantization();
    if (activations == null) {
      x.assign(TimeMajor.rows(input));
    } else {
      activations.quantizeTo(TimeMajor.rows(input), x);
    }
    INDArray mask = null;
    double retain = DropoutMask.retain(layerConf().getIDropout());
    if (training && retain < 1) {
      mask = maskScratch.get(dataType, x.shape());
      DropoutMask.fill(mask, retain, conf().getSeed(), getIterationCount(), getIndex());
      x.muli(mask);
    }
    TimeMajor.multiply(x, false, w, true, logits, 0);
    if (hasBias()) {
      logits.addiRowVector(getParamWithNoise(B, training, workspaceMgr));
    }
    return new Product(x, mask, w, logits);
  }

  private INDArray logits() {
    check();
    return logitsScratch.get(dataType, input.size(0) * input.size(2), layerConf().getNOut());
  }

  private void check() {
    if (input.rank() != 3 || input.size(1) != layerConf().getNIn()) {
      throw new IllegalArgumentException(
          "%s takes input [batch, %d, time], got %s"
              .formatted(layerId(), layerConf().getNIn(), Arrays.toString(input.shape())));
    }
    if (maskArray != null) {
      throw new UnsupportedOperationException(
          "Masks are not supported by QuantizedSoftmaxOutput " + layerId());
    }
  }

  @Override
  public INDArray activate(boolean training, LayerWorkspaceMgr workspaceMgr) {
    assertInputSet(false);
    check();
    long[] shape = {input.size(0) * input.size(2), layerConf().getNOut()};
    INDArray out = workspaceMgr.createUninitialized(ArrayType.ACTIVATIONS, dataType, shape, 'c');
    product(training, out, workspaceMgr);
    if (dataType == DataType.FLOAT) {
      Kernels.get().softmax(FloatRows.of(out), (int) shape[0], (int) shape[1]);
    } else {
      Transforms.softmax(out, false);
    }
    return TimeMajor.sequence(out, input.size(0));
  }

  @Override
  public Pair<Gradient, INDArray> backpropGradient(
      INDArray epsilon, LayerWorkspaceMgr workspaceMgr) {
    assertInputSet(true);
    Product product = product(true, logits(), workspaceMgr);
    int[] classes = classes();
    INDArray delta = product.logits;
    double[] perToken = crossEntropy(delta, classes, true);
    losses = new Losses(input, getIterationCount(), perToken);
    if (layerConf().isAverageOverTime()) {
      delta.divi(input.size(2));
    }

    Gradient gradient = new DefaultGradient();
    INDArray dW = gradientViews.get(W);
    TimeMajor.multiply(delta, true, product.x, false, dW.transpose(), 0);
    gradient.setGradientFor(W, dW);
    if (hasBias()) {
      INDArray db = gradientViews.get(B);
      delta.sum(db, 0);
      gradient.setGradientFor(B, db);
    }
    INDArray dx =
        workspaceMgr.createUninitialized(
            ArrayType.ACTIVATION_GRAD, dataType, product.x.shape(), 'c');
    TimeMajor.multiply(delta, false, product.w, false, dx, 0);
    if (product.mask != null) {
      dx.muli(product.mask);
    }
    return new Pair<>(gradient, TimeMajor.sequence(dx, input.size(0)));
  }

  /**
   * Per-token losses; in place of the logits comes their gradient, or anything if that is not asked
   * for.
   */
  private double[] crossEntropy(INDArray logits, int[] classes, boolean gradient) {
    double[] perToken = new double[classes.length];
    if (dataType == DataType.FLOAT) {
      IntBuffer labels =
          ByteBuffer.allocateDirect(classes.length * Integer.BYTES)
              .order(ByteOrder.nativeOrder())
              .asIntBuffer();
      labels.put(classes).flip();
      FloatBuffer out =
          ByteBuffer.allocateDirect(classes.length * Float.BYTES)
              .order(ByteOrder.nativeOrder())
              .asFloatBuffer();
      Kernels.get().softmaxCrossEntropy(FloatRows.of(logits), (int) logits.size(1), labels, out);
      for (int i = 0; i < perToken.length; i++) {
        perToken[i] = out.get(i);
      }
    } else {
      logits.subiColumnVector(logits.max(true, 1));
      INDArray logSum = Transforms.log(Transforms.exp(logits, true).sum(true, 1));
      logits.subiColumnVector(logSum);
      for (int i = 0; i < perToken.length; i++) {
        perToken[i] = -logits.getDouble(i, classes[i]);
      }
      if (gradient) {
        Transforms.exp(logits, false);
        for (int i = 0; i < classes.length; i++) {
          logits.putScalar(i, classes[i], logits.getDouble(i, classes[i]) - 1);
        }
      }
    }
    return perToken;
  }

  /** The labels, time-major. */
  private int[] classes() {
    if (labels == null
        || labels.rank() != 3
        || labels.size(0) != input.size(0)
        || labels.size(1) != 1
        || labels.size(2) != input.size(2)) {
      throw new IllegalArgumentException(
          "%s takes labels [%d, 1, %d] of class ids, got %s"
              .formatted(
                  layerId(),
                  input.size(0),
                  input.size(2),
                  labels == null ? "none" : Arrays.toString(labels.shape())));
    }
    int[] classes = TimeMajor.rows(labels).dup('c').data().asInt();
    for (int i = 0; i < classes.length; i++) {
      if (classes[i] < 0 || classes[i] >= layerConf().getNOut()) {
        throw new IllegalArgumentException(
            "%s got label %d at batch %d, time %d: there are %d classes"
                .formatted(
                    layerId(),
                    classes[i],
                    i % input.size(0),
                    i / input.size(0),
                    layerConf().getNOut()));
      }
    }
    return classes;
  }

  /** The losses of the last backward pass if they are of this input, else computed. */
  private double[] perToken(boolean training, LayerWorkspaceMgr workspaceMgr) {
    if (training
        && losses != null
        && losses.of == input
        && losses.iteration == getIterationCount()) {
      return losses.perToken;
    }
    Product product = product(training, logits(), workspaceMgr);
    return crossEntropy(product.logits, classes(), false);
  }

  @Override
  public double computeScore(
      double fullNetRegTerm, boolean training, LayerWorkspaceMgr workspaceMgr) {
    double sum = Arrays.stream(perToken(training, workspaceMgr)).sum();
    double divisor =
        (conf().isMiniBatch() ? input.size(0) : 1)
            * (layerConf().isAverageOverTime() ? input.size(2) : 1);
    score = sum / divisor + fullNetRegTerm;
    return score;
  }

  @Override
  public INDArray computeScoreForExamples(double fullNetRegTerm, LayerWorkspaceMgr workspaceMgr) {
    double[] perToken = perToken(false, workspaceMgr);
    int batch = (int) input.size(0);
    double[] scores = new double[batch];
    for (int i = 0; i < perToken.length; i++) {
      scores[i % batch] += perToken[i] / (layerConf().isAverageOverTime() ? input.size(2) : 1);
    }
    return Nd4j.createFromArray(scores).reshape(batch, 1).castTo(dataType).addi(fullNetRegTerm);
  }

  @Override
  protected INDArray getLabels2d(LayerWorkspaceMgr workspaceMgr, ArrayType arrayType) {
    return workspaceMgr.dup(arrayType, TimeMajor.rows(labels), 'c');
  }

  @Override
  public void clear() {
    super.clear();
    losses = null;
  }

  @Override
  public Type type() {
    return Type.RECURRENT;
  }
}

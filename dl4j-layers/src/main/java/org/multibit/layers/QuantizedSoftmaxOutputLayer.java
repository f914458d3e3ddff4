package org.multibit.layers;

import java.lang.ref.Reference;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.FloatBuffer;
import java.nio.IntBuffer;
import java.util.Arrays;
import org.deeplearning4j.nn.api.MaskState;
import org.deeplearning4j.nn.conf.NeuralNetConfiguration;
import org.deeplearning4j.nn.gradient.DefaultGradient;
import org.deeplearning4j.nn.gradient.Gradient;
import org.deeplearning4j.nn.layers.BaseOutputLayer;
import org.deeplearning4j.nn.params.DefaultParamInitializer;
import org.deeplearning4j.nn.workspace.ArrayType;
import org.deeplearning4j.nn.workspace.LayerWorkspaceMgr;
import org.multibit.core.Kernels;
import org.nd4j.common.primitives.Pair;
import org.nd4j.linalg.api.buffer.DataType;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.nd4j.linalg.factory.Nd4j;
import org.nd4j.linalg.indexing.NDArrayIndex;
import org.nd4j.linalg.ops.transforms.Transforms;

/**
 * Computes {@link QuantizedSoftmaxOutput}. In FLOAT, losses and gradients are one call of {@link
 * Kernels}, or several calls with a teacher. In DOUBLE (gradient checks) they are ND4J operations.
 */
public final class QuantizedSoftmaxOutputLayer extends BaseOutputLayer<QuantizedSoftmaxOutput> {
  private static final String W = DefaultParamInitializer.WEIGHT_KEY;
  private static final String B = DefaultParamInitializer.BIAS_KEY;

  /** The number of rows of logits that are computed at a time, which bounds their memory. */
  private static final long ROWS = 1024;

  /**
   * The number of rows of a teacher's logits that are computed at a time: large enough that threads
   * seldom read its weights, and small enough to leave memory to the student.
   */
  private static final int TEACHER_ROWS = 256;

  private final Scratch logits = new Scratch(); // of operations one by one
  private final Scratch work = new Scratch(); // of Kernels.fusedLinearCrossEntropy
  private final Scratch sums = new Scratch();
  private final Scratch teacherRows = new Scratch();
  private final Scratch teacherLogits = new Scratch();
  private final QuantizedLinear product = new QuantizedLinear();

  private SoftTargets softTargets; // null = labels alone
  private INDArray featuresMask;
  private Losses ofBackwardPass;

  /**
   * The losses of the last gradient, until they are read.
   *
   * @param input that they belong to
   * @param perToken time-major [T*B]
   */
  private record Losses(INDArray input, INDArray labels, int iteration, double[] perToken) {}

  public QuantizedSoftmaxOutputLayer(NeuralNetConfiguration conf, DataType dataType) {
    super(conf, dataType);
  }

  /** Makes training learn from these targets in addition to the labels. */
  void setSoftTargets(SoftTargets targets) {
    softTargets = targets;
  }

  /** Rows are time-major, [T*B, .]. */
  private QuantizedLinear.Operands operands(boolean training, LayerWorkspaceMgr workspaceMgr) {
    if (input.rank() != 3 || input.size(1) != layerConf().getNIn()) {
      throw new IllegalArgumentException(
          "%s takes input [batch, %s, time], got %s"
              .formatted(layerId(), layerConf().getNIn(), Arrays.toString(input.shape())));
    }
    return product.operands(
        this,
        layerId(),
        input.permute(2, 0, 1),
        mask(),
        MaskedRows.ofSteps(featuresMask, input),
        getParamWithNoise(W, training, workspaceMgr),
        hasBias() ? getParamWithNoise(B, training, workspaceMgr) : null,
        layerConf().getWeightQuantization(),
        layerConf().getActivationQuantization(),
        training ? layerConf().getIDropout() : null);
  }

  @Override
  public INDArray activate(boolean training, LayerWorkspaceMgr workspaceMgr) {
    assertInputSet(false);
    QuantizedLinear.Operands operands = operands(training, workspaceMgr);
    long[] shape = {operands.x().size(0), layerConf().getNOut()};
    INDArray out = workspaceMgr.createUninitialized(ArrayType.ACTIVATIONS, dataType, shape, 'c');
    operands.product(0, shape[0], out);
    if (dataType == DataType.FLOAT) {
      Kernels.get().softmax(FloatRows.of(out), (int) shape[0], (int) shape[1]);
    } else {
      Transforms.softmax(out, false);
    }
    INDArray mask = mask();
    if (mask != null) {
      out.muliColumnVector(mask);
    }
    return TimeMajor.sequence(out, input.size(0));
  }

  @Override
  public Pair<Gradient, INDArray> backpropGradient(
      INDArray epsilon, LayerWorkspaceMgr workspaceMgr) {
    assertInputSet(true);
    QuantizedLinear.Operands operands = operands(true, workspaceMgr);
    int[] classes = classes(true);
    INDArray teacher = teacher(true);
    INDArray mask = mask();
    double[] perToken = new double[classes.length];
    INDArray dW = gradientViews.get(W);
    INDArray db = hasBias() ? gradientViews.get(B) : null;
    INDArray dx =
        workspaceMgr.createUninitialized(
            ArrayType.ACTIVATION_GRAD, dataType, operands.x().shape(), 'c');
    double scale = 1.0 / divisor();
    if (teacher == null && Matrices.hasFastGemm(dW.transpose(), operands.w())) {
      backpropWhole(operands, classes, mask, (float) scale, perToken, dW.transpose(), db, dx);
    } else {
      backpropRows(operands, teacher, classes, mask, scale, perToken, dW.transpose(), db, dx);
    }
    ofBackwardPass = new Losses(input, labels, getIterationCount(), masked(perToken, mask));
    operands.dropout().apply(dx);
    Gradient gradient = new DefaultGradient();
    gradient.setGradientFor(W, dW);
    if (db != null) {
      gradient.setGradientFor(B, db);
    }
    return new Pair<>(gradient, TimeMajor.sequence(dx, input.size(0)));
  }

  /**
   * Losses and gradient in one call.
   *
   * @param dW of w: [nOut, nIn]
   * @param db null = none
   */
  private void backpropWhole(
      QuantizedLinear.Operands operands,
      int[] classes,
      INDArray mask,
      float scale,
      double[] perToken,
      INDArray dW,
      INDArray db,
      INDArray dx) {
    int count = classes.length;
    FloatBuffer factors = direct(count * Float.BYTES).asFloatBuffer();
    for (int i = 0; i < count; i++) {
      factors.put(i, mask == null ? scale : scale * mask.getFloat(i));
    }
    FloatBuffer losses = direct(count * Float.BYTES).asFloatBuffer();
    int floats =
        Kernels.get()
            .crossEntropyScratch(count, (int) layerConf().getNOut(), (int) layerConf().getNIn());
    INDArray memory = work.get(dataType, Math.max(1, floats));
    operands.crossEntropy(
        direct(count * Integer.BYTES).asIntBuffer().put(classes).flip(),
        factors,
        FloatRows.of(memory),
        losses,
        dW,
        db,
        dx);
    for (int i = 0; i < count; i++) {
      perToken[i] = losses.get(i);
    }
    Reference.reachabilityFence(memory);
  }

  /** The same by single operations, {@link #ROWS} rows at a time. */
  private void backpropRows(
      QuantizedLinear.Operands operands,
      INDArray teacher,
      int[] classes,
      INDArray mask,
      double scale,
      double[] perToken,
      INDArray dW,
      INDArray db,
      INDArray dx) {
    INDArray w = operands.values();
    for (long from = 0; from < classes.length; from += ROWS) {
      long to = Math.min(classes.length, from + ROWS);
      boolean first = from == 0;
      INDArray delta = logits.get(dataType, to - from, layerConf().getNOut());
      crossEntropy(operands, teacher, delta, classes, (int) from, perToken);
      if (mask != null) {
        delta.muliColumnVector(rows(mask, from, to));
      }
      Matrices.multiply(delta, true, operands.x(from, to), false, dW, scale, first ? 0 : 1);
      Matrices.multiply(delta, false, w, false, rows(dx, from, to), scale, 0);
      if (db != null) {
        INDArray sum = first ? db : sums.get(dataType, db.shape());
        Matrices.columnSums(delta, sum);
        if (!first) {
          db.addi(sum);
        }
      }
    }
    if (db != null && Matrices.hasFastGemm(db)) {
      Kernels.get().scale(FloatRows.of(db), (float) scale);
      Reference.reachabilityFence(db);
    } else if (db != null) {
      db.muli(scale);
    }
  }

  /** The divisor of the sum of losses and of its gradient. DL4J may divide the gradient further. */
  private double divisor() {
    return (layerConf().isAverageOverTime() ? input.size(2) : 1)
        * (layerConf().isAverageOverBatch() ? input.size(0) : 1);
  }

  /**
   * Losses of some rows, -ln softmax(x W + b)[class], and their gradient, softmax(x W + b) -
   * onehot(class); with a teacher those of {@link Distillation}.
   *
   * @param teacher the teacher's hidden states, [T*B, H]; null = none
   * @param logits receives the gradient; its rows are those of x from {@code from} on
   * @param perToken receives the losses from {@code from} on, where the rows' classes start too
   */
  private void crossEntropy(
      QuantizedLinear.Operands operands,
      INDArray teacher,
      INDArray logits,
      int[] classes,
      int from,
      double[] perToken) {
    int count = (int) logits.size(0);
    if (dataType == DataType.FLOAT) {
      IntBuffer labels = direct(count * Integer.BYTES).asIntBuffer();
      labels.put(classes, from, count).flip();
      FloatBuffer losses = direct(count * Float.BYTES).asFloatBuffer();
      if (teacher != null) {
        distill(operands, teacher, logits, from, labels, losses);
      } else {
        operands.product(from, from + count, logits);
        Kernels.get()
            .softmaxCrossEntropy(FloatRows.of(logits), (int) logits.size(1), labels, losses);
      }
      for (int i = 0; i < count; i++) {
        perToken[from + i] = losses.get(i);
      }
      Reference.reachabilityFence(operands);
      Reference.reachabilityFence(logits);
      return;
    }
    operands.product(from, from + count, logits);
    INDArray student = null;
    INDArray soft = null;
    if (teacher != null) {
      student = logits.div(softTargets.temperature());
      soft = teacherLogits.get(dataType, logits.shape());
      softTargets.logits(rows(teacher, from, from + count), soft);
      logSoftmax(soft.divi(softTargets.temperature()));
      logSoftmax(student);
    }
    logSoftmax(logits);
    double hard = teacher == null ? 1 : 1 - softTargets.weight();
    for (int i = 0; i < count; i++) {
      perToken[from + i] = -hard * logits.getDouble(i, classes[from + i]);
    }
    Transforms.exp(logits, false);
    for (int i = 0; i < count; i++) {
      logits.putScalar(i, classes[from + i], logits.getDouble(i, classes[from + i]) - 1);
    }
    if (teacher != null) {
      double weight = softTargets.weight() * softTargets.temperature();
      INDArray p = Transforms.exp(soft, true);
      INDArray divergence = soft.subi(student).muli(p).sum(1);
      for (int i = 0; i < count; i++) {
        perToken[from + i] += weight * softTargets.temperature() * divergence.getDouble(i);
      }
      logits.muli(hard).addi(Transforms.exp(student, false).subi(p).muli(weight));
    }
  }

  private static void logSoftmax(INDArray rows) {
    rows.subiColumnVector(rows.max(true, 1));
    rows.subiColumnVector(Transforms.log(Transforms.exp(rows, true).sum(true, 1)));
  }

  /** The same in FLOAT, some rows at a time. */
  private void distill(
      QuantizedLinear.Operands operands,
      INDArray teacher,
      INDArray logits,
      int from,
      IntBuffer labels,
      FloatBuffer losses) {
    int count = (int) logits.size(0);
    int classes = (int) logits.size(1);
    for (int at = 0; at < count; at += TEACHER_ROWS) {
      int to = Math.min(count, at + TEACHER_ROWS);
      INDArray student = rows(logits, at, to);
      INDArray soft = teacherLogits.get(dataType, to - at, classes);
      operands.product(from + at, from + to, student);
      softTargets.logits(rows(teacher, from + at, from + to), soft);
      Kernels.get()
          .distill(
              FloatRows.of(student),
              FloatRows.of(soft),
              classes,
              labels.slice(at, to - at),
              (float) softTargets.weight(),
              (float) softTargets.temperature(),
              losses.slice(at, to - at));
      Reference.reachabilityFence(soft);
    }
  }

  private static INDArray rows(INDArray matrix, long from, long to) {
    return matrix.get(NDArrayIndex.interval(from, to), NDArrayIndex.all());
  }

  private static ByteBuffer direct(int bytes) {
    return ByteBuffer.allocateDirect(bytes).order(ByteOrder.nativeOrder());
  }

  private static double[] masked(double[] perToken, INDArray mask) {
    for (int i = 0; mask != null && i < perToken.length; i++) {
      perToken[i] *= mask.getDouble(i);
    }
    return perToken;
  }

  /** The labels' mask, time-major [T*B, 1]; null = none. */
  private INDArray mask() {
    return ClassIds.mask(maskArray, input.size(0), input.size(2), dataType, layerId());
  }

  /** The labels, time-major; a teacher's hidden states may be below them. */
  private int[] classes(boolean training) {
    boolean fits = labels != null && labels.rank() == 3;
    fits = fits && labels.size(0) == input.size(0) && labels.size(2) == input.size(2);
    long rows = softTargets == null ? 1 : 1 + softTargets.hiddenSize();
    fits = fits && (labels.size(1) == rows || labels.size(1) == 1 && !training);
    if (!fits) {
      throw new IllegalArgumentException(
          "%s takes labels [%s, %s, %s] of class ids%s, got %s"
              .formatted(
                  layerId(),
                  input.size(0),
                  rows,
                  input.size(2),
                  softTargets == null
                      ? ""
                      : " and the teacher's hidden states (its Distillation is to be the data's pre-processor)",
                  labels == null ? "none" : Arrays.toString(labels.shape())));
    }
    return ClassIds.timeMajor(
        labels.get(NDArrayIndex.all(), NDArrayIndex.interval(0, 1), NDArrayIndex.all()),
        layerConf().getNOut(),
        mask(),
        layerId() + " got label");
  }

  /** The teacher's hidden states, time-major [T*B, H]; null = none to learn from. */
  private INDArray teacher(boolean training) {
    if (softTargets == null || !training) {
      return null;
    }
    long size = softTargets.hiddenSize();
    INDArray hidden =
        labels.get(NDArrayIndex.all(), NDArrayIndex.interval(1, 1 + size), NDArrayIndex.all());
    INDArray into = teacherRows.get(dataType, labels.size(2) * labels.size(0), size);
    into.reshape('c', labels.size(2), labels.size(0), size).assign(hidden.permute(2, 0, 1));
    return into;
  }

  /**
   * The losses of the last backward pass if it had this input; otherwise they are computed, some
   * rows at a time.
   */
  private double[] losses(boolean training, LayerWorkspaceMgr workspaceMgr) {
    assertInputSet(false);
    Losses known = ofBackwardPass;
    ofBackwardPass = null;
    if (training
        && known != null
        && known.input == input
        && known.labels == labels
        && known.iteration == getIterationCount()) {
      return known.perToken;
    }
    QuantizedLinear.Operands operands = operands(training, workspaceMgr);
    int[] classes = classes(training);
    INDArray teacher = teacher(training);
    double[] perToken = new double[classes.length];
    for (long from = 0; from < classes.length; from += ROWS) {
      long to = Math.min(classes.length, from + ROWS);
      INDArray part = logits.get(dataType, to - from, layerConf().getNOut());
      crossEntropy(operands, teacher, part, classes, (int) from, perToken);
    }
    return masked(perToken, mask());
  }

  @Override
  public double computeScore(
      double fullNetRegTerm, boolean training, LayerWorkspaceMgr workspaceMgr) {
    double sum = Arrays.stream(losses(training, workspaceMgr)).sum();
    score = sum / (divisor() * (conf().isMiniBatch() ? input.size(0) : 1)) + fullNetRegTerm;
    return score;
  }

  @Override
  public INDArray computeScoreForExamples(double fullNetRegTerm, LayerWorkspaceMgr workspaceMgr) {
    double[] perToken = losses(false, workspaceMgr);
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
  public void setMaskArray(INDArray maskArray) {
    super.setMaskArray(maskArray);
    if (maskArray == null) {
      featuresMask = null;
    }
  }

  /** As in DL4J's RnnOutputLayer, the features' mask does not apply to the loss. */
  @Override
  public Pair<INDArray, MaskState> feedForwardMaskArray(
      INDArray maskArray, MaskState currentMaskState, int minibatchSize) {
    featuresMask = maskArray;
    return null;
  }

  @Override
  public void clear() {
    super.clear();
    ofBackwardPass = null;
  }

  @Override
  public Type type() {
    return Type.RECURRENT;
  }
}

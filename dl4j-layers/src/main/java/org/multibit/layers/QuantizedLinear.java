package org.multibit.layers;

import java.lang.ref.Reference;
import java.nio.FloatBuffer;
import java.nio.IntBuffer;
import org.deeplearning4j.nn.api.Layer;
import org.deeplearning4j.nn.conf.dropout.IDropout;
import org.deeplearning4j.nn.gradient.DefaultGradient;
import org.deeplearning4j.nn.gradient.Gradient;
import org.deeplearning4j.nn.params.DefaultParamInitializer;
import org.deeplearning4j.nn.workspace.ArrayType;
import org.deeplearning4j.nn.workspace.LayerWorkspaceMgr;
import org.multibit.core.Kernels;
import org.multibit.core.LinearCrossEntropy;
import org.multibit.core.MultibitMatrix;
import org.multibit.core.Quantization;
import org.nd4j.common.primitives.Pair;
import org.nd4j.linalg.api.buffer.DataType;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.nd4j.linalg.indexing.NDArrayIndex;

/**
 * The product x W + b of a layer with DL4J's W [nIn, nOut] and b [1, nOut]. Each operand may be
 * quantized; dropout applies to the input after that. Memory is reused from call to call.
 */
final class QuantizedLinear {
  private final Scratch weights = new Scratch();
  private final Scratch rows = new Scratch();
  private final Scratch noBias = new Scratch();
  private final PrepackedProduct product = new PrepackedProduct();
  private final DropoutMask dropout = new DropoutMask();
  private final RowQuantizer weightQuantizer = RowQuantizer.ofWeights("weights");
  private final RowQuantizer inputQuantizer = RowQuantizer.ofInput();

  /**
   * The operands of the product.
   *
   * @param x quantized input after dropout, [rows, nIn]
   * @param w memory of quantized W, as rows [nOut, nIn]; {@link #values} fills it
   * @param b [nOut], zeros without a bias
   * @param codes the codes of x before dropout, with coefficients as after it; null unless both
   *     operands are quantized, like {@code packed}, the codes of w
   * @param product the product with w, if w is not packed
   * @param dropout the dropout mask of x
   */
  record Operands(
      INDArray x,
      INDArray w,
      INDArray b,
      MultibitMatrix codes,
      MultibitMatrix packed,
      PrepackedProduct product,
      DropoutMask dropout) {

    INDArray x(long from, long to) {
      return x.get(NDArrayIndex.interval(from, to), NDArrayIndex.all());
    }

    /** Quantized W, as rows [nOut, nIn]. */
    INDArray values() {
      if (packed != null) {
        RowQuantizer.unpack(packed, w);
      }
      return w;
    }

    /** Rows from..to-1 of x W + b. */
    void product(long from, long to, INDArray into) {
      if (packed == null) {
        product.multiply(x(from, to), b, into);
        return;
      }
      Kernels.get()
          .multiply(
              packed,
              codes.rows((int) from, (int) to),
              dropout.bits(from, to),
              FloatRows.of(b),
              FloatRows.of(into));
      Reference.reachabilityFence(b);
      Reference.reachabilityFence(into);
    }

    /** All of x W + b, [rows, nOut], in the workspace of activations. */
    INDArray product(LayerWorkspaceMgr workspaceMgr) {
      long[] shape = {x.size(0), w.size(0)};
      INDArray sums =
          workspaceMgr.createUninitialized(ArrayType.ACTIVATIONS, w.dataType(), shape, 'c');
      product(0, shape[0], sums);
      return sums;
    }

    /**
     * {@link Kernels#fusedLinearCrossEntropy} of these operands.
     *
     * @param lossWeights one per row
     * @param scratch {@link Kernels#crossEntropyScratch} floats
     * @param losses receives one per row
     * @param dW [nOut, nIn]
     * @param db [nOut]; null = not wanted
     * @param dx [rows, nIn]
     */
    void crossEntropy(
        IntBuffer labels,
        FloatBuffer lossWeights,
        FloatBuffer scratch,
        FloatBuffer losses,
        INDArray dW,
        INDArray db,
        INDArray dx) {
      LinearCrossEntropy loss =
          new LinearCrossEntropy(
              (int) w.size(0),
              (int) w.size(1),
              FloatRows.of(b),
              labels,
              lossWeights,
              FloatRows.of(x),
              scratch,
              losses,
              FloatRows.of(dW),
              db == null ? null : FloatRows.of(db),
              FloatRows.of(dx));
      if (packed != null) {
        Kernels.get().fusedLinearCrossEntropy(packed, codes, dropout.bits(0, x.size(0)), loss);
      } else {
        Kernels.get().fusedLinearCrossEntropy(FloatRows.of(w), product.panels(), loss);
      }
      for (INDArray array : new INDArray[] {w, x, b, dW, db, dx}) {
        Reference.reachabilityFence(array);
      }
    }

    /**
     * Computes the gradients, straight-through at both quantizers. Returns that of the input,
     * [rows, nIn].
     *
     * @param delta dL/d(x W + b), [rows, nOut]
     * @param dW receives dL/dW, [nIn, nOut]
     * @param db receives dL/db; null without a bias
     */
    Pair<Gradient, INDArray> backward(
        INDArray delta, INDArray dW, INDArray db, LayerWorkspaceMgr workspaceMgr) {
      INDArray dx =
          workspaceMgr.createUninitialized(ArrayType.ACTIVATION_GRAD, w.dataType(), x.shape(), 'c');
      Matrices.multiply(delta, true, x, false, dW.transpose(), 1, 0);
      Matrices.multiply(delta, false, values(), false, dx, 1, 0);
      dropout.apply(dx);
      Gradient gradient = new DefaultGradient();
      gradient.setGradientFor(DefaultParamInitializer.WEIGHT_KEY, dW);
      if (db != null) {
        Matrices.columnSums(delta, db);
        gradient.setGradientFor(DefaultParamInitializer.BIAS_KEY, db);
      }
      return new Pair<>(gradient, dx);
    }
  }

  /**
   * Quantizes both operands and applies dropout.
   *
   * @param layer its seed, iteration and index determine the dropout mask
   * @param id names the layer in errors
   * @param input rows of nIn elements in 'c' order, of any shape; not changed
   * @param mask [rows, k], rows that it covers are taken as zeros; null = none
   * @param featuresMask rows that it covers are taken as zeros if they are not finite; null = none
   * @param w [nIn, nOut]
   * @param b null = no bias
   * @param ofWeights null = full precision
   * @param ofInput null = full precision
   * @param drop null = nothing is dropped, as in inference
   */
  Operands operands(
      Layer layer,
      String id,
      INDArray input,
      INDArray mask,
      INDArray featuresMask,
      INDArray w,
      INDArray b,
      Quantization ofWeights,
      Quantization ofInput,
      IDropout drop) {
    DataType type = w.dataType();
    INDArray units = w.transpose();
    MultibitMatrix packed = null;
    if (ofWeights != null) {
      packed = weightQuantizer.pack(ofWeights, units, id);
      units = weights.get(type, units.shape());
    }
    INDArray x = rows.get(type, input.length() / w.size(0), w.size(0));
    x.reshape('c', input.shape()).assign(input);
    Checks.mask(id, mask, x.size(0));
    MaskedRows.clear(x, mask);
    MaskedRows.clearNotFinite(x, featuresMask);
    dropout.draw(
        drop,
        x.size(0),
        x.size(1),
        layer.conf().getSeed(),
        layer.getIterationCount(),
        layer.getIndex());
    MultibitMatrix codes = null;
    if (ofInput != null) {
      codes = inputQuantizer.pack(ofInput, x, id);
      RowQuantizer.unpack(codes, x);
      Kernels.get().scale(codes.coefficients(), dropout.factor());
    }
    dropout.apply(x);
    boolean bothPacked = codes != null && packed != null;
    if (!bothPacked) {
      if (packed != null) {
        RowQuantizer.unpack(packed, units);
      }
      product.start(units, true);
    }
    return new Operands(
        x,
        units,
        b != null ? b : noBias.get(type, 1, w.size(1)).assign(0),
        bothPacked ? codes : null,
        bothPacked ? packed : null,
        product,
        dropout);
  }
}

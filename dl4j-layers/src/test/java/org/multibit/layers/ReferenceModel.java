package org.multibit.layers;

import java.util.LinkedHashMap;
import java.util.Map;
import org.multibit.core.Quantization;
import org.nd4j.linalg.api.buffer.DataType;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.nd4j.linalg.dataset.DataSet;
import org.nd4j.linalg.factory.Nd4j;

/**
 * Embedding, one LSTM and softmax written out in loops over double arrays, with backpropagation
 * through time by the straight-through rule: the oracle of the layers.
 */
final class ReferenceModel {
  private final double[][] embedding; // [V, E], latent
  private final double[][] w; // [4H, E]: candidate, forget, output, input
  private final double[][] rw; // [4H, H]
  private final double[] b; // [4H]
  private final double[][] softmax; // [V, H]
  private final double[] softmaxBias; // [V]
  private final Quantization inputs;
  private final Quantization activations;
  private final double retain;
  private final long seed;
  private final int iteration;
  private double loss;

  /**
   * @param inputs of the LSTM
   * @param activations of the hidden state, where it recurs and in the softmax
   */
  ReferenceModel(
      Map<String, INDArray> params,
      Quantization weights,
      Quantization inputs,
      Quantization activations,
      double retain,
      long seed,
      int iteration) {
    embedding = rows(params.get("0_W"), weights);
    w = rows(params.get("1_W").transpose(), weights);
    rw = rows(params.get("1_RW").transpose(), weights);
    b = params.get("1_b").castTo(DataType.DOUBLE).toDoubleVector();
    softmax = rows(params.get("2_W").transpose(), weights);
    softmaxBias = params.get("2_b").castTo(DataType.DOUBLE).dup().data().asDouble();
    this.inputs = inputs;
    this.activations = activations;
    this.retain = retain;
    this.seed = seed;
    this.iteration = iteration;
  }

  private static double[][] rows(INDArray matrix, Quantization quantization) {
    INDArray m =
        quantization == null ? matrix : QuantizedArrays.quantized(quantization, matrix.dup('c'));
    return m.castTo(DataType.DOUBLE).toDoubleMatrix();
  }

  private static double[] quantize(double[] v, Quantization quantization) {
    if (quantization == null) {
      return v.clone();
    }
    float[] floats = new float[v.length];
    for (int i = 0; i < v.length; i++) {
      floats[i] = (float) v[i];
    }
    return QuantizedArrays.quantized(
            quantization, Nd4j.createFromArray(floats).reshape(1, v.length))
        .castTo(DataType.DOUBLE)
        .dup()
        .data()
        .asDouble();
  }

  /** Sum of all tokens' losses of the last gradient. */
  double loss() {
    return loss;
  }

  /** Summed over batch and time, by DL4J's keys. */
  Map<String, INDArray> gradient(DataSet data) {
    int batch = (int) data.getFeatures().size(0);
    int time = (int) data.getFeatures().size(2);
    int e = embedding[0].length;
    int h = rw[0].length;
    int v = embedding.length;
    float[] inputMask = mask(time * batch * e, 1);
    float[] softmaxMask = mask(time * batch * h, 2);
    double[][] dEmbedding = new double[v][e];
    double[][] dW = new double[4 * h][e];
    double[][] dRW = new double[4 * h][h];
    double[] db = new double[4 * h];
    double[][] dSoftmax = new double[v][h];
    double[] dSoftmaxBias = new double[v];
    loss = 0;
    for (int s = 0; s < batch; s++) {
      double[][] x = new double[time][];
      double[][] consumed = new double[time][];
      double[][] z = new double[time][];
      double[][] c = new double[time + 1][h];
      double[][] dh = new double[time][h];
      double[] hidden = new double[h];
      for (int t = 0; t < time; t++) {
        x[t] = quantize(embedding[data.getFeatures().getInt(s, 0, t)], inputs);
        scale(x[t], inputMask, (t * batch + s) * e);
        consumed[t] = quantize(hidden, activations);
        z[t] = b.clone();
        addProduct(w, x[t], z[t]);
        addProduct(rw, consumed[t], z[t]);
        hidden = new double[h];
        for (int j = 0; j < h; j++) {
          z[t][j] = Math.tanh(z[t][j]);
          for (int gate = 1; gate < 4; gate++) {
            z[t][gate * h + j] = 1 / (1 + Math.exp(-z[t][gate * h + j]));
          }
          c[t + 1][j] = z[t][h + j] * c[t][j] + z[t][3 * h + j] * z[t][j];
          hidden[j] = z[t][2 * h + j] * Math.tanh(c[t + 1][j]);
        }
        double[] y = quantize(hidden, activations);
        scale(y, softmaxMask, (t * batch + s) * h);
        double[] logits = softmaxBias.clone();
        addProduct(softmax, y, logits);
        double sum = 0;
        for (double logit : logits) {
          sum += Math.exp(logit);
        }
        int label = data.getLabels().getInt(s, 0, t);
        loss += Math.log(sum) - logits[label];
        for (int k = 0; k < v; k++) {
          double delta = Math.exp(logits[k]) / sum - (k == label ? 1 : 0);
          dSoftmaxBias[k] += delta;
          for (int j = 0; j < h; j++) {
            dSoftmax[k][j] += delta * y[j];
            dh[t][j] += delta * softmax[k][j];
          }
        }
        scale(dh[t], softmaxMask, (t * batch + s) * h);
      }
      double[] dc = new double[h];
      for (int t = time - 1; t >= 0; t--) {
        double[] dz = new double[4 * h];
        for (int j = 0; j < h; j++) {
          double g = z[t][j];
          double f = z[t][h + j];
          double o = z[t][2 * h + j];
          double i = z[t][3 * h + j];
          double tanh = Math.tanh(c[t + 1][j]);
          dc[j] += dh[t][j] * o * (1 - tanh * tanh);
          dz[j] = dc[j] * i * (1 - g * g);
          dz[h + j] = dc[j] * c[t][j] * f * (1 - f);
          dz[2 * h + j] = dh[t][j] * tanh * o * (1 - o);
          dz[3 * h + j] = dc[j] * g * i * (1 - i);
          dc[j] *= f;
        }
        double[] dx = new double[e];
        for (int r = 0; r < 4 * h; r++) {
          db[r] += dz[r];
          for (int j = 0; j < e; j++) {
            dW[r][j] += dz[r] * x[t][j];
            dx[j] += dz[r] * w[r][j];
          }
          for (int j = 0; j < h; j++) {
            dRW[r][j] += dz[r] * consumed[t][j];
            if (t > 0) {
              dh[t - 1][j] += dz[r] * rw[r][j];
            }
          }
        }
        scale(dx, inputMask, (t * batch + s) * e);
        double[] row = dEmbedding[data.getFeatures().getInt(s, 0, t)];
        for (int j = 0; j < e; j++) {
          row[j] += dx[j];
        }
      }
    }
    Map<String, INDArray> gradient = new LinkedHashMap<>();
    gradient.put("0_W", Nd4j.createFromArray(dEmbedding));
    gradient.put("1_W", Nd4j.createFromArray(dW).transpose());
    gradient.put("1_RW", Nd4j.createFromArray(dRW).transpose());
    gradient.put("1_b", Nd4j.createFromArray(db));
    gradient.put("2_W", Nd4j.createFromArray(dSoftmax).transpose());
    gradient.put("2_b", Nd4j.createFromArray(dSoftmaxBias));
    return gradient;
  }

  /** The layer's dropout mask, time-major; null without dropout. */
  private float[] mask(int length, int layer) {
    if (retain == 1) {
      return null;
    }
    return DropoutTest.factors(retain, 1, length, seed, iteration, layer).data().asFloat();
  }

  private static void scale(double[] values, float[] mask, int from) {
    for (int i = 0; mask != null && i < values.length; i++) {
      values[i] *= mask[from + i];
    }
  }

  private static void addProduct(double[][] matrix, double[] x, double[] into) {
    for (int r = 0; r < matrix.length; r++) {
      for (int j = 0; j < x.length; j++) {
        into[r] += matrix[r][j] * x[j];
      }
    }
  }
}

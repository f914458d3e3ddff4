package org.multibit.cli;

import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Random;

/**
 * A random language model by PyTorch's names and layouts, and what it computes, in double
 * precision, by the equations in PyTorch's documentation.
 */
public final class ForeignModel {
  final String cell;
  final int vocabulary;
  final int embedding;
  final int hidden;
  final int layers;

  /** By the names of the state dict, row-major. */
  final Map<String, float[]> arrays = new LinkedHashMap<>();

  final Map<String, long[]> shapes = new LinkedHashMap<>();

  public ForeignModel(
      String cell, int vocabulary, int embedding, int hidden, int layers, long seed) {
    this.cell = cell;
    this.vocabulary = vocabulary;
    this.embedding = embedding;
    this.hidden = hidden;
    this.layers = layers;
    Random random = new Random(seed);
    int gates = cell.equals("lstm") ? 4 : 3;
    put(random, "encoder.weight", vocabulary, embedding);
    for (int l = 0; l < layers; l++) {
      put(random, "rnn.weight_ih_l" + l, gates * hidden, l == 0 ? embedding : hidden);
      put(random, "rnn.weight_hh_l" + l, gates * hidden, hidden);
      put(random, "rnn.bias_ih_l" + l, gates * hidden);
      put(random, "rnn.bias_hh_l" + l, gates * hidden);
    }
    put(random, "decoder.weight", vocabulary, hidden);
    put(random, "decoder.bias", vocabulary);
  }

  private void put(Random random, String name, long... shape) {
    int length = 1;
    for (long size : shape) {
      length *= (int) size;
    }
    float[] values = new float[length];
    for (int i = 0; i < length; i++) {
      values[i] = (float) random.nextGaussian() * 0.5f;
    }
    arrays.put(name, values);
    shapes.put(name, shape);
  }

  /** Rounds every value to what a type of 16 bits holds, leaving so many bits of fraction. */
  ForeignModel rounded(int fractionBits) {
    int drop = 23 - fractionBits;
    for (float[] values : arrays.values()) {
      for (int i = 0; i < values.length; i++) {
        // Whole multiples of 2^-14 are halves too where a half is subnormal.
        float value = Math.abs(values[i]) < 0x1p-10f ? 0 : values[i];
        values[i] = Float.intBitsToFloat(Float.floatToRawIntBits(value) >> drop << drop);
      }
    }
    return this;
  }

  public SafetensorsWriter safetensors(String type) {
    SafetensorsWriter writer = new SafetensorsWriter();
    arrays.forEach((name, values) -> writer.put(name, type, values, shapes.get(name)));
    return writer;
  }

  /** Perplexity over a stream: zero state, the first input {@code start}. */
  double perplexity(int start, int[] tokens) {
    double[][] h = new double[layers][hidden];
    double[][] c = new double[layers][hidden];
    double loss = 0;
    int previous = start;
    for (int token : tokens) {
      double[] x = new double[embedding];
      for (int i = 0; i < embedding; i++) {
        x[i] = arrays.get("encoder.weight")[previous * embedding + i];
      }
      for (int l = 0; l < layers; l++) {
        x = step(l, x, h[l], c[l]);
      }
      double[] logits = affine("decoder.weight", "decoder.bias", x);
      double sum = 0;
      for (double logit : logits) {
        sum += Math.exp(logit);
      }
      loss += Math.log(sum) - logits[token];
      previous = token;
    }
    return Math.exp(loss / tokens.length);
  }

  private double[] step(int l, double[] x, double[] h, double[] c) {
    double[] in = affine("rnn.weight_ih_l" + l, "rnn.bias_ih_l" + l, x);
    double[] re = affine("rnn.weight_hh_l" + l, "rnn.bias_hh_l" + l, h);
    int n = hidden;
    for (int j = 0; j < n; j++) {
      if (cell.equals("lstm")) {
        double input = sigmoid(in[j] + re[j]);
        double forget = sigmoid(in[n + j] + re[n + j]);
        double candidate = Math.tanh(in[2 * n + j] + re[2 * n + j]);
        double output = sigmoid(in[3 * n + j] + re[3 * n + j]);
        c[j] = forget * c[j] + input * candidate;
        h[j] = output * Math.tanh(c[j]);
      } else {
        double reset = sigmoid(in[j] + re[j]);
        double update = sigmoid(in[n + j] + re[n + j]);
        double candidate = Math.tanh(in[2 * n + j] + reset * re[2 * n + j]);
        h[j] = (1 - update) * candidate + update * h[j];
      }
    }
    return h;
  }

  private double[] affine(String weights, String bias, double[] x) {
    float[] w = arrays.get(weights);
    float[] b = arrays.get(bias);
    double[] y = new double[b.length];
    for (int i = 0; i < y.length; i++) {
      y[i] = b[i];
      for (int j = 0; j < x.length; j++) {
        y[i] += (double) w[i * x.length + j] * x[j];
      }
    }
    return y;
  }

  private static double sigmoid(double x) {
    return 1 / (1 + Math.exp(-x));
  }
}

package org.multibit.core;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.FloatBuffer;
import java.nio.IntBuffer;

/** One row quantized by {@link JavaKernels}, unpacked for inspection. */
record Row(float[] w, int bits, boolean[][] planes, float[] coefficients, float[] values) {

  static Row quantize(Quantizer quantizer, int bits, float... w) {
    Kernels kernels = Kernels.java();
    MultibitMatrix matrix = MultibitMatrix.activations(1, w.length, bits);
    kernels.quantize(quantizer, direct(w), matrix);
    boolean[][] planes = new boolean[bits][w.length];
    float[] coefficients = new float[bits];
    for (int i = 0; i < bits; i++) {
      coefficients[i] = matrix.coefficient(0, i);
      for (int c = 0; c < w.length; c++) {
        planes[i][c] = matrix.bit(0, i, c);
      }
    }
    FloatBuffer out = floats(w.length);
    kernels.dequantize(matrix, out);
    return new Row(w, bits, planes, coefficients, array(out));
  }

  /** ||w - q||^2. */
  double error() {
    double error = 0;
    for (int j = 0; j < w.length; j++) {
      double d = (double) w[j] - values[j];
      error += d * d;
    }
    return error;
  }

  static double error(Quantizer quantizer, int bits, float... w) {
    return quantize(quantizer, bits, w).error();
  }

  static double squaredNorm(float[] w) {
    double norm = 0;
    for (float x : w) {
      norm += (double) x * x;
    }
    return norm;
  }

  static FloatBuffer direct(float... values) {
    return floats(values.length).put(values).flip();
  }

  static FloatBuffer floats(int count) {
    return ByteBuffer.allocateDirect(count * Float.BYTES)
        .order(ByteOrder.nativeOrder())
        .asFloatBuffer();
  }

  static IntBuffer direct(int... values) {
    return ByteBuffer.allocateDirect(values.length * Integer.BYTES)
        .order(ByteOrder.nativeOrder())
        .asIntBuffer()
        .put(values)
        .flip();
  }

  static float[] array(FloatBuffer buffer) {
    float[] values = new float[buffer.remaining()];
    buffer.duplicate().get(values);
    return values;
  }
}

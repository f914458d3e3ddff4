package org.multibit.benchmarks;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.FloatBuffer;
import java.util.Random;
import java.util.concurrent.TimeUnit;
import org.multibit.core.Alternating;
import org.multibit.core.Kernels;
import org.multibit.core.MultibitMatrix;
import org.multibit.core.Quantizer;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.BenchmarkMode;
import org.openjdk.jmh.annotations.Fork;
import org.openjdk.jmh.annotations.Measurement;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.annotations.OutputTimeUnit;
import org.openjdk.jmh.annotations.Param;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.Warmup;

/**
 * One vector through a quantized matrix of 1024 columns: quantizing it, and the product. {@code
 * MULTIBIT_ISA} forces a tier. Runs in a pool of one thread, so the kernels use one.
 */
@State(Scope.Benchmark)
@BenchmarkMode(Mode.SampleTime)
@OutputTimeUnit(TimeUnit.MICROSECONDS)
@Warmup(iterations = 3, time = 1)
@Measurement(iterations = 5, time = 1)
@Fork(value = 1, jvmArgsAppend = "-Djmh.executor=FJP")
public class KernelsBenchmark {
  private static final int COLS = 1024;

  @Param({"4096", "42000"})
  int rows;

  @Param({"2", "3"})
  int bits;

  private final Kernels kernels = Kernels.get();
  private final Quantizer quantizer = new Alternating();
  private MultibitMatrix weights;
  private MultibitMatrix activation;
  private FloatBuffer vector;
  private FloatBuffer product;

  @Setup
  public void setUp() {
    Random random = new Random(1);
    FloatBuffer floats = floats(rows * COLS);
    for (int i = 0; i < floats.capacity(); i++) {
      floats.put(i, (float) random.nextGaussian());
    }
    weights = MultibitMatrix.weights(rows, COLS, bits);
    kernels.quantize(quantizer, floats, weights);
    activation = MultibitMatrix.activations(1, COLS, bits);
    vector = floats(COLS);
    for (int i = 0; i < COLS; i++) {
      vector.put(i, (float) Math.tanh(random.nextGaussian()));
    }
    product = floats(rows);
  }

  private static FloatBuffer floats(int count) {
    return ByteBuffer.allocateDirect(count * Float.BYTES)
        .order(ByteOrder.nativeOrder())
        .asFloatBuffer();
  }

  @Benchmark
  public MultibitMatrix quantizeActivation() {
    kernels.quantize(quantizer, vector, activation);
    return activation;
  }

  @Benchmark
  public FloatBuffer quantizeAndMultiply() {
    kernels.quantize(quantizer, vector, activation);
    kernels.multiply(weights, activation, product);
    return product;
  }
}

package org.multibit.benchmarks;

import java.nio.FloatBuffer;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.concurrent.ForkJoinTask;
import java.util.function.DoubleSupplier;
import java.util.stream.IntStream;
import org.multibit.core.Alternating;
import org.multibit.core.Kernels;
import org.multibit.core.MultibitMatrix;
import org.multibit.core.Quantizer;
import org.multibit.core.format.LanguageModelFile;
import org.nd4j.shade.jackson.databind.JsonNode;

/** Our own kernels: products of quantized matrices, and quantization (alternating, 2 cycles). */
final class MultibitProducts implements BenchmarkedSystem {
  /** Rows whose product is compared with the Java reference. */
  private static final int CHECKED_ROWS = 64;

  private final Kernels kernels = Kernels.get();
  private final Quantizer quantizer = new Alternating();
  private FloatBuffer floats = FloatBuffer.allocate(0);

  @Override
  public Map<String, String> describe() {
    Map<String, String> description = new LinkedHashMap<>();
    description.put("library", "multibit");
    description.put("kernels", kernels.name());
    description.put("threads", "" + ForkJoinTask.getPool().getParallelism());
    return description;
  }

  /**
   * Settings: kind (product, quantizeActivations, quantizeMatrix), rows, cols, batch, weightBits,
   * activationBits (0: full precision); or kind read, bytes; or kind popcount.
   */
  @Override
  public Task prepare(JsonNode settings) {
    String kind = settings.get("kind").asText();
    if (kind.equals("read")) {
      return new Limit(() -> readBytesPerSecond(settings.get("bytes").asLong()));
    }
    if (kind.equals("popcount")) {
      return new Limit(() -> Roofline.measure().popcountWordsPerSecond());
    }
    int rows = settings.get("rows").asInt();
    int cols = settings.get("cols").asInt();
    int batch = settings.get("batch").asInt();
    int weightBits = settings.get("weightBits").asInt();
    int activationBits = settings.get("activationBits").asInt();
    if (kind.equals("quantizeActivations")) {
      FloatBuffer vectors = Floats.hiddenStates(batch * cols, 2);
      MultibitMatrix codes = MultibitMatrix.activations(batch, cols, activationBits);
      return () -> kernels.quantize(quantizer, vectors, codes);
    }
    if (floats.capacity() != rows * cols) {
      floats = Floats.normal(rows * cols, 1, 1);
    }
    FloatBuffer source = floats;
    MultibitMatrix weights = MultibitMatrix.weights(rows, cols, weightBits);
    if (kind.equals("quantizeMatrix")) {
      return () -> kernels.quantize(quantizer, source, weights);
    }
    kernels.quantize(quantizer, source, weights);
    FloatBuffer vectors = Floats.hiddenStates(batch * cols, 2);
    FloatBuffer products = LanguageModelFile.directFloats(batch * rows);
    Task product;
    if (activationBits == 0) {
      product = () -> kernels.multiply(weights, vectors, batch, products);
    } else {
      MultibitMatrix codes = MultibitMatrix.activations(batch, cols, activationBits);
      product =
          () -> {
            kernels.quantize(quantizer, vectors, codes);
            kernels.multiply(weights, codes, products);
          };
    }
    return new CheckedProduct(product, products, rows, source, vectors, weights, activationBits);
  }

  /** Of all threads of the pool together, each reading its share. */
  private static double readBytesPerSecond(long bytes) {
    int threads = ForkJoinTask.getPool().getParallelism();
    return IntStream.range(0, threads)
        .parallel()
        .mapToDouble(thread -> Roofline.measure(bytes / threads).readBytesPerSecond().get(0))
        .sum();
  }

  /** What the machine can do, measured when the result is asked for. */
  private record Limit(DoubleSupplier perSecond) implements Task {
    @Override
    public void run() {}

    @Override
    public Object result() {
      return perSecond.getAsDouble();
    }
  }

  /** A product whose result is how far its first rows are from what the Java reference gives. */
  private record CheckedProduct(
      Task product,
      FloatBuffer products,
      int rows,
      FloatBuffer source,
      FloatBuffer vectors,
      MultibitMatrix weights,
      int activationBits)
      implements Task {
    @Override
    public void run() throws Exception {
      product.run();
    }

    /** Largest difference from the reference, relative to the largest value. */
    @Override
    public Object result() throws Exception {
      product.run();
      int cols = weights.cols();
      int batch = vectors.capacity() / cols;
      int some = Math.min(rows, CHECKED_ROWS);
      Kernels java = Kernels.java();
      MultibitMatrix top = MultibitMatrix.weights(some, cols, weights.bits());
      java.quantize(new Alternating(), source.slice(0, some * cols), top);
      FloatBuffer expected = LanguageModelFile.directFloats(batch * some);
      if (activationBits == 0) {
        java.multiply(top, vectors, batch, expected);
      } else {
        MultibitMatrix codes = MultibitMatrix.activations(batch, cols, activationBits);
        java.quantize(new Alternating(), vectors, codes);
        java.multiply(top, codes, expected);
      }
      double difference = 0;
      double largest = 0;
      for (int b = 0; b < batch; b++) {
        for (int r = 0; r < some; r++) {
          float value = expected.get(b * some + r);
          largest = Math.max(largest, Math.abs(value));
          difference = Math.max(difference, Math.abs(value - products.get(b * rows + r)));
        }
      }
      return difference / largest;
    }
  }
}

package org.multibit.benchmarks;

import java.io.IOException;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Consumer;
import org.multibit.benchmarks.InterleavedRunner.Time;
import org.multibit.core.Bits;

/**
 * Products with quantized matrices against float products of OpenBLAS and MKL, and all of them
 * against what memory and popcount units allow.
 *
 * @param sizes of the matrices
 * @param bits of weights and activations
 * @param batches how many vectors at once; 1 is a matrix-vector product
 * @param rounds how often each task has its turn
 * @param tier of our kernels; null: the best, or what MULTIBIT_ISA says
 */
record KernelsBench(
    List<Size> sizes, List<Bits> bits, List<Integer> batches, int rounds, String tier) {
  static final List<Size> SIZES = List.of(new Size(4096, 1024), new Size(42000, 1024));
  static final List<Bits> BITS =
      List.of(
          new Bits(1, 1),
          new Bits(2, 2),
          new Bits(2, 3),
          new Bits(3, 3),
          new Bits(4, 4),
          new Bits(2, 0));
  static final List<Integer> BATCHES = List.of(1, 32);
  static final int ROUNDS = 10;

  /** The largest difference from the Java reference, relative: sums of floats in another order. */
  private static final double TOLERANCE = 1e-4;

  private static final double WARM_UP_MILLIS = 300;
  private static final double TURN_MILLIS = 40;

  /** Bits and method of the whole matrix that is quantized. */
  private static final int MATRIX_BITS = 2;

  record Size(int rows, int cols) {
    @Override
    public String toString() {
      return rows + "x" + cols;
    }
  }

  /**
   * What was measured.
   *
   * @param isa tier of our kernels
   * @param systems what each system says that it runs
   * @param rows as they are in the JSON line
   */
  record Result(
      String isa, Map<String, Map<String, String>> systems, List<Map<String, Object>> rows) {}

  /**
   * Runs it all.
   *
   * @param say takes lines for people
   */
  Result measure(Consumer<String> say) throws IOException {
    int cpus = Runtime.getRuntime().availableProcessors();
    Map<String, String> forced = tier == null ? Map.of() : Map.of("MULTIBIT_ISA", tier);
    List<Map<String, Object>> rows = new ArrayList<>();
    Map<String, Map<String, String>> systems = new LinkedHashMap<>();
    try (WorkerProcess multibit = new WorkerProcess("multibit", MultibitProducts.class, 1, forced);
        WorkerProcess multibitThreads =
            new WorkerProcess("multibit, all threads", MultibitProducts.class, cpus, forced);
        WorkerProcess openBlas =
            new WorkerProcess(
                "OpenBLAS", BlasProducts.OpenBlas.class, 1, Map.of("OPENBLAS_VERBOSE", "2"));
        WorkerProcess mkl =
            BlasProducts.Mkl.isAvailable()
                ? new WorkerProcess("MKL", BlasProducts.Mkl.class, 1, Map.of())
                : null) {
      for (WorkerProcess worker : new WorkerProcess[] {multibit, openBlas, mkl, multibitThreads}) {
        if (worker != null) {
          Map<String, String> description = worker.describe();
          if (worker == openBlas) {
            description.put("kernels", openBlas.errorLine("Core: "));
          }
          systems.put(worker.name(), description);
          say.accept("%s: %s".formatted(worker.name(), description));
        }
      }
      for (Size size : sizes) {
        for (int batch : batches) {
          rows.addAll(products(size, batch, multibit, openBlas, mkl, say));
        }
      }
      Size largest = sizes.get(sizes.size() - 1);
      rows.add(quantization(largest, cpus, multibit, multibitThreads, say));
      String isa = systems.get("multibit").get("kernels").replaceFirst("^native ", "");
      return new Result(isa, systems, rows);
    }
  }

  /** Bytes of planes and coefficients, rows padded to the kernels' eight. */
  private static long bytes(Size size, int weightBits) {
    long words = (size.cols + 63) / 64;
    return paddedRows(size) * weightBits * (words * Long.BYTES + Float.BYTES);
  }

  private static long paddedRows(Size size) {
    return (size.rows + 7) / 8 * 8;
  }

  private static Map<String, Object> reading(long bytes) {
    return Map.of("kind", "read", "bytes", bytes);
  }

  private List<Map<String, Object>> products(
      Size size,
      int batch,
      WorkerProcess multibit,
      WorkerProcess openBlas,
      WorkerProcess mkl,
      Consumer<String> say)
      throws IOException {
    InterleavedRunner runner = new InterleavedRunner();
    for (boolean columnMajor : new boolean[] {false, true}) {
      Map<String, Object> settings =
          Map.of("rows", size.rows, "cols", size.cols, "batch", batch, "columnMajor", columnMajor);
      runner.add("OpenBLAS " + columnMajor, openBlas, settings);
      if (mkl != null) {
        runner.add("MKL " + columnMajor, mkl, settings);
      }
    }
    for (Bits pair : bits) {
      runner.add("product " + pair, multibit, settings("product", size, batch, pair));
      double difference = multibit.result("product " + pair).asDouble();
      if (!(difference <= TOLERANCE)) {
        throw new IllegalStateException(
            "The %s product of %s x %d differs from the Java reference by %.3g of its largest value"
                .formatted(pair, size, batch, difference));
      }
      if (pair.activations() > 0) {
        runner.add(
            "quantize " + pair, multibit, settings("quantizeActivations", size, batch, pair));
      }
    }
    runner.addLimit("popcount", multibit, Map.of("kind", "popcount"));
    for (int weightBits : bits.stream().mapToInt(Bits::weights).distinct().toArray()) {
      runner.addLimit("read " + weightBits, multibit, reading(bytes(size, weightBits)));
    }
    InterleavedRunner.Measured measured = runner.measure(WARM_UP_MILLIS, rounds, TURN_MILLIS);
    runner.release();
    Map<String, Time> times = measured.times();
    double popcounts = measured.rates().get("popcount");
    double openBlasMillis = faster(times, "OpenBLAS ");
    double mklMillis = mkl == null ? Double.NaN : faster(times, "MKL ");

    List<Map<String, Object>> rows = new ArrayList<>();
    for (Bits pair : bits) {
      Time time = times.get("product " + pair);
      Time quantize = times.get("quantize " + pair);
      double bandwidth = measured.rates().get("read " + pair.weights());
      double readMillis = bytes(size, pair.weights()) / bandwidth * 1e3;
      long counted =
          paddedRows(size) * ((size.cols + 63) / 64) * pair.weights() * pair.activations() * batch;
      double popcountMillis = counted / popcounts * 1e3;
      double roofline = Math.max(readMillis, popcountMillis);
      Map<String, Object> row = new LinkedHashMap<>();
      row.put("kernel", batch == 1 ? "gemv" : "gemm");
      row.put("rows", size.rows);
      row.put("cols", size.cols);
      row.put("batch", batch);
      row.put("weightBits", pair.weights());
      row.put("activationBits", pair.activations());
      row.put("threads", 1);
      row.put("millis", time.median());
      row.put("quantizeMillis", quantize == null ? 0 : quantize.median());
      row.put("openblasMillis", openBlasMillis);
      row.put("mklMillis", mkl == null ? null : mklMillis);
      row.put("rooflineMillis", roofline);
      row.put("rooflineBound", readMillis >= popcountMillis ? "read" : "popcount");
      row.put("ofRoofline", roofline / time.median());
      row.put("readGigabytesPerSecond", bandwidth * 1e-9);
      row.put("popcountWordsPerSecond", popcounts);
      row.put("repetitions", time.repetitions());
      rows.add(row);
      say.accept(
          "%s %s %s: %.4f ms (quantizing %.4f), OpenBLAS %.3f, MKL %.3f; %.0f%% of the roofline"
              .formatted(
                  batch == 1 ? "gemv" : "gemm x " + batch,
                  size,
                  pair,
                  time.median(),
                  quantize == null ? 0 : quantize.median(),
                  openBlasMillis,
                  mklMillis,
                  100 * roofline / time.median()));
    }
    return rows;
  }

  /** A library's better storage order of the matrix. */
  private static double faster(Map<String, Time> times, String library) {
    return Math.min(times.get(library + false).median(), times.get(library + true).median());
  }

  private static Map<String, Object> settings(String kind, Size size, int batch, Bits pair) {
    return Map.of(
        "kind",
        kind,
        "rows",
        size.rows,
        "cols",
        size.cols,
        "batch",
        batch,
        "weightBits",
        pair.weights(),
        "activationBits",
        pair.activations());
  }

  /** A whole matrix, with all threads, against reading it once. */
  private Map<String, Object> quantization(
      Size size, int cpus, WorkerProcess one, WorkerProcess all, Consumer<String> say)
      throws IOException {
    InterleavedRunner runner = new InterleavedRunner();
    Bits pair = new Bits(MATRIX_BITS, 0);
    long bytes = (long) size.rows * size.cols * Float.BYTES;
    runner.add("quantize", all, settings("quantizeMatrix", size, 1, pair));
    runner.addLimit("read", all, reading(bytes));
    runner.addLimit("read by one", one, reading(bytes));
    InterleavedRunner.Measured measured = runner.measure(WARM_UP_MILLIS, rounds, TURN_MILLIS);
    runner.release();
    Time time = measured.times().get("quantize");
    double readMillis = bytes / measured.rates().get("read") * 1e3;
    double readMillisOneThread = bytes / measured.rates().get("read by one") * 1e3;
    Map<String, Object> row = new LinkedHashMap<>();
    row.put("kernel", "quantize");
    row.put("rows", size.rows);
    row.put("cols", size.cols);
    row.put("weightBits", MATRIX_BITS);
    row.put("activationBits", 0);
    row.put("threads", cpus);
    row.put("millis", time.median());
    row.put("rooflineMillis", readMillis);
    row.put("rooflineBound", "read");
    row.put("ofRoofline", readMillis / time.median());
    row.put("readMillisOneThread", readMillisOneThread);
    row.put("repetitions", time.repetitions());
    say.accept(
        "quantize %s to %d bits, %d threads: %.2f ms, %.1f x reading it once (%.2f ms; one thread %.2f)"
            .formatted(
                size,
                MATRIX_BITS,
                cpus,
                time.median(),
                time.median() / readMillis,
                readMillis,
                readMillisOneThread));
    return row;
  }
}

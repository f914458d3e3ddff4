package org.multibit.runtime;

import java.lang.ref.Reference;
import java.nio.FloatBuffer;
import java.nio.IntBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.ForkJoinPool;
import java.util.concurrent.ForkJoinTask;
import java.util.function.LongBinaryOperator;
import java.util.stream.IntStream;
import org.bytedeco.javacpp.FloatPointer;
import org.bytedeco.javacpp.IntPointer;
import org.bytedeco.javacpp.LongPointer;
import org.multibit.core.Alternating;
import org.multibit.core.Balanced;
import org.multibit.core.Greedy;
import org.multibit.core.JavaKernels;
import org.multibit.core.KernelChecks;
import org.multibit.core.Kernels;
import org.multibit.core.MultibitMatrix;
import org.multibit.core.Optimal;
import org.multibit.core.Quantizer;
import org.multibit.core.RefinedGreedy;
import org.multibit.core.Uniform;

/**
 * The native kernels of one instruction-set tier. Rows are shared among the threads of the
 * ForkJoinPool that the caller runs in, else of the common pool; each row is computed by one
 * thread, so results do not depend on their number.
 */
public final class NativeKernels implements Kernels {
  /** Rows of a part are a multiple of this, since weights lie in blocks of so many rows. */
  private static final int ROW_STEP = MultibitMatrix.WEIGHT_LANES;

  /** About as many elements or word products as are worth a thread's start. */
  private static final long LEAST_WORK = 1 << 15;

  private static final JavaKernels JAVA = new JavaKernels();

  private final long kernels;
  private final String tier;

  /**
   * The best tier that this CPU supports, or the one that the environment variable MULTIBIT_ISA
   * names.
   *
   * @throws IllegalStateException if MULTIBIT_ISA names a tier that is unknown or not supported
   *     here
   * @throws UnsatisfiedLinkError if the native library does not load
   */
  public NativeKernels() {
    this(NativeLibrary.isa());
  }

  NativeKernels(String tier) {
    NativeLibrary.load();
    int index = supportedTiers().indexOf(tier);
    if (index < 0) {
      throw new IllegalStateException("There are no native kernels named " + tier);
    }
    this.tier = tier;
    this.kernels = Bindings.supportedTier(index);
  }

  /** The tiers that this CPU supports, plainest first. */
  static List<String> supportedTiers() {
    NativeLibrary.load();
    List<String> tiers = new ArrayList<>();
    for (long tier; (tier = Bindings.supportedTier(tiers.size())) != 0; ) {
      tiers.add(NativeLibrary.string(Bindings.tierName(tier)));
    }
    return tiers;
  }

  @Override
  public String name() {
    return "native " + tier;
  }

  /** The number of a method in kernels.h, or -1 if it has no such method. */
  private static int method(Quantizer quantizer) {
    if (quantizer instanceof Uniform) {
      return 0;
    } else if (quantizer instanceof Balanced) {
      return 1;
    } else if (quantizer instanceof Greedy) {
      return 2;
    } else if (quantizer instanceof RefinedGreedy) {
      return 3;
    } else if (quantizer instanceof Alternating) {
      return 4;
    } else if (quantizer instanceof Optimal) {
      return 5;
    }
    return -1;
  }

  @Override
  public void quantize(Quantizer quantizer, FloatBuffer rows, MultibitMatrix into) {
    int method = method(quantizer);
    if (method < 0) {
      JAVA.quantize(quantizer, rows, into);
      return;
    }
    KernelChecks.quantize(quantizer, rows, into);
    int cycles = quantizer instanceof Alternating a ? a.cycles() : 0;
    float scale = quantizer instanceof Alternating a ? a.scale() : 1;
    FloatPointer w = pointer(rows);
    LongPointer planes = new LongPointer(into.planes());
    FloatPointer coefficients = new FloatPointer(into.coefficients());
    long bad =
        forRows(
            into.rows(),
            (long) into.cols() * into.bits() * 4,
            (first, last) ->
                Bindings.quantize(
                    kernels,
                    method,
                    cycles,
                    scale,
                    w,
                    into.rows(),
                    into.cols(),
                    first,
                    last,
                    into.bits(),
                    into.lanes(),
                    planes,
                    coefficients));
    Reference.reachabilityFence(into);
    if (bad < -1) {
      throw new OutOfMemoryError("No memory to quantize %d columns".formatted(into.cols()));
    }
    if (bad >= 0) {
      float value = rows.get(rows.position() + (int) bad);
      throw JavaKernels.notFinite(value, bad / into.cols(), bad % into.cols());
    }
    Reference.reachabilityFence(rows);
  }

  @Override
  public void dequantize(MultibitMatrix matrix, FloatBuffer out) {
    KernelChecks.dequantize(matrix, out);
    LongPointer planes = new LongPointer(matrix.planes());
    FloatPointer coefficients = new FloatPointer(matrix.coefficients());
    FloatPointer to = pointer(out);
    forRows(
        matrix.rows(),
        matrix.cols(),
        (first, last) -> {
          Bindings.dequantize(
              kernels,
              planes,
              coefficients,
              first,
              last,
              matrix.cols(),
              matrix.bits(),
              matrix.lanes(),
              to);
          return -1;
        });
    Reference.reachabilityFence(matrix);
    Reference.reachabilityFence(out);
  }

  @Override
  public void multiply(MultibitMatrix weights, MultibitMatrix activations, FloatBuffer out) {
    KernelChecks.multiply(weights, activations, out);
    LongPointer weightPlanes = new LongPointer(weights.planes());
    FloatPointer weightCoefficients = new FloatPointer(weights.coefficients());
    LongPointer activationPlanes = new LongPointer(activations.planes());
    FloatPointer activationCoefficients = new FloatPointer(activations.coefficients());
    FloatPointer to = pointer(out);
    forRows(
        weights.rows(),
        (long) weights.words() * weights.bits() * activations.bits() * activations.rows(),
        (first, last) -> {
          Bindings.multiply(
              kernels,
              weightPlanes,
              weightCoefficients,
              weights.rows(),
              first,
              last,
              weights.cols(),
              weights.bits(),
              activationPlanes,
              activationCoefficients,
              activations.bits(),
              activations.rows(),
              to);
          return -1;
        });
    Reference.reachabilityFence(weights);
    Reference.reachabilityFence(activations);
    Reference.reachabilityFence(out);
  }

  @Override
  public void multiply(
      MultibitMatrix weights, FloatBuffer activations, int batch, FloatBuffer out) {
    KernelChecks.multiply(weights, activations, batch, out);
    LongPointer planes = new LongPointer(weights.planes());
    FloatPointer coefficients = new FloatPointer(weights.coefficients());
    FloatPointer x = pointer(activations);
    FloatPointer to = pointer(out);
    forRows(
        weights.rows(),
        (long) weights.cols() * weights.bits() * batch,
        (first, last) -> {
          Bindings.multiplyFloat(
              kernels,
              planes,
              coefficients,
              weights.rows(),
              first,
              last,
              weights.cols(),
              weights.bits(),
              x,
              batch,
              to);
          return -1;
        });
    Reference.reachabilityFence(weights);
    Reference.reachabilityFence(activations);
    Reference.reachabilityFence(out);
  }

  @Override
  public void softmaxCrossEntropy(
      FloatBuffer logits, int classes, IntBuffer labels, FloatBuffer losses) {
    KernelChecks.softmaxCrossEntropy(logits, classes, labels, losses);
    softmax(
        pointer(logits),
        labels.remaining(),
        classes,
        new IntPointer(labels.slice()),
        pointer(losses));
    Reference.reachabilityFence(logits);
    Reference.reachabilityFence(labels);
    Reference.reachabilityFence(losses);
  }

  @Override
  public void softmax(FloatBuffer logits, int rows, int classes) {
    KernelChecks.softmax(logits, rows, classes);
    softmax(pointer(logits), rows, classes, null, null);
    Reference.reachabilityFence(logits);
  }

  private void softmax(
      FloatPointer logits, int rows, int classes, IntPointer labels, FloatPointer losses) {
    forRows(
        rows,
        classes * 8L,
        (first, last) -> {
          Bindings.softmax(kernels, logits, first, last, classes, labels, losses);
          return -1;
        });
  }

  /** The memory from the buffer's position on; JavaCPP 1.5.12 itself gets positions wrong. */
  private static FloatPointer pointer(FloatBuffer buffer) {
    return new FloatPointer(buffer.slice());
  }

  /**
   * Runs a task on parts [first, last) of the rows, on several threads if it is worth it.
   *
   * @param workPerRow roughly the elements that a row takes
   * @return the least result that is not -1, else -1
   */
  private static long forRows(int rows, long workPerRow, LongBinaryOperator task) {
    long steps = (rows + ROW_STEP - 1) / ROW_STEP;
    ForkJoinPool pool = ForkJoinTask.getPool();
    int threads =
        pool != null ? pool.getParallelism() : 1 + ForkJoinPool.getCommonPoolParallelism();
    long wanted = threads == 1 ? 1 : Math.min(4L * threads, rows * workPerRow / LEAST_WORK);
    int parts = (int) Math.max(1, Math.min(steps, wanted));
    if (parts == 1) {
      return rows == 0 ? -1 : task.applyAsLong(0, rows);
    }
    return IntStream.range(0, parts)
        .parallel()
        .mapToLong(
            part -> {
              long first = part * steps / parts * ROW_STEP;
              long last = Math.min(rows, (part + 1) * steps / parts * ROW_STEP);
              return task.applyAsLong(first, last);
            })
        .filter(result -> result != -1)
        .min()
        .orElse(-1);
  }
}

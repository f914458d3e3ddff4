package org.multibit.runtime;

import java.lang.ref.Reference;
import java.nio.FloatBuffer;
import java.nio.IntBuffer;
import java.nio.LongBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.IntStream;
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
 * The kernels of {@code native/kernels} for this CPU; work is split by rows over the common pool's
 * threads.
 */
public final class NativeKernels implements Kernels {
  /** In the order of the methods' numbers in kernels.h. */
  private static final List<Class<? extends Quantizer>> METHODS =
      List.of(
          Uniform.class,
          Balanced.class,
          Greedy.class,
          RefinedGreedy.class,
          Alternating.class,
          Optimal.class);

  /** Below so many elements a second thread costs more than it gives. */
  private static final long ELEMENTS_PER_TASK = 1 << 15;

  private final long handle;
  private final Kernels java = new JavaKernels();

  /**
   * The tier that suits the CPU, or that MULTIBIT_ISA names.
   *
   * @throws IllegalStateException if MULTIBIT_ISA names a tier that is unknown or not supported
   *     here
   * @throws UnsatisfiedLinkError if there is no library for this platform
   */
  public NativeKernels() {
    this(selected());
  }

  private NativeKernels(long handle) {
    this.handle = handle;
  }

  private static long selected() {
    NativeBinding.load();
    long handle = NativeBinding.SelectedKernels();
    if (handle == 0) {
      throw new IllegalStateException(NativeBinding.KernelsError().getString());
    }
    return handle;
  }

  /** One instance for each tier that this CPU has, plainest first. */
  static List<NativeKernels> supported() {
    NativeBinding.load();
    List<NativeKernels> tiers = new ArrayList<>();
    for (int i = 0; NativeBinding.SupportedTier(i) != 0; i++) {
      tiers.add(new NativeKernels(NativeBinding.SupportedTier(i)));
    }
    return tiers;
  }

  @Override
  public String name() {
    return "native " + NativeBinding.KernelsName(handle).getString();
  }

  /** Splits rows [0, rows) into ranges that start at multiples of {@code lanes}. */
  private interface Range {
    void run(long first, long last);
  }

  private static void parallel(long rows, long elementsPerRow, int lanes, Range range) {
    long perTask = Math.max(1, ELEMENTS_PER_TASK / Math.max(1, elementsPerRow));
    long step = (perTask + lanes - 1) / lanes * lanes;
    int tasks = (int) ((rows + step - 1) / step);
    if (tasks <= 1) {
      range.run(0, rows);
    } else {
      IntStream.range(0, tasks)
          .parallel()
          .forEach(i -> range.run(i * step, Math.min(rows, (i + 1) * step)));
    }
  }

  @Override
  public void quantize(Quantizer quantizer, FloatBuffer rows, MultibitMatrix into) {
    int method = METHODS.indexOf(quantizer.getClass());
    if (method < 0) {
      // A method of the user's own.
      java.quantize(quantizer, rows, into);
      return;
    }
    KernelChecks.quantize(quantizer, rows, into);
    int cycles = quantizer instanceof Alternating a ? a.cycles() : 0;
    float scale = quantizer instanceof Alternating a ? a.scale() : 1;
    FloatBuffer w = rows.slice();
    LongBuffer planes = into.planes();
    FloatBuffer coefficients = into.coefficients();
    java.util.concurrent.atomic.AtomicLong notFinite =
        new java.util.concurrent.atomic.AtomicLong(Long.MAX_VALUE);
    parallel(
        into.rows(),
        into.cols(),
        into.lanes(),
        (first, last) -> {
          long bad =
              NativeBinding.Quantize(
                  handle,
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
                  coefficients);
          if (bad == -2) {
            throw new OutOfMemoryError("for the scratch memory of a quantizer");
          } else if (bad >= 0) {
            notFinite.accumulateAndGet(bad, Math::min);
          }
        });
    Reference.reachabilityFence(rows);
    Reference.reachabilityFence(into);
    if (notFinite.get() != Long.MAX_VALUE) {
      int index = (int) notFinite.get();
      throw JavaKernels.notFinite(w.get(index), index / into.cols(), index % into.cols());
    }
  }

  @Override
  public void dequantize(MultibitMatrix matrix, FloatBuffer out) {
    KernelChecks.dequantize(matrix, out);
    FloatBuffer target = out.slice();
    LongBuffer planes = matrix.planes();
    FloatBuffer coefficients = matrix.coefficients();
    parallel(
        matrix.rows(),
        matrix.cols(),
        matrix.lanes(),
        (first, last) ->
            NativeBinding.Dequantize(
                handle,
                planes,
                coefficients,
                first,
                last,
                matrix.cols(),
                matrix.bits(),
                matrix.lanes(),
                target));
    Reference.reachabilityFence(matrix);
    Reference.reachabilityFence(out);
  }

  @Override
  public void multiply(MultibitMatrix weights, MultibitMatrix activations, FloatBuffer out) {
    KernelChecks.multiply(weights, activations, out);
    FloatBuffer target = out.slice();
    LongBuffer weightPlanes = weights.planes();
    FloatBuffer weightCoefficients = weights.coefficients();
    LongBuffer activationPlanes = activations.planes();
    FloatBuffer activationCoefficients = activations.coefficients();
    // A word of 64 products costs about as much as an element elsewhere.
    long perRow = (long) weights.words() * activations.rows() * weights.bits() * activations.bits();
    parallel(
        weights.rows(),
        perRow,
        MultibitMatrix.WEIGHT_LANES,
        (first, last) ->
            NativeBinding.Gemm(
                handle,
                weightPlanes,
                weightCoefficients,
                first,
                last,
                weights.cols(),
                weights.bits(),
                activationPlanes,
                activationCoefficients,
                activations.bits(),
                activations.rows(),
                target,
                weights.rows()));
    Reference.reachabilityFence(weights);
    Reference.reachabilityFence(activations);
    Reference.reachabilityFence(out);
  }

  @Override
  public void multiply(
      MultibitMatrix weights, FloatBuffer activations, int batch, FloatBuffer out) {
    KernelChecks.multiply(weights, activations, batch, out);
    FloatBuffer x = activations.slice();
    FloatBuffer target = out.slice();
    LongBuffer planes = weights.planes();
    FloatBuffer coefficients = weights.coefficients();
    int n = weights.cols();
    for (int b = 0; b < batch; b++) {
      FloatBuffer vector = x.slice(b * n, n);
      FloatBuffer product = target.slice(b * weights.rows(), weights.rows());
      parallel(
          weights.rows(),
          (long) n * weights.bits() / 8,
          MultibitMatrix.WEIGHT_LANES,
          (first, last) ->
              NativeBinding.GemvFloat(
                  handle, planes, coefficients, first, last, n, weights.bits(), vector, product));
    }
    Reference.reachabilityFence(weights);
    Reference.reachabilityFence(activations);
    Reference.reachabilityFence(out);
  }

  @Override
  public void softmaxCrossEntropy(
      FloatBuffer logits, int classes, IntBuffer labels, FloatBuffer losses) {
    KernelChecks.softmaxCrossEntropy(logits, classes, labels, losses);
    softmax(logits.slice(), labels.remaining(), classes, labels.slice(), losses.slice());
    Reference.reachabilityFence(labels);
    Reference.reachabilityFence(losses);
    Reference.reachabilityFence(logits);
  }

  @Override
  public void softmax(FloatBuffer logits, int rows, int classes) {
    KernelChecks.softmax(logits, rows, classes);
    softmax(logits.slice(), rows, classes, null, null);
    Reference.reachabilityFence(logits);
  }

  private void softmax(
      FloatBuffer logits, int rows, int classes, IntBuffer labels, FloatBuffer losses) {
    parallel(
        rows,
        classes,
        1,
        (first, last) -> {
          int start = (int) first;
          int count = (int) (last - first);
          NativeBinding.Softmax(
              handle,
              logits.slice(start * classes, count * classes),
              count,
              classes,
              labels == null ? null : labels.slice(start, count),
              losses == null ? null : losses.slice(start, count));
        });
  }
}

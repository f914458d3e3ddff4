package org.multibit.runtime;

import java.lang.ref.Reference;
import java.nio.FloatBuffer;
import java.nio.IntBuffer;
import java.nio.LongBuffer;
import java.nio.ReadOnlyBufferException;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.ForkJoinPool;
import java.util.concurrent.ForkJoinTask;
import java.util.function.LongBinaryOperator;
import java.util.stream.IntStream;
import org.bytedeco.javacpp.DoublePointer;
import org.bytedeco.javacpp.FloatPointer;
import org.bytedeco.javacpp.IntPointer;
import org.bytedeco.javacpp.Loader;
import org.bytedeco.javacpp.LongPointer;
import org.bytedeco.javacpp.Pointer;
import org.multibit.core.Alternating;
import org.multibit.core.Balanced;
import org.multibit.core.Greedy;
import org.multibit.core.GruSteps;
import org.multibit.core.JavaKernels;
import org.multibit.core.KernelChecks;
import org.multibit.core.Kernels;
import org.multibit.core.LstmSteps;
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
public class NativeKernels implements Kernels {
  /** Rows of a part are a multiple of this, since weights lie in blocks of so many rows. */
  private static final int ROW_STEP = MultibitMatrix.WEIGHT_LANES;

  /** About as many elements or word products as are worth a thread's start. */
  private static final long LEAST_WORK = 1 << 15;

  /** So that a thread that was held up is waited for only a little. */
  private static final int PARTS_PER_THREAD = 4;

  /** Rows that {@link #softmaxBackward} computes at a time, so that memory is bounded. */
  private static final int SOFTMAX_ROWS = 1024;

  /** Of a buffer, which is below 2 GiB. */
  private static final long MOST_FLOATS = Integer.MAX_VALUE / Float.BYTES;

  /** Rows that full-precision products compute at once, on the widest tiers. */
  private static final int TILE_ROWS = 12;

  /** Elements that are added up by themselves, so that a sum does not depend on the threads. */
  private static final int CHUNK = 1 << 16;

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
    if (quantizer instanceof Uniform uniform) {
      return uniform.range() == 0 ? 0 : -1;
    } else if (quantizer instanceof Balanced balanced) {
      return balanced.range() == 0 ? 1 : -1;
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

  private static int cycles(Quantizer quantizer) {
    return quantizer instanceof Alternating a ? a.cycles() : 0;
  }

  private static float scale(Quantizer quantizer) {
    return quantizer instanceof Alternating a ? a.scale() : 1;
  }

  @Override
  public void quantize(Quantizer quantizer, FloatBuffer rows, MultibitMatrix into) {
    int method = method(quantizer);
    if (method < 0) {
      JAVA.quantize(quantizer, rows, into);
      return;
    }
    KernelChecks.quantize(quantizer, rows, into);
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
                    cycles(quantizer),
                    scale(quantizer),
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
      throw new OutOfMemoryError("No memory to quantize %s columns".formatted(into.cols()));
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
    FloatPointer to = written(out);
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
    Operands o = new Operands(weights, activations, null, null);
    FloatPointer to = written(out);
    forRows(
        weights.rows(),
        (long) weights.words() * weights.bits() * activations.bits() * activations.rows(),
        (first, last) -> {
          Bindings.multiply(
              kernels,
              o.weightPlanes,
              o.weightCoefficients,
              weights.rows(),
              first,
              last,
              weights.cols(),
              weights.bits(),
              o.activationPlanes,
              o.activationCoefficients,
              activations.bits(),
              activations.rows(),
              to);
          return -1;
        });
    o.fence();
    Reference.reachabilityFence(out);
  }

  @Override
  public void multiply(
      MultibitMatrix weights, FloatBuffer activations, int batch, FloatBuffer out) {
    KernelChecks.multiply(weights, activations, batch, out);
    LongPointer planes = new LongPointer(weights.planes());
    FloatPointer coefficients = new FloatPointer(weights.coefficients());
    FloatPointer x = pointer(activations);
    FloatPointer to = written(out);
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
        written(logits),
        labels.remaining(),
        classes,
        new IntPointer(labels.slice()),
        written(losses));
    Reference.reachabilityFence(logits);
    Reference.reachabilityFence(labels);
    Reference.reachabilityFence(losses);
  }

  @Override
  public void softmax(FloatBuffer logits, int rows, int classes) {
    KernelChecks.softmax(logits, rows, classes);
    softmax(written(logits), rows, classes, null, null);
    Reference.reachabilityFence(logits);
  }

  @Override
  public void distill(
      FloatBuffer logits,
      FloatBuffer teacher,
      int classes,
      IntBuffer labels,
      float weight,
      float temperature,
      FloatBuffer losses) {
    KernelChecks.distill(logits, teacher, classes, labels, weight, temperature, losses);
    FloatPointer z = written(logits);
    FloatPointer y = written(teacher);
    IntPointer right = new IntPointer(labels.slice());
    FloatPointer loss = written(losses);
    forRows(
        labels.remaining(),
        classes * 32L,
        (first, last) -> {
          Bindings.distill(kernels, z, y, first, last, classes, right, weight, temperature, loss);
          return -1;
        });
    fence(logits, teacher, losses);
    Reference.reachabilityFence(labels);
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

  @Override
  public void multiply(
      MultibitMatrix weights,
      MultibitMatrix activations,
      LongBuffer masks,
      FloatBuffer start,
      FloatBuffer out) {
    KernelChecks.multiply(weights, activations, masks, start, out);
    Operands o = new Operands(weights, activations, masks, start);
    FloatPointer to = written(out);
    forRows(
        weights.rows(),
        (long) weights.words() * weights.bits() * activations.bits() * activations.rows(),
        (first, last) -> {
          Bindings.multiplyMasked(
              kernels,
              o.weightPlanes,
              o.weightCoefficients,
              weights.rows(),
              first,
              last,
              weights.cols(),
              weights.bits(),
              o.activationPlanes,
              o.activationCoefficients,
              activations.bits(),
              o.masks,
              activations.rows(),
              o.start,
              to);
          return -1;
        });
    o.fence();
    Reference.reachabilityFence(out);
  }

  @Override
  public int softmaxBackwardFloats(int batch, int classes, int cols) {
    int rows = Math.min(batch, SOFTMAX_ROWS);
    long floats =
        rows * (Bindings.softmaxBlocks(classes) + classes)
            + Math.max(inputParts(rows), weightParts(classes))
                * Bindings.softmaxBackwardFloats(rows, cols);
    if (floats > MOST_FLOATS) {
      throw new IllegalArgumentException(
          "The gradient of a softmax over %s classes takes %s bytes for %s rows (batch x time), over 2 GiB: use a smaller batch, shorter segments, or fewer classes (words)"
              .formatted(classes, floats * Float.BYTES, rows));
    }
    return (int) floats;
  }

  /** Parts of {@link #softmaxBackward}'s first pass: few, since each goes through all weights. */
  private static int inputParts(int rows) {
    return Math.min(threads(), (rows + TILE_ROWS - 1) / TILE_ROWS);
  }

  /** Parts of its second pass. */
  private static int weightParts(int classes) {
    return (int) Math.min(mostParts(), Bindings.softmaxBlocks(classes));
  }

  @Override
  public void softmaxBackward(
      MultibitMatrix weights,
      MultibitMatrix activations,
      LongBuffer masks,
      FloatBuffer start,
      IntBuffer labels,
      FloatBuffer factors,
      FloatBuffer x,
      FloatBuffer memory,
      FloatBuffer losses,
      FloatBuffer weightGradient,
      FloatBuffer startGradient,
      FloatBuffer inputGradient) {
    int batch = activations.rows();
    int classes = weights.rows();
    int cols = weights.cols();
    KernelChecks.softmaxBackward(
        weights,
        activations,
        masks,
        start,
        labels,
        factors,
        x,
        memory,
        softmaxBackwardFloats(batch, classes, cols),
        losses,
        weightGradient,
        startGradient,
        inputGradient);
    Operands o = new Operands(weights, activations, masks, start);
    long words = weights.words();
    softmaxBackward(
        cols,
        classes,
        labels,
        factors,
        x,
        memory,
        losses,
        weightGradient,
        startGradient,
        inputGradient,
        (pass, first, last, floats) ->
            Bindings.softmaxBackwardInput(
                kernels,
                o.weightPlanes,
                o.weightCoefficients,
                classes,
                cols,
                weights.bits(),
                o.activationPlanes.getPointer(pass.from * words * activations.bits()),
                o.activationCoefficients.getPointer((long) pass.from * activations.bits()),
                activations.bits(),
                o.masks == null ? null : o.masks.getPointer(pass.from * words),
                pass.rows,
                o.start,
                pass.labels,
                pass.factors,
                first,
                last,
                floats,
                pass.exponentials,
                pass.scales,
                pass.losses,
                pass.inputGradient));
    o.fence();
  }

  @Override
  public void softmaxBackward(
      FloatBuffer weights,
      FloatBuffer panels,
      int cols,
      FloatBuffer start,
      IntBuffer labels,
      FloatBuffer factors,
      FloatBuffer x,
      FloatBuffer memory,
      FloatBuffer losses,
      FloatBuffer weightGradient,
      FloatBuffer startGradient,
      FloatBuffer inputGradient) {
    int classes = start == null ? 0 : start.remaining();
    KernelChecks.softmaxBackward(
        weights,
        panels,
        cols,
        start,
        labels,
        factors,
        x,
        memory,
        softmaxBackwardFloats(labels.remaining(), classes, cols),
        losses,
        weightGradient,
        startGradient,
        inputGradient);
    FloatPointer w = pointer(weights);
    FloatPointer laidOut = pointer(panels);
    FloatPointer bias = pointer(start);
    softmaxBackward(
        cols,
        classes,
        labels,
        factors,
        x,
        memory,
        losses,
        weightGradient,
        startGradient,
        inputGradient,
        (pass, first, last, floats) ->
            Bindings.softmaxBackwardInput(
                kernels,
                w,
                laidOut,
                classes,
                pass.x,
                cols,
                pass.rows,
                bias,
                pass.labels,
                pass.factors,
                first,
                last,
                floats,
                pass.exponentials,
                pass.scales,
                pass.losses,
                pass.inputGradient));
    fence(weights, panels, start);
  }

  /** Up to {@link #SOFTMAX_ROWS} rows of an output layer, those from {@code from} on. */
  private record SoftmaxPass(
      int from,
      int rows,
      IntPointer labels,
      FloatPointer factors,
      FloatPointer x,
      FloatPointer scales,
      FloatPointer exponentials,
      FloatPointer losses,
      FloatPointer inputGradient) {}

  /** Losses, the input's gradient and what the weights' needs, of some of a pass's rows. */
  private interface InputGradient {
    void compute(SoftmaxPass pass, long first, long last, FloatPointer floats);
  }

  /** What packed operands and full precision have in common. */
  private void softmaxBackward(
      int cols,
      int classes,
      IntBuffer labels,
      FloatBuffer factors,
      FloatBuffer x,
      FloatBuffer memory,
      FloatBuffer losses,
      FloatBuffer weightGradient,
      FloatBuffer startGradient,
      FloatBuffer inputGradient,
      InputGradient ofInput) {
    FloatPointer dw = written(weightGradient);
    FloatPointer db = startGradient == null ? null : written(startGradient);
    FloatPointer work = written(memory);
    int batch = labels.remaining();
    for (int from = 0; from < batch; from += SOFTMAX_ROWS) {
      int rows = Math.min(batch - from, SOFTMAX_ROWS);
      boolean add = from > 0;
      FloatPointer exponentials = work.getPointer(rows * Bindings.softmaxBlocks(classes));
      FloatPointer parts = exponentials.getPointer((long) rows * classes);
      long floats = Bindings.softmaxBackwardFloats(rows, cols);
      SoftmaxPass pass =
          new SoftmaxPass(
              from,
              rows,
              new IntPointer(labels.slice(labels.position() + from, rows)),
              pointer(slice(factors, from, rows)),
              pointer(slice(x, from * cols, rows * cols)),
              work,
              exponentials,
              written(slice(losses, from, rows)),
              written(slice(inputGradient, from * cols, rows * cols)));
      inParts(
          rows,
          TILE_ROWS,
          inputParts(rows),
          (part, first, last) -> {
            ofInput.compute(pass, first, last, parts.getPointer(part * floats));
            return -1;
          });
      inParts(
          (int) Bindings.softmaxBlocks(classes),
          1,
          weightParts(classes),
          (part, first, last) -> {
            Bindings.softmaxBackwardWeights(
                kernels,
                exponentials,
                rows,
                classes,
                cols,
                pass.labels,
                pass.factors,
                pass.x,
                pass.scales,
                first,
                last,
                parts.getPointer(part * floats),
                add,
                dw,
                db);
            return -1;
          });
    }
    fence(factors, x, memory, losses, weightGradient, startGradient, inputGradient);
    Reference.reachabilityFence(labels);
  }

  private static FloatBuffer slice(FloatBuffer buffer, int from, int count) {
    return buffer.slice(buffer.position() + from, count);
  }

  /** The operands of a product, masked or not, where native code finds them. */
  private static final class Operands {
    final LongPointer weightPlanes;
    final FloatPointer weightCoefficients;
    final LongPointer activationPlanes;
    final FloatPointer activationCoefficients;
    final LongPointer masks;
    final FloatPointer start;
    private final Object[] owners;

    Operands(
        MultibitMatrix weights, MultibitMatrix activations, LongBuffer masks, FloatBuffer start) {
      weightPlanes = new LongPointer(weights.planes());
      weightCoefficients = new FloatPointer(weights.coefficients());
      activationPlanes = new LongPointer(activations.planes());
      activationCoefficients = new FloatPointer(activations.coefficients());
      this.masks = masks == null ? null : pointer(masks);
      this.start = start == null ? null : pointer(start);
      owners = new Object[] {weights, activations, masks, start};
    }

    void fence() {
      Reference.reachabilityFence(owners);
    }
  }

  @Override
  public void dropoutMasks(long key, double retain, int rows, int cols, LongBuffer masks) {
    KernelChecks.dropoutMasks(retain, rows, cols, masks);
    long threshold = (long) (retain * Long.MAX_VALUE);
    LongPointer to = written(masks);
    forRows(
        rows,
        4L * cols,
        (first, last) -> {
          Bindings.dropoutMasks(kernels, key, threshold, first, last, cols, to);
          return -1;
        });
    Reference.reachabilityFence(masks);
  }

  @Override
  public void drop(LongBuffer masks, float factor, int rows, int cols, FloatBuffer x) {
    KernelChecks.drop(masks, rows, cols, x);
    LongPointer m = pointer(masks);
    FloatPointer to = written(x);
    forRows(
        rows,
        cols,
        (first, last) -> {
          Bindings.drop(kernels, m, factor, first, last, cols, to);
          return -1;
        });
    Reference.reachabilityFence(masks);
    Reference.reachabilityFence(x);
  }

  @Override
  public void addToRows(FloatBuffer row, FloatBuffer into) {
    KernelChecks.rows(row, into);
    int cols = row.remaining();
    FloatPointer from = pointer(row);
    FloatPointer to = written(into);
    forRows(
        into.remaining() / cols,
        cols,
        (first, last) -> {
          Bindings.addToRows(kernels, from, first, last, cols, to);
          return -1;
        });
    Reference.reachabilityFence(row);
    Reference.reachabilityFence(into);
  }

  @Override
  public void addRows(FloatBuffer rows, IntBuffer index, int cols, FloatBuffer into) {
    KernelChecks.addRows(rows, index, cols, into);
    IntPointer at = new IntPointer(index.slice());
    Bindings.addRows(kernels, pointer(rows), at, index.remaining(), cols, written(into));
    Reference.reachabilityFence(rows);
    Reference.reachabilityFence(index);
    Reference.reachabilityFence(into);
  }

  @Override
  public void sumRows(FloatBuffer rows, FloatBuffer sums) {
    KernelChecks.rows(sums, rows);
    int cols = sums.remaining();
    FloatPointer from = pointer(rows);
    FloatPointer to = written(sums);
    forRows(
        cols,
        rows.remaining() / cols,
        (first, last) -> {
          Bindings.sumRows(kernels, from, rows.remaining() / cols, cols, first, last, to);
          return -1;
        });
    Reference.reachabilityFence(rows);
    Reference.reachabilityFence(sums);
  }

  @Override
  public double sumOfSquares(FloatBuffer x) {
    KernelChecks.vector(x);
    int chunks = (x.remaining() + CHUNK - 1) / CHUNK;
    FloatPointer from = pointer(x);
    double sum = 0;
    try (DoublePointer sums = new DoublePointer(Math.max(1, chunks))) {
      forRows(
          chunks,
          CHUNK,
          (first, last) -> {
            Bindings.sumsOfSquares(kernels, from, x.remaining(), CHUNK, first, last, sums);
            return -1;
          });
      for (int i = 0; i < chunks; i++) {
        sum += sums.get(i);
      }
    }
    Reference.reachabilityFence(x);
    return sum;
  }

  @Override
  public void scale(FloatBuffer x, float factor) {
    KernelChecks.vector(x);
    FloatPointer to = written(x);
    forRows(
        x.remaining(),
        1,
        (first, last) -> {
          Bindings.scale(kernels, to, first, last, factor);
          return -1;
        });
    Reference.reachabilityFence(x);
  }

  @Override
  public void clip(FloatBuffer x, float bound) {
    KernelChecks.vector(x);
    FloatPointer to = written(x);
    forRows(
        x.remaining(),
        1,
        (first, last) -> {
          Bindings.clip(kernels, to, first, last, bound);
          return -1;
        });
    Reference.reachabilityFence(x);
  }

  @Override
  public void lstmForward(
      FloatBuffer gates,
      FloatBuffer before,
      int units,
      FloatBuffer cell,
      FloatBuffer cellTanh,
      FloatBuffer hidden) {
    int rows = KernelChecks.lstm(units, new FloatBuffer[] {gates}, before, cell, cellTanh, hidden);
    FloatPointer z = written(gates);
    FloatPointer c0 = pointer(before);
    FloatPointer c = written(cell);
    FloatPointer tanh = written(cellTanh);
    FloatPointer h = written(hidden);
    forRows(
        rows,
        4L * units,
        (first, last) -> {
          Bindings.lstmForward(kernels, first, last, units, z, c0, c, tanh, h);
          return -1;
        });
    for (FloatBuffer buffer : new FloatBuffer[] {gates, before, cell, cellTanh, hidden}) {
      Reference.reachabilityFence(buffer);
    }
  }

  @Override
  public void lstmBackward(
      FloatBuffer gates,
      FloatBuffer before,
      FloatBuffer cellTanh,
      int units,
      FloatBuffer hiddenGradient,
      FloatBuffer cellGradient,
      FloatBuffer gateGradients) {
    FloatBuffer[] states = {before, cellTanh, hiddenGradient, cellGradient};
    int rows = KernelChecks.lstm(units, new FloatBuffer[] {gates, gateGradients}, states);
    FloatPointer z = pointer(gates);
    FloatPointer c0 = pointer(before);
    FloatPointer tanh = pointer(cellTanh);
    FloatPointer dh = pointer(hiddenGradient);
    FloatPointer dc = written(cellGradient);
    FloatPointer dz = written(gateGradients);
    forRows(
        rows,
        4L * units,
        (first, last) -> {
          Bindings.lstmBackward(kernels, first, last, units, z, c0, tanh, dh, dc, dz);
          return -1;
        });
    Reference.reachabilityFence(gates);
    Reference.reachabilityFence(states);
    Reference.reachabilityFence(gateGradients);
  }

  @Override
  public void gruForward(
      FloatBuffer gates, FloatBuffer recurrent, FloatBuffer before, int units, FloatBuffer hidden) {
    FloatBuffer[] sums = {gates, recurrent};
    int rows = KernelChecks.gru(units, sums, before, hidden);
    FloatPointer z = written(gates);
    FloatPointer u = pointer(recurrent);
    FloatPointer h0 = pointer(before);
    FloatPointer h = written(hidden);
    forRows(
        rows,
        3L * units,
        (first, last) -> {
          Bindings.gruForward(kernels, first, last, units, z, u, h0, h);
          return -1;
        });
    Reference.reachabilityFence(sums);
    Reference.reachabilityFence(before);
    Reference.reachabilityFence(hidden);
  }

  @Override
  public void gruBackward(
      FloatBuffer gates,
      FloatBuffer recurrent,
      FloatBuffer before,
      int units,
      FloatBuffer hiddenGradient,
      FloatBuffer carriedGradient,
      FloatBuffer gateGradients,
      FloatBuffer recurrentGradients) {
    FloatBuffer[] sums = {gates, recurrent, gateGradients, recurrentGradients};
    FloatBuffer[] states = {before, hiddenGradient, carriedGradient};
    int rows = KernelChecks.gru(units, sums, states);
    FloatPointer z = pointer(gates);
    FloatPointer u = pointer(recurrent);
    FloatPointer h0 = pointer(before);
    FloatPointer dh = pointer(hiddenGradient);
    FloatPointer carried = written(carriedGradient);
    FloatPointer dz = written(gateGradients);
    FloatPointer du = written(recurrentGradients);
    forRows(
        rows,
        3L * units,
        (first, last) -> {
          Bindings.gruBackward(kernels, first, last, units, z, u, h0, dh, carried, dz, du);
          return -1;
        });
    Reference.reachabilityFence(sums);
    Reference.reachabilityFence(states);
  }

  @Override
  public String blas() {
    Pointer config = Loader.addressof("openblas_get_config");
    Pointer threads = Loader.addressof("openblas_get_num_threads");
    if (config == null || threads == null) {
      return Kernels.super.blas();
    }
    // The configuration ends with the kernels that it chose for this CPU.
    return "%s, %s threads"
        .formatted(
            NativeLibrary.string(Bindings.callForText(config)), Bindings.callForNumber(threads));
  }

  @Override
  public boolean productsPay() {
    return true;
  }

  @Override
  public void multiply(
      FloatBuffer a,
      boolean transposed,
      FloatBuffer b,
      int rows,
      int inner,
      int cols,
      float alpha,
      boolean add,
      FloatBuffer c) {
    KernelChecks.multiply(a, b, rows, inner, cols, c);
    FloatPointer left = pointer(a);
    FloatPointer right = pointer(b);
    FloatPointer to = written(c);
    forParts(
        rows,
        TILE_ROWS,
        (long) inner * cols / 8,
        (first, last) -> {
          Bindings.multiplyDense(
              kernels, left, transposed, right, rows, inner, cols, alpha, add, first, last, to);
          return -1;
        });
    Reference.reachabilityFence(a);
    Reference.reachabilityFence(b);
    Reference.reachabilityFence(c);
  }

  @Override
  public void makePanels(
      FloatBuffer w, int inner, int cols, boolean transposed, FloatBuffer panels) {
    KernelChecks.makePanels(w, inner, cols, panels);
    FloatPointer from = pointer(w);
    FloatPointer to = written(panels);
    forParts(
        Kernels.panels(cols),
        1,
        (long) inner * Kernels.PANEL_COLUMNS,
        (first, last) -> {
          Bindings.makePanels(from, inner, cols, transposed, first, last, to);
          return -1;
        });
    Reference.reachabilityFence(w);
    Reference.reachabilityFence(panels);
  }

  @Override
  public void multiplyPanels(
      FloatBuffer x,
      int batch,
      int inner,
      FloatBuffer panels,
      int cols,
      FloatBuffer start,
      FloatBuffer out) {
    KernelChecks.multiplyPanels(x, batch, inner, panels, cols, start, out);
    FloatPointer bias = start == null ? null : pointer(start);
    FloatPointer from = pointer(x);
    FloatPointer w = pointer(panels);
    FloatPointer to = written(out);
    forParts(
        batch,
        batch < 4 * TILE_ROWS ? 1 : TILE_ROWS,
        (long) inner * cols / 8,
        (first, last) -> {
          Bindings.multiplyPanels(kernels, from, inner, w, cols, bias, first, last, to);
          return -1;
        });
    Reference.reachabilityFence(x);
    Reference.reachabilityFence(start);
    Reference.reachabilityFence(panels);
    Reference.reachabilityFence(out);
  }

  @Override
  public void lstmForwardSteps(
      FloatBuffer panels,
      int batch,
      int units,
      FloatBuffer gates,
      FloatBuffer hidden,
      FloatBuffer cells,
      FloatBuffer cellTanh) {
    int steps = KernelChecks.lstmSteps(batch, units, gates, hidden, cells, cellTanh);
    KernelChecks.stepPanels(panels, units, 4 * units);
    FloatPointer w = pointer(panels);
    FloatPointer z = written(gates);
    FloatPointer h = written(hidden);
    FloatPointer c = written(cells);
    FloatPointer tanh = written(cellTanh);
    forSequences(
        batch,
        (first, last) -> {
          Bindings.lstmForwardSteps(kernels, steps, batch, first, last, units, w, z, h, c, tanh);
          return -1;
        });
    fence(panels, gates, hidden, cells, cellTanh);
  }

  @Override
  public void lstmForwardSteps(
      Quantizer quantizer,
      MultibitMatrix weights,
      MultibitMatrix codes,
      int batch,
      FloatBuffer gates,
      FloatBuffer hidden,
      FloatBuffer cells,
      FloatBuffer cellTanh) {
    int method = method(quantizer);
    if (method < 0) {
      LstmSteps.forward(this, quantizer, weights, codes, batch, gates, hidden, cells, cellTanh);
      return;
    }
    int units = codes.cols();
    int steps = KernelChecks.lstmSteps(batch, units, gates, hidden, cells, cellTanh);
    KernelChecks.stepCodes(quantizer, 4, weights, codes, batch, steps);
    Operands o = new Operands(weights, codes, null, null);
    FloatPointer z = written(gates);
    FloatPointer h = written(hidden);
    FloatPointer c = written(cells);
    FloatPointer tanh = written(cellTanh);
    long bad =
        forSequences(
            batch,
            (first, last) ->
                Bindings.lstmForwardSteps(
                    kernels,
                    method,
                    cycles(quantizer),
                    scale(quantizer),
                    o.weightPlanes,
                    o.weightCoefficients,
                    weights.bits(),
                    o.activationPlanes,
                    o.activationCoefficients,
                    codes.bits(),
                    steps,
                    batch,
                    first,
                    last,
                    units,
                    z,
                    h,
                    c,
                    tanh));
    o.fence();
    refuse(bad, hidden, units);
    fence(gates, hidden, cells, cellTanh);
  }

  @Override
  public void lstmBackwardSteps(
      FloatBuffer panels,
      int first,
      int batch,
      int units,
      FloatBuffer gates,
      FloatBuffer cells,
      FloatBuffer cellTanh,
      FloatBuffer hiddenGradients,
      FloatBuffer cellGradient,
      FloatBuffer gateGradients) {
    int steps =
        KernelChecks.lstmBackwardSteps(
            first,
            batch,
            units,
            gates,
            cells,
            cellTanh,
            hiddenGradients,
            cellGradient,
            gateGradients);
    KernelChecks.stepPanels(panels, 4 * units, units);
    FloatPointer w = pointer(panels);
    FloatPointer z = pointer(gates);
    FloatPointer c = pointer(cells);
    FloatPointer tanh = pointer(cellTanh);
    FloatPointer dh = written(hiddenGradients);
    FloatPointer dc = written(cellGradient);
    FloatPointer dz = written(gateGradients);
    forSequences(
        batch,
        (from, to) -> {
          Bindings.lstmBackwardSteps(
              kernels, first, steps, batch, from, to, units, w, z, c, tanh, dh, dc, dz);
          return -1;
        });
    fence(panels, gates, cells, cellTanh, hiddenGradients, cellGradient, gateGradients);
  }

  @Override
  public void gruForwardSteps(
      FloatBuffer panels,
      int batch,
      int units,
      FloatBuffer gates,
      FloatBuffer recurrent,
      FloatBuffer hidden) {
    int steps = KernelChecks.gruSteps(batch, units, gates, recurrent, hidden);
    KernelChecks.stepPanels(panels, units, 3 * units);
    FloatPointer w = pointer(panels);
    FloatPointer z = written(gates);
    FloatPointer u = written(recurrent);
    FloatPointer h = written(hidden);
    forSequences(
        batch,
        (first, last) -> {
          Bindings.gruForwardSteps(kernels, steps, batch, first, last, units, w, z, u, h);
          return -1;
        });
    fence(panels, gates, recurrent, hidden);
  }

  @Override
  public void gruForwardSteps(
      Quantizer quantizer,
      MultibitMatrix weights,
      MultibitMatrix codes,
      int batch,
      FloatBuffer gates,
      FloatBuffer recurrent,
      FloatBuffer hidden) {
    int method = method(quantizer);
    if (method < 0) {
      GruSteps.forward(this, quantizer, weights, codes, batch, gates, recurrent, hidden);
      return;
    }
    int units = codes.cols();
    int steps = KernelChecks.gruSteps(batch, units, gates, recurrent, hidden);
    KernelChecks.stepCodes(quantizer, 3, weights, codes, batch, steps);
    Operands o = new Operands(weights, codes, null, null);
    FloatPointer z = written(gates);
    FloatPointer u = written(recurrent);
    FloatPointer h = written(hidden);
    long bad =
        forSequences(
            batch,
            (first, last) ->
                Bindings.gruForwardSteps(
                    kernels,
                    method,
                    cycles(quantizer),
                    scale(quantizer),
                    o.weightPlanes,
                    o.weightCoefficients,
                    weights.bits(),
                    o.activationPlanes,
                    o.activationCoefficients,
                    codes.bits(),
                    steps,
                    batch,
                    first,
                    last,
                    units,
                    z,
                    u,
                    h));
    o.fence();
    refuse(bad, hidden, units);
    fence(gates, recurrent, hidden);
  }

  @Override
  public void gruBackwardSteps(
      FloatBuffer panels,
      int first,
      int batch,
      int units,
      FloatBuffer gates,
      FloatBuffer recurrent,
      FloatBuffer hidden,
      FloatBuffer hiddenGradients,
      FloatBuffer carriedGradient,
      FloatBuffer gateGradients,
      FloatBuffer recurrentGradients) {
    int steps =
        KernelChecks.gruBackwardSteps(
            first,
            batch,
            units,
            gates,
            recurrent,
            hidden,
            hiddenGradients,
            carriedGradient,
            gateGradients,
            recurrentGradients);
    KernelChecks.stepPanels(panels, 3 * units, units);
    FloatPointer w = pointer(panels);
    FloatPointer z = pointer(gates);
    FloatPointer u = pointer(recurrent);
    FloatPointer h = pointer(hidden);
    FloatPointer dh = written(hiddenGradients);
    FloatPointer carried = written(carriedGradient);
    FloatPointer dz = written(gateGradients);
    FloatPointer du = written(recurrentGradients);
    forSequences(
        batch,
        (from, to) -> {
          Bindings.gruBackwardSteps(
              kernels, first, steps, batch, from, to, units, w, z, u, h, dh, carried, dz, du);
          return -1;
        });
    fence(panels, gates, recurrent, hidden);
    fence(hiddenGradients, carriedGradient, gateGradients, recurrentGradients);
  }

  /** What quantizing the hidden states of a sequence came to. */
  private static void refuse(long bad, FloatBuffer hidden, int units) {
    if (bad < -1) {
      throw new OutOfMemoryError("No memory to quantize %s columns".formatted(units));
    }
    if (bad >= 0) {
      float value = hidden.get(hidden.position() + (int) bad);
      throw JavaKernels.notFinite(value, bad / units, bad % units);
    }
  }

  private static void fence(FloatBuffer... buffers) {
    for (FloatBuffer buffer : buffers) {
      Reference.reachabilityFence(buffer);
    }
  }

  /** As many parts as threads: a part reads all weights at every step. */
  private static long forSequences(int batch, LongBinaryOperator task) {
    return inParts(batch, 1, Math.min(threads(), batch), task);
  }

  private static LongPointer pointer(LongBuffer buffer) {
    return new LongPointer(buffer.slice());
  }

  private static LongPointer written(LongBuffer buffer) {
    if (buffer.isReadOnly()) {
      throw new ReadOnlyBufferException();
    }
    return pointer(buffer);
  }

  private static FloatPointer written(FloatBuffer buffer) {
    if (buffer.isReadOnly()) {
      throw new ReadOnlyBufferException();
    }
    return pointer(buffer);
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
    return forParts(rows, ROW_STEP, workPerRow, task);
  }

  /** The same with parts that begin at multiples of {@code step}. */
  private static long forParts(int rows, int step, long workPerRow, LongBinaryOperator task) {
    long steps = (rows + step - 1) / step;
    long wanted = Math.min(mostParts(), rows * workPerRow / LEAST_WORK);
    return inParts(rows, step, (int) Math.max(1, Math.min(steps, wanted)), task);
  }

  private static int mostParts() {
    int threads = threads();
    return threads == 1 ? 1 : PARTS_PER_THREAD * threads;
  }

  private static int threads() {
    ForkJoinPool pool = ForkJoinTask.getPool();
    return pool != null ? pool.getParallelism() : 1 + ForkJoinPool.getCommonPoolParallelism();
  }

  private static long inParts(int rows, int step, int parts, LongBinaryOperator task) {
    return inParts(rows, step, parts, (part, first, last) -> task.applyAsLong(first, last));
  }

  /** What is done with rows [first, last), part by part. */
  private interface PartTask {
    long run(int part, long first, long last);
  }

  private static long inParts(int rows, int step, int parts, PartTask task) {
    long steps = (rows + step - 1) / step;
    if (parts == 1) {
      return rows == 0 ? -1 : task.run(0, 0, rows);
    }
    return IntStream.range(0, parts)
        .parallel()
        .mapToLong(
            part -> {
              long first = part * steps / parts * step;
              long last = Math.min(rows, (part + 1) * steps / parts * step);
              return first >= last ? -1 : task.run(part, first, last);
            })
        .filter(result -> result != -1)
        .min()
        .orElse(-1);
  }
}

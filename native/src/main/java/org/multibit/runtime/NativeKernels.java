package org.multibit.runtime;

import static org.multibit.runtime.bindings.Bindings.*;

import java.lang.ref.Reference;
import java.nio.FloatBuffer;
import java.nio.IntBuffer;
import java.nio.LongBuffer;
import java.nio.ShortBuffer;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.ForkJoinPool;
import java.util.concurrent.ForkJoinTask;
import java.util.stream.IntStream;
import org.bytedeco.javacpp.BytePointer;
import org.bytedeco.javacpp.FloatPointer;
import org.bytedeco.javacpp.IntPointer;
import org.bytedeco.javacpp.Loader;
import org.bytedeco.javacpp.LongPointer;
import org.bytedeco.javacpp.Pointer;
import org.bytedeco.javacpp.ShortPointer;
import org.multibit.core.Alternating;
import org.multibit.core.Balanced;
import org.multibit.core.Cell;
import org.multibit.core.CellGradients;
import org.multibit.core.CellStates;
import org.multibit.core.Greedy;
import org.multibit.core.JavaKernels;
import org.multibit.core.Kernels;
import org.multibit.core.LinearCrossEntropy;
import org.multibit.core.LstmCell;
import org.multibit.core.MultibitMatrix;
import org.multibit.core.Optimal;
import org.multibit.core.Quantizer;
import org.multibit.core.RefinedGreedy;
import org.multibit.core.Uniform;
import org.multibit.runtime.bindings.CrossEntropyArgs;
import org.multibit.runtime.bindings.FloatLinear;
import org.multibit.runtime.bindings.GemmArgs;
import org.multibit.runtime.bindings.NativeCellGradients;
import org.multibit.runtime.bindings.NativeCellStates;
import org.multibit.runtime.bindings.NativeQuantizer;
import org.multibit.runtime.bindings.PackedLinear;
import org.multibit.runtime.bindings.QuantizedRecurrence;

/**
 * The native kernels of one instruction-set tier. They share rows among the threads of the
 * ForkJoinPool that the caller runs in, or else of the common pool. One thread computes each row,
 * so results do not depend on the number of threads. A user's own quantizer or cell, which native
 * code does not know, runs in Java.
 */
public class NativeKernels extends JavaKernels {
  /** The number of elements or word products, roughly, that is worth starting a thread. */
  private static final long LEAST_WORK = 1 << 15;

  /** Several, so that others wait little for a thread that was held up. */
  private static final int PARTS_PER_THREAD = 4;

  /** The number of rows whose losses are computed at a time, which bounds memory. */
  private static final int CROSS_ENTROPY_ROWS = 1024;

  /** The most floats of a buffer, which is below 2 GiB. */
  private static final long MOST_FLOATS = Integer.MAX_VALUE / Float.BYTES;

  /** Elements of a partial sum, which is fixed so that a sum does not depend on the threads. */
  private static final int CHUNK = 1 << 16;

  private final Pointer kernels;
  private final String tier;

  /**
   * Parts have a multiple of this many rows, since weights are interleaved in blocks of that size.
   */
  private final int rowStep;

  /** The number of rows that full-precision products compute at once. */
  private final int tileRows;

  /**
   * Takes the tier that the environment variable MULTIBIT_ISA names, or else the best tier that
   * this CPU supports.
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
    kernels = SupportedTier(index);
    rowStep = kWeightLanes();
    tileRows = kGemmTileRows();
    requireSame("rows of weights side by side", rowStep, MultibitMatrix.WEIGHT_LANES);
    requireSame("columns of a panel", kPanelColumns(), Kernels.PANEL_COLUMNS);
    requireSame("the input gate's place", kTrainingGates().input(), LstmCell.INPUT);
    requireSame("the forget gate's place", kTrainingGates().forget(), LstmCell.FORGET);
    requireSame("the candidate's place", kTrainingGates().candidate(), LstmCell.CANDIDATE);
    requireSame("the output gate's place", kTrainingGates().output(), LstmCell.OUTPUT);
  }

  private static void requireSame(String what, int ofNative, int ofJava) {
    if (ofNative != ofJava) {
      throw new IllegalStateException(
          "The native library is another version's: %s are %s there, %s in Java"
              .formatted(what, ofNative, ofJava));
    }
  }

  /** The tiers that this CPU supports, simplest first. */
  static List<String> supportedTiers() {
    NativeLibrary.load();
    List<String> tiers = new ArrayList<>();
    for (Pointer tier; (tier = SupportedTier(tiers.size())) != null; ) {
      tiers.add(NativeLibrary.string(TierName(tier)));
    }
    return tiers;
  }

  @Override
  protected String name() {
    return "native " + tier;
  }

  @Override
  protected String blas() {
    Pointer config = Loader.addressof("openblas_get_config");
    Pointer threads = Loader.addressof("openblas_get_num_threads");
    if (config == null || threads == null) {
      return super.blas();
    }
    // The configuration ends with the kernels that it chose for this CPU.
    return "%s, %s threads"
        .formatted(NativeLibrary.string(CallForText(config)), CallForNumber(threads));
  }

  /** The native form of a method, or null if there is none. */
  private static NativeQuantizer quantizer(Quantizer quantizer) {
    int method;
    if (quantizer instanceof Uniform uniform && uniform.range() == 0) {
      method = kUniform;
    } else if (quantizer instanceof Balanced balanced && balanced.range() == 0) {
      method = kBalanced;
    } else if (quantizer instanceof Greedy) {
      method = kGreedy;
    } else if (quantizer instanceof RefinedGreedy) {
      method = kRefined;
    } else if (quantizer instanceof Alternating alternating) {
      return new NativeQuantizer()
          .method(kAlternating)
          .cycles(alternating.cycles())
          .scale(alternating.scale());
    } else if (quantizer instanceof Optimal) {
      method = kOptimal;
    } else {
      return null;
    }
    return new NativeQuantizer().method(method);
  }

  @Override
  protected void quantize(Quantizer method, FloatBuffer rows, MultibitMatrix into) {
    try (NativeQuantizer quantizer = quantizer(method)) {
      if (quantizer == null) {
        super.quantize(method, rows, into);
        return;
      }
      FloatPointer w = pointer(rows);
      Packed packed = new Packed(into);
      long bad =
          forRows(
              into.rows(),
              (long) into.cols() * into.bits() * 4,
              (first, last) -> {
                try (BytePointer scratch =
                    new BytePointer(1 + QuantizeScratch(kernels, into.cols(), into.bits()))) {
                  return Quantize(
                      kernels,
                      quantizer,
                      w,
                      into.rows(),
                      into.cols(),
                      first,
                      last,
                      into.bits(),
                      into.lanes(),
                      packed.planes,
                      packed.coefficients,
                      scratch);
                }
              });
      refuse(bad, rows, into.cols());
    }
  }

  /** Throws the exception for a row that could not be quantized. */
  private static void refuse(long bad, FloatBuffer rows, int cols) {
    if (bad < -1) {
      throw new OutOfMemoryError("No memory to quantize %s columns".formatted(cols));
    }
    if (bad >= 0) {
      throw notFinite(rows.get(rows.position() + (int) bad), bad / cols, bad % cols);
    }
  }

  @Override
  protected void dequantize(MultibitMatrix matrix, FloatBuffer out) {
    Packed p = new Packed(matrix);
    FloatPointer to = pointer(out);
    inRows(
        matrix.rows(),
        matrix.cols(),
        (first, last) ->
            Dequantize(
                kernels, p.planes, p.coefficients, first, last, p.cols, p.bits, p.lanes, to));
  }

  @Override
  protected void multiply(MultibitMatrix weights, MultibitMatrix activations, FloatBuffer out) {
    Packed w = new Packed(weights);
    Packed a = new Packed(activations);
    FloatPointer to = pointer(out);
    inRows(
        weights.rows(),
        productWork(weights, activations),
        (first, last) ->
            PackedGemm(
                kernels,
                w.planes,
                w.coefficients,
                first,
                last,
                w.cols,
                w.bits,
                a.planes,
                a.coefficients,
                a.bits,
                a.rows,
                to,
                w.rows));
  }

  private static long productWork(MultibitMatrix weights, MultibitMatrix activations) {
    return (long) weights.words() * weights.bits() * activations.bits() * activations.rows();
  }

  @Override
  protected void multiply(
      MultibitMatrix weights, FloatBuffer activations, int batch, FloatBuffer out) {
    Packed w = new Packed(weights);
    FloatPointer x = pointer(activations);
    FloatPointer to = pointer(out);
    inRows(
        weights.rows(),
        (long) weights.cols() * weights.bits() * batch,
        (first, last) -> {
          for (long b = 0; b < batch; b++) {
            PackedGemvFloat(
                kernels,
                w.planes,
                w.coefficients,
                first,
                last,
                w.cols,
                w.bits,
                x.getPointer(b * w.cols),
                to.getPointer(b * w.rows));
          }
        });
  }

  @Override
  protected void multiply(
      MultibitMatrix weights,
      MultibitMatrix activations,
      LongBuffer masks,
      FloatBuffer bias,
      FloatBuffer out) {
    Packed w = new Packed(weights);
    Packed a = new Packed(activations);
    LongPointer retained = pointer(masks);
    FloatPointer start = pointer(bias);
    FloatPointer to = pointer(out);
    inRows(
        weights.rows(),
        productWork(weights, activations),
        (first, last) ->
            PackedGemmMasked(
                kernels,
                w.planes,
                w.coefficients,
                first,
                last,
                w.cols,
                w.bits,
                a.planes,
                a.coefficients,
                a.bits,
                retained,
                a.rows,
                start,
                to,
                w.rows));
  }

  @Override
  protected boolean hasFastGemm() {
    return true;
  }

  @Override
  protected void gemm(
      FloatBuffer a,
      boolean transposed,
      FloatBuffer b,
      int rows,
      int inner,
      int cols,
      float alpha,
      boolean add,
      FloatBuffer c) {
    FloatPointer left = pointer(a);
    FloatPointer right = pointer(b);
    FloatPointer to = pointer(c);
    try (GemmArgs args = new GemmArgs()) {
      args.a(left).a_row(transposed ? 1 : inner).a_inner(transposed ? rows : 1);
      args.b(right).b_inner(cols).b_panel(kPanelColumns()).inner(inner).cols(cols);
      args.alpha(alpha).add(add).bias(null).c(to).c_row(cols);
      inParts(
          rows,
          tileRows,
          (long) inner * cols / 8,
          (first, last) -> Gemm(kernels, args, first, last));
    }
    Reference.reachabilityFence(new Object[] {left, right, to});
  }

  @Override
  protected void prepackWeights(
      FloatBuffer w, int inner, int cols, boolean transposed, FloatBuffer panels) {
    FloatPointer from = pointer(w);
    FloatPointer to = pointer(panels);
    inParts(
        Kernels.panels(cols),
        1,
        (long) inner * Kernels.PANEL_COLUMNS,
        (first, last) -> PrepackWeights(from, inner, cols, transposed, first, last, to));
  }

  @Override
  protected void gemmPrepacked(
      FloatBuffer x,
      int batch,
      int inner,
      FloatBuffer panels,
      int cols,
      FloatBuffer bias,
      FloatBuffer out) {
    FloatPointer from = pointer(x);
    FloatPointer w = pointer(panels);
    FloatPointer start = pointer(bias);
    FloatPointer to = pointer(out);
    inParts(
        batch,
        batch < 4 * tileRows ? 1 : tileRows,
        (long) inner * cols / 8,
        (first, last) -> GemmPrepacked(kernels, from, inner, w, cols, start, first, last, to));
  }

  @Override
  protected void softmax(FloatBuffer logits, int rows, int classes) {
    FloatPointer z = pointer(logits);
    inRows(
        rows,
        classes * 8L,
        (first, last) ->
            Softmax(kernels, z, first, last, classes, (IntPointer) null, (FloatPointer) null));
  }

  @Override
  protected void softmaxCrossEntropy(
      FloatBuffer logits, int classes, IntBuffer labels, FloatBuffer losses) {
    FloatPointer z = pointer(logits);
    IntPointer label = pointer(labels);
    FloatPointer loss = pointer(losses);
    inRows(
        labels.remaining(),
        classes * 8L,
        (first, last) -> Softmax(kernels, z, first, last, classes, label, loss));
  }

  @Override
  protected void distill(
      FloatBuffer logits,
      FloatBuffer teacher,
      int classes,
      IntBuffer labels,
      float weight,
      float temperature,
      FloatBuffer losses) {
    FloatPointer z = pointer(logits);
    FloatPointer y = pointer(teacher);
    IntPointer label = pointer(labels);
    FloatPointer loss = pointer(losses);
    inRows(
        labels.remaining(),
        classes * 32L,
        (first, last) ->
            Distill(kernels, z, y, first, last, classes, label, weight, temperature, loss));
  }

  @Override
  protected int crossEntropyScratch(int batch, int classes, int cols) {
    int rows = Math.min(batch, CROSS_ENTROPY_ROWS);
    long floats =
        rows * (ClassBlocks(classes) + classes)
            + Math.max(inputParts(rows), weightParts(classes)) * CrossEntropyScratch(rows, cols);
    if (floats > MOST_FLOATS) {
      throw new IllegalArgumentException(
          "The gradient of a softmax over %s classes takes %s bytes for %s rows (batch x time), over 2 GiB: use a smaller batch, shorter segments, or fewer classes (words)"
              .formatted(classes, floats * Float.BYTES, rows));
    }
    return (int) floats;
  }

  /** Parts of the pass over rows: few, since each goes through all weights. */
  private int inputParts(int rows) {
    return Math.min(threads(), (rows + tileRows - 1) / tileRows);
  }

  /** Parts of the pass over classes. */
  private static int weightParts(int classes) {
    return (int) Math.min(mostParts(), ClassBlocks(classes));
  }

  @Override
  protected void fusedLinearCrossEntropy(
      MultibitMatrix weights,
      MultibitMatrix activations,
      LongBuffer masks,
      LinearCrossEntropy loss) {
    Packed w = new Packed(weights);
    Packed a = new Packed(activations);
    LongPointer retained = pointer(masks);
    long words = weights.words();
    crossEntropy(
        loss,
        (args, from, first, last, scratch) -> {
          try (PackedLinear linear = new PackedLinear()) {
            linear.weight_planes(w.planes).weight_coefficients(w.coefficients).weight_bits(w.bits);
            linear.activation_planes(a.planes.getPointer(from * words * a.bits));
            linear.activation_coefficients(a.coefficients.getPointer((long) from * a.bits));
            linear.activation_bits(a.bits);
            linear.masks(retained == null ? null : retained.getPointer(from * words));
            CrossEntropyInputPass(kernels, linear, args, first, last, scratch);
          }
        });
    Reference.reachabilityFence(new Object[] {w, a, retained});
  }

  @Override
  protected void fusedLinearCrossEntropy(
      FloatBuffer weights, FloatBuffer panels, LinearCrossEntropy loss) {
    FloatPointer w = pointer(weights);
    FloatPointer prepacked = pointer(panels);
    crossEntropy(
        loss,
        (args, from, first, last, scratch) -> {
          try (FloatLinear linear = new FloatLinear()) {
            linear.weights(w).panels(prepacked);
            CrossEntropyInputPass(kernels, linear, args, first, last, scratch);
          }
        });
    Reference.reachabilityFence(new Object[] {w, prepacked});
  }

  /** Rows [first, last) of the rows from {@code from} on. */
  private interface InputPass {
    void compute(CrossEntropyArgs args, int from, long first, long last, FloatPointer scratch);
  }

  /** The common part for packed and for full-precision operands. */
  private void crossEntropy(LinearCrossEntropy loss, InputPass inputPass) {
    int classes = loss.classes();
    int cols = loss.cols();
    int batch = loss.labels().remaining();
    FloatPointer bias = pointer(loss.bias());
    IntPointer labels = pointer(loss.labels());
    FloatPointer lossWeights = pointer(loss.lossWeights());
    FloatPointer x = pointer(loss.x());
    FloatPointer scales = pointer(loss.scratch());
    FloatPointer losses = pointer(loss.losses());
    FloatPointer dw = pointer(loss.weightGradient());
    FloatPointer db = pointer(loss.biasGradient());
    FloatPointer dx = pointer(loss.inputGradient());
    for (int start = 0; start < batch; start += CROSS_ENTROPY_ROWS) {
      int from = start;
      int rows = Math.min(batch - from, CROSS_ENTROPY_ROWS);
      FloatPointer exponentials = scales.getPointer(rows * ClassBlocks(classes));
      FloatPointer parts = exponentials.getPointer((long) rows * classes);
      long floats = CrossEntropyScratch(rows, cols);
      try (CrossEntropyArgs args = new CrossEntropyArgs()) {
        args.classes(classes).cols(cols).batch(rows).bias(bias);
        args.labels(labels.getPointer(from)).loss_weights(lossWeights.getPointer(from));
        args.x(x.getPointer((long) from * cols)).exponentials(exponentials).scales(scales);
        args.losses(losses.getPointer(from)).input_gradient(dx.getPointer((long) from * cols));
        split(
            rows,
            tileRows,
            inputParts(rows),
            (part, first, last) -> {
              inputPass.compute(args, from, first, last, parts.getPointer(part * floats));
              return -1;
            });
        split(
            (int) ClassBlocks(classes),
            1,
            weightParts(classes),
            (part, first, last) -> {
              FloatPointer scratch = parts.getPointer(part * floats);
              CrossEntropyWeightPass(kernels, args, first, last, scratch, from > 0, dw, db);
              return -1;
            });
      }
    }
    Reference.reachabilityFence(new Object[] {bias, labels, lossWeights, x, scales, losses, dx});
  }

  @Override
  protected void dropoutMasks(long key, double retain, int rows, int cols, LongBuffer masks) {
    long threshold = (long) (retain * Long.MAX_VALUE);
    LongPointer to = pointer(masks);
    inRows(
        rows,
        4L * cols,
        (first, last) -> DropoutMasks(kernels, key, threshold, first, last, cols, to));
  }

  @Override
  protected void drop(LongBuffer masks, float factor, int rows, int cols, FloatBuffer x) {
    LongPointer retained = pointer(masks);
    FloatPointer to = pointer(x);
    inRows(rows, cols, (first, last) -> Drop(kernels, retained, factor, first, last, cols, to));
  }

  @Override
  protected void addBias(FloatBuffer bias, FloatBuffer into) {
    int cols = bias.remaining();
    FloatPointer from = pointer(bias);
    FloatPointer to = pointer(into);
    inRows(
        into.remaining() / cols,
        cols,
        (first, last) -> AddBias(kernels, from, first, last, cols, to));
  }

  @Override
  protected void scatterAdd(FloatBuffer rows, IntBuffer index, int cols, FloatBuffer into) {
    ScatterAdd(kernels, pointer(rows), pointer(index), index.remaining(), cols, pointer(into));
  }

  @Override
  protected void columnSums(FloatBuffer rows, FloatBuffer sums) {
    int cols = sums.remaining();
    int count = rows.remaining() / cols;
    FloatPointer from = pointer(rows);
    FloatPointer to = pointer(sums);
    inRows(cols, count, (first, last) -> ColumnSums(kernels, from, count, cols, first, last, to));
  }

  @Override
  protected double sumOfSquares(FloatBuffer x) {
    int n = x.remaining();
    int chunks = (n + CHUNK - 1) / CHUNK;
    FloatPointer from = pointer(x);
    double[] sums = new double[chunks];
    inRows(
        chunks,
        CHUNK,
        (first, last) -> {
          for (int i = (int) first; i < last; i++) {
            long at = (long) i * CHUNK;
            sums[i] = SumOfSquares(kernels, from.getPointer(at), Math.min(CHUNK, n - at));
          }
        });
    double sum = 0;
    for (double ofChunk : sums) {
      sum += ofChunk;
    }
    return sum;
  }

  @Override
  protected void scale(FloatBuffer x, float factor) {
    FloatPointer to = pointer(x);
    inRows(
        x.remaining(),
        1,
        (first, last) -> Scale(kernels, factor, last - first, to.getPointer(first)));
  }

  @Override
  protected void clip(FloatBuffer x, float bound) {
    FloatPointer to = pointer(x);
    inRows(
        x.remaining(),
        1,
        (first, last) -> Clip(kernels, bound, last - first, to.getPointer(first)));
  }

  @Override
  protected void roundToBfloat16(FloatBuffer x, ShortBuffer out) {
    FloatPointer from = pointer(x);
    ShortPointer to = new ShortPointer(out.slice());
    inRows(
        x.remaining(),
        1,
        (first, last) ->
            RoundToBfloat16(kernels, from.getPointer(first), last - first, to.getPointer(first)));
  }

  @Override
  protected void forwardStep(CellStates states, int step) {
    int cell = cell(states.cell());
    if (cell < 0) {
      super.forwardStep(states, step);
      return;
    }
    long at = (long) step * states.batch();
    try (Sequence s = new Sequence(states, null)) {
      inRows(
          states.batch(),
          (long) states.cell().gates() * states.units(),
          (first, last) -> ForwardRows(kernels, cell, s.states, at + first, at + last));
    }
  }

  @Override
  protected void backwardStep(CellStates states, CellGradients gradients, int step) {
    int cell = cell(states.cell());
    if (cell < 0) {
      super.backwardStep(states, gradients, step);
      return;
    }
    long at = (long) step * states.batch();
    try (Sequence s = new Sequence(states, gradients)) {
      inRows(
          states.batch(),
          (long) states.cell().gates() * states.units(),
          (first, last) ->
              BackwardRows(kernels, cell, s.states, s.gradients, at + first, at + last));
    }
  }

  @Override
  protected void forwardSequence(CellStates states, FloatBuffer panels) {
    int cell = cell(states.cell());
    if (cell < 0) {
      super.forwardSequence(states, panels);
      return;
    }
    FloatPointer w = pointer(panels);
    try (Sequence s = new Sequence(states, null)) {
      forSequences(
          states.batch(),
          (first, last) -> {
            ForwardSequence(kernels, cell, s.states, w, s.steps, first, last);
            return -1;
          });
    }
  }

  @Override
  protected void forwardSequence(
      CellStates states, Quantizer method, MultibitMatrix weights, MultibitMatrix codes) {
    int cell = cell(states.cell());
    try (NativeQuantizer quantizer = quantizer(method)) {
      if (quantizer == null || cell < 0) {
        super.forwardSequence(states, method, weights, codes);
        return;
      }
      Packed w = new Packed(weights);
      Packed h = new Packed(codes);
      try (Sequence s = new Sequence(states, null);
          QuantizedRecurrence recurrence = new QuantizedRecurrence()) {
        recurrence.weight_planes(w.planes).weight_coefficients(w.coefficients).weight_bits(w.bits);
        recurrence.quantizer(quantizer).bits(h.bits).planes(h.planes).coefficients(h.coefficients);
        long bad =
            forSequences(
                states.batch(),
                (first, last) ->
                    ForwardQuantizedSequence(
                        kernels, cell, s.states, recurrence, s.steps, first, last));
        refuse(bad, states.hidden(), states.units());
      }
      Reference.reachabilityFence(new Object[] {w, h});
    }
  }

  @Override
  protected void backwardSequence(
      CellStates states, CellGradients gradients, FloatBuffer panels, int firstStep) {
    int cell = cell(states.cell());
    if (cell < 0) {
      super.backwardSequence(states, gradients, panels, firstStep);
      return;
    }
    FloatPointer w = pointer(panels);
    try (Sequence s = new Sequence(states, gradients)) {
      forSequences(
          states.batch(),
          (first, last) -> {
            BackwardSequence(
                kernels, cell, s.states, s.gradients, w, firstStep, s.steps, first, last);
            return -1;
          });
    }
  }

  /** The native number of a cell, or -1 if native code does not know it. */
  private static int cell(Cell cell) {
    if (!Cell.ALL.contains(cell)) {
      return -1;
    }
    try (BytePointer name = new BytePointer(cell.name(), StandardCharsets.US_ASCII)) {
      return FindCell(name);
    }
  }

  /** A cell's arrays in the form that native code takes. */
  private static final class Sequence implements AutoCloseable {
    final NativeCellStates states = new NativeCellStates();
    final NativeCellGradients gradients;
    final int steps;
    private final List<Pointer> kept = new ArrayList<>();

    /**
     * @param d null in a forward pass
     */
    Sequence(CellStates s, CellGradients d) {
      states.batch(s.batch()).units(s.units()).gates(keep(s.gates()));
      states.recurrent(keep(s.recurrent())).hidden(keep(s.hidden()));
      states.cell(keep(s.cellState())).cell_tanh(keep(s.cellTanh()));
      steps = s.gates().remaining() / (s.cell().gates() * s.units()) / s.batch();
      gradients = d == null ? null : new NativeCellGradients();
      if (d != null) {
        gradients.hidden(keep(d.hidden())).carried(keep(d.carried()));
        gradients.gates(keep(d.gates())).recurrent(keep(d.recurrent()));
      }
    }

    private FloatPointer keep(FloatBuffer buffer) {
      FloatPointer pointer = pointer(buffer);
      kept.add(pointer);
      return pointer;
    }

    @Override
    public void close() {
      states.close();
      if (gradients != null) {
        gradients.close();
      }
      Reference.reachabilityFence(kept);
    }
  }

  /** A packed matrix in the form that native code takes. Keeps its memory alive. */
  private static final class Packed {
    final long rows;
    final int cols;
    final int bits;
    final int lanes;
    final LongPointer planes;
    final FloatPointer coefficients;

    Packed(MultibitMatrix matrix) {
      rows = matrix.rows();
      cols = matrix.cols();
      bits = matrix.bits();
      lanes = matrix.lanes();
      planes = new LongPointer(matrix.planes());
      coefficients = new FloatPointer(matrix.coefficients());
    }
  }

  // The memory from a buffer's position on, kept alive by the pointer. Slices: JavaCPP 1.5.12 gets
  // positions wrong.

  private static FloatPointer pointer(FloatBuffer buffer) {
    return buffer == null ? null : new FloatPointer(buffer.slice());
  }

  private static LongPointer pointer(LongBuffer buffer) {
    return buffer == null ? null : new LongPointer(buffer.slice());
  }

  private static IntPointer pointer(IntBuffer buffer) {
    return buffer == null ? null : new IntPointer(buffer.slice());
  }

  /** A task for rows [first, last). */
  private interface Task {
    void run(long first, long last);
  }

  /** A task with a result, -1 if all went well. */
  private interface Search {
    long run(long first, long last);
  }

  /** A task with a result for a numbered part. */
  private interface PartSearch {
    long run(int part, long first, long last);
  }

  /**
   * Runs a task on parts of the rows, on several threads if that is worth it.
   *
   * @param workPerRow roughly the elements that a row takes
   */
  private void inRows(int rows, long workPerRow, Task task) {
    inParts(rows, rowStep, workPerRow, task);
  }

  /** Runs a task on parts that begin at multiples of {@code step}. */
  private static void inParts(int rows, int step, long workPerRow, Task task) {
    forParts(
        rows,
        step,
        workPerRow,
        (first, last) -> {
          task.run(first, last);
          return -1;
        });
  }

  /**
   * Runs a task as {@link #inRows} does. Returns the smallest result that is not -1, or else -1.
   */
  private long forRows(int rows, long workPerRow, Search task) {
    return forParts(rows, rowStep, workPerRow, task);
  }

  private static long forParts(int rows, int step, long workPerRow, Search task) {
    long steps = (rows + step - 1) / step;
    long wanted = Math.min(mostParts(), rows * workPerRow / LEAST_WORK);
    int parts = (int) Math.max(1, Math.min(steps, wanted));
    return split(rows, step, parts, (part, first, last) -> task.run(first, last));
  }

  /** Runs a task on as many parts as threads, since a part reads all weights at every step. */
  private static long forSequences(int batch, Search task) {
    int parts = Math.min(threads(), batch);
    return split(batch, 1, parts, (part, first, last) -> task.run(first, last));
  }

  private static int mostParts() {
    int threads = threads();
    return threads == 1 ? 1 : PARTS_PER_THREAD * threads;
  }

  private static int threads() {
    ForkJoinPool pool = ForkJoinTask.getPool();
    return pool != null ? pool.getParallelism() : 1 + ForkJoinPool.getCommonPoolParallelism();
  }

  private static long split(int rows, int step, int parts, PartSearch task) {
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

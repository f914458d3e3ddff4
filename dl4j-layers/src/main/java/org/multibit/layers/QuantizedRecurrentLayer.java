package org.multibit.layers;

import java.lang.ref.Reference;
import java.util.Arrays;
import java.util.Map;
import org.deeplearning4j.nn.api.MaskState;
import org.deeplearning4j.nn.conf.NeuralNetConfiguration;
import org.deeplearning4j.nn.gradient.DefaultGradient;
import org.deeplearning4j.nn.gradient.Gradient;
import org.deeplearning4j.nn.layers.recurrent.BaseRecurrentLayer;
import org.deeplearning4j.nn.workspace.ArrayType;
import org.deeplearning4j.nn.workspace.LayerWorkspaceMgr;
import org.multibit.core.Kernels;
import org.multibit.core.MultibitMatrix;
import org.multibit.core.Quantization;
import org.nd4j.common.primitives.Pair;
import org.nd4j.linalg.api.buffer.DataType;
import org.nd4j.linalg.api.memory.MemoryWorkspace;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.nd4j.linalg.factory.Nd4j;
import org.nd4j.linalg.indexing.NDArrayIndex;

/**
 * Computes {@link QuantizedRecurrent} for any cell.
 *
 * <p>Inside, sequences are time-major rows [T*B, .]. The input product, both weight gradients and
 * the input's gradient are each one matrix product over all time steps. A forward pass in training
 * records what the backward pass needs (the tape) in memory that is reused from iteration to
 * iteration.
 */
public final class QuantizedRecurrentLayer extends BaseRecurrentLayer<QuantizedRecurrent> {
  /** The keys under which DL4J's LSTM keeps its states. The hidden state comes first. */
  private static final String[] STATES = {"prevAct", "prevMem"};

  /**
   * The number of rows of a sequence that inference computes at a time, which bounds its memory.
   */
  private static final long INFERENCE_ROWS = 4096;

  private final Scratch inputWeights = new Scratch();
  private final Scratch recurrentWeights = new Scratch();
  private final RowQuantizer inputWeightQuantizer = RowQuantizer.ofWeights("input weights");
  private final RowQuantizer recurrentWeightQuantizer = RowQuantizer.ofWeights("recurrent weights");
  private final RowQuantizer inputQuantizer = RowQuantizer.ofInput();
  private final EmbeddedCodes embedded = new EmbeddedCodes();
  private final RowQuantizer hiddenQuantizer = RowQuantizer.ofActivations("hidden state");

  // The tape, with H = nOut.
  private final Steps x = new Steps(); // quantized input after dropout [T*B, nIn]
  private final DropoutMask dropout = new DropoutMask(); // of x
  private final RecurrentCell cell;
  private final PrepackedProduct inputProduct = new PrepackedProduct();
  private final PrepackedProduct product = new PrepackedProduct();
  private final Steps hiddenCodes = new Steps(); // quantized h_0 .. h_{T-1} [T*B, H]

  private Pass tape;
  private INDArray[] carried;
  private INDArray featuresMask;

  /**
   * One forward pass, which may own the tape.
   *
   * @param input [B, nIn, T] that it belongs to
   * @param mask null = none
   * @param w quantized W, of [G H, nIn]
   * @param rw quantized RW, of [G H, H]
   * @param last the states after step T, each [B, H], copies outside all workspaces
   */
  private record Pass(
      INDArray input,
      boolean training,
      int iteration,
      StepMask mask,
      Weights w,
      Weights rw,
      INDArray[] last) {}

  /**
   * A parameter matrix [n, G H] as quantized rows [G H, n].
   *
   * @param packed null in full precision
   */
  private record Weights(INDArray values, MultibitMatrix packed) {}

  public QuantizedRecurrentLayer(NeuralNetConfiguration conf, DataType dataType) {
    super(conf, dataType);
    cell = layerConf().newCell();
  }

  /**
   * The state from which the next {@code fit} of a stateful layer starts: the hidden state [B, H]
   * and, for an LSTM, the cell state [B, H]; null = zeros.
   */
  public INDArray[] getCarriedState() {
    return carried;
  }

  /**
   * Sets the state from which the next {@code fit} of a stateful layer starts. Inference does not
   * use it ({@code rnnTimeStep} has its own state).
   *
   * @param states as {@link #getCarriedState} returns them; copied
   */
  public void setCarriedState(INDArray... states) {
    if (!layerConf().isStateful()) {
      throw new IllegalStateException(layerId() + " is not stateful: it carries no state");
    }
    carried = copies(states);
  }

  /** The state from which the next {@code rnnTimeStep} starts, as in {@link #getCarriedState}. */
  INDArray[] timeStepState() {
    return kept(stateMap);
  }

  /**
   * @param states as {@link #setCarriedState} takes them; null = zeros
   */
  void setTimeStepState(INDArray[] states) {
    stateMap.clear();
    if (states != null) {
      keep(copies(states), stateMap);
    }
  }

  /** Copies of states of this layer's shape. */
  private INDArray[] copies(INDArray[] states) {
    int count = cell.states().size();
    boolean fit = states.length == count;
    for (INDArray state : states) {
      fit &= state.rank() == 2 && state.size(1) == layerConf().getNOut();
      fit &= state.equalShapes(states[0]);
    }
    if (!fit) {
      throw new IllegalArgumentException(
          "%s carries %s [batch, %s], got %s"
              .formatted(
                  layerId(),
                  count == 1 ? "one state" : count + " states",
                  layerConf().getNOut(),
                  Arrays.stream(states).map(s -> Arrays.toString(s.shape())).toList()));
    }
    return Arrays.stream(states)
        .map(state -> detachedCopy(state.castTo(dataType)))
        .toArray(INDArray[]::new);
  }

  /** Makes the next {@code fit} start from zeros. */
  public void clearCarriedState() {
    carried = null;
  }

  @Override
  public INDArray activate(boolean training, LayerWorkspaceMgr workspaceMgr) {
    return forward(training, training && layerConf().isStateful() ? carried : null, workspaceMgr);
  }

  @Override
  public INDArray rnnTimeStep(INDArray input, LayerWorkspaceMgr workspaceMgr) {
    setInput(input, workspaceMgr);
    INDArray out = forward(false, kept(stateMap), workspaceMgr);
    keep(tape.last, stateMap);
    return out;
  }

  @Override
  public INDArray rnnActivateUsingStoredState(
      INDArray input, boolean training, boolean storeLastForTBPTT, LayerWorkspaceMgr workspaceMgr) {
    refuseStatefulTruncatedBptt(training);
    setInput(input, workspaceMgr);
    INDArray out = forward(training, kept(tBpttStateMap), workspaceMgr);
    if (storeLastForTBPTT) {
      keep(tape.last, tBpttStateMap);
    }
    return out;
  }

  private void refuseStatefulTruncatedBptt(boolean training) {
    if (training && layerConf().isStateful()) {
      throw new IllegalStateException(
          layerId()
              + " is stateful: train it by standard backpropagation, one segment per fit; DL4J's truncated BPTT clears the state around each fit");
    }
  }

  private static void keep(INDArray[] states, Map<String, INDArray> in) {
    for (int i = 0; i < states.length; i++) {
      in.put(STATES[i], states[i]);
    }
  }

  /** The states of a map; null if it is empty. */
  private INDArray[] kept(Map<String, INDArray> states) {
    if (!states.containsKey(STATES[0])) {
      return null;
    }
    return Arrays.stream(STATES, 0, cell.states().size()).map(states::get).toArray(INDArray[]::new);
  }

  /** Output [B, H, T] in the ACTIVATIONS workspace. */
  private INDArray forward(boolean training, INDArray[] start, LayerWorkspaceMgr workspaceMgr) {
    assertInputSet(false);
    tape = null;
    check(start);
    long batch = input.size(0);
    long time = input.size(2);
    Weights w =
        weights(
            RecurrentParams.INPUT_WEIGHTS,
            inputWeights,
            inputWeightQuantizer,
            training,
            workspaceMgr);
    Weights rw =
        weights(
            RecurrentParams.RECURRENT_WEIGHTS,
            recurrentWeights,
            recurrentWeightQuantizer,
            training,
            workspaceMgr);
    INDArray b = getParamWithNoise(RecurrentParams.BIAS, training, workspaceMgr);
    INDArray rb =
        hasRecurrentBias()
            ? getParamWithNoise(RecurrentParams.RECURRENT_BIAS, training, workspaceMgr)
            : null;
    INDArray out =
        workspaceMgr.createUninitialized(
            ArrayType.ACTIVATIONS, dataType, new long[] {time, batch, layerConf().getNOut()}, 'c');
    INDArray timeMajor = input.permute(2, 0, 1);
    StepMask mask = stepMask();
    INDArray covered = MaskedRows.ofSteps(featuresMask, input);

    INDArray[] states = start;
    long chunk = training ? time : Math.min(time, Math.max(1, INFERENCE_ROWS / batch));
    for (long from = 0; from < time; from += chunk) {
      long to = Math.min(time, from + chunk);
      cell.resize(dataType, to - from, batch, layerConf().getNOut());
      consume(steps(timeMajor, from, to), from, mask, covered, w, b, training);
      if (rb != null) {
        Matrices.clear(cell.recurrentSums.all());
        Matrices.addBias(rb, cell.recurrentSums.all());
      }
      start(states);
      recur(rw, mask, (int) from, (int) to, batch, training);
      steps(out, from, to)
          .assign(
              cell.hidden
                  .steps(1, to - from + 1)
                  .reshape('c', to - from, batch, layerConf().getNOut()));
      int last = (int) (to - from);
      states =
          cell.states().stream()
              .map(state -> detachedCopy(state.step(last)))
              .toArray(INDArray[]::new);
      if (mask != null) {
        for (INDArray state : states) {
          mask.outside(to - 1, to, state);
        }
      }
    }
    if (mask != null) {
      mask.outside(0, time, out.reshape('c', time * batch, layerConf().getNOut()));
    }
    tape = new Pass(input, training, getIterationCount(), mask, w, rw, states);
    return out.permute(1, 2, 0);
  }

  private static INDArray steps(INDArray timeMajor, long from, long to) {
    return timeMajor.get(NDArrayIndex.interval(from, to), NDArrayIndex.all(), NDArrayIndex.all());
  }

  /**
   * Quantizes the input, applies dropout into {@link #x}, and stores its product with W plus the
   * bias as the cell's sums.
   *
   * @param input [T, B, nIn]
   * @param from its first step, in the whole sequence
   * @param mask the layer's own; null = none
   * @param covered the features' mask of the whole sequence, time-major; null = none
   */
  private void consume(
      INDArray input,
      long from,
      StepMask mask,
      INDArray covered,
      Weights w,
      INDArray b,
      boolean training) {
    long rows = input.size(0) * input.size(1);
    long first = from * input.size(1);
    Quantization quantization = layerConf().getInputActivationQuantization();
    x.resize(dataType, input.size(0), input.size(1), 1, input.size(2));
    x.all().reshape('c', input.shape()).assign(input);
    if (mask != null) {
      MaskedRows.clear(x.all(), mask.steps(from, from + input.size(0)));
    }
    if (covered != null) {
      MaskedRows.clearNotFinite(
          x.all(), covered.get(NDArrayIndex.interval(first, first + rows), NDArrayIndex.all()));
    }
    dropout.draw(
        training ? layerConf().getIDropout() : null,
        rows,
        input.size(2),
        conf().getSeed(),
        getIterationCount(),
        getIndex());
    MultibitMatrix codes = null;
    if (quantization != null) {
      codes = inputQuantizer.pack(quantization, x.all(), layerId());
      RowQuantizer.unpack(codes, x.all());
    } else if (w.packed != null) {
      codes = embedded.take(x.all(), first);
    }
    dropout.apply(x.all());
    if (codes == null || w.packed == null) {
      inputProduct.start(w.values, true);
      inputProduct.multiply(x.all(), b, cell.gates.all());
      return;
    }
    Kernels.get().scale(codes.coefficients(), dropout.factor());
    Kernels.get()
        .multiply(
            w.packed,
            codes,
            dropout.bits(0, rows),
            FloatRows.of(b),
            FloatRows.of(cell.gates.all()));
    Reference.reachabilityFence(b);
  }

  /**
   * Runs the cell over steps from..to-1 of the sequence, which are all of the cell's steps. Leaves
   * the tape.
   */
  private void recur(Weights rw, StepMask mask, int from, int to, long batch, boolean training) {
    Quantization quantization = layerConf().getRecurrentActivationQuantization();
    MultibitMatrix codes = null;
    if (quantization != null) {
      codes = hiddenQuantizer.packed(quantization, (to - from) * batch, layerConf().getNOut());
      hiddenCodes.resize(dataType, to - from, batch, 1, layerConf().getNOut());
    }
    if (codes == null || rw.packed == null) {
      product.start(rw.values, true);
    }
    int[] pieces = mask == null ? new int[] {from, to} : mask.pieces(from, to);
    for (int p = 0; p + 1 < pieces.length; p++) {
      int end = pieces[p + 1];
      recur(rw, codes, pieces[p] - from, end - from, batch);
      if (mask != null) {
        for (Steps states : cell.states()) {
          mask.between(end - 1, states.step(end - from));
        }
      }
    }
    if (training && codes != null && rw.packed != null) {
      RowQuantizer.unpack(codes, hiddenCodes.all());
    }
  }

  /**
   * Runs the cell over some of its steps.
   *
   * @param codes of the hidden states before all of its steps; null = full precision
   */
  private void recur(Weights rw, MultibitMatrix codes, int from, int to, long batch) {
    if (codes == null) {
      cell.forward(product, from, to);
      return;
    }
    Quantization quantization = layerConf().getRecurrentActivationQuantization();
    if (rw.packed != null) {
      MultibitMatrix some = codes.rows((int) (from * batch), (int) (to * batch));
      hiddenQuantizer.run(
          layerId(), () -> cell.forward(quantization.quantizer(), rw.packed, some, from, to));
      return;
    }
    for (int t = from; t < to; t++) {
      MultibitMatrix step = codes.rows((int) (t * batch), (int) ((t + 1) * batch));
      hiddenQuantizer.pack(quantization, cell.hidden.floats(t), step, layerId());
      RowQuantizer.unpack(step, hiddenCodes.step(t));
      product.add(hiddenCodes, t, cell.recurrentSums, t);
      cell.forward(t);
    }
  }

  /** Gives the cell the states before its first step; null = zeros. */
  private void start(INDArray[] states) {
    for (int i = 0; i < cell.states().size(); i++) {
      INDArray first = cell.states().get(i).step(0);
      if (states == null) {
        first.assign(0);
      } else {
        first.assign(states[i]);
      }
    }
  }

  private boolean hasRecurrentBias() {
    return layerConf().initializer().hasRecurrentBias();
  }

  private static INDArray detachedCopy(INDArray array) {
    try (MemoryWorkspace none = Nd4j.getMemoryManager().scopeOutOfWorkspaces()) {
      return array.dup('c');
    }
  }

  private void check(INDArray[] states) {
    if (input.rank() != 3 || input.size(1) != layerConf().getNIn()) {
      throw new IllegalArgumentException(
          "%s takes input [batch, %s, time], got %s"
              .formatted(layerId(), layerConf().getNIn(), Arrays.toString(input.shape())));
    }
    if (states != null && states[0].size(0) != input.size(0)) {
      throw new IllegalStateException(
          "%s carries the state of a batch of %s, the input has a batch of %s: clear the state first"
              .formatted(layerId(), states[0].size(0), input.size(0)));
    }
  }

  /** The layer's own mask, which comes from what wraps it; null = none. */
  private StepMask stepMask() {
    INDArray column = ClassIds.mask(maskArray, input.size(0), input.size(2), dataType, layerId());
    return column == null ? null : new StepMask(column, input.size(0));
  }

  private Weights weights(
      String key,
      Scratch scratch,
      RowQuantizer quantizer,
      boolean training,
      LayerWorkspaceMgr workspaceMgr) {
    INDArray rows = getParamWithNoise(key, training, workspaceMgr).transpose();
    if (layerConf().getWeightQuantization() == null) {
      return new Weights(rows, null);
    }
    MultibitMatrix packed = quantizer.pack(layerConf().getWeightQuantization(), rows, layerId());
    INDArray values = scratch.get(dataType, rows.shape());
    RowQuantizer.unpack(packed, values);
    return new Weights(values, packed);
  }

  private boolean tapeIsOfThisInput() {
    return tape != null
        && tape.training
        && tape.input == input
        && tape.iteration == getIterationCount();
  }

  @Override
  public Pair<Gradient, INDArray> backpropGradient(
      INDArray epsilon, LayerWorkspaceMgr workspaceMgr) {
    assertInputSet(true);
    if (!tapeIsOfThisInput()) {
      activate(true, workspaceMgr);
    }
    Pair<Gradient, INDArray> result = backward(epsilon, 0, workspaceMgr);
    if (layerConf().isStateful()) {
      carried = tape.last;
    }
    return result;
  }

  @Override
  public Pair<Gradient, INDArray> tbpttBackpropGradient(
      INDArray epsilon, int tbpttBackLength, LayerWorkspaceMgr workspaceMgr) {
    assertInputSet(true);
    refuseStatefulTruncatedBptt(true);
    if (!tapeIsOfThisInput()) {
      forward(true, kept(stateMap), workspaceMgr);
    }
    keep(tape.last, tBpttStateMap);
    return backward(epsilon, (int) Math.max(0, input.size(2) - tbpttBackLength), workspaceMgr);
  }

  /**
   * Backpropagation through time, from the tape.
   *
   * @param epsilon dL/dh from above, [B, H, T]
   * @param first the first step that gradients flow back to
   */
  private Pair<Gradient, INDArray> backward(
      INDArray epsilon, int first, LayerWorkspaceMgr workspaceMgr) {
    long batch = input.size(0);
    int time = (int) input.size(2);
    long units = layerConf().getNOut();
    cell.startBackward(time, batch);
    Steps dz = cell.gateGradients;
    Steps du = cell.recurrentGradients;
    Steps dh = cell.hiddenGradients;
    product.start(tape.rw.values, false);
    dh.all().reshape('c', time, batch, units).assign(epsilon.permute(2, 0, 1));
    backward(tape.mask, first, time);
    if (first > 0) {
      dz.steps(0, first).assign(0);
      du.steps(0, first).assign(0);
    }

    INDArray dW = gradientViews.get(RecurrentParams.INPUT_WEIGHTS);
    INDArray dRW = gradientViews.get(RecurrentParams.RECURRENT_WEIGHTS);
    INDArray db = gradientViews.get(RecurrentParams.BIAS);
    INDArray consumed =
        layerConf().getRecurrentActivationQuantization() == null
            ? cell.hidden.steps(0, time)
            : hiddenCodes.all();
    Matrices.multiply(dz.all(), true, x.all(), false, dW.transpose(), 1, 0);
    Matrices.multiply(du.all(), true, consumed, false, dRW.transpose(), 1, 0);
    Matrices.columnSums(dz.all(), db);
    Gradient gradient = new DefaultGradient();
    gradient.setGradientFor(RecurrentParams.INPUT_WEIGHTS, dW);
    gradient.setGradientFor(RecurrentParams.RECURRENT_WEIGHTS, dRW);
    gradient.setGradientFor(RecurrentParams.BIAS, db);
    if (hasRecurrentBias()) {
      INDArray drb = gradientViews.get(RecurrentParams.RECURRENT_BIAS);
      Matrices.columnSums(du.all(), drb);
      gradient.setGradientFor(RecurrentParams.RECURRENT_BIAS, drb);
    }

    INDArray dx =
        workspaceMgr.createUninitialized(
            ArrayType.ACTIVATION_GRAD,
            dataType,
            new long[] {time * batch, layerConf().getNIn()},
            'c');
    Matrices.multiply(dz.all(), false, tape.w.values, false, dx, 1, 0);
    dropout.apply(dx);
    weightNoiseParams.clear();
    return new Pair<>(gradient, TimeMajor.sequence(dx, batch));
  }

  /** Runs the cell back from its last step to {@code first}. */
  private void backward(StepMask mask, int first, int time) {
    if (mask == null) {
      cell.backward(product, first, time);
      return;
    }
    Steps dh = cell.hiddenGradients;
    MaskedRows.clear(dh.all(), mask.steps(0, time));
    mask.outside(0, time, dh.all());
    int[] pieces = mask.pieces(first, time);
    for (int p = pieces.length - 2; p >= 0; p--) {
      int start = pieces[p];
      cell.backward(product, start, pieces[p + 1]);
      if (start > first) {
        product.add(cell.recurrentGradients, start, dh, start - 1);
        mask.between(start - 1, dh.step(start - 1));
        mask.between(start - 1, cell.carriedGradient.step(0));
      }
    }
  }

  @Override
  public void setMaskArray(INDArray maskArray) {
    super.setMaskArray(maskArray);
    if (maskArray == null) {
      featuresMask = null;
    }
  }

  @Override
  public void clear() {
    super.clear();
    tape = null;
  }

  @Override
  public Gradient gradient() {
    throw new UnsupportedOperationException(
        "Layerwise pretraining is not supported by " + layerId());
  }

  @Override
  public boolean isPretrainLayer() {
    return false;
  }

  @Override
  public Type type() {
    return Type.RECURRENT;
  }

  /**
   * Passes masks on, as DL4J's LSTM does: masked steps are left to the loss. Their inputs are data,
   * unless they are not finite.
   */
  @Override
  public Pair<INDArray, MaskState> feedForwardMaskArray(
      INDArray maskArray, MaskState currentMaskState, int minibatchSize) {
    featuresMask = maskArray;
    return new Pair<>(maskArray, MaskState.Passthrough);
  }
}

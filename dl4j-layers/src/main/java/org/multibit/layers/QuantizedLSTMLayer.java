package org.multibit.layers;

import java.util.Arrays;
import java.util.Map;
import org.deeplearning4j.nn.api.MaskState;
import org.deeplearning4j.nn.conf.NeuralNetConfiguration;
import org.deeplearning4j.nn.gradient.DefaultGradient;
import org.deeplearning4j.nn.gradient.Gradient;
import org.deeplearning4j.nn.layers.recurrent.BaseRecurrentLayer;
import org.deeplearning4j.nn.workspace.ArrayType;
import org.deeplearning4j.nn.workspace.LayerWorkspaceMgr;
import org.multibit.core.Quantization;
import org.nd4j.common.primitives.Pair;
import org.nd4j.linalg.api.buffer.DataType;
import org.nd4j.linalg.api.memory.MemoryWorkspace;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.nd4j.linalg.api.ops.impl.transforms.strict.Sigmoid;
import org.nd4j.linalg.api.ops.impl.transforms.strict.Tanh;
import org.nd4j.linalg.factory.Nd4j;
import org.nd4j.linalg.indexing.NDArrayIndex;

/**
 * Computes {@link QuantizedLSTM}.
 *
 * <p>Inside, sequences are time-major rows [T*B, .]. The input product, both weight gradients and
 * the input's gradient are one matrix product each over all time steps. A forward pass in training
 * keeps what the backward pass needs (the tape) in memory that is reused from one iteration to the
 * next.
 */
public final class QuantizedLSTMLayer extends BaseRecurrentLayer<QuantizedLSTM> {
  // The keys of DL4J's LSTM.
  private static final String HIDDEN = "prevAct";
  private static final String CELL = "prevMem";

  // DL4J's order of the columns; it calls the last one "input modulation".
  private static final int CANDIDATE = 0;
  private static final int FORGET = 1;
  private static final int OUTPUT = 2;
  private static final int INPUT = 3;

  /** Rows of a sequence that inference computes at a time, so that its memory is bounded. */
  private static final long INFERENCE_ROWS = 4096;

  private final Scratch inputWeights = new Scratch();
  private final Scratch recurrentWeights = new Scratch();
  private final Scratch mask = new Scratch();
  private final Scratch carry = new Scratch();
  private final RowQuantizer inputWeightQuantizer = new RowQuantizer("input weights");
  private final RowQuantizer recurrentWeightQuantizer = new RowQuantizer("recurrent weights");
  private final RowQuantizer inputQuantizer = new RowQuantizer("input");
  private final RowQuantizer hiddenQuantizer = new RowQuantizer("hidden state");

  // The tape, with H = nOut. Each is in full precision unless it says otherwise.
  private final Steps x = new Steps(); // quantized input after dropout [T*B, nIn]
  private final Steps gates = new Steps(); // after their non-linearities [T*B, 4H]
  private final Steps cells = new Steps(); // c_0 .. c_T [(T+1)*B, H]
  private final Steps cellTanh = new Steps(); // tanh of c_1 .. c_T [T*B, H]
  private final Steps hidden = new Steps(); // h_0 .. h_T [(T+1)*B, H]
  private final Steps hiddenCodes = new Steps(); // quantized h_0 .. h_{T-1} [T*B, H]

  private final Steps gateGradients = new Steps(); // [T*B, 4H]
  private final Steps hiddenGradients = new Steps(); // [T*B, H]
  private final Steps cellGradients = new Steps(); // [T*B, H]

  private Pass tape;
  private INDArray carriedHidden;
  private INDArray carriedCell;

  /**
   * One forward pass, and whether the tape is still of it.
   *
   * @param input [B, nIn, T] that it belongs to
   * @param w quantized W, as rows [4H, nIn]
   * @param rw quantized RW, as rows [4H, H]
   * @param dropout mask of x [T*B, nIn]; null without dropout
   * @param lastHidden h_T, [B, H], a copy outside all workspaces
   * @param lastCell c_T, [B, H], a copy outside all workspaces
   */
  private record Pass(
      INDArray input,
      boolean training,
      int iteration,
      INDArray w,
      INDArray rw,
      INDArray dropout,
      INDArray lastHidden,
      INDArray lastCell) {}

  public QuantizedLSTMLayer(NeuralNetConfiguration conf, DataType dataType) {
    super(conf, dataType);
  }

  /** h that the next {@code fit} of a stateful layer starts from, [B, H]; null = zeros. */
  public INDArray getCarriedHidden() {
    return carriedHidden;
  }

  /** c that the next {@code fit} of a stateful layer starts from, [B, H]; null = zeros. */
  public INDArray getCarriedCell() {
    return carriedCell;
  }

  /**
   * Sets what the next {@code fit} of a stateful layer starts from. It has no part in inference
   * ({@code rnnTimeStep} has a state of its own).
   *
   * @param hidden [B, H], copied
   * @param cell [B, H], copied
   */
  public void setCarriedState(INDArray hidden, INDArray cell) {
    if (!layerConf().isStateful()) {
      throw new IllegalStateException(layerId() + " is not stateful: it carries no state");
    }
    if (hidden.rank() != 2
        || hidden.size(1) != layerConf().getNOut()
        || !hidden.equalShapes(cell)) {
      throw new IllegalArgumentException(
          "%s carries two states [batch, %d], got %s and %s"
              .formatted(
                  layerId(),
                  layerConf().getNOut(),
                  Arrays.toString(hidden.shape()),
                  Arrays.toString(cell.shape())));
    }
    carriedHidden = detachedCopy(hidden.castTo(dataType));
    carriedCell = detachedCopy(cell.castTo(dataType));
  }

  /** The next {@code fit} starts from zeros. */
  public void clearCarriedState() {
    carriedHidden = null;
    carriedCell = null;
  }

  @Override
  public INDArray activate(boolean training, LayerWorkspaceMgr workspaceMgr) {
    boolean carried = training && layerConf().isStateful();
    return forward(
        training, carried ? carriedHidden : null, carried ? carriedCell : null, workspaceMgr);
  }

  @Override
  public INDArray rnnTimeStep(INDArray input, LayerWorkspaceMgr workspaceMgr) {
    setInput(input, workspaceMgr);
    INDArray out = forward(false, stateMap.get(HIDDEN), stateMap.get(CELL), workspaceMgr);
    keepLast(stateMap);
    return out;
  }

  @Override
  public INDArray rnnActivateUsingStoredState(
      INDArray input, boolean training, boolean storeLastForTBPTT, LayerWorkspaceMgr workspaceMgr) {
    refuseStatefulTruncatedBptt(training);
    setInput(input, workspaceMgr);
    INDArray out =
        forward(training, tBpttStateMap.get(HIDDEN), tBpttStateMap.get(CELL), workspaceMgr);
    if (storeLastForTBPTT) {
      keepLast(tBpttStateMap);
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

  private void keepLast(Map<String, INDArray> states) {
    states.put(HIDDEN, tape.lastHidden);
    states.put(CELL, tape.lastCell);
  }

  /** Output [B, H, T] in the ACTIVATIONS workspace. */
  private INDArray forward(
      boolean training, INDArray startHidden, INDArray startCell, LayerWorkspaceMgr workspaceMgr) {
    assertInputSet(false);
    tape = null;
    check(startHidden);
    long batch = input.size(0);
    long time = input.size(2);
    INDArray w =
        weights(
            LSTMParams.INPUT_WEIGHTS, inputWeights, inputWeightQuantizer, training, workspaceMgr);
    INDArray rw =
        weights(
            LSTMParams.RECURRENT_WEIGHTS,
            recurrentWeights,
            recurrentWeightQuantizer,
            training,
            workspaceMgr);
    INDArray b = getParamWithNoise(LSTMParams.BIAS, training, workspaceMgr);
    INDArray out =
        workspaceMgr.createUninitialized(
            ArrayType.ACTIVATIONS, dataType, new long[] {time, batch, layerConf().getNOut()}, 'c');
    INDArray timeMajor = input.permute(2, 0, 1);

    INDArray h = startHidden;
    INDArray c = startCell;
    INDArray dropout = null;
    long chunk = training ? time : Math.min(time, Math.max(1, INFERENCE_ROWS / batch));
    for (long from = 0; from < time; from += chunk) {
      long to = Math.min(time, from + chunk);
      x.resize(dataType, to - from, batch, 1, layerConf().getNIn());
      x.all()
          .reshape('c', to - from, batch, layerConf().getNIn())
          .assign(steps(timeMajor, from, to));
      if (layerConf().getInputActivationQuantization() != null) {
        inputQuantizer.quantize(
            layerConf().getInputActivationQuantization(), x.all(), x.all(), layerId());
      }
      dropout =
          training
              ? DropoutMask.apply(
                  layerConf().getIDropout(),
                  x.all(),
                  mask,
                  conf().getSeed(),
                  getIterationCount(),
                  getIndex())
              : null;
      recur(w, rw, b, h, c, (int) (to - from), batch);
      steps(out, from, to)
          .assign(
              hidden.steps(1, to - from + 1).reshape('c', to - from, batch, layerConf().getNOut()));
      h = detachedCopy(hidden.step((int) (to - from)));
      c = detachedCopy(cells.step((int) (to - from)));
    }
    tape = new Pass(input, training, getIterationCount(), w, rw, dropout, h, c);
    return out.permute(1, 2, 0);
  }

  private static INDArray steps(INDArray timeMajor, long from, long to) {
    return timeMajor.get(NDArrayIndex.interval(from, to), NDArrayIndex.all(), NDArrayIndex.all());
  }

  /** Runs the cell over the steps in {@link #x}; leaves the tape. */
  private void recur(
      INDArray w, INDArray rw, INDArray b, INDArray h0, INDArray c0, int time, long batch) {
    long units = layerConf().getNOut();
    Quantization quantization = layerConf().getRecurrentActivationQuantization();
    gates.resize(dataType, time, batch, 4, units);
    cells.resize(dataType, time + 1, batch, 1, units);
    cellTanh.resize(dataType, time, batch, 1, units);
    hidden.resize(dataType, time + 1, batch, 1, units);
    if (quantization != null) {
      hiddenCodes.resize(dataType, time, batch, 1, units);
    }
    INDArray sum = carry.get(dataType, batch, units);

    TimeMajor.multiply(x.all(), false, w, true, gates.all(), 1, 0);
    gates.all().addiRowVector(b);
    start(hidden.step(0), h0);
    start(cells.step(0), c0);
    for (int t = 0; t < time; t++) {
      INDArray consumed = hidden.step(t);
      if (quantization != null) {
        consumed = hiddenCodes.step(t);
        hiddenQuantizer.quantize(quantization, hidden.step(t), consumed, layerId());
      }
      TimeMajor.multiply(consumed, false, rw, true, gates.step(t), 1, 1);
      INDArray candidate = gates.part(t, CANDIDATE);
      Nd4j.exec(new Tanh(candidate, candidate));
      for (int gate : new int[] {FORGET, OUTPUT, INPUT}) {
        Nd4j.exec(new Sigmoid(gates.part(t, gate), gates.part(t, gate)));
      }
      INDArray c = cells.step(t + 1);
      cells.step(t).muli(gates.part(t, FORGET), c);
      c.addi(candidate.muli(gates.part(t, INPUT), sum));
      Nd4j.exec(new Tanh(c, cellTanh.step(t)));
      cellTanh.step(t).muli(gates.part(t, OUTPUT), hidden.step(t + 1));
    }
  }

  private static void start(INDArray into, INDArray state) {
    if (state == null) {
      into.assign(0);
    } else {
      into.assign(state);
    }
  }

  private static INDArray detachedCopy(INDArray array) {
    try (MemoryWorkspace none = Nd4j.getMemoryManager().scopeOutOfWorkspaces()) {
      return array.dup('c');
    }
  }

  private void check(INDArray state) {
    if (input.rank() != 3 || input.size(1) != layerConf().getNIn()) {
      throw new IllegalArgumentException(
          "%s takes input [batch, %d, time], got %s"
              .formatted(layerId(), layerConf().getNIn(), Arrays.toString(input.shape())));
    }
    if (maskArray != null) {
      throw new UnsupportedOperationException(
          layerId() + " takes no mask of its own (as in Bidirectional): mask the labels");
    }
    if (state != null && state.size(0) != input.size(0)) {
      throw new IllegalStateException(
          "%s carries the state of a batch of %d, the input has a batch of %d: clear the state first"
              .formatted(layerId(), state.size(0), input.size(0)));
    }
  }

  /** A parameter matrix [n, 4H] as quantized rows [4H, n]. */
  private INDArray weights(
      String key,
      Scratch scratch,
      RowQuantizer quantizer,
      boolean training,
      LayerWorkspaceMgr workspaceMgr) {
    INDArray rows = getParamWithNoise(key, training, workspaceMgr).transpose();
    if (layerConf().getWeightQuantization() == null) {
      return rows;
    }
    INDArray quantized = scratch.get(dataType, rows.shape());
    quantizer.quantize(layerConf().getWeightQuantization(), rows, quantized, layerId());
    return quantized;
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
      carriedHidden = tape.lastHidden;
      carriedCell = tape.lastCell;
    }
    return result;
  }

  @Override
  public Pair<Gradient, INDArray> tbpttBackpropGradient(
      INDArray epsilon, int tbpttBackLength, LayerWorkspaceMgr workspaceMgr) {
    assertInputSet(true);
    refuseStatefulTruncatedBptt(true);
    if (!tapeIsOfThisInput()) {
      forward(true, stateMap.get(HIDDEN), stateMap.get(CELL), workspaceMgr);
    }
    keepLast(tBpttStateMap);
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
    Steps dz = gateGradients.resize(dataType, time, batch, 4, units);
    Steps dh = hiddenGradients.resize(dataType, time, batch, 1, units);
    Steps dc = cellGradients.resize(dataType, time, batch, 1, units);
    dh.all().reshape('c', time, batch, units).assign(epsilon.permute(2, 0, 1));

    // The factors that do not depend on what flows back, for all steps at once:
    // dz_candidate = dc i (1 - g^2), dz_forget = dc c' f (1 - f), dz_output = dh tanh(c) o (1 - o),
    // dz_input = dc g i (1 - i), and dc = dh o (1 - tanh(c)^2) + what flows back.
    INDArray candidate = gates.part(CANDIDATE);
    INDArray forget = gates.part(FORGET);
    INDArray output = gates.part(OUTPUT);
    INDArray in = gates.part(INPUT);
    candidate.muli(candidate, dz.part(CANDIDATE)).rsubi(1).muli(in);
    forget.rsubi(1, dz.part(FORGET)).muli(forget).muli(cells.steps(0, time));
    output.rsubi(1, dz.part(OUTPUT)).muli(output).muli(cellTanh.all());
    in.rsubi(1, dz.part(INPUT)).muli(in).muli(candidate);
    cellTanh.all().muli(cellTanh.all(), dc.all()).rsubi(1).muli(output);

    INDArray flowsBack = carry.get(dataType, batch, units);
    for (int t = time - 1; t >= first; t--) {
      if (t < time - 1) {
        TimeMajor.multiply(dz.step(t + 1), false, tape.rw, false, dh.step(t), 1, 1);
      }
      INDArray dct = dc.step(t).muli(dh.step(t));
      if (t < time - 1) {
        dct.addi(flowsBack);
      }
      dz.part(t, CANDIDATE).muli(dct);
      dz.part(t, FORGET).muli(dct);
      dz.part(t, OUTPUT).muli(dh.step(t));
      dz.part(t, INPUT).muli(dct);
      dct.muli(gates.part(t, FORGET), flowsBack);
    }
    if (first > 0) {
      dz.steps(0, first).assign(0);
    }

    INDArray dW = gradientViews.get(LSTMParams.INPUT_WEIGHTS);
    INDArray dRW = gradientViews.get(LSTMParams.RECURRENT_WEIGHTS);
    INDArray db = gradientViews.get(LSTMParams.BIAS);
    INDArray consumed =
        layerConf().getRecurrentActivationQuantization() == null
            ? hidden.steps(0, time)
            : hiddenCodes.all();
    TimeMajor.multiply(dz.all(), true, x.all(), false, dW.transpose(), 1, 0);
    TimeMajor.multiply(dz.all(), true, consumed, false, dRW.transpose(), 1, 0);
    dz.all().sum(db, 0);
    Gradient gradient = new DefaultGradient();
    gradient.setGradientFor(LSTMParams.INPUT_WEIGHTS, dW);
    gradient.setGradientFor(LSTMParams.RECURRENT_WEIGHTS, dRW);
    gradient.setGradientFor(LSTMParams.BIAS, db);

    INDArray dx =
        workspaceMgr.createUninitialized(
            ArrayType.ACTIVATION_GRAD,
            dataType,
            new long[] {time * batch, layerConf().getNIn()},
            'c');
    TimeMajor.multiply(dz.all(), false, tape.w, false, dx, 1, 0);
    if (tape.dropout != null) {
      dx.muli(tape.dropout.castTo(dataType));
    }
    weightNoiseParams.clear();
    return new Pair<>(gradient, TimeMajor.sequence(dx, batch));
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

  /** As in DL4J's LSTM, masks go through: masked steps are left to the loss. */
  @Override
  public Pair<INDArray, MaskState> feedForwardMaskArray(
      INDArray maskArray, MaskState currentMaskState, int minibatchSize) {
    return new Pair<>(maskArray, MaskState.Passthrough);
  }
}

package org.multibit.layers;

import java.util.Arrays;
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
import org.nd4j.linalg.api.ndarray.INDArray;
import org.nd4j.linalg.indexing.INDArrayIndex;
import org.nd4j.linalg.indexing.NDArrayIndex;
import org.nd4j.linalg.ops.transforms.Transforms;

/**
 * Computes {@link QuantizedLSTM}.
 *
 * <p>Inside, sequences are time-major rows [T*B, .]. The input product and both weight gradients
 * are one matrix product each over all time steps. A forward pass in training keeps what the
 * backward pass needs (the tape) in memory that is reused from one iteration to the next.
 */
public final class QuantizedLSTMLayer extends BaseRecurrentLayer<QuantizedLSTM> {
  private static final String HIDDEN = "prevAct";
  private static final String CELL = "prevMem";

  private final Scratch inputWeights = new Scratch();
  private final Scratch recurrentWeights = new Scratch();
  private final Scratch inputScratch = new Scratch();
  private final Scratch maskScratch = new Scratch();
  private final Scratch gatesScratch = new Scratch();
  private final Scratch cellsScratch = new Scratch();
  private final Scratch cellTanhScratch = new Scratch();
  private final Scratch hiddenScratch = new Scratch();
  private final Scratch gateGradientScratch = new Scratch();

  private Tape tape;
  private INDArray carriedHidden;
  private INDArray carriedCell;

  /**
   * What one forward pass leaves for the backward pass.
   *
   * @param of the input [B, nIn, T] that it belongs to
   * @param x quantized input after dropout, [T*B, nIn]
   * @param mask dropout mask of x; null without dropout
   * @param w quantized W, as rows [4H, nIn]
   * @param rw quantized RW, as rows [4H, H]
   * @param gates candidate, forget, output, input after their non-linearities, [T*B, 4H]
   * @param cells c_0 .. c_T, [(T+1)*B, H]
   * @param cellTanh tanh of c_1 .. c_T, [T*B, H]
   * @param hidden quantized h_0 .. h_{T-1} as they went into the products, [T*B, H]
   * @param lastHidden h_T, [B, H], detached
   * @param lastCell c_T, [B, H], detached
   */
  private record Tape(
      INDArray of,
      int iteration,
      INDArray x,
      INDArray mask,
      INDArray w,
      INDArray rw,
      INDArray gates,
      INDArray cells,
      INDArray cellTanh,
      INDArray hidden,
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

  /** Sets what the next {@code fit} of a stateful layer starts from, each [B, H]. */
  public void setCarriedState(INDArray hidden, INDArray cell) {
    carriedHidden = hidden.detach();
    carriedCell = cell.detach();
  }

  /** The next {@code fit} starts from zeros. */
  public void clearCarriedState() {
    carriedHidden = null;
    carriedCell = null;
  }

  @Override
  public INDArray activate(boolean training, LayerWorkspaceMgr workspaceMgr) {
    assertInputSet(false);
    boolean carry = training && layerConf().isStateful();
    return forward(
        training, carry ? carriedHidden : null, carry ? carriedCell : null, workspaceMgr);
  }

  @Override
  public INDArray rnnTimeStep(INDArray input, LayerWorkspaceMgr workspaceMgr) {
    setInput(input, workspaceMgr);
    INDArray out = forward(false, stateMap.get(HIDDEN), stateMap.get(CELL), workspaceMgr);
    stateMap.put(HIDDEN, tape.lastHidden);
    stateMap.put(CELL, tape.lastCell);
    return out;
  }

  @Override
  public INDArray rnnActivateUsingStoredState(
      INDArray input, boolean training, boolean storeLastForTBPTT, LayerWorkspaceMgr workspaceMgr) {
    setInput(input, workspaceMgr);
    INDArray out = forward(training, stateMap.get(HIDDEN), stateMap.get(CELL), workspaceMgr);
    if (storeLastForTBPTT) {
      keepForTruncatedBptt();
    }
    return out;
  }

  private void keepForTruncatedBptt() {
    tBpttStateMap.put(HIDDEN, tape.lastHidden);
    tBpttStateMap.put(CELL, tape.lastCell);
  }

  /** Output [B, H, T] in the ACTIVATIONS workspace. */
  private INDArray forward(
      boolean training, INDArray startHidden, INDArray startCell, LayerWorkspaceMgr workspaceMgr) {
    check();
    long batch = input.size(0);
    long time = input.size(2);
    long units = layerConf().getNOut();
    checkState(startHidden, batch, units);

    INDArray w = weights(LSTMParams.INPUT_WEIGHTS, inputWeights, training, workspaceMgr);
    INDArray rw = weights(LSTMParams.RECURRENT_WEIGHTS, recurrentWeights, training, workspaceMgr);
    INDArray b = getParamWithNoise(LSTMParams.BIAS, training, workspaceMgr);
    INDArray x = inputScratch.get(dataType, time * batch, layerConf().getNIn());
    quantize(layerConf().getInputActivationQuantization(), TimeMajor.rows(input), x);
    INDArray mask = training ? dropoutMask(x) : null;
    if (mask != null) {
      x.muli(mask);
    }

    INDArray gates = gatesScratch.get(dataType, time * batch, 4 * units);
    TimeMajor.multiply(x, false, w, true, gates, 0);
    gates.addiRowVector(b);
    INDArray cells = cellsScratch.get(dataType, (time + 1) * batch, units);
    INDArray cellTanh = cellTanhScratch.get(dataType, time * batch, units);
    INDArray hidden = hiddenScratch.get(dataType, time * batch, units);
    INDArray out =
        workspaceMgr.createUninitialized(
            ArrayType.ACTIVATIONS, dataType, new long[] {time * batch, units}, 'c');
    start(TimeMajor.step(cells, 0, batch), startCell);

    INDArray h = startHidden;
    for (long t = 0; t < time; t++) {
      INDArray consumed = TimeMajor.step(hidden, t, batch);
      if (h == null) {
        consumed.assign(0);
      } else {
        quantize(layerConf().getRecurrentActivationQuantization(), h, consumed);
      }
      INDArray z = TimeMajor.step(gates, t, batch);
      TimeMajor.multiply(consumed, false, rw, true, z, 1);
      INDArray candidate = gate(z, 0);
      Transforms.tanh(candidate, false);
      Transforms.sigmoid(z.get(NDArrayIndex.all(), NDArrayIndex.interval(units, 4 * units)), false);
      INDArray c = TimeMajor.step(cells, t + 1, batch);
      c.assign(TimeMajor.step(cells, t, batch)).muli(gate(z, 1)).addi(candidate.mul(gate(z, 3)));
      INDArray cTanh = TimeMajor.step(cellTanh, t, batch);
      cTanh.assign(c);
      Transforms.tanh(cTanh, false);
      h = TimeMajor.step(out, t, batch);
      h.assign(cTanh).muli(gate(z, 2));
    }
    tape =
        new Tape(
            input,
            getIterationCount(),
            x,
            mask,
            w,
            rw,
            gates,
            cells,
            cellTanh,
            hidden,
            h.dup('c').detach(),
            TimeMajor.step(cells, time, batch).dup('c').detach());
    return TimeMajor.sequence(out, batch);
  }

  private void check() {
    if (input.rank() != 3 || input.size(1) != layerConf().getNIn()) {
      throw new IllegalArgumentException(
          "%s takes input [batch, %d, time], got %s"
              .formatted(layerId(), layerConf().getNIn(), Arrays.toString(input.shape())));
    }
    if (maskArray != null) {
      throw new UnsupportedOperationException(
          "Masks are not supported by QuantizedLSTM " + layerId());
    }
  }

  private void checkState(INDArray state, long batch, long units) {
    if (state != null && (state.size(0) != batch || state.size(1) != units)) {
      throw new IllegalStateException(
          "%s carries a state of shape %s, the input has a batch of %d: clear the state first"
              .formatted(layerId(), Arrays.toString(state.shape()), batch));
    }
  }

  private static void start(INDArray into, INDArray state) {
    if (state == null) {
      into.assign(0);
    } else {
      into.assign(state);
    }
  }

  /** A parameter matrix [n, 4H] as quantized rows [4H, n]. */
  private INDArray weights(
      String key, Scratch scratch, boolean training, LayerWorkspaceMgr workspaceMgr) {
    INDArray rows = getParamWithNoise(key, training, workspaceMgr).transpose();
    Quantization quantization = layerConf().getWeightQuantization();
    if (quantization == null) {
      return rows;
    }
    INDArray quantized = scratch.get(dataType, rows.shape());
    quantize(quantization, rows, quantized);
    return quantized;
  }

  private static void quantize(Quantization quantization, INDArray from, INDArray into) {
    if (quantization == null) {
      into.assign(from);
    } else {
      quantization.quantizeTo(from, into);
    }
  }

  private INDArray dropoutMask(INDArray x) {
    double retain = DropoutMask.retain(layerConf().getIDropout());
    if (retain == 1) {
      return null;
    }
    INDArray mask = maskScratch.get(dataType, x.shape());
    DropoutMask.fill(mask, retain, conf().getSeed(), getIterationCount(), getIndex());
    return mask;
  }

  /** Columns of one gate: 0 candidate, 1 forget, 2 output, 3 input. */
  private static INDArray gate(INDArray gates, long index) {
    long units = gates.size(1) / 4;
    INDArrayIndex columns = NDArrayIndex.interval(index * units, (index + 1) * units);
    return gates.get(NDArrayIndex.all(), columns);
  }

  @Override
  public Pair<Gradient, INDArray> backpropGradient(
      INDArray epsilon, LayerWorkspaceMgr workspaceMgr) {
    Pair<Gradient, INDArray> result = backward(epsilon, -1, workspaceMgr);
    if (layerConf().isStateful()) {
      setCarriedState(tape.lastHidden, tape.lastCell);
    }
    return result;
  }

  @Override
  public Pair<Gradient, INDArray> tbpttBackpropGradient(
      INDArray epsilon, int tbpttBackLength, LayerWorkspaceMgr workspaceMgr) {
    if (tape == null || tape.of != input || tape.iteration != getIterationCount()) {
      forward(true, stateMap.get(HIDDEN), stateMap.get(CELL), workspaceMgr);
    }
    keepForTruncatedBptt();
    return backward(epsilon, tbpttBackLength, workspaceMgr);
  }

  /**
   * @param epsilon dL/dh from above, [B, H, T]
   * @param backLength steps from the end that gradients flow through; -1 = all
   */
  private Pair<Gradient, INDArray> backward(
      INDArray epsilon, int backLength, LayerWorkspaceMgr workspaceMgr) {
    assertInputSet(true);
    if (tape == null || tape.of != input || tape.iteration != getIterationCount()) {
      activate(true, workspaceMgr);
    }
    long batch = input.size(0);
    long time = input.size(2);
    long units = layerConf().getNOut();
    INDArray fromAbove = TimeMajor.rows(epsilon);
    INDArray dz = gateGradientScratch.get(dataType, time * batch, 4 * units);
    long first = backLength < 0 ? 0 : Math.max(0, time - backLength);
    if (first > 0) {
      dz.get(NDArrayIndex.interval(0, first * batch), NDArrayIndex.all()).assign(0);
    }

    INDArray dhNext = null;
    INDArray dcNext = null;
    for (long t = time - 1; t >= first; t--) {
      INDArray gates = TimeMajor.step(tape.gates, t, batch);
      INDArray candidate = gate(gates, 0);
      INDArray forget = gate(gates, 1);
      INDArray output = gate(gates, 2);
      INDArray in = gate(gates, 3);
      INDArray cTanh = TimeMajor.step(tape.cellTanh, t, batch);
      INDArray d = TimeMajor.step(dz, t, batch);

      INDArray dh = TimeMajor.step(fromAbove, t, batch).dup('c');
      if (dhNext != null) {
        dh.addi(dhNext);
      }
      // dc = dh * o * (1 - tanh(c)^2) + dc'
      INDArray dc = dh.mul(output).muli(cTanh.mul(cTanh).rsubi(1));
      if (dcNext != null) {
        dc.addi(dcNext);
      }
      gate(d, 0).assign(dc.mul(in).muli(candidate.mul(candidate).rsubi(1)));
      gate(d, 1).assign(dc.mul(TimeMajor.step(tape.cells, t, batch)).muli(slope(forget)));
      gate(d, 2).assign(dh.muli(cTanh).muli(slope(output)));
      gate(d, 3).assign(dc.mul(candidate).muli(slope(in)));
      dcNext = dc.muli(forget);
      if (t > first) {
        dhNext = dhNext == null ? dh.ulike() : dhNext;
        TimeMajor.multiply(d, false, tape.rw, false, dhNext, 0);
      }
    }

    INDArray dW = gradientViews.get(LSTMParams.INPUT_WEIGHTS);
    INDArray dRW = gradientViews.get(LSTMParams.RECURRENT_WEIGHTS);
    INDArray db = gradientViews.get(LSTMParams.BIAS);
    TimeMajor.multiply(dz, true, tape.x, false, dW.transpose(), 0);
    TimeMajor.multiply(dz, true, tape.hidden, false, dRW.transpose(), 0);
    dz.sum(db, 0);
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
    TimeMajor.multiply(dz, false, tape.w, false, dx, 0);
    if (tape.mask != null) {
      dx.muli(tape.mask);
    }
    weightNoiseParams.clear();
    return new Pair<>(gradient, TimeMajor.sequence(dx, batch));
  }

  /** s (1 - s), the slope of a sigmoid of value s. */
  private static INDArray slope(INDArray s) {
    return s.rsub(1).muli(s);
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

  @Override
  public Pair<INDArray, MaskState> feedForwardMaskArray(
      INDArray maskArray, MaskState currentMaskState, int minibatchSize) {
    return new Pair<>(maskArray, MaskState.Passthrough);
  }
}

package org.multibit.core;

import java.nio.Buffer;
import java.nio.ByteOrder;
import java.nio.FloatBuffer;
import java.nio.IntBuffer;
import java.nio.LongBuffer;

/**
 * What every implementation of {@link Kernels} checks before it starts, with the same words: native
 * code must not run past a buffer, and indices must not overflow.
 */
public final class KernelChecks {
  private KernelChecks() {}

  public static void quantize(Quantizer quantizer, FloatBuffer rows, MultibitMatrix into) {
    quantizer.checkBits(into.bits());
    size("The rows", rows, into.rows(), into.cols());
  }

  public static void dequantize(MultibitMatrix matrix, FloatBuffer out) {
    size("The output", out, matrix.rows(), matrix.cols());
  }

  public static void multiply(MultibitMatrix weights, MultibitMatrix activations, FloatBuffer out) {
    operands(weights, activations);
    size("The output", out, activations.rows(), weights.rows());
  }

  private static void operands(MultibitMatrix weights, MultibitMatrix activations) {
    lanes("Weights", weights, MultibitMatrix.WEIGHT_LANES);
    lanes("Activations", activations, MultibitMatrix.ACTIVATION_LANES);
    if (weights.cols() != activations.cols()) {
      throw new IllegalArgumentException(
          "Weights have %s columns, activations %s".formatted(weights.cols(), activations.cols()));
    }
  }

  public static void multiply(
      MultibitMatrix weights, FloatBuffer activations, int batch, FloatBuffer out) {
    lanes("Weights", weights, MultibitMatrix.WEIGHT_LANES);
    size("The activations", activations, batch, weights.cols());
    size("The output", out, batch, weights.rows());
  }

  public static void softmaxCrossEntropy(
      FloatBuffer logits, int classes, IntBuffer labels, FloatBuffer losses) {
    softmax(logits, labels.remaining(), classes);
    size("The losses", losses, labels.remaining(), 1);
    labels(labels, classes);
  }

  private static void labels(IntBuffer labels, int classes) {
    for (int r = 0; r < labels.remaining(); r++) {
      int label = labels.get(labels.position() + r);
      if (label < 0 || label >= classes) {
        throw new IllegalArgumentException(
            "The label of row %s is %s, outside 0..%s".formatted(r, label, classes - 1));
      }
    }
  }

  public static void distill(
      FloatBuffer logits,
      FloatBuffer teacher,
      int classes,
      IntBuffer labels,
      float weight,
      float temperature,
      FloatBuffer losses) {
    softmaxCrossEntropy(logits, classes, labels, losses);
    size("The teacher's logits", teacher, labels.remaining(), classes);
    if (!(weight >= 0 && weight <= 1) || !(temperature > 0 && temperature < Float.MAX_VALUE)) {
      throw new IllegalArgumentException(
          "Distillation takes a weight from 0 to 1 and a temperature above 0, not %s and %s"
              .formatted(weight, temperature));
    }
  }

  public static void softmax(FloatBuffer logits, int rows, int classes) {
    size("The logits", logits, rows, classes);
  }

  public static void multiply(
      MultibitMatrix weights,
      MultibitMatrix activations,
      LongBuffer masks,
      FloatBuffer start,
      FloatBuffer out) {
    operands(weights, activations, masks, start);
    size("The output", out, activations.rows(), weights.rows());
  }

  private static void operands(
      MultibitMatrix weights, MultibitMatrix activations, LongBuffer masks, FloatBuffer start) {
    operands(weights, activations);
    if (masks != null) {
      masks(masks, activations.rows(), activations.cols());
    }
    if (start != null) {
      size("The start", start, weights.rows(), 1);
    }
  }

  public static void softmaxBackward(
      MultibitMatrix weights,
      MultibitMatrix activations,
      LongBuffer masks,
      FloatBuffer start,
      IntBuffer labels,
      FloatBuffer factors,
      FloatBuffer x,
      FloatBuffer memory,
      int floats,
      FloatBuffer losses,
      FloatBuffer weightGradient,
      FloatBuffer startGradient,
      FloatBuffer inputGradient) {
    operands(weights, activations, masks, start);
    if (start == null || labels.remaining() != activations.rows()) {
      throw new IllegalArgumentException(
          "Logits need a start, and a label for each of %s rows, not %s"
              .formatted(activations.rows(), labels.remaining()));
    }
    softmaxBackward(
        weights.rows(),
        weights.cols(),
        labels,
        factors,
        x,
        memory,
        floats,
        losses,
        weightGradient,
        startGradient,
        inputGradient);
  }

  public static void softmaxBackward(
      FloatBuffer weights,
      FloatBuffer panels,
      int cols,
      FloatBuffer start,
      IntBuffer labels,
      FloatBuffer factors,
      FloatBuffer x,
      FloatBuffer memory,
      int floats,
      FloatBuffer losses,
      FloatBuffer weightGradient,
      FloatBuffer startGradient,
      FloatBuffer inputGradient) {
    if (start == null || labels.remaining() == 0) {
      throw new IllegalArgumentException("Logits need a start, and rows with labels");
    }
    size("The start", start, start.remaining(), 1);
    size("The weights", weights, start.remaining(), cols);
    size("The panels", panels, Kernels.panelFloats(cols, start.remaining()), 1);
    softmaxBackward(
        start.remaining(),
        cols,
        labels,
        factors,
        x,
        memory,
        floats,
        losses,
        weightGradient,
        startGradient,
        inputGradient);
  }

  private static void softmaxBackward(
      int classes,
      int cols,
      IntBuffer labels,
      FloatBuffer factors,
      FloatBuffer x,
      FloatBuffer memory,
      int floats,
      FloatBuffer losses,
      FloatBuffer weightGradient,
      FloatBuffer startGradient,
      FloatBuffer inputGradient) {
    int batch = labels.remaining();
    labels(labels, classes);
    size("The factors", factors, batch, 1);
    size("The activations' values", x, batch, cols);
    if (floats > 0) {
      size("The memory", memory, floats, 1);
    }
    size("The losses", losses, batch, 1);
    size("The weights' gradient", weightGradient, classes, cols);
    if (startGradient != null) {
      size("The start's gradient", startGradient, classes, 1);
    }
    size("The input's gradient", inputGradient, batch, cols);
  }

  public static void dropoutMasks(double retain, int rows, int cols, LongBuffer masks) {
    if (!(retain >= 0 && retain <= 1)) {
      throw new IllegalArgumentException("A probability is from 0 to 1, not " + retain);
    }
    masks(masks, rows, cols);
  }

  public static void drop(LongBuffer masks, int rows, int cols, FloatBuffer x) {
    masks(masks, rows, cols);
    size("The elements", x, rows, cols);
  }

  private static void masks(LongBuffer masks, int rows, int cols) {
    size("The masks", masks, rows, (cols + 63) / 64);
  }

  /** Whole rows, each as long as {@code row}. */
  public static void rows(FloatBuffer row, FloatBuffer rows) {
    size("The row", row, 1, 1);
    size("The rows", rows, rows.remaining() / row.remaining(), row.remaining());
    if (rows.remaining() % row.remaining() != 0) {
      throw new IllegalArgumentException(
          "%s elements are no whole rows of %s".formatted(rows.remaining(), row.remaining()));
    }
  }

  public static void addRows(FloatBuffer rows, IntBuffer index, int cols, FloatBuffer into) {
    size("The rows", rows, index.remaining(), cols);
    int count = into.remaining() / cols;
    size("The sums", into, count, cols);
    for (int i = index.position(); i < index.limit(); i++) {
      if (index.get(i) < 0 || index.get(i) >= count) {
        throw new IllegalArgumentException(
            "Row %s is added to row %s, outside 0..%s"
                .formatted(i - index.position(), index.get(i), count - 1));
      }
    }
  }

  public static void multiply(
      FloatBuffer a, FloatBuffer b, int rows, int inner, int cols, FloatBuffer c) {
    size("The left matrix", a, rows, inner);
    size("The right matrix", b, inner, cols);
    size("The output", c, rows, cols);
  }

  public static void makePanels(FloatBuffer w, int inner, int cols, FloatBuffer panels) {
    size("The weights", w, inner, cols);
    size("The panels", panels, Kernels.panelFloats(inner, cols), 1);
  }

  public static void multiplyPanels(
      FloatBuffer x,
      int batch,
      int inner,
      FloatBuffer panels,
      int cols,
      FloatBuffer start,
      FloatBuffer out) {
    size("The activations", x, batch, inner);
    if (start != null) {
      size("The start", start, 1, cols);
    }
    size("The panels", panels, Kernels.panelFloats(inner, cols), 1);
    size("The output", out, batch, cols);
  }

  public static void vector(FloatBuffer x) {
    size("The elements", x, x.remaining(), 1);
  }

  /** Returns the number of time steps: of {@code gates}, [steps * batch, 4 units]. */
  public static int lstmSteps(
      int batch,
      int units,
      FloatBuffer gates,
      FloatBuffer hidden,
      FloatBuffer cells,
      FloatBuffer cellTanh) {
    int rows = stepRows(batch, units, 4, gates);
    size("The hidden states", hidden, rows + batch, units);
    size("The cells", cells, rows + batch, units);
    size("The cells' tanh", cellTanh, rows, units);
    return rows / batch;
  }

  /** Returns the number of time steps: of {@code gates}, [steps * batch, 3 units]. */
  public static int gruSteps(
      int batch, int units, FloatBuffer gates, FloatBuffer recurrent, FloatBuffer hidden) {
    int rows = stepRows(batch, units, 3, gates);
    size("The recurrent sums", recurrent, rows, 3 * units);
    size("The hidden states", hidden, rows + batch, units);
    return rows / batch;
  }

  private static int stepRows(int batch, int units, int gatesPerUnit, FloatBuffer gates) {
    if (batch < 1 || units < 1) {
      throw new IllegalArgumentException(
          "A cell has at least one unit and a batch of one, not %s and %s".formatted(units, batch));
    }
    int cols = Math.multiplyExact(gatesPerUnit, units);
    int rows = gates.remaining() / cols;
    size("The gates", gates, rows / batch * batch, cols);
    return rows;
  }

  public static void stepPanels(FloatBuffer panels, int inner, int cols) {
    size("The panels", panels, Kernels.panelFloats(inner, cols), 1);
  }

  public static void stepCodes(
      Quantizer quantizer,
      int gatesPerUnit,
      MultibitMatrix weights,
      MultibitMatrix codes,
      int batch,
      int steps) {
    int units = codes.cols();
    quantizer.checkBits(codes.bits());
    if (codes.lanes() != MultibitMatrix.ACTIVATION_LANES
        || codes.rows() != steps * batch
        || weights.lanes() != MultibitMatrix.WEIGHT_LANES
        || weights.rows() != gatesPerUnit * units
        || weights.cols() != units) {
      throw new IllegalArgumentException(
          "Weights [%s, %s] and codes [%s, %s] of %s bits do not fit %s steps of a batch of %s"
              .formatted(
                  weights.rows(), weights.cols(), codes.rows(), units, codes.bits(), steps, batch));
    }
  }

  /** Returns the number of time steps. */
  public static int lstmBackwardSteps(
      int first,
      int batch,
      int units,
      FloatBuffer gates,
      FloatBuffer cells,
      FloatBuffer cellTanh,
      FloatBuffer hiddenGradients,
      FloatBuffer cellGradient,
      FloatBuffer gateGradients) {
    int rows = stepRows(batch, units, 4, gates);
    size("The cells", cells, rows + batch, units);
    size("The cells' tanh", cellTanh, rows, units);
    size("The hidden states' gradients", hiddenGradients, rows, units);
    size("The cell's gradient", cellGradient, batch, units);
    size("The gates' gradients", gateGradients, rows, 4 * units);
    firstStep(first, rows / batch);
    return rows / batch;
  }

  /** Returns the number of time steps. */
  public static int gruBackwardSteps(
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
    int steps = gruSteps(batch, units, gates, recurrent, hidden);
    size("The hidden states' gradients", hiddenGradients, steps * batch, units);
    size("The carried gradient", carriedGradient, batch, units);
    size("The gates' gradients", gateGradients, steps * batch, 3 * units);
    size("The recurrent sums' gradients", recurrentGradients, steps * batch, 3 * units);
    firstStep(first, steps);
    return steps;
  }

  private static void firstStep(int first, int steps) {
    if (first < 0 || first > steps) {
      throw new IllegalArgumentException(
          "Step %s is none of a sequence of %s".formatted(first, steps));
    }
  }

  /** Returns the number of rows of a step: of {@code states}, [B, units]. */
  public static int lstm(int units, FloatBuffer[] gates, FloatBuffer... states) {
    return cell(units, 4, gates, states);
  }

  /** As {@link #lstm}. */
  public static int gru(int units, FloatBuffer[] gates, FloatBuffer... states) {
    return cell(units, 3, gates, states);
  }

  private static int cell(int units, int gatesPerUnit, FloatBuffer[] gates, FloatBuffer[] states) {
    if (units < 1) {
      throw new IllegalArgumentException("A cell has at least one unit, not " + units);
    }
    int rows = states[0].remaining() / units;
    for (FloatBuffer state : states) {
      size("The states", state, rows, units);
    }
    for (FloatBuffer gate : gates) {
      size("The gates", gate, rows, Math.multiplyExact(gatesPerUnit, units));
    }
    return rows;
  }

  private static void lanes(String what, MultibitMatrix matrix, int lanes) {
    if (matrix.lanes() != lanes) {
      throw new IllegalArgumentException(
          "%s must lie in the layout of %s rows side by side, not %s"
              .formatted(what, lanes, matrix.lanes()));
    }
  }

  private static void size(String what, Buffer buffer, int rows, int cols) {
    if (rows < 0 || cols < 1 || buffer.remaining() < (long) rows * cols) {
      throw new IllegalArgumentException(
          "%s have %s elements, not %s x %s".formatted(what, buffer.remaining(), rows, cols));
    }
    if (!buffer.isDirect() || order(buffer) != ByteOrder.nativeOrder()) {
      throw new IllegalArgumentException(what + " must be in direct memory, in native byte order");
    }
  }

  private static ByteOrder order(Buffer buffer) {
    if (buffer instanceof FloatBuffer floats) {
      return floats.order();
    }
    return buffer instanceof IntBuffer ints ? ints.order() : ((LongBuffer) buffer).order();
  }
}

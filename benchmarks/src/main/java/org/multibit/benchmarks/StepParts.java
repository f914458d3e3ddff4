package org.multibit.benchmarks;

/**
 * Which part of a training step a thread is at, by its stack: the layer or updater that DL4J has
 * called. So it holds whatever the layers do inside.
 */
final class StepParts {
  private StepParts() {}

  static String of(StackTraceElement[] stack) {
    String part = "other";
    // The innermost frame comes first, so that of nested ones the outermost decides.
    for (StackTraceElement frame : stack) {
      String name = frame.getClassName().substring(frame.getClassName().lastIndexOf('.') + 1);
      String method = frame.getMethodName();
      if (method.equals("quantize") || name.equals("RowQuantizer")) {
        return "quantizing";
      }
      if (method.startsWith("applyConstraint")
          || name.contains("Updater")
          || name.endsWith("StepFunction")) {
        return "update";
      }
      if (name.contains("Embedding")) {
        part = "embedding";
      } else if (name.contains("LSTM") || name.contains("RecurrentLayer")) {
        part = method.contains("ackprop") ? "LSTM backward" : "LSTM forward";
      } else if (name.contains("SoftmaxOutput") || name.startsWith("RnnOutput")) {
        part = "softmax output";
      }
    }
    return part;
  }
}

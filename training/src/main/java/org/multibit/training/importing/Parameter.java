package org.multibit.training.importing;

import java.util.Arrays;
import org.nd4j.linalg.api.buffer.DataType;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.nd4j.linalg.factory.Nd4j;
import org.nd4j.linalg.indexing.NDArrayIndex;

/**
 * An array of weights to import.
 *
 * @param name as the source has it, for messages
 * @param values FLOAT, every element finite
 */
record Parameter(String name, INDArray values) {
  /**
   * @throws Refusal if an element is NaN or infinite, or rounds to infinity
   */
  Parameter {
    // A copy in 'c' order: it does not keep a whole network alive, and no view is taken of a view.
    values = values.castTo(DataType.FLOAT).dup('c');
    if (values.isNaN().any() || values.isInfinite().any()) {
      throw new Refusal(
          name + " holds NaN or infinite values: the model has diverged or is damaged");
    }
  }

  static Parameter of(String name, float[] values, long... shape) {
    return new Parameter(name, Nd4j.create(values, shape, 'c'));
  }

  static Parameter zeros(String name, long... shape) {
    return new Parameter(name, Nd4j.zeros(DataType.FLOAT, shape));
  }

  /**
   * Returns this parameter if it has the shape.
   *
   * @throws Refusal with name, shape and expected shape
   */
  Parameter require(long... shape) {
    requireShape(name, values.shape(), shape);
    return this;
  }

  static void requireShape(String name, long[] shape, long... expected) {
    if (!Arrays.equals(shape, expected)) {
      throw new Refusal(
          "%s has shape %s, expected %s"
              .formatted(name, Arrays.toString(shape), Arrays.toString(expected)));
    }
  }

  Parameter transposed() {
    return new Parameter(name, values.transpose());
  }

  /** Reorders rows (or elements) in equal blocks: block g becomes the old block order[g]. */
  Parameter blocks(int... order) {
    long size = values.size(0) / order.length;
    INDArray[] blocks = new INDArray[order.length];
    for (int g = 0; g < order.length; g++) {
      blocks[g] = values.get(NDArrayIndex.interval(order[g] * size, (order[g] + 1) * size));
    }
    return new Parameter(name, Nd4j.concat(0, blocks));
  }
}

package org.multibit.layers;

import java.util.Arrays;
import org.nd4j.linalg.api.buffer.DataType;
import org.nd4j.linalg.api.ndarray.INDArray;

/** Token ids and sparse labels: whole numbers in an array of any type. */
final class ClassIds {
  private ClassIds() {}

  /**
   * The ids in time-major order.
   *
   * @param ids [B, 1, T]
   * @param classes ids are within 0..classes-1
   * @param mask 0 where the id does not matter and is returned as 0, time-major [T*B, 1]; null =
   *     all matter
   * @param what describes an id in the error, for example "layer 0 got token"
   */
  static int[] timeMajor(INDArray ids, long classes, INDArray mask, String what) {
    int batch = Math.toIntExact(ids.size(0));
    int time = Math.toIntExact(ids.size(2));
    INDArray rows = ids.dataType() == DataType.FLOAT ? ids : ids.castTo(DataType.DOUBLE);
    double[] values = rows.dup('c').data().asDouble();
    int[] result = new int[values.length];
    for (int i = 0; i < values.length; i++) {
      if (mask != null && mask.getDouble(i) == 0) {
        continue;
      }
      double id = values[i % batch * time + i / batch];
      result[i] = (int) id;
      if (result[i] != id || result[i] < 0 || result[i] >= classes) {
        throw new IllegalArgumentException(
            "%s %s at batch %s, time %s: ids are whole numbers from 0 to %s"
                .formatted(
                    what,
                    result[i] == id ? String.valueOf(result[i]) : String.valueOf(id),
                    i % ids.size(0),
                    i / ids.size(0),
                    classes - 1));
      }
    }
    return result;
  }

  /**
   * A mask [B, T] as a column [T*B, 1] of the given type, time-major; null stays null.
   *
   * @throws IllegalArgumentException for a mask of another shape
   */
  static INDArray mask(INDArray mask, long batch, long time, DataType type, String layer) {
    if (mask == null) {
      return null;
    }
    if (mask.rank() != 2 || mask.size(0) != batch || mask.size(1) != time) {
      throw new IllegalArgumentException(
          "%s takes a mask of time steps [%s, %s], got %s"
              .formatted(layer, batch, time, Arrays.toString(mask.shape())));
    }
    return mask.castTo(type).transpose().dup('c').reshape('c', batch * time, 1);
  }
}

package org.multibit.layers;

import org.nd4j.linalg.api.ndarray.INDArray;

/** Sequences as time-major rows: converts between DL4J's [B, C, T] (NCW) and [T*B, C]. */
final class TimeMajor {
  private TimeMajor() {}

  /**
   * @param ncw [B, C, T]
   * @return [T*B, C], 'c' order; shares memory if the sequence already has this layout
   */
  static INDArray rows(INDArray ncw) {
    INDArray timeMajor = ncw.permute(2, 0, 1);
    INDArray contiguous = FloatRows.isContiguous(timeMajor) ? timeMajor : timeMajor.dup('c');
    return contiguous.reshape('c', ncw.size(2) * ncw.size(0), ncw.size(1));
  }

  /**
   * @param rows [T*B, C], 'c' order
   * @return a view [B, C, T]
   */
  static INDArray sequence(INDArray rows, long batch) {
    return rows.reshape('c', rows.size(0) / batch, batch, rows.size(1)).permute(1, 2, 0);
  }
}

package org.multibit.layers;

import org.deeplearning4j.nn.conf.layers.Layer;
import org.deeplearning4j.nn.params.DefaultParamInitializer;

/**
 * The parameters of {@link QuantizedDense}, W [nIn, nOut] and, if it has a bias, b [1, nOut], as
 * DL4J makes them.
 */
final class DenseParams extends DefaultParamInitializer {
  private static final DenseParams BIASED = new DenseParams(true);
  private static final DenseParams UNBIASED = new DenseParams(false);

  private final boolean hasBias;

  private DenseParams(boolean hasBias) {
    this.hasBias = hasBias;
  }

  static DenseParams of(boolean hasBias) {
    return hasBias ? BIASED : UNBIASED;
  }

  /** DL4J's implementation only knows its own DenseLayer. */
  @Override
  protected boolean hasBias(Layer layer) {
    return hasBias;
  }
}

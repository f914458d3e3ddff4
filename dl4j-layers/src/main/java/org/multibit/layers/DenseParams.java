package org.multibit.layers;

import org.deeplearning4j.nn.conf.layers.Layer;
import org.deeplearning4j.nn.params.DefaultParamInitializer;

/** The parameters of {@link QuantizedDense}, W [nIn, nOut] and b [1, nOut], as DL4J makes them. */
final class DenseParams extends DefaultParamInitializer {
  static final DenseParams INSTANCE = new DenseParams();

  private DenseParams() {}

  /** DL4J's own asks its own DenseLayer alone. */
  @Override
  protected boolean hasBias(Layer layer) {
    return ((QuantizedDense) layer).hasBias();
  }
}

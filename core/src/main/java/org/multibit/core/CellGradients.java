package org.multibit.core;

import java.nio.FloatBuffer;

/**
 * The gradient of a recurrent cell's time steps ({@link CellStates}).
 *
 * @param hidden [steps * batch, units], dL/d(new hidden state), but for what {@code carried} holds
 * @param carried [batch, units], of one step: what comes from the step after other than by its
 *     products, and becomes what goes to the step before so
 * @param gates [steps * batch, G units], receives dL/d(sums)
 * @param recurrent the same of the recurrent product; null unless the cell keeps the sums apart
 */
public record CellGradients(
    FloatBuffer hidden, FloatBuffer carried, FloatBuffer gates, FloatBuffer recurrent) {

  /** dL/d(sums of the recurrent product). */
  FloatBuffer recurrentSums() {
    return recurrent == null ? gates : recurrent;
  }
}

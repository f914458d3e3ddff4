package org.multibit.core;

import java.nio.FloatBuffer;

/**
 * The gradients of a recurrent cell's time steps ({@link CellStates}).
 *
 * @param hidden [steps * batch, units], dL/d(new hidden state), without the part that {@code
 *     carried} holds
 * @param carried [batch, units], the gradient that reaches a step from the next one other than by
 *     its products; each step replaces it by that for the step before
 * @param gates [steps * batch, G units], receives dL/d(sums)
 * @param recurrent [steps * batch, G units], receives dL/d(sums of the recurrent product); null
 *     unless the cell has separate sums
 */
public record CellGradients(
    FloatBuffer hidden, FloatBuffer carried, FloatBuffer gates, FloatBuffer recurrent) {

  /** dL/d(sums of the recurrent product). */
  FloatBuffer recurrentSums() {
    return recurrent == null ? gates : recurrent;
  }
}

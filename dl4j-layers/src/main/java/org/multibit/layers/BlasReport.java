package org.multibit.layers;

import org.multibit.core.Kernels;
import org.nd4j.linalg.factory.Nd4j;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Logs once which BLAS is in use. An old BLAS, or one that is set to the wrong CPU, costs more time
 * than these layers save.
 */
final class BlasReport {
  private static final Logger LOG = LoggerFactory.getLogger("org.multibit.layers.BLAS");

  static {
    // ND4J loads its BLAS with the first product.
    Nd4j.ones(1, 1).mmul(Nd4j.ones(1, 1));
    String core = System.getenv("OPENBLAS_CORETYPE");
    LOG.info(
        "BLAS: {}{}",
        Kernels.get().blas(),
        core == null ? "" : "; its kernels are those that OPENBLAS_CORETYPE names, not the CPU's");
  }

  private BlasReport() {}

  /** The first call writes the line. */
  static void once() {}
}

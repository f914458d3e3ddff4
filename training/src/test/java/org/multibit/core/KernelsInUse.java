package org.multibit.core;

/** Lets tests of training run on other kernels for a while. */
public final class KernelsInUse implements AutoCloseable {
  private final Kernels before = Kernels.get();

  public KernelsInUse(Kernels kernels) {
    KernelProvider.set(kernels);
  }

  @Override
  public void close() {
    KernelProvider.set(before);
  }
}

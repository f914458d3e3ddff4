package org.multibit.runtime;

/** Whether the native library runs here. */
public final class NativeLibrary {
  private NativeLibrary() {}

  /** False where there is no library for this platform; everything works without it, slower. */
  public static boolean isAvailable() {
    return Holder.AVAILABLE;
  }

  private static final class Holder {
    static final boolean AVAILABLE = loads();

    private static boolean loads() {
      try {
        NativeBinding.load();
        return true;
      } catch (LinkageError e) {
        // NativeKernels says so in the log, with the reason.
        return false;
      }
    }
  }
}

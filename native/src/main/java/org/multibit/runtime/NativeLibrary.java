package org.multibit.runtime;

import java.nio.charset.StandardCharsets;
import org.bytedeco.javacpp.BytePointer;
import org.bytedeco.javacpp.Loader;
import org.bytedeco.javacpp.Pointer;

/** The native library of this platform, from the jar. */
public final class NativeLibrary {
  /** Why it did not load; null if it did. */
  private static final UnsatisfiedLinkError FAILURE = tryToLoad();

  private NativeLibrary() {}

  private static UnsatisfiedLinkError tryToLoad() {
    try {
      Loader.load(Bindings.class);
      return null;
    } catch (LinkageError e) {
      UnsatisfiedLinkError failure =
          new UnsatisfiedLinkError(
              "multibit's native library does not load on %s: %s; is multibit-native-platform, or multibit-native's jar for this platform, on the class path?"
                  .formatted(Loader.getPlatform(), e.getMessage()));
      failure.initCause(e);
      return failure;
    }
  }

  /** Whether native code runs here. */
  public static boolean isAvailable() {
    return FAILURE == null;
  }

  /**
   * Loads the library if it is not loaded yet.
   *
   * @throws UnsatisfiedLinkError if this platform has none or it does not load
   */
  static void load() {
    if (FAILURE != null) {
      throw FAILURE;
    }
  }

  /**
   * The instruction-set tier in use, for example {@code "avx512-vpopcntdq"}.
   *
   * @throws IllegalStateException if MULTIBIT_ISA names a tier that is unknown or not supported
   *     here
   * @throws UnsatisfiedLinkError if the library does not load
   */
  public static String isa() {
    load();
    try (BytePointer name = new BytePointer((Pointer) null)) {
      check(Bindings.multibit_isa(name));
      return string(name);
    }
  }

  /** Throws what an error code stands for, with the native message. */
  static void check(int code) {
    if (code == Bindings.OK) {
      return;
    }
    String message = string(Bindings.multibit_last_error());
    switch (code) {
      case Bindings.ERROR_ARGUMENT -> throw new IllegalArgumentException(message);
      case Bindings.ERROR_FORMAT -> throw new ArithmeticException(message);
      case Bindings.ERROR_MEMORY -> throw new OutOfMemoryError(message);
      default -> throw new IllegalStateException(message);
    }
  }

  /** A native string that ends with a zero. */
  static String string(BytePointer text) {
    return new String(text.getStringBytes(), StandardCharsets.UTF_8);
  }
}

package org.multibit.runtime;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import org.bytedeco.javacpp.BytePointer;
import org.bytedeco.javacpp.Loader;
import org.bytedeco.javacpp.Pointer;
import org.multibit.runtime.bindings.Bindings;

/** The native library of this platform, from the jar. */
public final class NativeLibrary {
  /** The reason why it did not load, or null if it did. */
  private static final UnsatisfiedLinkError FAILURE = tryToLoad();

  private NativeLibrary() {}

  private static UnsatisfiedLinkError tryToLoad() {
    try {
      Loader.load(Bindings.class);
      return null;
    } catch (LinkageError e) {
      UnsatisfiedLinkError failure =
          new UnsatisfiedLinkError("multibit's native library does not load: " + reason(e));
      failure.initCause(e);
      return failure;
    }
  }

  /**
   * Says why a native library, multibit's or ND4J's, does not load, and what to do about it.
   *
   * @param failure thrown by JavaCPP or ND4J, with the first cause at its end
   */
  public static String reason(Throwable failure) {
    Throwable cause = failure;
    while (cause.getCause() != null) {
      cause = cause.getCause();
    }
    boolean isNative = cause instanceof IOException || cause instanceof UnsatisfiedLinkError;
    if (!isNative || cause.getMessage() == null) {
      return cause.toString();
    }
    String message = cause.getMessage();
    // The dynamic linker's message stands behind the file's name, and behind it once more.
    String said = message.replaceFirst("^(.+?): (?=\\1: )", "");
    if (cause instanceof IOException || message.contains("failed to map segment")) {
      return "%s; native libraries are unpacked to a folder that takes 500 MB and lets programs run (no noexec mount), by default ~/.javacpp/cache: choose another one by JDK_JAVA_OPTIONS=-Dorg.bytedeco.javacpp.cachedir=DIR"
          .formatted(said);
    }
    if (message.contains("cannot open shared object file")) {
      return said + "; install the library that is missing";
    }
    if (message.startsWith("Could not find ")) {
      return "%s; the class path has no jar of it for %s: it has to have multibit-native-platform and nd4j-native-platform, or their jars for this platform"
          .formatted(said, Loader.getPlatform());
    }
    if (message.contains("ELF") || message.contains("too short")) {
      return "%s; it is damaged, or made for another processor: delete JavaCPP's cache, by default ~/.javacpp/cache"
          .formatted(said);
    }
    return said;
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

  /** Throws the exception for an error code, with the native message. */
  static void check(int code) {
    if (code == Bindings.MULTIBIT_OK) {
      return;
    }
    String message = string(Bindings.multibit_last_error());
    switch (code) {
      case Bindings.MULTIBIT_ERROR_ARGUMENT -> throw new IllegalArgumentException(message);
      case Bindings.MULTIBIT_ERROR_FORMAT -> throw new ArithmeticException(message);
      case Bindings.MULTIBIT_ERROR_MEMORY -> throw new OutOfMemoryError(message);
      default -> throw new IllegalStateException(message);
    }
  }

  /** A native string that ends with a zero. */
  static String string(BytePointer text) {
    return new String(text.getStringBytes(), StandardCharsets.UTF_8);
  }
}

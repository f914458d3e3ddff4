package org.multibit.runtime;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.util.stream.Stream;
import org.bytedeco.javacpp.Loader;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;

/** What the JVM, JavaCPP and the dynamic linker said where a library did not load. */
class LoadFailureTest {
  private static final String LIBRARY = "/home/a/.javacpp/cache/x.jar/linux-x86_64/libjnix.so";

  private static Arguments linker(String said, String advice) {
    return Arguments.of(
        new UnsatisfiedLinkError(LIBRARY + ": " + LIBRARY + ": " + said),
        LIBRARY + ": " + said,
        advice);
  }

  static Stream<Arguments> failures() {
    return Stream.of(
        linker("failed to map segment from shared object", "noexec.*cachedir=DIR"),
        linker(
            "libgomp.so.1: cannot open shared object file: No such file or directory",
            "install the library that is missing"),
        linker("wrong ELF class: ELFCLASS32", "made for another processor"),
        linker("file too short", "damaged.*delete"),
        Arguments.of(
            new IOException("No space left on device"), "No space left on device", "500 MB"),
        Arguments.of(
            new UnsatisfiedLinkError("Could not find jnix in class, module, and library paths."),
            "Could not find jnix",
            "no jar of it for " + Loader.getPlatform()),
        Arguments.of(
            new IllegalStateException("versions differ"),
            "java.lang.IllegalStateException: versions differ",
            "$"));
  }

  /** The first cause stands at the front, whatever was thrown on top of it. */
  @ParameterizedTest
  @MethodSource("failures")
  void theFirstCauseIsNamedWithAWayOut(Throwable first, String said, String advice) {
    Throwable error = new UnsatisfiedLinkError("no jnix in java.library.path: /usr/lib");
    error.initCause(first);
    String reason =
        NativeLibrary.reason(
            new ExceptionInInitializerError(
                new RuntimeException("ND4J is probably missing dependencies", error)));
    assertEquals(said, reason.substring(0, Math.min(said.length(), reason.length())));
    assertTrue(reason.substring(said.length()).matches("(?s).*" + advice + ".*"), reason);
    assertEquals(1, reason.lines().count());
  }
}

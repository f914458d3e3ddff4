package org.multibit.core;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.PrintStream;
import java.io.UncheckedIOException;
import java.net.URL;
import java.net.URLClassLoader;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class KernelProviderTest {
  @TempDir Path directory;

  @Test
  void withoutAProviderItIsJava() throws IOException {
    String log = logOf(() -> assertEquals("java", choose().name()));
    assertTrue(log.contains("plain Java") && log.contains("multibit-native"), log);
    assertSame(Kernels.get(), Kernels.get());
    assertEquals("java", Kernels.get().name());
  }

  @Test
  void aProviderThatLoadsIsTaken() {
    assertEquals("other", choose(Other.class.getName()).name());
  }

  @Test
  void oneThatDoesNotLoadIsPassedOverWithAWarning() throws IOException {
    String log = logOf(() -> assertEquals("java", choose(NoLibrary.class.getName()).name()));
    assertTrue(log.contains("no multibit in java.library.path"), log);
    assertEquals(1, log.lines().count());
    assertEquals("java", choose("org.multibit.NoSuchClass").name());
    assertEquals("java", choose("this is not a class name").name());
    assertEquals("other", choose(NoLibrary.class.getName(), Other.class.getName()).name());
  }

  @Test
  void aBadSettingIsTheUsersToMend() {
    Throwable e =
        assertThrows(IllegalStateException.class, () -> choose(BadSetting.class.getName()));
    assertEquals("MULTIBIT_ISA=mmx is not supported here", e.getMessage());
  }

  private Kernels choose(String... providers) {
    try {
      Path services = Files.createDirectories(directory.resolve("META-INF/services"));
      Files.write(services.resolve(JavaKernels.class.getName()), List.of(providers));
      try (URLClassLoader loader = new URLClassLoader(new URL[] {directory.toUri().toURL()})) {
        return KernelProvider.choose(loader);
      }
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  private static String logOf(Runnable work) {
    PrintStream before = System.err;
    ByteArrayOutputStream log = new ByteArrayOutputStream();
    System.setErr(new PrintStream(log, true));
    try {
      work.run();
    } finally {
      System.setErr(before);
    }
    return log.toString();
  }

  /** A provider. */
  public static class Other extends JavaKernels {
    @Override
    protected String name() {
      return "other";
    }
  }

  /** What JavaCPP throws where a jar lacks the platform's library. */
  public static final class NoLibrary extends Other {
    public NoLibrary() {
      throw new UnsatisfiedLinkError("no multibit in java.library.path");
    }
  }

  public static final class BadSetting extends Other {
    public BadSetting() {
      throw new IllegalStateException("MULTIBIT_ISA=mmx is not supported here");
    }
  }
}

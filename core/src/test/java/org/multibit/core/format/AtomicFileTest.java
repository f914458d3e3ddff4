package org.multibit.core.format;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.api.io.TempDir;

class AtomicFileTest {
  @TempDir Path directory;

  private List<String> files() throws IOException {
    try (Stream<Path> files = Files.list(directory)) {
      return files.map(f -> f.getFileName().toString()).sorted().toList();
    }
  }

  @Test
  void writesAndReplaces() throws IOException {
    Path target = directory.resolve("file");
    for (String content : List.of("old", "new and longer", "")) {
      AtomicFile.write(target, content);
      assertEquals(content, Files.readString(target));
      assertEquals(List.of("file"), files());
    }
  }

  @Test
  void theOldFileIsThereUntilTheNewOneIsWhole() throws IOException {
    Path target = Files.writeString(directory.resolve("file"), "old");
    AtomicFile.write(
        target,
        out -> {
          out.write(bytes("new"));
          assertEquals("old", Files.readString(target));
        });
    assertEquals("new", Files.readString(target));
  }

  @Test
  void aFailureLeavesTheOldFileAndNoOther() throws IOException {
    Path target = Files.writeString(directory.resolve("file"), "old");
    IOException cause = new IOException("the disk burns");
    IOException e =
        assertThrows(
            IOException.class,
            () ->
                AtomicFile.write(
                    target,
                    out -> {
                      out.write(bytes("half of the n"));
                      throw cause;
                    }));
    assertEquals("Cannot write " + target + ": the disk burns", e.getMessage());
    assertSame(cause, e.getCause());
    assertThrows(
        IllegalStateException.class,
        () ->
            AtomicFile.write(
                target,
                out -> {
                  out.write(bytes("half"));
                  throw new IllegalStateException();
                }));
    assertEquals("old", Files.readString(target));
    assertEquals(List.of("file"), files());
  }

  private static byte[] bytes(String text) {
    return text.getBytes(StandardCharsets.UTF_8);
  }

  /** A link at a temporary's name of old leads nowhere: names are random, and created anew. */
  @Test
  @EnabledOnOs(OS.LINUX)
  void plantedLinksAreNotFollowed() throws IOException {
    Path target = directory.resolve("file");
    Path victim = Files.writeString(directory.resolve("victim"), "precious");
    Path planted = directory.resolve(".file.0123456789abcdef.multibit-tmp");
    Files.createSymbolicLink(planted, victim);
    Files.createSymbolicLink(directory.resolve(".file.tmp"), victim);
    AtomicFile.write(target, "new");
    assertEquals("precious", Files.readString(victim));
    assertTrue(Files.isSymbolicLink(planted));
  }

  @Test
  void whatADeadWriterLeftIsRemovedAndWhatOthersWriteIsNot() throws Exception {
    Path target = directory.resolve("file");
    Path stale = directory.resolve(".other.0123456789abcdef.multibit-tmp");
    Files.writeString(stale, "half");
    Path foreign = Files.writeString(directory.resolve(".other.tmp"), "of another program");
    AtomicFile.write(
        target,
        out -> {
          AtomicFile.write(directory.resolve("second"), "a write within a write");
          out.write(bytes("first"));
        });
    assertEquals("first", Files.readString(target));
    assertTrue(Files.notExists(stale));
    assertTrue(Files.exists(foreign));
    assertEquals(List.of(".other.tmp", "file", "second"), files());
  }

  /**
   * A sweep that knows the folder by another name does not open, and so unlock, what is written.
   */
  @Test
  @EnabledOnOs(OS.LINUX)
  void foldersAreKnownByAllTheirNames() throws IOException {
    Path link = Files.createSymbolicLink(directory.resolve("link"), Path.of("."));
    List<Path> names = List.of(directory, link, directory.resolve("link/link/."));
    for (Path by : names) {
      for (Path other : names) {
        AtomicFile.write(
            by.resolve("file"),
            out -> {
              AtomicFile.removeStale(other);
              Path temporary =
                  directory.resolve(
                      files().stream().filter(n -> n.endsWith("-tmp")).findAny().get());
              String inode = ":" + Files.getAttribute(temporary, "unix:ino") + " ";
              assertTrue(
                  Files.readString(Path.of("/proc/locks")).contains(inode), by + " " + other);
            });
      }
    }
  }

  /** A writer of another process, which is killed while it writes. */
  @Test
  void aWriterInAnotherProcessIsLeftAloneUntilItDies() throws Exception {
    Path target = directory.resolve("file");
    Process writer =
        new ProcessBuilder(
                Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                "-cp",
                System.getProperty("java.class.path"),
                SlowWriter.class.getName(),
                target.toString())
            .redirectError(ProcessBuilder.Redirect.INHERIT)
            .start();
    try {
      assertEquals('w', writer.getInputStream().read());
      AtomicFile.write(target, "mine");
      assertEquals(2, files().size(), files().toString());
    } finally {
      writer.destroyForcibly().waitFor();
    }
    assertEquals(2, files().size());
    AtomicFile.write(target, "mine again");
    assertEquals(List.of("file"), files());
  }

  /** Begins to write a file and never ends. */
  static final class SlowWriter {
    public static void main(String[] args) throws IOException {
      AtomicFile.write(
          Path.of(args[0]),
          out -> {
            out.write(bytes("half"));
            System.out.print("w");
            System.out.flush();
            while (System.in.read() >= 0) {}
          });
    }
  }

  @Test
  void manyWritersOfOneFileLeaveOneOfTheirs() throws Exception {
    Path target = directory.resolve("file");
    List<String> contents = IntStream.range(0, 8).mapToObj(i -> ("" + i).repeat(100_000)).toList();
    ExecutorService threads = Executors.newFixedThreadPool(contents.size());
    List<Future<?>> writes = new ArrayList<>();
    for (int round = 0; round < 20; round++) {
      for (String content : contents) {
        writes.add(
            threads.submit(
                () -> {
                  AtomicFile.write(target, content);
                  return null;
                }));
      }
    }
    for (Future<?> write : writes) {
      write.get();
    }
    threads.shutdown();
    assertTrue(contents.contains(Files.readString(target)));
    assertEquals(List.of("file"), files());
  }

  @Test
  void longNamesHaveTemporariesThatFit() throws IOException {
    Path target = directory.resolve("n".repeat(250));
    AtomicFile.write(target, "text");
    assertEquals("text", Files.readString(target));
  }

  @Test
  void placesThatCannotBeWrittenAreNamed() throws IOException {
    Path file = Files.writeString(directory.resolve("file"), "old");
    Path folder = Files.createDirectory(directory.resolve("folder"));
    assertRefused(directory.resolve("none/file"), "there is no folder");
    assertRefused(file.resolve("inside"), "there is no folder");
    assertRefused(folder, "it is a folder");
    assertRefused(directory.getRoot(), "it is a folder");
    if (Files.exists(Path.of("/dev/null"))) {
      assertRefused(Path.of("/dev/null"), "it is a device or a pipe");
    }
    assertEquals(List.of("file", "folder"), files());
  }

  private static void assertRefused(Path target, String why) {
    IOException e = assertThrows(IOException.class, () -> AtomicFile.write(target, ""));
    assertTrue(e.getMessage().startsWith("Cannot write " + target + ": " + why), e.getMessage());
  }
}

package org.multibit.core.format;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.FloatBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
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
      AtomicFile.write(target, path -> Files.writeString(path, content));
      assertEquals(content, Files.readString(target));
      assertEquals(List.of("file"), files());
    }
  }

  @Test
  void theOldFileIsThereUntilTheNewOneIsWhole() throws IOException {
    Path target = Files.writeString(directory.resolve("file"), "old");
    AtomicFile.write(
        target,
        path -> {
          Files.writeString(path, "new");
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
                    path -> {
                      Files.writeString(path, "half of the n");
                      throw cause;
                    }));
    assertEquals("Cannot write " + target + ": the disk burns", e.getMessage());
    assertSame(cause, e.getCause());
    assertThrows(
        IllegalStateException.class,
        () ->
            AtomicFile.write(
                target,
                path -> {
                  Files.writeString(path, "half");
                  throw new IllegalStateException();
                }));
    assertEquals("old", Files.readString(target));
    assertEquals(List.of("file"), files());
  }

  /** The temporary file leads to a device that is always full. */
  @Test
  @EnabledOnOs(OS.LINUX)
  void aFullDiskIsNamed() throws IOException {
    Path target = Files.writeString(directory.resolve("file"), "old");
    Files.createSymbolicLink(directory.resolve(".file.tmp"), Path.of("/dev/full"));
    GgufWriter writer = new GgufWriter().put("t", FloatBuffer.allocate(5000), 5000);
    IOException e = assertThrows(IOException.class, () -> writer.write(target));
    assertEquals("Cannot write " + target + ": No space left on device", e.getMessage());
    assertEquals("old", Files.readString(target));
    assertEquals(List.of("file"), files());
  }

  @Test
  void placesThatCannotBeWrittenAreNamed() throws IOException {
    Path file = Files.writeString(directory.resolve("file"), "old");
    Path folder = Files.createDirectory(directory.resolve("folder"));
    assertRefused(directory.resolve("none/file"), "there is no folder");
    assertRefused(file.resolve("inside"), "there is no folder");
    assertRefused(folder, "it is a folder");
    assertRefused(directory.getRoot(), "it is a folder");
    assertEquals(List.of("file", "folder"), files());
  }

  private static void assertRefused(Path target, String why) {
    IOException e =
        assertThrows(
            IOException.class, () -> AtomicFile.write(target, path -> Files.writeString(path, "")));
    assertTrue(e.getMessage().startsWith("Cannot write " + target + ": " + why), e.getMessage());
  }
}

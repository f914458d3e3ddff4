package org.multibit.core.format;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.zip.ZipEntry;
import java.util.zip.ZipOutputStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.api.io.TempDir;

class FileKindTest {
  @TempDir Path folder;

  /** Whatever a file is called. */
  private void assertKind(FileKind kind, byte[] content) throws IOException {
    for (String name : List.of("model.gguf", "model.h5", "model.safetensors", "model")) {
      assertEquals(kind, FileKind.of(Files.write(folder.resolve(name), content)));
    }
  }

  private static byte[] bytes(String text) {
    return text.getBytes(StandardCharsets.ISO_8859_1);
  }

  private static byte[] hex(String digits) {
    return HexFormat.of().parseHex(digits);
  }

  private byte[] zip(String... names) throws IOException {
    Path file = folder.resolve("made.zip");
    try (OutputStream out = Files.newOutputStream(file);
        ZipOutputStream zip = new ZipOutputStream(out)) {
      for (String name : names) {
        zip.putNextEntry(new ZipEntry(name));
        zip.write('x');
      }
    }
    return Files.readAllBytes(file);
  }

  @Test
  void filesAreKnownByTheirContent() throws IOException {
    assertKind(FileKind.PACKED, bytes("GGUF\3\0\0\0"));
    assertKind(FileKind.HDF5, bytes("\u0089HDF\r\n\u001a\nrest"));
    assertKind(FileKind.SAFETENSORS, bytes("\2\0\0\0\0\0\0\0{}"));
    assertKind(FileKind.DL4J, zip("configuration.json", "coefficients.bin"));
    assertKind(
        FileKind.LFS_POINTER,
        bytes("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n"));
    assertKind(FileKind.KERAS_ARCHIVE, zip("metadata.json", "config.json", "model.weights.h5"));
    assertKind(FileKind.TORCH, zip("archive/data.pkl", "archive/data/0"));
    assertKind(FileKind.TORCH_SCRIPT, zip("m/data.pkl", "m/code/m.py", "m/constants.pkl"));
    assertKind(FileKind.SAVED_MODEL, zip("model/saved_model.pb", "model/variables/x"));
    assertKind(FileKind.ZIP, zip("x"));
    assertKind(FileKind.DAMAGED_ZIP, bytes("PK\3\4 and no more"));
    assertKind(FileKind.TORCH, hex("80028a0a6cfc9c46f9206aa850192e80024de9032e"));
    assertKind(FileKind.PICKLE, hex("80049510000000000000007d942e"));
    assertKind(FileKind.ONNX, bytes("\u0008\u0007\u0012\u0007pytorch\u001a\u00052.0.1"));
    assertKind(FileKind.SAVED_MODEL, bytes("\u0008\u0001\u0012\u0007meta"));
    assertKind(FileKind.TFLITE, bytes("\u001c\0\0\0TFL3\0\0"));
    assertKind(FileKind.NUMPY, bytes("\u0093NUMPY\1\0"));
    assertKind(FileKind.GZIP, hex("1f8b08000000"));
    assertKind(FileKind.TEXT, bytes("the\nwords\n"));
    assertKind(FileKind.TEXT, "\u00e4".repeat(1000).getBytes(StandardCharsets.UTF_8));
    assertKind(FileKind.EMPTY, new byte[0]);
    assertKind(FileKind.UNKNOWN, hex("0001020304050607ff"));
  }

  @Test
  void foldersAreRunsOrNot() throws IOException {
    assertEquals(FileKind.FOLDER, FileKind.of(folder));
    Files.writeString(folder.resolve("settings.json"), "{}");
    assertEquals(FileKind.RUN, FileKind.of(folder));
    Path saved = Files.createDirectory(folder.resolve("saved"));
    Files.writeString(saved.resolve("saved_model.pb"), "x");
    assertEquals(FileKind.SAVED_MODEL, FileKind.of(saved));
  }

  /** Reading it would wait for a writer. */
  @Test
  @EnabledOnOs(OS.LINUX)
  void aPipeIsNotOpened() throws Exception {
    Path pipe = folder.resolve("pipe");
    assertEquals(0, new ProcessBuilder("mkfifo", pipe.toString()).start().waitFor());
    assertEquals(FileKind.SPECIAL, FileKind.of(pipe));
  }

  /** One line: the file, what it is, what to do. */
  @Test
  void refusalsSayWhatToDo() throws IOException {
    Map<FileKind, String> words =
        Map.of(
            FileKind.LFS_POINTER, "git lfs pull",
            FileKind.TORCH, "save_file",
            FileKind.ONNX, "not read yet",
            FileKind.DL4J, "export");
    for (FileKind kind : FileKind.values()) {
      String message = kind.refusal(Path.of("f\u001b[2J"), "export it").getMessage();
      assertEquals(1, message.lines().count());
      assertTrue(message.startsWith("f?[2J is " + kind.what() + ": "), message);
      assertTrue(message.contains(words.getOrDefault(kind, "")), message);
    }
    IOException e =
        assertThrows(
            IOException.class,
            () -> FileKind.requirePacked(Files.writeString(folder.resolve("m.gguf"), "words")));
    assertTrue(e.getMessage().contains("is a text, not a model: "), e.getMessage());
  }
}

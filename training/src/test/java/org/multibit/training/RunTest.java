package org.multibit.training;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.Closeable;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.channels.OverlappingFileLockException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.api.io.TempDir;
import org.multibit.datasets.Vocabulary;

/** The folder of a run. */
class RunTest {
  @TempDir Path folder;

  private static Run create(Path out) throws IOException {
    Settings settings = new Settings();
    settings.bits = "2/2";
    settings.hidden = 6;
    settings.layers = 1;
    return Run.create(out, settings, new Vocabulary(List.of("<eos>", "<unk>", "a")));
  }

  private static List<Path> files(Path of) throws IOException {
    try (Stream<Path> files = Files.list(of)) {
      return files.toList();
    }
  }

  @Test
  void aFolderThatWasThereStays() throws IOException {
    Path users = Files.createDirectory(folder.resolve("users"));
    create(users).removeIfUntrained();
    assertEquals(List.of(), files(users));

    Path made = folder.resolve("made");
    create(made).removeIfUntrained();
    assertFalse(Files.exists(made));

    Run withNotes = create(made);
    Path notes = Files.createFile(made.resolve("notes"));
    withNotes.removeIfUntrained();
    assertEquals(List.of(notes), files(made));
  }

  private static void assertUnreadable(String message, Path settings, String content)
      throws IOException {
    Files.writeString(settings, content);
    Run run = Run.open(settings.getParent());
    IOException e = assertThrows(IOException.class, run::settings);
    assertTrue(e.getMessage().contains(message), e.getMessage());
    assertTrue(e.getMessage().contains(settings.toString()), e.getMessage());
  }

  @Test
  void settingsAreAnObjectOfAFewLines() throws IOException {
    Path settings = create(folder.resolve("run")).path().resolve("settings.json");
    String good = Files.readString(settings);
    assertUnreadable("cannot be read: it is null", settings, "null");
    assertUnreadable("has more than 1048576 bytes", settings, good + " ".repeat(1 << 20));
    Files.writeString(settings, good + " ".repeat((1 << 20) - good.length()));
    Run.open(settings.getParent()).settings();
  }

  @Test
  void theLedgerIsNoLargerThanAny() throws IOException {
    Run run = create(folder.resolve("run"));
    try (FileChannel ledger =
        FileChannel.open(
            run.ledgerFile(), StandardOpenOption.CREATE_NEW, StandardOpenOption.WRITE)) {
      ledger.position(1L << 40).write(ByteBuffer.wrap(new byte[] {'\n'}));
    }
    IOException e = assertThrows(IOException.class, run::ledger);
    assertTrue(e.getMessage().contains("has more than 67108864 bytes"), e.getMessage());
  }

  private static long open(Path file) throws IOException {
    long open = 0;
    for (Path descriptor : files(Path.of("/proc/self/fd"))) {
      open += Files.exists(descriptor) && Files.isSameFile(descriptor, file) ? 1 : 0;
    }
    return open;
  }

  /** Whatever goes wrong while a run is locked, it can be locked afterwards. */
  @Test
  @EnabledOnOs(OS.LINUX)
  void aLockThatFailsLeavesNothingOpen() throws IOException {
    Run run = create(folder.resolve("run"));
    Path lock = Files.createFile(run.path().resolve(".lock"));
    try (FileChannel other = FileChannel.open(lock, StandardOpenOption.WRITE)) {
      other.lock();
      assertThrows(OverlappingFileLockException.class, run::lock);
      assertEquals(1, open(lock));
    }
    Closeable locked = run.lock();
    assertThrows(IOException.class, run::lock);
    assertEquals(1, open(lock));
    locked.close();
    run.lock().close();
    assertEquals(0, open(lock));
  }
}

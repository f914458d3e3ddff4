package org.multibit.cli.hostile;

import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assertions.fail;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.TestFactory;
import org.junit.jupiter.api.io.TempDir;

/**
 * Damaged and forged files, of every kind that is read: each is read or refused by an IOException
 * of one line, within a time and a heap that hold for any file of their size. {@code
 * -Dmultibit.full=true} tries more of them. A file that fails is kept in target/hostile.
 */
class HostileFilesTest {
  private static final int FILES = Boolean.getBoolean("multibit.full") ? 2500 : 300;

  private static final int MOST_SECONDS_OF_THE_CLOCK = 60;

  private static final int MOST_CHARS_OF_A_MESSAGE = 1000;

  @TempDir Path folder;

  private static List<Format> kinds() {
    List<Format> kinds = new ArrayList<>(List.of(new PackedModels()));
    kinds.addAll(List.of(ImportedModels.values()));
    kinds.addAll(List.of(RunFiles.values()));
    return kinds;
  }

  @TestFactory
  Stream<DynamicTest> mutants() {
    return kinds().stream().map(kind -> DynamicTest.dynamicTest(kind.name(), () -> tryAll(kind)));
  }

  private void tryAll(Format kind) throws Exception {
    List<byte[]> seeds = kind.seeds();
    ExecutorService reader = Executors.newSingleThreadExecutor();
    try {
      for (byte[] seed : seeds) {
        assertTrue(isRead(kind, seed, reader), "a file that is right is refused");
      }
      int read = 0;
      for (int i = 0; i < FILES; i++) {
        byte[] mutant = kind.mutant(seeds.get(i % seeds.size()), new Random(i));
        try {
          read += isRead(kind, mutant, reader) ? 1 : 0;
        } catch (AssertionError e) {
          Path kept = Files.createDirectories(Path.of("target", "hostile"));
          kept = Files.write(kept.resolve(i + "-" + kind.fileName()), mutant);
          fail("Mutant %d, kept as %s: %s".formatted(i, kept, e.getMessage()), e);
        }
      }
      // Others would not try the readers, or not their checks.
      assertTrue(read > 0 && read < FILES / 2, read + " of " + FILES + " were read");
    } finally {
      reader.shutdownNow();
    }
  }

  /** Whether the file is read, not refused; anything else fails. */
  private boolean isRead(Format kind, byte[] bytes, ExecutorService reader) throws Exception {
    Path file = Files.write(folder.resolve(kind.fileName()), bytes);
    Future<Boolean> result = reader.submit(() -> isRead(kind, file));
    try {
      return result.get(MOST_SECONDS_OF_THE_CLOCK, TimeUnit.SECONDS);
    } catch (TimeoutException e) {
      return fail("it is read for more than %d s".formatted(MOST_SECONDS_OF_THE_CLOCK));
    } catch (ExecutionException e) {
      return fail("%s".formatted(e.getCause()), e.getCause());
    }
  }

  private static boolean isRead(Format kind, Path file) {
    Cost cost = new Cost();
    boolean read;
    try {
      kind.read(file);
      read = true;
    } catch (IOException e) {
      assertOneLine(e);
      read = false;
    }
    cost.assertLittle();
    return read;
  }

  private static void assertOneLine(IOException e) {
    String message = e.getMessage();
    assertTrue(
        message != null
            && message.chars().noneMatch(Character::isISOControl)
            && message.length() <= MOST_CHARS_OF_A_MESSAGE,
        () -> "not a message of one line: " + e);
  }
}

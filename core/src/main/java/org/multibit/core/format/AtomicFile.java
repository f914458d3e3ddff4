package org.multibit.core.format;

import java.io.File;
import java.io.IOException;
import java.nio.channels.FileChannel;
import java.nio.file.AccessDeniedException;
import java.nio.file.FileSystemException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;

/** Writes a file whole or not at all: to a temporary name beside it, synced, then renamed. */
public final class AtomicFile {

  /** Writes the content to the path that it is given. */
  @FunctionalInterface
  public interface Content {
    void writeTo(Path path) throws IOException;
  }

  private AtomicFile() {}

  /**
   * @throws IOException if the content cannot be written (no space, no permission); an older {@code
   *     target} is then as it was and no temporary file is left
   */
  public static void write(Path target, Content content) throws IOException {
    Path absolute = target.toAbsolutePath();
    Path directory = absolute.getParent();
    if (Files.isDirectory(absolute)) {
      throw new IOException("Cannot write " + target + ": it is a folder");
    }
    if (!Files.isDirectory(directory)) {
      throw new IOException("Cannot write " + target + ": there is no folder " + directory);
    }
    Path temporary = directory.resolve("." + absolute.getFileName() + ".tmp");
    try {
      content.writeTo(temporary);
      sync(temporary, StandardOpenOption.WRITE);
      Files.move(temporary, absolute, StandardCopyOption.ATOMIC_MOVE);
      if (File.separatorChar == '/') { // Windows cannot open a folder.
        sync(directory, StandardOpenOption.READ);
      }
    } catch (IOException e) {
      throw new IOException("Cannot write " + target + ": " + reason(e), e);
    } finally {
      Files.deleteIfExists(temporary);
    }
  }

  private static void sync(Path path, StandardOpenOption option) throws IOException {
    try (FileChannel channel = FileChannel.open(path, option)) {
      channel.force(true);
    }
  }

  /** A file system exception's message is often only the path. */
  private static String reason(IOException e) {
    if (e instanceof AccessDeniedException) {
      return "permission denied";
    }
    if (e instanceof NoSuchFileException) {
      return "the file system allows no file there";
    }
    if (e instanceof FileSystemException f && f.getReason() != null) {
      return f.getReason();
    }
    return e.getMessage();
  }
}

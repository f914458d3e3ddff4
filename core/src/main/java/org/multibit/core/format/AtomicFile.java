package org.multibit.core.format;

import java.io.File;
import java.io.IOException;
import java.nio.channels.FileChannel;
import java.nio.file.AccessDeniedException;
import java.nio.file.FileAlreadyExistsException;
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
    requireFolder(target);
    Path absolute = target.toAbsolutePath();
    Path directory = absolute.getParent();
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

  /**
   * To ask before long work whose result is to be written there.
   *
   * @throws IOException if a file of that name cannot be written: it is a folder, or its folder is
   *     not there or not writable
   */
  public static void requirePlace(Path target) throws IOException {
    requireFolder(target);
    if (!Files.isWritable(target.toAbsolutePath().getParent())) {
      throw new IOException("Cannot write " + target + ": its folder is not writable");
    }
  }

  private static void requireFolder(Path target) throws IOException {
    Path absolute = target.toAbsolutePath();
    if (Files.isDirectory(absolute)) {
      throw new IOException("Cannot write " + target + ": it is a folder");
    }
    if (!Files.isDirectory(absolute.getParent())) {
      throw new IOException(
          "Cannot write " + target + ": there is no folder " + absolute.getParent());
    }
  }

  /**
   * Makes a folder that files are to be written into, unless it is there.
   *
   * @throws IOException if it cannot be made, or not be written into
   */
  public static void createFolder(Path folder) throws IOException {
    try {
      Files.createDirectories(folder);
    } catch (FileAlreadyExistsException e) {
      throw new IOException("Cannot create the folder " + folder + ": it is a file", e);
    } catch (IOException e) {
      throw new IOException("Cannot create the folder " + folder + ": " + reason(e), e);
    }
    if (!Files.isWritable(folder)) {
      throw new IOException("Cannot write into the folder " + folder + ": it is not writable");
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

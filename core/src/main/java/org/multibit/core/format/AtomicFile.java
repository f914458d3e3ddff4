package org.multibit.core.format;

import java.io.Closeable;
import java.io.File;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.channels.Channels;
import java.nio.channels.FileChannel;
import java.nio.channels.OverlappingFileLockException;
import java.nio.charset.StandardCharsets;
import java.nio.file.AccessDeniedException;
import java.nio.file.DirectoryIteratorException;
import java.nio.file.DirectoryStream;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.FileSystemException;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.security.SecureRandom;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.regex.Pattern;

/**
 * Writes a file completely or not at all: to a temporary file in the same folder, which is synced
 * and then renamed.
 *
 * <p>Each writer creates its own temporary file and keeps it locked; it never opens an existing
 * file or link. A temporary file without a lock was left by a process that died. The next write
 * into the folder removes it.
 */
public final class AtomicFile {
  private static final String SUFFIX = ".multibit-tmp";
  private static final Pattern TEMPORARY = Pattern.compile("\\..*\\.[0-9a-f]{16}\\.multibit-tmp");

  /**
   * Longer names are cut in the name of the temporary file, so that it fits into a file system's
   * limit.
   */
  private static final int LONGEST_STEM = 50;

  private static final SecureRandom RANDOM = new SecureRandom();

  /**
   * The temporary files that this process is writing, by the real paths of their folders. Its own
   * sweeps skip them, because opening and closing such a file would release the lock that the
   * process has on it.
   */
  private static final Set<Path> WRITING = ConcurrentHashMap.newKeySet();

  /** Writes the content. */
  @FunctionalInterface
  public interface Content {
    /**
     * @param out not buffered; to close it is allowed and does nothing
     */
    void writeTo(OutputStream out) throws IOException;
  }

  private AtomicFile() {}

  /**
   * @throws IOException if the content cannot be written (no space, no permission); an older {@code
   *     target} then stays unchanged, and no temporary file remains
   */
  public static void write(Path target, Content content) throws IOException {
    requireFolder(target);
    try {
      Path directory = target.toAbsolutePath().getParent().toRealPath();
      Path absolute = directory.resolve(target.getFileName());
      removeStale(directory);
      try (Temporary temporary = Temporary.beside(absolute)) {
        content.writeTo(temporary.stream());
        temporary.channel.force(true);
        Files.move(temporary.path, absolute, StandardCopyOption.ATOMIC_MOVE);
      }
      if (File.separatorChar == '/') { // Windows cannot open a folder.
        try (FileChannel channel = FileChannel.open(directory, StandardOpenOption.READ)) {
          channel.force(true);
        }
      }
    } catch (IOException e) {
      throw new IOException("Cannot write " + target + ": " + reason(e), e);
    }
  }

  /** Writes the bytes as a file. */
  public static void write(Path target, byte[] content) throws IOException {
    write(target, out -> out.write(content));
  }

  /** Writes the text as a file in UTF-8. */
  public static void write(Path target, String content) throws IOException {
    write(target, content.getBytes(StandardCharsets.UTF_8));
  }

  /** A new, locked file in the folder of the target; deleted on close unless it was renamed. */
  private static final class Temporary implements Closeable {
    final Path path;
    final FileChannel channel;

    private Temporary(Path path) throws IOException {
      this.path = path;
      WRITING.add(path);
      try {
        channel = FileChannel.open(path, StandardOpenOption.CREATE_NEW, StandardOpenOption.WRITE);
      } catch (IOException e) {
        WRITING.remove(path);
        throw e;
      }
    }

    static Temporary beside(Path target) throws IOException {
      String name = target.getFileName().toString();
      String stem = name.substring(0, Math.min(name.length(), LONGEST_STEM));
      while (true) {
        Temporary created =
            new Temporary(
                target.resolveSibling(".%s.%016x%s".formatted(stem, RANDOM.nextLong(), SUFFIX)));
        // Until it is locked, a sweep of another process may take it for stale and remove it.
        if (isLocked(created.channel) && Files.exists(created.path, LinkOption.NOFOLLOW_LINKS)) {
          return created;
        }
        created.close();
      }
    }

    private static boolean isLocked(FileChannel created) {
      try {
        return created.tryLock() != null;
      } catch (IOException e) {
        return true; // A file system without locks: nobody can take it for stale.
      }
    }

    OutputStream stream() {
      OutputStream toChannel = Channels.newOutputStream(channel);
      return new OutputStream() {
        @Override
        public void write(int b) throws IOException {
          toChannel.write(b);
        }

        @Override
        public void write(byte[] bytes, int start, int length) throws IOException {
          toChannel.write(bytes, start, length);
        }
      };
    }

    @Override
    public void close() throws IOException {
      try {
        Files.deleteIfExists(path);
      } finally {
        channel.close();
        WRITING.remove(path);
      }
    }
  }

  /**
   * Whether the name of a file is that of a temporary file, whose writer is at work or has died.
   */
  public static boolean isTemporary(Path file) {
    return TEMPORARY.matcher(file.getFileName().toString()).matches();
  }

  /**
   * Removes the temporary files of writers that died from a folder. Those of writers at work, and
   * those that this process may not open, stay.
   *
   * @throws IOException if the folder cannot be listed
   */
  public static void removeStale(Path folder) throws IOException {
    try (DirectoryStream<Path> files =
        Files.newDirectoryStream(folder.toRealPath(), AtomicFile::isTemporary)) {
      for (Path file : files) {
        if (!WRITING.contains(file) && Files.isRegularFile(file, LinkOption.NOFOLLOW_LINKS)) {
          removeUnlessLocked(file);
        }
      }
    } catch (DirectoryIteratorException e) {
      throw e.getCause();
    }
  }

  private static void removeUnlessLocked(Path file) {
    try (FileChannel channel =
        FileChannel.open(file, StandardOpenOption.WRITE, LinkOption.NOFOLLOW_LINKS)) {
      if (channel.tryLock() != null) {
        Files.deleteIfExists(file);
      }
    } catch (IOException | OverlappingFileLockException e) {
      // Another user's, or another sweep has just removed it: not ours to remove.
    }
  }

  /**
   * Checks that a file can be written. Call it before long work whose result goes there.
   *
   * @throws IOException if the target is a folder, or its folder does not exist or is not writable
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
    if (Files.exists(absolute) && !Files.isRegularFile(absolute)) {
      throw new IOException("Cannot write " + target + ": it is a device or a pipe, not a file");
    }
    if (!Files.isDirectory(absolute.getParent())) {
      throw new IOException(
          "Cannot write " + target + ": there is no folder " + absolute.getParent());
    }
  }

  /**
   * Creates a folder for files, unless it exists.
   *
   * @throws IOException if it cannot be created or is not writable
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

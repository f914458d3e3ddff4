package org.multibit.datasets;

import java.io.BufferedInputStream;
import java.io.DataInputStream;
import java.io.EOFException;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.AccessDeniedException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.zip.GZIPInputStream;
import java.util.zip.ZipException;

/**
 * An array of unsigned bytes from a gzipped IDX file, the format of the MNIST database. The file
 * has two zero bytes, the type 8, the rank, each dimension in 4 bytes (the highest first), and the
 * elements with the last dimension fastest.
 *
 * @param dims slowest first
 * @param bytes the elements
 */
record IdxFile(int[] dims, byte[] bytes) {
  private static final int UNSIGNED_BYTES = 8;

  /**
   * @param rank the required number of dimensions
   * @throws IOException if the file does not exist, is not gzipped IDX of unsigned bytes of this
   *     rank, or is shorter or longer than its dimensions require
   */
  static IdxFile read(Path path, int rank) throws IOException {
    try (InputStream file = Files.newInputStream(path);
        DataInputStream in =
            new DataInputStream(new BufferedInputStream(new GZIPInputStream(file)))) {
      int magic = in.readInt();
      if (magic != (UNSIGNED_BYTES << 8 | rank)) {
        throw new IOException(
            "%s is no IDX file of unsigned bytes in %s dimensions: it starts with 0x%08x, not 0x%08x"
                .formatted(path, rank, magic, UNSIGNED_BYTES << 8 | rank));
      }
      int[] dims = new int[rank];
      long size = 1;
      for (int d = 0; d < rank; d++) {
        dims[d] = in.readInt();
        size = dims[d] < 0 || size > Integer.MAX_VALUE ? Long.MAX_VALUE : size * dims[d];
      }
      if (size < 1 || size > Integer.MAX_VALUE) {
        throw new IOException(
            "%s is damaged: it claims to hold %s bytes".formatted(path, Arrays.toString(dims)));
      }
      // Grows with what is there, not with what the file claims.
      byte[] bytes = in.readNBytes((int) size);
      if (bytes.length < size) {
        throw new IOException(
            "%s is cut off: of %s bytes it holds %s"
                .formatted(path, Arrays.toString(dims), bytes.length));
      }
      if (in.read() >= 0) {
        throw new IOException(
            "%s is damaged: it holds more than %s bytes".formatted(path, Arrays.toString(dims)));
      }
      return new IdxFile(dims, bytes);
    } catch (NoSuchFileException e) {
      throw new IOException("There is no file " + path, e);
    } catch (AccessDeniedException e) {
      throw new IOException("Cannot read " + path + ": permission denied", e);
    } catch (ZipException e) {
      throw new IOException("%s is not gzipped, or damaged: %s".formatted(path, reason(e)), e);
    } catch (EOFException e) {
      throw new IOException(path + " is cut off", e);
    }
  }

  private static String reason(ZipException e) {
    return e.getMessage() == null ? "no reason given" : e.getMessage();
  }
}

package org.multibit.training.importing;

import io.jhdf.HdfFile;
import io.jhdf.Superblock;
import io.jhdf.storage.HdfBackingStorage;
import java.lang.reflect.Constructor;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.util.Set;

/**
 * The bytes of an HDF5 file. jHDF may read at most a few times the file's length from it.
 *
 * <p>Links, B-tree nodes and headers of a file may all point to one place, and jHDF follows each of
 * them: 14 groups of ten links to the next make 10^14 groups. Everything that it follows is read
 * from here, so this bound limits its work.
 */
final class BoundedStorage implements HdfBackingStorage {
  /** A header is read up to three times: by its parent, for its children, for its attributes. */
  private static final long READINGS = 3;

  /** What small files may be read beyond that. */
  private static final long SMALL = 1 << 22;

  /** What a call costs, however few bytes it reads. */
  private static final long CALL = 64;

  /**
   * Indexes of HDF5's newest layouts, which Keras does not write: jHDF takes memory for as many
   * entries as they claim to have.
   */
  private static final Set<String> REFUSED = Set.of("BTHD", "FRHP", "FAHD", "EAHD");

  private final HdfBackingStorage bytes;
  private long left;

  private BoundedStorage(HdfBackingStorage bytes) {
    this.bytes = bytes;
    left = READINGS * bytes.size() + SMALL;
  }

  /** Opens a file in memory. */
  static HdfFile open(byte[] file) {
    try {
      // jHDF has no public way to read a file from a storage of one's own.
      Constructor<HdfFile> constructor =
          HdfFile.class.getDeclaredConstructor(HdfBackingStorage.class);
      constructor.setAccessible(true);
      return constructor.newInstance(
          new BoundedStorage(HdfFile.fromBytes(file).getHdfBackingStorage()));
    } catch (ReflectiveOperationException e) {
      throw new IllegalStateException("This version of jHDF is not known", e);
    }
  }

  private synchronized void count(long length) {
    left -= CALL + Math.max(0, length);
    if (left < 0) {
      throw new Refusal("it is damaged: its parts refer to each other without end");
    }
  }

  @Override
  public ByteBuffer readBufferFromAddress(long address, int length) {
    count(length);
    ByteBuffer read = bytes.readBufferFromAddress(address, length);
    if (read.remaining() > Integer.BYTES) {
      String start = StandardCharsets.ISO_8859_1.decode(read.slice(0, Integer.BYTES)).toString();
      if (REFUSED.contains(start)) {
        throw new Refusal(
            "it is written in a newer layout than Keras': save the model by model.save, or with h5py's libver='earliest'");
      }
    }
    return read;
  }

  @Override
  public ByteBuffer map(long address, long length) {
    count(length);
    return bytes.map(address, length);
  }

  @Override
  public ByteBuffer mapNoOffset(long address, long length) {
    count(length);
    return bytes.mapNoOffset(address, length);
  }

  @Override
  public long getUserBlockSize() {
    return bytes.getUserBlockSize();
  }

  @Override
  public Superblock getSuperblock() {
    return bytes.getSuperblock();
  }

  @Override
  public FileChannel getFileChannel() {
    return bytes.getFileChannel();
  }

  @Override
  public int getSizeOfOffsets() {
    return bytes.getSizeOfOffsets();
  }

  @Override
  public int getSizeOfLengths() {
    return bytes.getSizeOfLengths();
  }

  @Override
  public void close() {
    bytes.close();
  }

  @Override
  public long size() {
    return bytes.size();
  }

  @Override
  public boolean inMemory() {
    return bytes.inMemory();
  }
}

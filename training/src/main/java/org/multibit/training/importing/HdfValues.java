package org.multibit.training.importing;

import static org.multibit.training.importing.Refusal.unless;

import io.jhdf.api.Attribute;
import io.jhdf.api.Dataset;
import io.jhdf.api.dataset.ChunkedDataset;
import io.jhdf.api.dataset.ContiguousDataset;
import io.jhdf.dataset.CompactDataset;
import io.jhdf.filter.ByteShuffleFilter;
import io.jhdf.filter.PipelineFilterWithData;
import io.jhdf.object.datatype.DataType;
import io.jhdf.object.datatype.FloatingPoint;
import io.jhdf.object.datatype.StringData;
import io.jhdf.object.datatype.VariableLength;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Arrays;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.zip.DataFormatException;
import java.util.zip.Inflater;

/**
 * Reads texts and arrays of an HDF5 file from an unknown source. jHDF itself makes a value of any
 * type that a file names and inflates chunks without a limit. This class checks type, shape and
 * filters before it reads anything, and a chunk unpacks to at most its own size.
 */
final class HdfValues {
  private static final int DEFLATE = 1;
  private static final int SHUFFLE = 2;
  private static final int FLETCHER32 = 3;
  private static final int CHECKSUM_BYTES = 4;

  /** Elements by which the chunks of a small array may be larger than it. */
  private static final long SPARE = 1 << 20;

  private HdfValues() {}

  /**
   * The text of an attribute; null if it is not a single text.
   *
   * @param most bytes that it may have
   * @throws Refusal if it has more
   */
  static String text(String name, Attribute attribute, int most) {
    if (attribute == null || !attribute.isScalar()) {
      return null;
    }
    DataType type = attribute.getDataType();
    long bytes;
    if (type instanceof VariableLength text && text.isVariableLengthString()) {
      // The length that its place in the heap begins with.
      bytes =
          Integer.toUnsignedLong(attribute.getBuffer().order(ByteOrder.LITTLE_ENDIAN).getInt(0));
    } else if (type instanceof StringData) {
      bytes = attribute.getSizeInBytes();
    } else {
      return null;
    }
    unless(bytes <= most, "its %s has %d bytes, more than %d: it is damaged", name, bytes, most);
    return (String) attribute.getData();
  }

  /**
   * The values of an array of floats, row by row.
   *
   * @param array of rank 1 or 2, with no more than {@code Integer.MAX_VALUE} elements
   * @throws Refusal if it holds anything else, or its parts do not fit its shape
   */
  static float[] floats(String name, Dataset array) {
    DataType type = array.getDataType();
    unless(
        type instanceof FloatingPoint,
        "%s holds %s: weights are imported from floats",
        name,
        type.getClass().getSimpleName());
    unless(!array.isEmpty(), "%s holds nothing: weights are imported from floats", name);
    ByteBuffer bytes;
    if (array instanceof ChunkedDataset chunked) {
      bytes = new Chunks(name, chunked).read();
    } else if (array instanceof ContiguousDataset contiguous) {
      bytes = contiguous.getBuffer();
    } else if (array instanceof CompactDataset compact) {
      bytes = compact.getDataBuffer();
    } else {
      throw new Refusal(name + " is stored in a way that is not known");
    }
    Object data = type.fillData(bytes, new int[] {Math.toIntExact(array.getSize())}, null);
    if (data instanceof float[] floats) {
      return floats;
    }
    double[] doubles = (double[]) data;
    float[] values = new float[doubles.length];
    for (int i = 0; i < values.length; i++) {
      values[i] = (float) doubles[i];
    }
    return values;
  }

  /** An array in chunks, perhaps packed. A vector is a matrix of one row. */
  private static final class Chunks {
    private final String name;
    private final ChunkedDataset array;
    private final List<PipelineFilterWithData> filters;
    private final int elementBytes;
    private final boolean vector;
    private final int rows;
    private final int columns;
    private final int chunkRows;
    private final int chunkColumns;

    Chunks(String name, ChunkedDataset array) {
      this.name = name;
      this.array = array;
      filters = array.getFilters();
      elementBytes = array.getDataType().getSize();
      int[] shape = array.getDimensions();
      int[] chunk = array.getChunkDimensions();
      unless(
          chunk.length == shape.length && Arrays.stream(chunk).allMatch(size -> size > 0),
          "%s is damaged: its shape is %s, its chunks' %s",
          name,
          Arrays.toString(shape),
          Arrays.toString(chunk));
      vector = shape.length == 1;
      rows = vector ? 1 : shape[0];
      columns = shape[shape.length - 1];
      chunkRows = vector ? 1 : chunk[0];
      chunkColumns = chunk[chunk.length - 1];
      requireChunksFit();
      requireFilters();
    }

    /** Chunks that are no larger than an array cover at most twice of it along each dimension. */
    private void requireChunksFit() {
      long covered =
          Math.multiplyExact(roundedUp(rows, chunkRows), roundedUp(columns, chunkColumns));
      unless(
          covered <= 4 * (long) rows * columns + SPARE,
          "%s has %d elements, in chunks of %d x %d: it is damaged",
          name,
          (long) rows * columns,
          chunkRows,
          chunkColumns);
    }

    private static long roundedUp(int size, int step) {
      return ((long) size + step - 1) / step * step;
    }

    /**
     * Other filters than those that Keras writes are not for files from anywhere (jHDF's LZ4 reads
     * out of bounds), and a chunk deflated twice may unpack to a million times its size.
     */
    private void requireFilters() {
      Set<Integer> seen = new HashSet<>();
      for (PipelineFilterWithData filter : filters) {
        int id = filter.getId();
        unless(
            id == DEFLATE || id == SHUFFLE || id == FLETCHER32,
            "%s is packed by the filter %s (%s): only deflate, shuffle and fletcher32 are read",
            name,
            filter.getName(),
            id);
        unless(seen.add(id), "%s is packed by the filter %s twice", name, filter.getName());
        unless(
            id != SHUFFLE || Arrays.equals(filter.getFilterData(), new int[] {elementBytes}),
            "%s is damaged: its bytes are shuffled by %s, not by %s",
            name,
            Arrays.toString(filter.getFilterData()),
            elementBytes);
      }
    }

    ByteBuffer read() {
      byte[] values = new byte[Math.toIntExact((long) rows * columns * elementBytes)];
      int rowBytes = columns * elementBytes;
      for (int row = 0; row < rows; row += chunkRows) {
        for (int column = 0; column < columns; column += chunkColumns) {
          byte[] chunk = chunk(row, column);
          int length = Math.min(chunkColumns, columns - column) * elementBytes;
          for (int i = 0; i < Math.min(chunkRows, rows - row); i++) {
            System.arraycopy(
                chunk,
                i * chunkColumns * elementBytes,
                values,
                (row + i) * rowBytes + column * elementBytes,
                length);
          }
        }
      }
      return ByteBuffer.wrap(values);
    }

    private byte[] chunk(int row, int column) {
      int bytes = Math.toIntExact((long) chunkRows * chunkColumns * elementBytes);
      ByteBuffer raw =
          array.getRawChunkBuffer(vector ? new int[] {column} : new int[] {row, column});
      byte[] chunk = new byte[raw.remaining()];
      raw.get(chunk);
      for (int i = filters.size() - 1; i >= 0; i--) {
        chunk =
            switch (filters.get(i).getId()) {
              case DEFLATE -> inflated(chunk, bytes);
              case SHUFFLE -> new ByteShuffleFilter().decode(chunk, filters.get(i).getFilterData());
              default -> chunk; // The checksum at its end is not looked at.
            };
      }
      unless(
          chunk.length >= bytes,
          "%s is damaged: a chunk has %d bytes, not %d",
          name,
          chunk.length,
          bytes);
      return chunk;
    }

    private byte[] inflated(byte[] packed, int bytes) {
      boolean checked = filters.stream().anyMatch(filter -> filter.getId() == FLETCHER32);
      Inflater inflater = new Inflater();
      try {
        inflater.setInput(packed);
        byte[] unpacked = new byte[checked ? bytes + CHECKSUM_BYTES : bytes];
        int length = inflater.inflate(unpacked);
        // A stream that fills the array may have its end left.
        unless(
            inflater.finished() || inflater.inflate(new byte[1]) == 0 && inflater.finished(),
            "%s is damaged: a chunk does not unpack to %d bytes",
            name,
            bytes);
        return length == unpacked.length ? unpacked : Arrays.copyOf(unpacked, length);
      } catch (DataFormatException e) {
        throw new Refusal("%s is damaged: %s".formatted(name, e.getMessage()), e);
      } finally {
        inflater.end();
      }
    }
  }
}

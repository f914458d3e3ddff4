package org.multibit.training;

import static org.bytedeco.hdf5.global.hdf5.H5F_ACC_TRUNC;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import io.jhdf.HdfFile;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.SplittableRandom;
import org.bytedeco.hdf5.DSetAccPropList;
import org.bytedeco.hdf5.DSetCreatPropList;
import org.bytedeco.hdf5.DataSet;
import org.bytedeco.hdf5.DataSpace;
import org.bytedeco.hdf5.DataType;
import org.bytedeco.hdf5.H5File;
import org.bytedeco.hdf5.LinkCreatPropList;
import org.bytedeco.hdf5.PredType;
import org.bytedeco.javacpp.FloatPointer;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** jHDF reads what Keras writes without the LZ4 library, which is left out. */
class HdfFiltersTest {
  private static final int ROWS = 60;
  private static final int COLUMNS = 50;

  @TempDir Path folder;

  private interface Filters {
    void addTo(DSetCreatPropList properties);
  }

  /** Writes random floats through the filters by the HDF5 library, and reads them by jHDF. */
  private void assertReads(String name, Filters filters) {
    Path path = folder.resolve(name + ".h5");
    SplittableRandom random = new SplittableRandom(7);
    float[] values = new float[ROWS * COLUMNS];
    for (int i = 0; i < values.length; i++) {
      values[i] = (float) random.nextDouble(-1, 1);
    }
    try (H5File file = new H5File(path.toString(), H5F_ACC_TRUNC());
        DSetCreatPropList properties = new DSetCreatPropList();
        DataType type = new DataType(PredType.NATIVE_FLOAT());
        DataSpace space = new DataSpace(2, new long[] {ROWS, COLUMNS});
        FloatPointer data = new FloatPointer(values)) {
      properties.setChunk(2, new long[] {16, 16});
      filters.addTo(properties);
      try (DSetAccPropList access = new DSetAccPropList();
          LinkCreatPropList link = new LinkCreatPropList();
          DataSet set = file.createDataSet("kernel", type, space, properties, access, link)) {
        set.write(data, type);
      }
      file._close();
    }
    try (HdfFile file = new HdfFile(path)) {
      float[][] read = (float[][]) file.getDatasetByPath("kernel").getData();
      assertEquals(ROWS, read.length);
      for (int row = 0; row < ROWS; row++) {
        float[] expected = Arrays.copyOfRange(values, row * COLUMNS, (row + 1) * COLUMNS);
        assertArrayEquals(expected, read[row], name + ", row " + row);
      }
    }
  }

  @Test
  void theFiltersThatKerasUsesNeedNoOtherLibrary() {
    assertThrows(ClassNotFoundException.class, () -> Class.forName("net.jpountz.lz4.LZ4Factory"));
    assertReads("deflate", properties -> properties.setDeflate(6));
    assertReads("fletcher32", DSetCreatPropList::setFletcher32);
    assertReads(
        "shuffle",
        properties -> {
          properties.setShuffle();
          properties.setDeflate(4);
          properties.setFletcher32();
        });
  }
}

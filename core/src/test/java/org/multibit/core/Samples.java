package org.multibit.core;

import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.FloatBuffer;
import java.util.Random;

/** Rows to quantize: drawn from the distributions that weights look like, and real ones. */
enum Samples {
  UNIFORM {
    @Override
    float next(Random random) {
      return 2 * random.nextFloat() - 1;
    }
  },
  GAUSSIAN {
    @Override
    float next(Random random) {
      return (float) random.nextGaussian();
    }
  },
  LAPLACIAN {
    @Override
    float next(Random random) {
      double u = random.nextDouble() - 0.5;
      return (float) (-Math.signum(u) * Math.log(1 - 2 * Math.abs(u)));
    }
  };

  abstract float next(Random random);

  /** The same rows on every call. */
  float[][] rows(int count, int cols) {
    Random random = new Random(count * 31L + cols);
    float[][] rows = new float[count][cols];
    for (float[] row : rows) {
      for (int c = 0; c < cols; c++) {
        row[c] = next(random);
      }
    }
    return rows;
  }

  /**
   * 48 rows of 300 weights from a trained language model, 12 of each of its matrices; where they
   * come from stands in real-weight-rows.md beside the file.
   */
  static float[][] realRows() {
    try (InputStream in = Samples.class.getResourceAsStream("/real-weight-rows.f32")) {
      ByteBuffer bytes = ByteBuffer.wrap(in.readAllBytes()).order(ByteOrder.LITTLE_ENDIAN);
      FloatBuffer floats = bytes.asFloatBuffer();
      float[][] rows = new float[48][300];
      for (float[] row : rows) {
        floats.get(row);
      }
      return rows;
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }
}

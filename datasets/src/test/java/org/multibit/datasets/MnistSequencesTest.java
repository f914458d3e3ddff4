package org.multibit.datasets;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.NoSuchElementException;
import java.util.Random;
import java.util.zip.GZIPOutputStream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.nd4j.linalg.dataset.DataSet;

class MnistSequencesTest {
  private static final int IMAGES = 7;

  @TempDir Path folder;

  private final byte[] pixels = new byte[IMAGES * 28 * 28];
  private final byte[] labels = {3, 0, 9, 1, 1, 7, 4};

  @BeforeEach
  void writeFiles() throws IOException {
    new Random(1).nextBytes(pixels);
    for (String split : new String[] {"train", "t10k"}) {
      write(split + "-images-idx3-ubyte.gz", gzip(idx(pixels, 0x803, IMAGES, 28, 28)));
      write(split + "-labels-idx1-ubyte.gz", gzip(idx(labels, 0x801, IMAGES)));
    }
  }

  private static byte[] idx(byte[] data, int magic, int... dims) {
    ByteBuffer file = ByteBuffer.allocate(4 + 4 * dims.length + data.length).putInt(magic);
    Arrays.stream(dims).forEach(file::putInt);
    return file.put(data).array();
  }

  private static byte[] gzip(byte[] bytes) throws IOException {
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    try (GZIPOutputStream gzip = new GZIPOutputStream(out)) {
      gzip.write(bytes);
    }
    return out.toByteArray();
  }

  private void write(String name, byte[] bytes) throws IOException {
    Files.write(folder.resolve(name), bytes);
  }

  @Test
  void rowsAreTimeSteps() throws IOException {
    MnistSequences test = MnistSequences.test(folder, 3);
    assertEquals(IMAGES, test.images());
    int image = 0;
    for (int pass = 0; pass < 2; pass++) {
      for (int size : new int[] {3, 3, 1}) {
        DataSet data = test.next();
        assertArrayEquals(new long[] {size, 28, 28}, data.getFeatures().shape());
        assertArrayEquals(new long[] {size, 10}, data.getLabels().shape());
        for (int i = 0; i < size; i++, image = (image + 1) % IMAGES) {
          for (int row = 0; row < 28; row++) {
            for (int column = 0; column < 28; column++) {
              assertEquals(
                  (pixels[(image * 28 + row) * 28 + column] & 0xff) / 255f,
                  data.getFeatures().getFloat(i, column, row));
            }
          }
          for (int digit = 0; digit < 10; digit++) {
            assertEquals(digit == labels[image] ? 1 : 0, data.getLabels().getFloat(i, digit));
          }
        }
      }
      assertFalse(test.hasNext());
      assertThrows(NoSuchElementException.class, test::next);
      test.reset();
    }
  }

  /** Each epoch has every image once, in an order of its own that the seed gives. */
  @Test
  void trainingIsShuffled() throws IOException {
    MnistSequences one = MnistSequences.train(folder, IMAGES, 5);
    MnistSequences two = MnistSequences.train(folder, IMAGES, 5);
    DataSet first = one.next();
    assertEquals(first, two.next());
    one.reset();
    two.reset();
    DataSet second = one.next();
    assertEquals(second, two.next());
    assertFalse(first.getFeatures().equals(second.getFeatures()));
    assertEquals(first.getLabels().sum(0), second.getLabels().sum(0));
    assertEquals(
        MnistSequences.test(folder, IMAGES).next().getLabels().sum(0), second.getLabels().sum(0));
  }

  @Test
  void badFilesAreNamed() throws IOException {
    String images = "t10k-images-idx3-ubyte.gz";
    String digits = "t10k-labels-idx1-ubyte.gz";
    byte[] whole = idx(pixels, 0x803, IMAGES, 28, 28);
    byte[] zipped = gzip(whole);
    refuse(images, whole, "not gzipped");
    refuse(images, new byte[0], "cut off");
    refuse(images, Arrays.copyOf(zipped, 5), "cut off");
    refuse(images, Arrays.copyOf(zipped, zipped.length / 2), "cut off");
    refuse(images, gzip(Arrays.copyOf(whole, 10)), "cut off");
    refuse(images, gzip(Arrays.copyOf(whole, 1000)), "of [7, 28, 28] bytes it holds 984");
    refuse(images, gzip(Arrays.copyOf(whole, whole.length + 1)), "more than [7, 28, 28] bytes");
    refuse(images, gzip(idx(labels, 0x801, IMAGES)), "starts with 0x00000801, not 0x00000803");
    refuse(images, gzip(idx(pixels, 0xd03, IMAGES, 28, 28)), "starts with 0x00000d03");
    refuse(images, gzip(idx(pixels, 0x803, IMAGES, 14, 56)), "images of 14 x 56 pixels");
    for (int count : new int[] {-1, 0, Integer.MAX_VALUE}) {
      refuse(images, gzip(idx(pixels, 0x803, count, 28, 28)), "damaged: it claims to hold");
    }
    refuse(digits, gzip(idx(labels, 0x801, IMAGES - 1)), "more than [6] bytes");
    refuse(digits, gzip(idx(new byte[6], 0x801, 6)), "holds 6 labels for the 7 images of");
    refuse(
        digits,
        gzip(idx(new byte[] {1, 2, 3, 4, 5, 6, 10}, 0x801, 7)),
        "label 6 is 10, not a digit");
    Files.delete(folder.resolve(digits));
    refuse(digits, null, "There is no file");
    assertThrows(IllegalArgumentException.class, () -> MnistSequences.train(folder, 0, 1));
  }

  /** The message names the file and is one line; the other split is not touched. */
  private void refuse(String name, byte[] bytes, String why) throws IOException {
    Path file = folder.resolve(name);
    byte[] before = bytes == null ? null : Files.readAllBytes(file);
    if (bytes != null) {
      Files.write(file, bytes);
    }
    String message =
        assertThrows(IOException.class, () -> MnistSequences.test(folder, 2)).getMessage();
    assertTrue(message.contains(why) && message.contains(file.toString()), message);
    assertEquals(1, message.lines().count(), message);
    MnistSequences.train(folder, 2, 1);
    if (before != null) {
      Files.write(file, before);
    }
  }
}

package org.multibit.datasets;

import java.io.IOException;
import java.nio.file.Path;
import java.util.List;
import java.util.NoSuchElementException;
import java.util.Random;
import java.util.stream.IntStream;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.nd4j.linalg.dataset.DataSet;
import org.nd4j.linalg.dataset.api.DataSetPreProcessor;
import org.nd4j.linalg.dataset.api.iterator.DataSetIterator;
import org.nd4j.linalg.factory.Nd4j;

/**
 * The handwritten digits of MNIST, row by row. An image is a sequence of 28 time steps. Each step
 * has the 28 pixels of a row, from 0 (background) to 1. Features are [batch, 28 pixels, 28 rows]
 * (NCW) and labels are one-hot [batch, 10]. The last batch may be smaller.
 *
 * <p>Reads a folder with the four files of the database: {@code train-images-idx3-ubyte.gz}, {@code
 * train-labels-idx1-ubyte.gz}, {@code t10k-images-idx3-ubyte.gz}, {@code
 * t10k-labels-idx1-ubyte.gz}.
 */
public final class MnistSequences implements DataSetIterator {
  private static final long serialVersionUID = 1;

  /** Rows of an image, and pixels of a row. */
  public static final int SIZE = 28;

  /** Digits. */
  public static final int CLASSES = 10;

  private final byte[] pixels;
  private final byte[] labels;
  private final int batch;

  /** Shuffles the images at each reset; null = they stay in the order of the files. */
  private final Random shuffler;

  private final int[] order;
  private int position;
  private DataSetPreProcessor preProcessor;

  private MnistSequences(Path folder, String split, int batch, Random shuffler) throws IOException {
    if (batch < 1) {
      throw new IllegalArgumentException("A batch has at least 1 image, not " + batch);
    }
    Path imageFile = folder.resolve(split + "-images-idx3-ubyte.gz");
    Path labelFile = folder.resolve(split + "-labels-idx1-ubyte.gz");
    IdxFile images = IdxFile.read(imageFile, 3);
    if (images.dims()[1] != SIZE || images.dims()[2] != SIZE) {
      throw new IOException(
          "%s holds images of %s x %s pixels, not %s x %s"
              .formatted(imageFile, images.dims()[1], images.dims()[2], SIZE, SIZE));
    }
    IdxFile digits = IdxFile.read(labelFile, 1);
    if (digits.dims()[0] != images.dims()[0]) {
      throw new IOException(
          "%s holds %s labels for the %s images of %s"
              .formatted(labelFile, digits.dims()[0], images.dims()[0], imageFile));
    }
    pixels = images.bytes();
    labels = digits.bytes();
    for (int i = 0; i < labels.length; i++) {
      if (labels[i] < 0 || labels[i] >= CLASSES) {
        throw new IOException(
            "%s: label %s is %s, not a digit".formatted(labelFile, i, labels[i] & 0xff));
      }
    }
    this.batch = batch;
    this.shuffler = shuffler;
    order = IntStream.range(0, labels.length).toArray();
    reset();
  }

  /**
   * The 60,000 images for training, in a new random order after each {@link #reset}.
   *
   * @param seed seed of the random orders
   * @throws IOException if a file is missing, damaged or not one of MNIST
   */
  public static MnistSequences train(Path folder, int batch, long seed) throws IOException {
    return new MnistSequences(folder, "train", batch, new Random(seed));
  }

  /**
   * The 10,000 images for testing, in the order of the file.
   *
   * @throws IOException if a file is missing, damaged or not one of MNIST
   */
  public static MnistSequences test(Path folder, int batch) throws IOException {
    return new MnistSequences(folder, "t10k", batch, null);
  }

  /** The number of images. */
  public int images() {
    return labels.length;
  }

  @Override
  public boolean hasNext() {
    return position < labels.length;
  }

  @Override
  public DataSet next() {
    return next(batch);
  }

  @Override
  public DataSet next(int num) {
    if (num < 1) {
      throw new IllegalArgumentException("A batch has at least 1 image, not " + num);
    }
    if (!hasNext()) {
      throw new NoSuchElementException("All images have been read; call reset()");
    }
    int count = Math.min(num, labels.length - position);
    float[] features = new float[count * SIZE * SIZE];
    float[] oneHot = new float[count * CLASSES];
    for (int i = 0; i < count; i++) {
      int image = order[position + i];
      oneHot[i * CLASSES + labels[image]] = 1;
      for (int row = 0; row < SIZE; row++) {
        for (int column = 0; column < SIZE; column++) {
          int pixel = pixels[(image * SIZE + row) * SIZE + column] & 0xff;
          features[(i * SIZE + column) * SIZE + row] = pixel / 255f;
        }
      }
    }
    position += count;
    INDArray x = Nd4j.create(features, new long[] {count, SIZE, SIZE}, 'c');
    INDArray y = Nd4j.create(oneHot, new long[] {count, CLASSES}, 'c');
    DataSet data = new DataSet(x, y);
    if (preProcessor != null) {
      preProcessor.preProcess(data);
    }
    return data;
  }

  @Override
  public void reset() {
    position = 0;
    for (int i = order.length - 1; shuffler != null && i > 0; i--) {
      int j = shuffler.nextInt(i + 1);
      int image = order[i];
      order[i] = order[j];
      order[j] = image;
    }
  }

  @Override
  public boolean resetSupported() {
    return true;
  }

  @Override
  public boolean asyncSupported() {
    return true;
  }

  @Override
  public int inputColumns() {
    return SIZE;
  }

  @Override
  public int totalOutcomes() {
    return CLASSES;
  }

  @Override
  public int batch() {
    return batch;
  }

  @Override
  public void setPreProcessor(DataSetPreProcessor preProcessor) {
    this.preProcessor = preProcessor;
  }

  @Override
  public DataSetPreProcessor getPreProcessor() {
    return preProcessor;
  }

  /** The digits' names. */
  @Override
  public List<String> getLabels() {
    return IntStream.range(0, CLASSES).mapToObj(String::valueOf).toList();
  }
}

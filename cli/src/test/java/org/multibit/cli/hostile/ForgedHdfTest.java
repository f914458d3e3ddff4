package org.multibit.cli.hostile;

import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTimeoutPreemptively;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.zip.DeflaterInputStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Small .h5 files that jHDF by itself would take gigabytes or hours for. */
class ForgedHdfTest {
  private static final int WORDS = 11;
  private static final int EMBEDDING = 5;
  private static final int DEFLATE = 1;
  private static final int SHUFFLE = 2;
  private static final int FLETCHER32 = 3;

  @TempDir Path folder;

  private final HdfForgery hdf = new HdfForgery();

  private static String config(int layers, int hidden) {
    String lstm =
        """
        {"class_name":"LSTM","config":{"name":"lstm","units":%d,"activation":"tanh","recurrent_activation":"sigmoid","return_sequences":true}},
        """
            .formatted(hidden);
    return """
        {"class_name":"Sequential","config":{"layers":[
        {"class_name":"Embedding","config":{"name":"embedding","input_dim":%d,"output_dim":%d}},
        %s
        {"class_name":"Dense","config":{"name":"dense","units":%d,"activation":"softmax"}}]}}
        """
        .formatted(WORDS, EMBEDDING, lstm.repeat(layers), WORDS);
  }

  /** A model of one LSTM, in which one array is as given; 0 for one that is right. */
  private byte[] model(long embeddings) {
    return model(
        config(1, 6),
        HdfForgery.links(
            "embeddings:0", embeddings == 0 ? hdf.zeros(WORDS, EMBEDDING) : embeddings),
        HdfForgery.links(
            "kernel:0",
            hdf.zeros(EMBEDDING, 24),
            "recurrent_kernel:0",
            hdf.zeros(6, 24),
            "bias:0",
            hdf.zeros(24)),
        6);
  }

  private byte[] model(
      String config,
      List<HdfForgery.Message> embedding,
      List<HdfForgery.Message> lstm,
      int hidden) {
    long dense =
        hdf.object(
            HdfForgery.links("kernel:0", hdf.zeros(hidden, WORDS), "bias:0", hdf.zeros(WORDS)));
    long weights =
        hdf.object(
            HdfForgery.links(
                "embedding", hdf.object(embedding), "lstm", hdf.object(lstm), "dense", dense));
    byte[] text = config.getBytes(StandardCharsets.UTF_8);
    List<HdfForgery.Message> root = HdfForgery.links("model_weights", weights);
    root.add(HdfForgery.texts("model_config", 0, hdf.heap(text), text.length));
    return hdf.file(root);
  }

  private static byte[] deflated(InputStream in) throws IOException {
    return new DeflaterInputStream(in).readAllBytes();
  }

  private static byte[] deflatedZeros(long length) throws IOException {
    return deflated(
        new InputStream() {
          private long left = length;

          @Override
          public int read() {
            return left-- > 0 ? 0 : -1;
          }

          @Override
          public int read(byte[] bytes, int start, int count) {
            int read = (int) Math.min(count, left);
            Arrays.fill(bytes, start, start + read, (byte) 0);
            left -= read;
            return read == 0 ? -1 : read;
          }
        });
  }

  private void read(byte[] bytes) throws IOException {
    ImportedModels.KERAS.read(Files.write(folder.resolve("forged.h5"), bytes));
  }

  private void assertRefused(String message, byte[] bytes) {
    assertTrue(bytes.length < 20_000_000);
    IOException e =
        assertTimeoutPreemptively(
            Duration.ofSeconds(30),
            () -> {
              // In the thread that reads: of one that has ended nothing is known.
              Cost cost = new Cost();
              IOException refusal = assertThrows(IOException.class, () -> read(bytes));
              cost.assertLittleMemory();
              return refusal;
            });
    assertTrue(e.getMessage().contains(message), e.getMessage());
  }

  /** Else the files below might be refused for what they are not forged in. */
  @Test
  void whatIsNotForgedIsRead() throws IOException {
    read(model(0));
    byte[] zeros = deflatedZeros(4L * WORDS * EMBEDDING);
    int[] shape = {WORDS, EMBEDDING};
    read(new ForgedHdfTest().packed(shape, shape, zeros, List.of(DEFLATE), new int[] {0, 0}));
    // Chunks of 4 x 3, the last ones partly outside; in the order in which Keras packs.
    byte[] part = deflated(new ByteArrayInputStream(new byte[4 * 12]));
    List<int[]> offsets = new ArrayList<>();
    for (int row = 0; row < WORDS; row += 4) {
      offsets.add(new int[] {row, 0});
      offsets.add(new int[] {row, 3});
    }
    read(
        new ForgedHdfTest()
            .packed(
                shape,
                new int[] {4, 3},
                part,
                List.of(SHUFFLE, DEFLATE, FLETCHER32),
                offsets.toArray(int[][]::new)));
    assertRefused(
        "No chunk with offset [8, 3]",
        new ForgedHdfTest()
            .packed(
                shape,
                new int[] {4, 3},
                part,
                List.of(DEFLATE),
                offsets.subList(0, 5).toArray(int[][]::new)));
  }

  private byte[] packed(
      int[] shape, int[] chunk, byte[] packed, List<Integer> filters, int[]... offsets) {
    return model(hdf.chunked(shape, chunk, packed, filters, offsets));
  }

  @Test
  void aChunkUnpacksToItsSize() throws IOException {
    int[] shape = {WORDS, EMBEDDING};
    int[] first = {0, 0};
    byte[] bomb = deflatedZeros(1_000_000_000);
    assertRefused(
        "does not unpack to 220 bytes", packed(shape, shape, bomb, List.of(DEFLATE), first));
    assertRefused(
        "by the filter deflate twice",
        packed(
            shape,
            shape,
            deflated(new ByteArrayInputStream(bomb)),
            List.of(DEFLATE, DEFLATE),
            first));
    assertRefused(
        "a chunk has 216 bytes, not 220",
        packed(shape, shape, deflatedZeros(216), List.of(DEFLATE), first));
    assertRefused(
        "does not unpack", packed(shape, shape, Arrays.copyOf(bomb, 100), List.of(DEFLATE), first));
  }

  @Test
  void chunksAreNotMuchLargerThanTheirArray() {
    assertRefused(
        "in chunks of 200000000 x 1",
        packed(
            new int[] {WORDS, EMBEDDING},
            new int[] {200_000_000, 1},
            new byte[1],
            List.of(DEFLATE),
            new int[] {0, 0}));
  }

  @Test
  void groupsThatAreLinkedManyTimesAreVisitedOnce() {
    long group = hdf.object(HdfForgery.links());
    for (int depth = 0; depth < 13; depth++) {
      Object[] links = new Object[20];
      for (int i = 0; i < 10; i++) {
        links[2 * i] = "g" + i;
        links[2 * i + 1] = group;
      }
      group = hdf.object(HdfForgery.links(links));
    }
    assertRefused(
        "more than 1000 arrays and groups",
        model(
            config(1, 6),
            HdfForgery.links("embedding", group),
            HdfForgery.links("x", hdf.zeros(1)),
            6));
  }

  /** jHDF reads the header of each link before anybody sees one. */
  @Test
  void oneHeaderIsNotReadForEachOfManyLinks() {
    long large = hdf.object(Collections.nCopies(60_000, new HdfForgery.Message(0, new byte[0])));
    Object[] links = new Object[2 * 30_000];
    for (int i = 0; i < links.length; i += 2) {
      links[i] = "g" + i;
      links[i + 1] = large;
    }
    assertRefused(
        "refer to each other without end",
        model(config(1, 6), HdfForgery.links(links), HdfForgery.links("x", hdf.zeros(1)), 6));
  }

  @Test
  void textsThatAreOneTextAreNotReadManyTimes() {
    byte[] text = new byte[1_000_000];
    Arrays.fill(text, (byte) ' ');
    long heap = hdf.heap(text);
    List<HdfForgery.Message> root = HdfForgery.links("model_weights", hdf.zeros(1));
    root.add(HdfForgery.texts("model_config", 4000, heap, text.length));
    assertRefused("it has no model_config", hdf.file(root));
    HdfForgery other = new HdfForgery();
    byte[] large = new byte[17_000_000];
    root = HdfForgery.links("model_weights", other.zeros(1));
    root.add(HdfForgery.texts("model_config", 0, other.heap(large), large.length));
    assertRefused("its model_config has 17000000 bytes", other.file(root));
  }

  @Test
  void anArrayOfTextsIsNotReadAsWeights() {
    byte[] text = new byte[10_000_000];
    assertRefused(
        "weights are imported from floats",
        model(hdf.textArray(hdf.heap(text), text.length, WORDS, EMBEDDING)));
  }

  /** Layers of one name have the weights of one group. */
  @Test
  void layersThatShareWeightsAreCountedEach() throws IOException {
    int hidden = 1000;
    int[] shape = {hidden, 4 * hidden};
    long kernel =
        hdf.chunked(
            shape, shape, deflatedZeros(16L * hidden * hidden), List.of(DEFLATE), new int[] {0, 0});
    byte[] file =
        model(
            config(100, hidden).replace("\"output_dim\":5", "\"output_dim\":" + hidden),
            HdfForgery.links("embeddings:0", hdf.zeros(WORDS, hidden)),
            HdfForgery.links(
                "kernel:0", kernel, "recurrent_kernel:0", kernel, "bias:0", hdf.zeros(4 * hidden)),
            hidden);
    assertRefused("claim to have", file);
  }
}

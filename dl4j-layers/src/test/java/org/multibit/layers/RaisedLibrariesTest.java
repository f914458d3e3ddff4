package org.multibit.layers;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.zip.GZIPOutputStream;
import org.apache.commons.compress.archivers.tar.TarArchiveEntry;
import org.apache.commons.compress.archivers.tar.TarArchiveOutputStream;
import org.deeplearning4j.nn.conf.MultiLayerConfiguration;
import org.deeplearning4j.nn.conf.NeuralNetConfiguration;
import org.deeplearning4j.nn.conf.layers.OutputLayer;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.nd4j.common.util.ArchiveUtils;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.nd4j.linalg.factory.Nd4j;
import org.nd4j.linalg.lossfunctions.impl.LossMCXENT;

/** DL4J works with the libraries that the BOM raises. */
class RaisedLibrariesTest {
  @TempDir Path folder;

  /** Commons Net's Base64 writes the arrays in a configuration. */
  @Test
  void aConfigurationKeepsItsArrays() {
    INDArray weights = Nd4j.createFromArray(0.5f, 1f, 2.25f);
    MultiLayerConfiguration written =
        new NeuralNetConfiguration.Builder()
            .list()
            .layer(new OutputLayer.Builder(new LossMCXENT(weights)).nIn(4).nOut(3).build())
            .build();
    MultiLayerConfiguration read = MultiLayerConfiguration.fromJson(written.toJson());
    OutputLayer layer = (OutputLayer) read.getConf(0).getLayer();
    assertEquals(weights, ((LossMCXENT) layer.getLossFn()).getWeights().reshape(3));
  }

  /** Commons Compress and Commons IO unpack what DL4J downloads. */
  @Test
  void anArchiveIsUnpacked() throws Exception {
    byte[] content = "a b c\n".repeat(1000).getBytes(StandardCharsets.UTF_8);
    Path archive = folder.resolve("data.tar.gz");
    try (OutputStream file = Files.newOutputStream(archive);
        TarArchiveOutputStream tar = new TarArchiveOutputStream(new GZIPOutputStream(file))) {
      tar.putArchiveEntry(new TarArchiveEntry("data/"));
      tar.closeArchiveEntry();
      TarArchiveEntry entry = new TarArchiveEntry("data/train.txt");
      entry.setSize(content.length);
      tar.putArchiveEntry(entry);
      tar.write(content);
      tar.closeArchiveEntry();
    }
    Path into = Files.createDirectory(folder.resolve("unpacked"));
    ArchiveUtils.unzipFileTo(archive.toString(), into.toString(), false);
    assertEquals(
        new String(content, StandardCharsets.UTF_8),
        Files.readString(into.resolve("data/train.txt")));
  }
}

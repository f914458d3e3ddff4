package org.multibit.cli.hostile;

import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import java.util.zip.ZipEntry;
import java.util.zip.ZipInputStream;
import java.util.zip.ZipOutputStream;
import org.deeplearning4j.nn.conf.NeuralNetConfiguration;
import org.deeplearning4j.nn.conf.inputs.InputType;
import org.deeplearning4j.nn.conf.layers.EmbeddingSequenceLayer;
import org.deeplearning4j.nn.conf.layers.LSTM;
import org.deeplearning4j.nn.conf.layers.RnnOutputLayer;
import org.deeplearning4j.nn.multilayer.MultiLayerNetwork;
import org.deeplearning4j.util.ModelSerializer;
import org.multibit.cli.ForeignModel;
import org.multibit.cli.KerasFile;
import org.multibit.datasets.Vocabulary;
import org.multibit.training.importing.ImportedModel;
import org.nd4j.linalg.activations.Activation;
import org.nd4j.linalg.learning.config.Adam;
import org.nd4j.linalg.lossfunctions.LossFunctions.LossFunction;

/** Models of other libraries, each through its reader. */
enum ImportedModels implements Format {
  SAFETENSORS("model.safetensors") {
    @Override
    public List<byte[]> seeds() throws IOException {
      return List.of(
          written(file -> model("lstm", 1).safetensors("F32").write(file)),
          written(file -> model("gru", 2).safetensors("BF16").write(file)));
    }
  },
  KERAS("model.h5") {
    @Override
    public List<byte[]> seeds() throws IOException {
      return List.of(
          written(file -> KerasFile.of(model("lstm", 1)).write(file)),
          written(file -> KerasFile.of(model("gru", 2)).write(file)));
    }
  },
  DL4J("model.zip") {
    @Override
    public List<byte[]> seeds() throws IOException {
      return List.of(written(file -> ModelSerializer.writeModel(network(), file.toFile(), true)));
    }

    /** Half of the damage is done to an entry, which would hide behind its checksum otherwise. */
    @Override
    public byte[] mutant(byte[] seed, Random random) {
      return random.nextBoolean()
          ? Mutations.of(seed, random)
          : zip(damaged(entries(seed), random));
    }
  };

  private static final Vocabulary WORDS =
      new Vocabulary(
          Stream.concat(Stream.of("<eos>", "<unk>"), IntStream.range(0, 9).mapToObj(i -> "w" + i))
              .toList());

  private final String fileName;

  ImportedModels(String fileName) {
    this.fileName = fileName;
  }

  @Override
  public String fileName() {
    return fileName;
  }

  @Override
  public void read(Path file) throws IOException {
    ImportedModel.open(file, WORDS);
  }

  private static ForeignModel model(String cell, int layers) {
    return new ForeignModel(cell, WORDS.size(), 5, 6, layers, 1);
  }

  private static MultiLayerNetwork network() {
    MultiLayerNetwork network =
        new MultiLayerNetwork(
            new NeuralNetConfiguration.Builder()
                .updater(new Adam())
                .list()
                .layer(new EmbeddingSequenceLayer.Builder().nIn(WORDS.size()).nOut(5).build())
                .layer(new LSTM.Builder().nIn(5).nOut(6).activation(Activation.TANH).build())
                .layer(
                    new RnnOutputLayer.Builder(LossFunction.SPARSE_MCXENT)
                        .nIn(6)
                        .nOut(WORDS.size())
                        .activation(Activation.SOFTMAX)
                        .build())
                .setInputType(InputType.recurrent(WORDS.size()))
                .build());
    network.init();
    return network;
  }

  private interface Writer {
    void writeTo(Path file) throws IOException;
  }

  private static byte[] written(Writer writer) throws IOException {
    Path file = Files.createTempFile("seed", "");
    try {
      writer.writeTo(file);
      return Files.readAllBytes(file);
    } finally {
      Files.delete(file);
    }
  }

  /** The entries of a zip. */
  static Map<String, byte[]> entries(byte[] zip) {
    Map<String, byte[]> entries = new LinkedHashMap<>();
    try (ZipInputStream in = new ZipInputStream(new ByteArrayInputStream(zip))) {
      for (ZipEntry entry = in.getNextEntry(); entry != null; entry = in.getNextEntry()) {
        entries.put(entry.getName(), in.readAllBytes());
      }
      return entries;
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  static byte[] zip(Map<String, byte[]> entries) {
    ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    try (ZipOutputStream out = new ZipOutputStream(bytes)) {
      for (Map.Entry<String, byte[]> entry : entries.entrySet()) {
        out.putNextEntry(new ZipEntry(entry.getKey()));
        out.write(entry.getValue());
      }
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
    return bytes.toByteArray();
  }

  /** One entry damaged, gone, or under another name. */
  static Map<String, byte[]> damaged(Map<String, byte[]> entries, Random random) {
    Map<String, byte[]> changed = new LinkedHashMap<>(entries);
    List<String> names = new ArrayList<>(entries.keySet());
    String name = names.get(random.nextInt(names.size()));
    switch (random.nextInt(8)) {
      case 0 -> changed.remove(name);
      case 1 -> changed.put("preprocessor.bin", changed.remove(name));
      case 2 -> changed.put(names.get(random.nextInt(names.size())), changed.get(name));
      default -> changed.put(name, Mutations.of(changed.get(name), random));
    }
    return changed;
  }
}

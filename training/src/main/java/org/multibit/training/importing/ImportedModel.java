package org.multibit.training.importing;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.LinkedHashMap;
import java.util.Locale;
import java.util.Map;
import org.deeplearning4j.nn.multilayer.MultiLayerNetwork;
import org.multibit.core.format.LanguageModelFile;
import org.multibit.datasets.Vocabulary;
import org.multibit.training.LanguageModel;
import org.multibit.training.Provenance;
import org.multibit.training.SavedModel;
import org.multibit.training.Settings;

/**
 * A full-precision language model of another library: a DL4J zip, a Keras .h5 or a PyTorch
 * .safetensors, known by its first bytes. What it computes is kept exactly, or it is refused.
 */
public final class ImportedModel implements SavedModel {
  private static final byte[] ZIP = {'P', 'K', 3, 4};
  private static final byte[] HDF5 = {(byte) 0x89, 'H', 'D', 'F', '\r', '\n', 0x1a, '\n'};
  private static final byte[] GGUF = {'G', 'G', 'U', 'F'};

  private final Path path;
  private final Vocabulary vocabulary;
  private final LanguageModelFile file;

  private ImportedModel(Path path, Vocabulary vocabulary, LanguageModelFile file) {
    this.path = path;
    this.vocabulary = vocabulary;
    this.file = file;
  }

  /**
   * @param vocabulary its words, in the order of the embedding's rows
   * @throws IOException if the file cannot be read, is damaged, or holds a model that cannot be
   *     kept: one line, with the file's name
   */
  public static ImportedModel open(Path path, Vocabulary vocabulary) throws IOException {
    byte[] start = start(path);
    refusePacked(path);
    try {
      requireWhatItsNameSays(path, start);
      FullPrecisionModel model =
          startsWith(start, ZIP)
              ? Dl4jModel.read(path)
              : startsWith(start, HDF5) ? KerasModel.read(path) : PyTorchModel.read(path);
      Map<String, Object> provenance = new LinkedHashMap<>();
      provenance.put("commit", Provenance.commit());
      provenance.put("imported_from", path.getFileName().toString());
      return new ImportedModel(path, vocabulary, model.file(vocabulary, provenance));
    } catch (Refusal e) {
      throw new IOException(path + " cannot be imported: " + e.getMessage(), e);
    }
  }

  private static void requireWhatItsNameSays(Path path, byte[] start) {
    String name = path.getFileName().toString().toLowerCase(Locale.ROOT);
    Refusal.unless(
        !name.endsWith(".h5") || startsWith(start, HDF5), "it is no HDF5 file, as a Keras .h5 is");
    Refusal.unless(
        !name.endsWith(".zip") || startsWith(start, ZIP), "it is no zip, as a model of DL4J is");
  }

  /** Whether a file is, by its first bytes, a packed model. */
  public static boolean isPacked(Path path) throws IOException {
    return startsWith(start(path), GGUF);
  }

  /**
   * @throws IOException if a file is a packed model, of which nothing can be made
   */
  public static void refusePacked(Path path) throws IOException {
    if (isPacked(path)) {
      throw new IOException(
          path
              + " is a packed model: give the run, or the full-precision model, that it was made of");
    }
  }

  private static byte[] start(Path path) throws IOException {
    try (FileChannel channel = FileChannel.open(path, StandardOpenOption.READ)) {
      ByteBuffer bytes = ByteBuffer.allocate(HDF5.length);
      while (bytes.hasRemaining() && channel.read(bytes) > 0) {}
      byte[] start = new byte[bytes.flip().remaining()];
      bytes.get(start);
      return start;
    }
  }

  private static boolean startsWith(byte[] bytes, byte[] magic) {
    return new String(bytes, StandardCharsets.ISO_8859_1)
        .startsWith(new String(magic, StandardCharsets.ISO_8859_1));
  }

  @Override
  public Path path() {
    return path;
  }

  @Override
  public Settings settings() {
    return LanguageModel.settings(file);
  }

  @Override
  public Vocabulary vocabulary() {
    return vocabulary;
  }

  @Override
  public MultiLayerNetwork model() {
    return LanguageModel.of(file);
  }

  @Override
  public LanguageModelFile pack() {
    return file;
  }
}

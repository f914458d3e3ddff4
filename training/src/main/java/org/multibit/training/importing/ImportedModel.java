package org.multibit.training.importing;

import java.io.IOException;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;
import org.deeplearning4j.nn.multilayer.MultiLayerNetwork;
import org.multibit.core.format.FileKind;
import org.multibit.core.format.LanguageModelFile;
import org.multibit.datasets.Vocabulary;
import org.multibit.training.LanguageModel;
import org.multibit.training.Provenance;
import org.multibit.training.SavedModel;
import org.multibit.training.Settings;

/**
 * A full-precision language model of another library: a DL4J zip, a Keras .h5 or a PyTorch
 * .safetensors, recognized by its first bytes. The imported model computes exactly the same
 * function; otherwise it is refused.
 */
public final class ImportedModel implements SavedModel {
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
   * @throws IOException if the file cannot be read, is damaged, or has a model that cannot be
   *     imported exactly; the message is one line with the file's name
   */
  public static ImportedModel open(Path path, Vocabulary vocabulary) throws IOException {
    FileKind kind = FileKind.of(path);
    try {
      FullPrecisionModel model =
          switch (kind) {
            case DL4J -> Dl4jModel.read(path);
            case HDF5 -> KerasModel.read(path);
            case SAFETENSORS -> PyTorchModel.read(path);
            case PACKED ->
                throw kind.refusal(
                    path, "give the run, or the full-precision model, that it was made of");
            default -> throw kind.refusal(path);
          };
      Map<String, Object> provenance = new LinkedHashMap<>();
      provenance.put("commit", Provenance.commit());
      provenance.put("imported_from", path.getFileName().toString());
      return new ImportedModel(path, vocabulary, model.file(vocabulary, provenance));
    } catch (Refusal e) {
      throw new IOException(path + " cannot be imported: " + e.getMessage(), e);
    }
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

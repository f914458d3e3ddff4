package org.multibit.training;

import java.io.IOException;
import java.nio.file.Path;
import org.multibit.core.format.FileKind;
import org.multibit.datasets.Vocabulary;
import org.multibit.training.importing.ImportedModel;

/** Opens models of every kind. */
public final class SavedModels {
  private SavedModels() {}

  /**
   * @param path a run's folder, or a file of another library
   * @param vocabulary the file with the words of another library's model, one per line in the order
   *     of the embedding's rows; null for a run, which has its own
   * @throws UsageException if the vocabulary is missing, or if it is given for a run
   * @throws IOException if the model does not exist or is invalid; the message says why
   */
  public static SavedModel open(Path path, Path vocabulary) throws IOException {
    FileKind kind = FileKind.of(path);
    if (!kind.isImported()) {
      UsageException.require(
          vocabulary == null || kind != FileKind.RUN,
          "--vocab is for models of other libraries: a run has its own words");
      return open(path, (Vocabulary) null);
    }
    UsageException.require(
        vocabulary != null,
        "%s is %s: to import it, give its words by --vocab FILE, one a line"
            .formatted(path, kind.what()));
    return open(path, Vocabulary.load(vocabulary));
  }

  /**
   * @param path a run's folder, or a file of another library
   * @param words the words of another library's model; a run has its own
   * @throws IOException if the model does not exist or is invalid; the message says why
   */
  public static SavedModel open(Path path, Vocabulary words) throws IOException {
    return FileKind.of(path) == FileKind.RUN ? Run.open(path) : ImportedModel.open(path, words);
  }
}

package org.multibit.cli;

import java.io.IOException;
import java.nio.file.Path;
import org.multibit.training.SavedModel;
import org.multibit.training.SavedModels;
import picocli.CommandLine.Option;

/** Which model to work on: a run's, or one of another library. */
final class ModelOptions {
  @Option(
      names = "--model",
      required = true,
      paramLabel = "RUN|FILE",
      description =
          "a run, or a full-precision model to import: DL4J .zip, Keras .h5, PyTorch .safetensors")
  Path model;

  @Option(
      names = "--vocab",
      paramLabel = "FILE",
      description = "words of a model to import, one a line in the order of the embedding's rows")
  Path vocabulary;

  SavedModel open() throws IOException {
    return SavedModels.open(model, vocabulary);
  }
}

package org.multibit.core.format;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.FloatBuffer;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.multibit.core.Cell;
import org.multibit.core.Quantizer;

/** The contents of a packed model file (docs/format.md) that all heads have. */
public interface PackedFile {
  /** The recurrent layers from the input on, all with the same cell. */
  List<Layer> layers();

  /** Classes x H. */
  Matrix softmax();

  /** One float for each class. */
  FloatBuffer softmaxBias();

  /** How activations are quantized; null only if no product quantizes them. */
  Quantizer activations();

  /** How weights were quantized, as provenance; null if they were not. */
  Quantizer weights();

  /** The keys without {@code multibit.provenance.}, and their values. */
  Map<String, Object> provenance();

  /** All weight matrices by their names in the file. Tied weights occur only as the embedding. */
  Map<String, Matrix> matrices();

  /** The file's keys and tensors. */
  GgufWriter gguf();

  default Cell cell() {
    return layers().get(0).cell();
  }

  /** H. */
  default int hiddenSize() {
    return softmax().cols();
  }

  /** Writes the file completely or not at all. */
  default void write(Path path) throws IOException {
    gguf().write(path);
  }

  /** The file's length in bytes. */
  default long fileBytes() {
    return gguf().bytes();
  }

  /**
   * The file in direct memory, aligned to 64 bytes, in which native code can open it.
   *
   * @throws IllegalArgumentException if it takes more than 2 GiB
   */
  default ByteBuffer toDirectBuffer() {
    return gguf().toDirectBuffer();
  }
}

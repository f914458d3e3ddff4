package org.multibit.training;

import java.io.IOException;
import java.io.OutputStream;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.FloatBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.bytedeco.javacpp.indexer.HalfIndexer;
import org.multibit.core.format.AtomicFile;
import org.multibit.core.format.LanguageModelFile;
import org.multibit.core.format.Layer;
import org.multibit.core.format.Matrix;

/**
 * Writes a full-precision language model as a PyTorch state dict in half precision to a
 * .safetensors file, with the names of PyTorch's {@code word_language_model} example: {@code
 * encoder.weight}, {@code rnn.weight_ih_l0} and so on, {@code decoder.weight}, {@code
 * decoder.bias}. The file's metadata records what it was trained on.
 */
public final class PyTorchExport {
  private static final int CHUNK = 1 << 16;

  private record Tensor(FloatBuffer values, long[] shape) {
    Map<String, Object> header(long begin, long end) {
      Map<String, Object> header = new LinkedHashMap<>();
      header.put("dtype", "F16");
      header.put("shape", shape);
      header.put("data_offsets", List.of(begin, end));
      return header;
    }
  }

  private final Map<String, Tensor> tensors = new LinkedHashMap<>();
  private final Map<String, String> metadata = new LinkedHashMap<>();

  /**
   * @throws IllegalArgumentException if a matrix or a product of the model is quantized
   */
  public PyTorchExport(LanguageModelFile model) {
    model
        .matrices()
        .forEach(
            (name, matrix) -> {
              if (matrix.packed() != null || matrix.activationBits() > 0) {
                throw new IllegalArgumentException(
                    "A .safetensors file holds a full-precision model, and %s is quantized: write a .gguf file"
                        .formatted(name));
              }
            });
    put("encoder.weight", model.embedding());
    for (int l = 0; l < model.layers().size(); l++) {
      Layer layer = model.layers().get(l);
      put("rnn.weight_ih_l" + l, layer.input());
      put("rnn.weight_hh_l" + l, layer.recurrent());
      put("rnn.bias_ih_l" + l, layer.bias());
      // PyTorch's LSTM has two biases, which it adds.
      FloatBuffer recurrent = layer.recurrentBias();
      put(
          "rnn.bias_hh_l" + l,
          recurrent != null ? recurrent : FloatBuffer.allocate(layer.bias().remaining()));
    }
    if (!model.tied()) {
      put("decoder.weight", model.softmax());
    }
    put("decoder.bias", model.softmaxBias());
    metadata.put("format", "pt");
    model.provenance().forEach((key, value) -> metadata.put(key, value.toString()));
  }

  private void put(String name, Matrix matrix) {
    tensors.put(
        name, new Tensor(matrix.floats().duplicate(), new long[] {matrix.rows(), matrix.cols()}));
  }

  private void put(String name, FloatBuffer vector) {
    tensors.put(name, new Tensor(vector.duplicate(), new long[] {vector.remaining()}));
  }

  /** Writes the file completely or not at all. */
  public void write(Path file) throws IOException {
    Map<String, Object> header = new LinkedHashMap<>();
    header.put("__metadata__", metadata);
    long end = 0;
    for (Map.Entry<String, Tensor> entry : tensors.entrySet()) {
      Tensor tensor = entry.getValue();
      long begin = end;
      end += (long) tensor.values.remaining() * Short.BYTES;
      header.put(entry.getKey(), tensor.header(begin, end));
    }
    String json = Json.line(header);
    // Tensors begin at a multiple of eight bytes, as other writers of the format have it.
    byte[] text =
        (json + " ".repeat(-json.getBytes(StandardCharsets.UTF_8).length & 7))
            .getBytes(StandardCharsets.UTF_8);
    AtomicFile.write(
        file,
        out -> {
          ByteBuffer length = ByteBuffer.allocate(Long.BYTES).order(ByteOrder.LITTLE_ENDIAN);
          out.write(length.putLong(text.length).array());
          out.write(text);
          for (Map.Entry<String, Tensor> entry : tensors.entrySet()) {
            writeHalves(out, entry.getKey(), entry.getValue().values.duplicate());
          }
        });
  }

  private static void writeHalves(OutputStream out, String name, FloatBuffer values)
      throws IOException {
    ByteBuffer chunk = ByteBuffer.allocate(CHUNK).order(ByteOrder.LITTLE_ENDIAN);
    while (values.hasRemaining()) {
      chunk.clear();
      while (values.hasRemaining() && chunk.hasRemaining()) {
        float value = values.get();
        short half = (short) HalfIndexer.fromFloat(value);
        if (!Float.isFinite(HalfIndexer.toFloat(half))) {
          throw new IOException(
              "%s has %s, which half precision cannot hold".formatted(name, value));
        }
        chunk.putShort(half);
      }
      out.write(chunk.array(), 0, chunk.position());
    }
  }
}

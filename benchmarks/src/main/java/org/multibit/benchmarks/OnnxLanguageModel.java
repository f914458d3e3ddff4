package org.multibit.benchmarks;

import java.io.BufferedOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.FloatBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import onnx.Onnx.AttributeProto;
import onnx.Onnx.GraphProto;
import onnx.Onnx.ModelProto;
import onnx.Onnx.NodeProto;
import onnx.Onnx.OperatorSetIdProto;
import onnx.Onnx.TensorProto;
import onnx.Onnx.TensorShapeProto;
import onnx.Onnx.TypeProto;
import onnx.Onnx.ValueInfoProto;
import org.multibit.core.Kernels;
import org.multibit.core.format.LanguageModelFile;
import org.multibit.core.format.Layer;
import org.multibit.core.format.Matrix;
import org.nd4j.shade.protobuf.ByteString;
import org.nd4j.shade.protobuf.UnsafeByteOperations;

/**
 * One step of a language model as an ONNX graph, with the values of a packed model's matrices:
 *
 * <pre>
 * token [1, batch] -> Gather -> LSTM -> MatMul + bias -> logits [1, batch, V]
 *    h, c [1, batch, H] in and out
 * </pre>
 *
 * in fp32, or with the weights of LSTM and softmax in int8 and the activations quantized online, as
 * ONNX Runtime's own {@code quantize_dynamic} does it.
 */
final class OnnxLanguageModel {
  private static final String BATCH = "batch";

  /**
   * ONNX has the gates input, output, forget, candidate; ours are input, forget, candidate, output.
   */
  private static final int[] ONNX_GATES = {0, 3, 1, 2};

  private final GraphProto.Builder graph = GraphProto.newBuilder().setName("language-model-step");
  private final LanguageModelFile model;
  private final int vocab;
  private final int hidden;

  private OnnxLanguageModel(LanguageModelFile model) {
    this.model = model;
    vocab = model.words().size();
    hidden = model.hiddenSize();
  }

  /**
   * @param model with one LSTM layer
   */
  static void write(LanguageModelFile model, boolean int8, Path path) throws IOException {
    ModelProto proto = new OnnxLanguageModel(model).build(int8);
    try (OutputStream out = new BufferedOutputStream(Files.newOutputStream(path), 1 << 20)) {
      proto.writeTo(out);
    }
  }

  private ModelProto build(boolean int8) {
    graph.addInput(value("token", TensorProto.DataType.INT32, 1, BATCH));
    for (String state : List.of("h", "c")) {
      graph.addInput(value(state, TensorProto.DataType.FLOAT, 1, BATCH, hidden));
      graph.addOutput(value(state + "_out", TensorProto.DataType.FLOAT, 1, BATCH, hidden));
    }
    graph.addOutput(value("logits", TensorProto.DataType.FLOAT, 1, BATCH, vocab));

    FloatBuffer embedding = values(model.embedding());
    floats("embedding", embedding, vocab, model.embeddingSize());
    node("Gather", "", List.of("embedding", "token"), List.of("x"));

    Layer layer = model.layers().get(0);
    FloatBuffer bias = LanguageModelFile.directFloats(8 * hidden);
    FloatBuffer gates = layer.bias().duplicate();
    for (int i = 0; i < 4 * hidden; i++) {
      bias.put(i, gates.get(gates.position() + gateRow(i)));
    }
    floats("lstm.bias", bias, 1, 8 * hidden);
    floats("softmax.bias", model.softmaxBias(), vocab);
    List<String> lstmOutputs = List.of("", "h_out", "c_out");
    if (int8) {
      int8("lstm.input", values(layer.input()), 4 * hidden, model.embeddingSize(), true);
      int8("lstm.recurrent", values(layer.recurrent()), 4 * hidden, hidden, true);
      int8("softmax", values(model.softmax()), vocab, hidden, false);
      node(
          "DynamicQuantizeLSTM",
          "com.microsoft",
          List.of(
              "x",
              "lstm.input",
              "lstm.recurrent",
              "lstm.bias",
              "",
              "h",
              "c",
              "",
              "lstm.input.scale",
              "lstm.input.zero",
              "lstm.recurrent.scale",
              "lstm.recurrent.zero"),
          lstmOutputs,
          hiddenSize());
      node(
          "DynamicQuantizeMatMul",
          "com.microsoft",
          List.of("h_out", "softmax", "softmax.scale", "softmax.zero", "softmax.bias"),
          List.of("logits"));
    } else {
      floats(
          "lstm.input",
          gateOrder(values(layer.input()), model.embeddingSize()),
          1,
          4 * hidden,
          model.embeddingSize());
      floats("lstm.recurrent", gateOrder(values(layer.recurrent()), hidden), 1, 4 * hidden, hidden);
      floats("softmax", transposed(values(model.softmax()), vocab, hidden), hidden, vocab);
      node(
          "LSTM",
          "",
          List.of("x", "lstm.input", "lstm.recurrent", "lstm.bias", "", "h", "c"),
          lstmOutputs,
          hiddenSize());
      node("MatMul", "", List.of("h_out", "softmax"), List.of("products"));
      node("Add", "", List.of("products", "softmax.bias"), List.of("logits"));
    }
    return ModelProto.newBuilder()
        .setIrVersion(8)
        .setProducerName("multibit")
        .addOpsetImport(OperatorSetIdProto.newBuilder().setDomain("").setVersion(17))
        .addOpsetImport(OperatorSetIdProto.newBuilder().setDomain("com.microsoft").setVersion(1))
        .setGraph(graph)
        .build();
  }

  private void node(
      String operator,
      String domain,
      List<String> inputs,
      List<String> outputs,
      AttributeProto... attributes) {
    graph.addNode(
        NodeProto.newBuilder()
            .setName(operator)
            .setOpType(operator)
            .setDomain(domain)
            .addAllInput(inputs)
            .addAllOutput(outputs)
            .addAllAttribute(List.of(attributes)));
  }

  private AttributeProto hiddenSize() {
    return AttributeProto.newBuilder()
        .setName("hidden_size")
        .setType(AttributeProto.AttributeType.INT)
        .setI(hidden)
        .build();
  }

  private static ValueInfoProto value(String name, TensorProto.DataType type, Object... dims) {
    TensorShapeProto.Builder shape = TensorShapeProto.newBuilder();
    for (Object dim : dims) {
      TensorShapeProto.Dimension.Builder dimension = shape.addDimBuilder();
      if (dim instanceof Integer size) {
        dimension.setDimValue(size);
      } else {
        dimension.setDimParam((String) dim);
      }
    }
    return ValueInfoProto.newBuilder()
        .setName(name)
        .setType(
            TypeProto.newBuilder()
                .setTensorType(
                    TypeProto.Tensor.newBuilder().setElemType(type.getNumber()).setShape(shape)))
        .build();
  }

  /** The floats of a matrix, rows x cols. */
  private static FloatBuffer values(Matrix matrix) {
    if (matrix.packed() == null) {
      return matrix.floats();
    }
    FloatBuffer floats = LanguageModelFile.directFloats(matrix.rows() * matrix.cols());
    Kernels.get().dequantize(matrix.packed(), floats);
    return floats;
  }

  /** The row of ours that is row i in ONNX's order of the gates. */
  private int gateRow(int i) {
    return ONNX_GATES[i / hidden] * hidden + i % hidden;
  }

  private FloatBuffer gateOrder(FloatBuffer rows, int cols) {
    FloatBuffer ordered = LanguageModelFile.directFloats(4 * hidden * cols);
    for (int i = 0; i < 4 * hidden; i++) {
      ordered.put(i * cols, rows, gateRow(i) * cols, cols);
    }
    return ordered;
  }

  private static FloatBuffer transposed(FloatBuffer matrix, int rows, int cols) {
    FloatBuffer result = LanguageModelFile.directFloats(rows * cols);
    for (int r = 0; r < rows; r++) {
      for (int c = 0; c < cols; c++) {
        result.put(c * rows + r, matrix.get(r * cols + c));
      }
    }
    return result;
  }

  private void floats(String name, FloatBuffer values, int... dims) {
    ByteBuffer bytes =
        ByteBuffer.allocateDirect(values.remaining() * Float.BYTES).order(ByteOrder.LITTLE_ENDIAN);
    bytes.asFloatBuffer().put(values.duplicate());
    tensor(name, TensorProto.DataType.FLOAT, bytes, dims);
  }

  private void tensor(String name, TensorProto.DataType type, ByteBuffer bytes, int... dims) {
    TensorProto.Builder tensor =
        TensorProto.newBuilder().setName(name).setDataType(type.getNumber());
    for (int dim : dims) {
      tensor.addDims(dim);
    }
    ByteString raw = UnsafeByteOperations.unsafeWrap(bytes);
    graph.addInitializer(tensor.setRawData(raw));
  }

  /**
   * A matrix transposed to [cols, rows] in int8, symmetric, with one scale: ONNX Runtime runs that
   * faster than a scale per channel.
   *
   * @param gates whether the rows are gates; then there is a leading dimension of one direction
   */
  private void int8(String name, FloatBuffer matrix, int rows, int cols, boolean gates) {
    float largest = 0;
    for (int i = 0; i < rows * cols; i++) {
      largest = Math.max(largest, Math.abs(matrix.get(i)));
    }
    float scale = largest == 0 ? 1 : largest / 127;
    ByteBuffer bytes = ByteBuffer.allocateDirect(rows * cols);
    for (int i = 0; i < rows; i++) {
      int start = (gates ? gateRow(i) : i) * cols;
      for (int c = 0; c < cols; c++) {
        bytes.put(c * rows + i, (byte) Math.round(matrix.get(start + c) / scale));
      }
    }
    tensor(
        name,
        TensorProto.DataType.INT8,
        bytes,
        gates ? new int[] {1, cols, rows} : new int[] {cols, rows});
    floats(name + ".scale", LanguageModelFile.directFloats(1).put(0, scale), 1);
    tensor(name + ".zero", TensorProto.DataType.INT8, ByteBuffer.allocateDirect(1), 1);
  }
}

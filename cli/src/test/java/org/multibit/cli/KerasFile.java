package org.multibit.cli;

import static org.bytedeco.hdf5.global.hdf5.H5F_ACC_TRUNC;

import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.bytedeco.hdf5.Attribute;
import org.bytedeco.hdf5.DSetAccPropList;
import org.bytedeco.hdf5.DSetCreatPropList;
import org.bytedeco.hdf5.DataSet;
import org.bytedeco.hdf5.DataSpace;
import org.bytedeco.hdf5.DataType;
import org.bytedeco.hdf5.Group;
import org.bytedeco.hdf5.H5File;
import org.bytedeco.hdf5.LinkCreatPropList;
import org.bytedeco.hdf5.PredType;
import org.bytedeco.hdf5.StrType;
import org.bytedeco.javacpp.BytePointer;
import org.bytedeco.javacpp.FloatPointer;
import org.bytedeco.javacpp.Pointer;
import org.multibit.training.Json;

/**
 * A Sequential model as Keras 2 saves it, written by the HDF5 library. That is not made for several
 * threads: what is not closed here the garbage collector's thread would free beside this one.
 */
public final class KerasFile {
  private final List<Map<String, Object>> layers = new ArrayList<>();
  private final Map<String, Map<String, float[]>> weights = new LinkedHashMap<>();
  private final Map<String, Map<String, long[]>> shapes = new LinkedHashMap<>();
  private boolean packed;

  private void layer(String kind, String name, Map<String, ?> config) {
    Map<String, Object> all =
        new LinkedHashMap<>(Map.of("name", name, "trainable", true, "dtype", "float32"));
    all.putAll(config);
    layers.add(new LinkedHashMap<>(Map.of("class_name", kind, "config", all)));
    weights.put(name, new LinkedHashMap<>());
    shapes.put(name, new LinkedHashMap<>());
  }

  /** Has the arrays packed by shuffle and deflate. */
  public KerasFile packed() {
    packed = true;
    return this;
  }

  /** The layer as it stands in the configuration. */
  Map<String, Object> entry(int layer) {
    return layers.get(layer);
  }

  /** The configuration of a layer. */
  @SuppressWarnings("unchecked")
  Map<String, Object> config(int layer) {
    return (Map<String, Object>) layers.get(layer).get("config");
  }

  void array(String layer, String key, float[] values, long... shape) {
    weights.get(layer).put(key, values);
    shapes.get(layer).put(key, shape);
  }

  void remove(String layer, String key) {
    weights.get(layer).remove(key);
  }

  public Path write(Path path) {
    return write(
        path,
        Map.of(
            "class_name", "Sequential", "config", Map.of("name", "sequential", "layers", layers)));
  }

  Path write(Path path, Map<String, ?> config) {
    try (H5File file = new H5File(path.toString(), H5F_ACC_TRUNC())) {
      text(file, "keras_version", "2.15.0");
      text(file, "backend", "tensorflow");
      text(file, "model_config", Json.line(config));
      try (Group root = file.createGroup("model_weights")) {
        text(root, "keras_version", "2.15.0");
        text(root, "backend", "tensorflow");
        weights.forEach((layer, arrays) -> write(root, layer, arrays));
      }
      file._close();
    }
    return path;
  }

  private void write(Group root, String layer, Map<String, float[]> arrays) {
    try (Group outer = root.createGroup(layer);
        Group inner = outer.createGroup(layer)) {
      names(outer, arrays.keySet().stream().map(key -> layer + "/" + key + ":0").toList());
      arrays.forEach(
          (key, values) -> {
            long[] shape = shapes.get(layer).get(key);
            try (DataType type = new DataType(PredType.NATIVE_FLOAT());
                DataSpace space = new DataSpace(shape.length, shape);
                DSetCreatPropList how = new DSetCreatPropList();
                DSetAccPropList access = new DSetAccPropList();
                LinkCreatPropList link = new LinkCreatPropList();
                DataSet set =
                    inner.createDataSet(
                        key + ":0", type, space, filtered(how, shape), access, link);
                FloatPointer data = new FloatPointer(values)) {
              set.write(data, type);
            }
          });
    }
  }

  private DSetCreatPropList filtered(DSetCreatPropList how, long[] shape) {
    if (packed) {
      how.setChunk(shape.length, shape);
      how.setShuffle();
      how.setDeflate(6);
    }
    return how;
  }

  private static void text(Group group, String name, String value) {
    try (StrType type = new StrType(PredType.C_S1(), org.bytedeco.hdf5.global.hdf5.H5T_VARIABLE);
        DataSpace scalar = new DataSpace();
        Attribute attribute = group.createAttribute(name, type, scalar);
        BytePointer bytes = new BytePointer(value)) {
      attribute.write(type, bytes);
    }
  }

  /** Names of one length, padded with zeros. */
  private static void names(Group group, List<String> names) {
    int length = names.stream().mapToInt(String::length).max().orElse(1);
    byte[] padded = new byte[length * names.size()];
    for (int i = 0; i < names.size(); i++) {
      byte[] name = names.get(i).getBytes(StandardCharsets.UTF_8);
      System.arraycopy(name, 0, padded, i * length, name.length);
    }
    try (StrType type = new StrType(PredType.C_S1(), length);
        DataSpace space = new DataSpace(1, new long[] {names.size()});
        Attribute attribute = group.createAttribute("weight_names", type, space);
        BytePointer bytes = new BytePointer(padded)) {
      attribute.write(type, (Pointer) bytes);
    }
  }

  /** A model's weights as Keras has them. */
  public static KerasFile of(ForeignModel model) {
    KerasFile file = new KerasFile();
    int h = model.hidden;
    boolean lstm = model.cell.equals("lstm");
    Map<String, Object> embedding = new LinkedHashMap<>();
    embedding.put("batch_input_shape", java.util.Arrays.asList(null, null));
    embedding.put("input_dim", model.vocabulary);
    embedding.put("output_dim", model.embedding);
    embedding.put("embeddings_initializer", initializer("RandomUniform"));
    embedding.put("embeddings_regularizer", null);
    embedding.put("embeddings_constraint", null);
    embedding.put("activity_regularizer", null);
    embedding.put("mask_zero", false);
    embedding.put("input_length", null);
    file.layer("Embedding", "embedding", embedding);
    file.array(
        "embedding",
        "embeddings",
        model.arrays.get("encoder.weight"),
        model.vocabulary,
        model.embedding);
    for (int l = 0; l < model.layers; l++) {
      String name = model.cell + "_" + l;
      Map<String, Object> config = new LinkedHashMap<>();
      config.put("units", h);
      config.put("activation", "tanh");
      config.put("recurrent_activation", "sigmoid");
      config.put("use_bias", true);
      config.put("unit_forget_bias", true);
      config.put("return_sequences", true);
      config.put("go_backwards", false);
      config.put("dropout", 0.0);
      config.put("recurrent_dropout", 0.0);
      config.put("implementation", 2);
      config.put("return_state", false);
      config.put("stateful", false);
      config.put("unroll", false);
      config.put("time_major", false);
      config.put("recurrent_initializer", initializer("GlorotUniform"));
      putDefaults(config);
      if (!lstm) {
        config.put("reset_after", true);
      }
      file.layer(lstm ? "LSTM" : "GRU", name, config);
      int in = l == 0 ? model.embedding : h;
      int gates = lstm ? 4 : 3;
      int[] order = lstm ? new int[] {0, 1, 2, 3} : new int[] {1, 0, 2};
      file.array(
          name,
          "kernel",
          columns(model.arrays.get("rnn.weight_ih_l" + l), in, h, order),
          in,
          (long) gates * h);
      file.array(
          name,
          "recurrent_kernel",
          columns(model.arrays.get("rnn.weight_hh_l" + l), h, h, order),
          h,
          (long) gates * h);
      float[] input = columns(model.arrays.get("rnn.bias_ih_l" + l), 1, h, order);
      float[] recurrent = columns(model.arrays.get("rnn.bias_hh_l" + l), 1, h, order);
      if (lstm) {
        for (int i = 0; i < input.length; i++) {
          input[i] += recurrent[i];
        }
        file.array(name, "bias", input, (long) gates * h);
      } else {
        float[] both = java.util.Arrays.copyOf(input, 2 * input.length);
        System.arraycopy(recurrent, 0, both, input.length, input.length);
        file.array(name, "bias", both, 2, (long) gates * h);
      }
    }
    Map<String, Object> dense = new LinkedHashMap<>();
    dense.put("name", "dense");
    dense.put("units", model.vocabulary);
    dense.put("activation", "softmax");
    dense.put("use_bias", true);
    putDefaults(dense);
    file.layer(
        "TimeDistributed",
        "time_distributed",
        Map.of("layer", Map.of("class_name", "Dense", "config", dense)));
    file.array(
        "time_distributed",
        "kernel",
        columns(model.arrays.get("decoder.weight"), h, model.vocabulary, new int[] {0}),
        h,
        model.vocabulary);
    file.array("time_distributed", "bias", model.arrays.get("decoder.bias"), model.vocabulary);
    return file;
  }

  private static Map<String, Object> initializer(String name) {
    return Map.of(
        "class_name", name, "config", Map.of("minval", -0.05, "maxval", 0.05, "gain", 1.0));
  }

  private static void putDefaults(Map<String, Object> config) {
    config.put("kernel_initializer", initializer("GlorotUniform"));
    config.put("bias_initializer", initializer("Zeros"));
    for (String part : List.of("kernel", "recurrent", "bias", "activity")) {
      config.put(part + "_regularizer", null);
      config.put(part + "_constraint", null);
    }
  }

  /** Rows [G n, in] as columns [in, G n], block g what block order[g] was. */
  private static float[] columns(float[] rows, int in, int n, int[] order) {
    float[] columns = new float[rows.length];
    int width = order.length * n;
    for (int g = 0; g < order.length; g++) {
      for (int j = 0; j < n; j++) {
        for (int i = 0; i < in; i++) {
          columns[i * width + g * n + j] = rows[(order[g] * n + j) * in + i];
        }
      }
    }
    return columns;
  }
}

package org.multibit.training.importing;

import static org.multibit.training.importing.Refusal.unless;

import io.jhdf.HdfFile;
import io.jhdf.api.Dataset;
import io.jhdf.api.Group;
import io.jhdf.api.Node;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.stream.Stream;
import org.multibit.core.Cell;
import org.multibit.training.Json;
import org.multibit.training.Unpacking;
import org.nd4j.shade.jackson.core.JsonProcessingException;
import org.nd4j.shade.jackson.databind.JsonNode;

/**
 * Finds a language model in a Keras .h5 file (Keras 2, or the legacy format of Keras 3): a
 * Sequential model, or a functional one that is a chain, of Embedding, LSTM or GRU layers, and a
 * Dense layer, also within TimeDistributed.
 */
final class KerasModel {
  /** Keras' GRU has update, reset, new; LSTM has the same order as here. */
  private static final int[] GRU_FROM_KERAS = {1, 0, 2};

  private static final int[] LSTM_FROM_KERAS = {0, 1, 2, 3};

  private static final long MAX_FILE = Integer.MAX_VALUE - 8;

  private static final int MAX_CONFIG = 1 << 24;

  /** In the group of a layer: Keras' have the arrays, in a group or two. */
  private static final int MAX_NODES = 1000;

  private final long fileBytes;
  private final Group weights;
  private final List<JsonNode> chain;

  private Parameter embedding;
  private Cell cell;
  private final List<FullPrecisionModel.Layer> layers = new ArrayList<>();
  private Parameter softmax;
  private Parameter softmaxBias;
  private boolean normalized;

  /** Of the arrays taken so far: several layers may claim one. */
  private long bytes;

  private KerasModel(long fileBytes, Group weights, List<JsonNode> chain) {
    this.fileBytes = fileBytes;
    this.weights = weights;
    this.chain = chain;
  }

  /**
   * @throws IOException if the file cannot be read
   * @throws Refusal if it is damaged, or holds anything but such a model
   */
  static FullPrecisionModel read(Path path) throws IOException {
    long bytes = Files.size(path);
    unless(bytes <= MAX_FILE, "it has %d bytes: files of up to %d are read", bytes, MAX_FILE);
    // From memory, jHDF takes no more of it for what a file claims to hold than the file has.
    try (HdfFile file = BoundedStorage.open(Files.readAllBytes(path))) {
      String config = HdfValues.text("model_config", file.getAttribute("model_config"), MAX_CONFIG);
      unless(
          config != null,
          "it has no model_config: save the whole model (model.save), not its weights alone");
      unless(
          file.getChild("model_weights") instanceof Group,
          "it has no model_weights: save the whole model (model.save)");
      return new KerasModel(
              bytes, (Group) file.getChild("model_weights"), chain(Json.parse(config)))
          .read();
    } catch (JsonProcessingException e) {
      throw new Refusal("its model_config is no JSON: " + e.getOriginalMessage(), e);
    } catch (IOException | Refusal e) {
      throw e;
    } catch (RuntimeException | StackOverflowError | OutOfMemoryError e) {
      // What jHDF meets in a damaged file, or a refusal of its storage in an exception of its own.
      throw Stream.iterate((Throwable) e, Objects::nonNull, Throwable::getCause)
          .filter(Refusal.class::isInstance)
          .map(Refusal.class::cast)
          .findFirst()
          .orElseGet(() -> new Refusal("it is damaged: " + e, e));
    }
  }

  /** The layers in the order of the computation. */
  private static List<JsonNode> chain(JsonNode model) {
    String kind = model.path("class_name").asText();
    JsonNode config = model.path("config");
    List<JsonNode> layers = new ArrayList<>();
    (config.isArray() ? config : config.path("layers")).forEach(layers::add);
    unless(!layers.isEmpty(), "its model_config, of class '%s', has no layers", kind);
    if (kind.equals("Sequential")) {
      return layers;
    }
    unless(
        kind.equals("Functional") || kind.equals("Model"),
        "a model of class '%s' cannot be kept: it must be Sequential or a functional chain",
        kind);
    Map<String, JsonNode> byInput = new LinkedHashMap<>();
    JsonNode next = null;
    for (JsonNode layer : layers) {
      List<String> inputs = inputs(layer);
      if (inputs.isEmpty()) {
        unless(next == null, "the model has several inputs: a language model has one");
        next = layer;
      } else {
        unless(
            inputs.size() == 1 && byInput.put(inputs.get(0), layer) == null,
            "layer %s makes the model branch: it must be a chain of layers",
            name(layer));
      }
    }
    List<JsonNode> chain = new ArrayList<>();
    for (; next != null; next = byInput.remove(name(next))) {
      chain.add(next);
    }
    unless(
        byInput.isEmpty(), "the model is no chain of layers: %s hang in the air", byInput.keySet());
    return chain;
  }

  /** The names of the layers that feed a layer, one for each of its uses and inputs. */
  private static List<String> inputs(JsonNode layer) {
    List<String> inputs = new ArrayList<>();
    for (JsonNode use : layer.path("inbound_nodes")) {
      if (use.isArray()) {
        use.forEach(input -> inputs.add(input.path(0).asText()));
      } else {
        use.findValues("keras_history").forEach(input -> inputs.add(input.path(0).asText()));
      }
    }
    return inputs;
  }

  private static String name(JsonNode layer) {
    return layer.path("config").path("name").asText(layer.path("name").asText());
  }

  private FullPrecisionModel read() {
    for (JsonNode layer : chain) {
      read(layer);
    }
    unless(softmax != null, "it has no Dense layer after its recurrent layers");
    return new FullPrecisionModel(cell, embedding, layers, softmax, softmaxBias);
  }

  private void read(JsonNode layer) {
    String kind = layer.path("class_name").asText();
    String name = "layer %s (%s)".formatted(name(layer), kind);
    JsonNode config = layer.path("config");
    switch (kind) {
      case "InputLayer", "Dropout", "SpatialDropout1D" -> {} // Nothing at inference.
      case "Embedding" -> {
        place(embedding == null && layers.isEmpty(), name);
        unless(
            !config.path("mask_zero").asBoolean(),
            "%s has mask_zero, which cannot be kept: every token counts here",
            name);
        embedding =
            new Weights(name, layer)
                .take(
                    "embeddings",
                    size(config, "input_dim", name),
                    size(config, "output_dim", name));
      }
      case "LSTM", "GRU" -> {
        unless(
            embedding != null || !layers.isEmpty(),
            "it has no Embedding before %s: it takes vectors (one-hot, if they stand for words), not tokens; such models are not taken yet",
            name);
        place(softmax == null, name);
        unless(
            cell == null || cell == cell(kind),
            "%s follows layers of another cell: all must be alike",
            name);
        cell = cell(kind);
        layers.add(recurrent(name, layer));
      }
      case "TimeDistributed" -> {
        JsonNode inner = config.path("layer");
        unless(
            inner.path("class_name").asText().equals("Dense"),
            "%s wraps '%s', which cannot be kept: only Dense can",
            name,
            inner.path("class_name").asText());
        dense(name, layer, inner.path("config"));
      }
      case "Dense" -> dense(name, layer, config);
      case "Activation", "Softmax" -> {
        place(softmax != null && !normalized, name);
        if (kind.equals("Activation")) {
          requireActivation(name, config, "activation", "softmax");
        }
        normalized = true;
      }
      default ->
          throw new Refusal(
              "%s cannot be kept: a language model is Embedding, LSTM or GRU layers, and Dense"
                  .formatted(name));
    }
  }

  private static Cell cell(String kind) {
    return kind.equals("LSTM") ? Cell.LSTM : Cell.GRU;
  }

  private void place(boolean right, String name) {
    unless(
        right,
        "%s is out of place: a language model is Embedding, LSTM or GRU layers, and Dense, in this order",
        name);
  }

  private FullPrecisionModel.Layer recurrent(String name, JsonNode layer) {
    JsonNode config = layer.path("config");
    requireActivation(name, config, "activation", "tanh");
    requireActivation(name, config, "recurrent_activation", "sigmoid");
    for (String option : List.of("go_backwards", "time_major")) {
      unless(!config.path(option).asBoolean(), "%s has %s, which cannot be kept", name, option);
    }
    unless(
        config.path("return_sequences").asBoolean(),
        "%s has return_sequences=False: a language model predicts after every token",
        name);
    boolean gru = cell == Cell.GRU;
    unless(
        !gru || config.path("reset_after").asBoolean(),
        "%s has reset_after=False, which cannot be kept: the reset gate must come after the product",
        name);
    int[] order = gru ? GRU_FROM_KERAS : LSTM_FROM_KERAS;
    long hidden = size(config, "units", name);
    long in =
        layers.isEmpty()
            ? embedding.values().size(1)
            : layers.get(layers.size() - 1).recurrent().values().size(1);
    long rows = order.length * hidden;
    Weights own = new Weights(name, layer);
    Parameter input = own.take("kernel", in, rows).transposed().blocks(order);
    Parameter recurrent = own.take("recurrent_kernel", hidden, rows).transposed().blocks(order);
    Parameter none = Parameter.zeros(name + " bias", rows);
    if (!config.path("use_bias").asBoolean(true)) {
      return new FullPrecisionModel.Layer(input, recurrent, none, none);
    }
    if (!gru) {
      return new FullPrecisionModel.Layer(input, recurrent, own.take("bias", rows), none);
    }
    Parameter biases = own.take("bias", 2, rows);
    return new FullPrecisionModel.Layer(
        input,
        recurrent,
        new Parameter(biases.name(), biases.values().getRow(0)).blocks(order),
        new Parameter(biases.name(), biases.values().getRow(1)).blocks(order));
  }

  private void dense(String name, JsonNode layer, JsonNode config) {
    place(!layers.isEmpty() && softmax == null, name);
    if (text(config.path("activation")).equals("softmax")) {
      normalized = true;
    } else {
      // The values are then the logits of a softmax that the loss had in it, or that follows.
      requireActivation(name, config, "activation", "linear");
    }
    long hidden = layers.get(layers.size() - 1).recurrent().values().size(1);
    long units = size(config, "units", name);
    Weights own = new Weights(name, layer);
    softmax = own.take("kernel", hidden, units).transposed();
    softmaxBias =
        config.path("use_bias").asBoolean(true)
            ? own.take("bias", units)
            : Parameter.zeros(name + " bias", units);
  }

  private static long size(JsonNode config, String key, String name) {
    long size = config.path(key).asLong();
    unless(size > 0 && size <= Integer.MAX_VALUE, "%s has no %s", name, key);
    return size;
  }

  private static void requireActivation(String name, JsonNode config, String which, String needed) {
    String activation = text(config.path(which));
    unless(
        activation.equals(needed),
        "%s has the %s '%s', which cannot be kept: only %s can",
        name,
        which,
        activation,
        needed);
  }

  /** A function's name, which newer versions put into an object. */
  private static String text(JsonNode function) {
    return function.isObject()
        ? function.path("config").asText(function.path("class_name").asText())
        : function.asText();
  }

  /** The arrays of one layer, wherever below its group they lie. */
  private final class Weights {
    private final String layer;
    private final Map<String, Dataset> arrays = new LinkedHashMap<>();
    private int nodes;

    Weights(String name, JsonNode layer) {
      this.layer = name;
      Node group = weights.getChild(name(layer));
      unless(group instanceof Group, "%s has no weights in the file", name);
      collect((Group) group, 0);
    }

    private void collect(Group group, int depth) {
      unless(depth < 16, "the weights of %s are nested too deep", layer);
      for (Node node : group) {
        unless(++nodes <= MAX_NODES, "%s has more than %s arrays and groups", layer, MAX_NODES);
        if (node instanceof Dataset array) {
          String key = array.getName().replaceFirst(":0$", "");
          unless(arrays.put(key, array) == null, "%s has two arrays %s", layer, key);
        } else if (node instanceof Group inner) {
          collect(inner, depth + 1);
        }
      }
    }

    Parameter take(String key, long... shape) {
      Dataset array = arrays.get(key);
      unless(array != null, "%s has no array %s; it has %s", layer, key, arrays.keySet());
      String name = layer + " " + key;
      long[] found = Arrays.stream(array.getDimensions()).asLongStream().toArray();
      Parameter.requireShape(name, found, shape);
      long count = Arrays.stream(found).reduce(1, Math::multiplyExact);
      unless(
          count <= Integer.MAX_VALUE / Float.BYTES,
          "%s has %s elements: over 2 GiB as floats",
          name,
          count);
      bytes += count * array.getDataType().getSize();
      unless(
          Unpacking.isPlausible(bytes, fileBytes),
          "the arrays up to %s claim to have %s bytes, in a file of %s: it is damaged",
          name,
          bytes,
          fileBytes);
      return Parameter.of(name, HdfValues.floats(name, array), found);
    }
  }
}

package org.multibit.training.importing;

import static org.multibit.training.importing.Refusal.unless;

import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.multibit.core.Cell;
import org.multibit.training.importing.FullPrecisionModel.Layer;

/**
 * Finds a language model in a PyTorch state dict: one {@code nn.LSTM} or {@code nn.GRU}, one {@code
 * nn.Embedding}, and one {@code nn.Linear} or weights tied to the embedding's. The names of the
 * modules do not matter.
 */
final class PyTorchModel {
  private static final Pattern RECURRENT =
      Pattern.compile("(.*?)(weight|bias)_(ih|hh|hr)_l(\\d+)(_reverse)?");

  private final SafetensorsFile file;

  /** Tensors that have no place in the model yet. */
  private final Map<String, long[]> left;

  private PyTorchModel(SafetensorsFile file) {
    this.file = file;
    this.left = new TreeMap<>(file.shapes());
  }

  /**
   * @throws IOException if the file cannot be read
   * @throws Refusal if it is damaged, or is not such a model
   */
  static FullPrecisionModel read(Path path) throws IOException {
    return new PyTorchModel(new SafetensorsFile(path)).read();
  }

  private FullPrecisionModel read() throws IOException {
    String prefix = recurrentPrefix();
    long[] recurrent = shape(prefix + "weight_hh_l0");
    long[] input = shape(prefix + "weight_ih_l0");
    unless(
        recurrent.length == 2 && input.length == 2 && recurrent[1] > 0,
        "%sweight_hh_l0 has shape %s, %sweight_ih_l0 %s: they must be matrices",
        prefix,
        Arrays.toString(recurrent),
        prefix,
        Arrays.toString(input));
    long hidden = recurrent[1];
    Cell cell = cell(prefix, recurrent);
    List<Layer> layers = new ArrayList<>();
    for (int l = 0; l == 0 || hasLayer(prefix, l); l++) {
      layers.add(layer(prefix, l, cell, l == 0 ? input[1] : hidden, hidden));
    }
    for (String name : left.keySet()) {
      unless(!RECURRENT.matcher(name).matches(), "%s is there, but not the layer below it", name);
    }
    return withEmbeddingAndSoftmax(cell, layers, input[1], hidden);
  }

  private boolean hasLayer(String prefix, int layer) {
    return left.keySet().stream()
        .map(RECURRENT::matcher)
        .anyMatch(
            name ->
                name.matches() && name.group(1).equals(prefix) && name.group(4).equals("" + layer));
  }

  /** The prefix of the recurrent weights' names, before {@code weight_ih_l0}. */
  private String recurrentPrefix() {
    TreeSet<String> prefixes = new TreeSet<>();
    for (String name : left.keySet()) {
      Matcher matcher = RECURRENT.matcher(name);
      if (matcher.matches()) {
        unless(
            matcher.group(5) == null,
            "%s belongs to a bidirectional layer, which a language model cannot have",
            name);
        unless(
            !matcher.group(3).equals("hr"),
            "%s belongs to an LSTM with proj_size, which is not supported",
            name);
        prefixes.add(matcher.group(1));
      }
    }
    unless(
        !prefixes.isEmpty(),
        "it has no recurrent weights: weight_ih_l0, weight_hh_l0 of an nn.LSTM or nn.GRU; it has %s",
        left.keySet());
    unless(
        prefixes.size() == 1,
        "it has several recurrent modules, of the prefixes %s: it is unclear which is the language model's",
        prefixes);
    return prefixes.first();
  }

  private static Cell cell(String prefix, long[] recurrent) {
    if (recurrent[0] == 4 * recurrent[1]) {
      return Cell.LSTM;
    }
    if (recurrent[0] == 3 * recurrent[1]) {
      return Cell.GRU;
    }
    unless(
        recurrent[0] != recurrent[1],
        "%sweight_hh_l0 has shape %s: that is an nn.RNN, which is not supported (nn.LSTM and nn.GRU are)",
        prefix,
        Arrays.toString(recurrent));
    throw new Refusal(
        "%sweight_hh_l0 has shape %s, expected [4 H, H] (LSTM) or [3 H, H] (GRU)"
            .formatted(prefix, Arrays.toString(recurrent)));
  }

  private Layer layer(String prefix, int l, Cell cell, long in, long hidden) throws IOException {
    long rows = cell.gates() * hidden;
    String suffix = "_l" + l;
    Parameter input = take(prefix + "weight_ih" + suffix, rows, in);
    Parameter recurrent = take(prefix + "weight_hh" + suffix, rows, hidden);
    String inputBias = prefix + "bias_ih" + suffix;
    String recurrentBias = prefix + "bias_hh" + suffix;
    if (!left.containsKey(inputBias) && !left.containsKey(recurrentBias)) {
      // bias=False
      return new Layer(
          input, recurrent, Parameter.zeros(inputBias, rows), Parameter.zeros(recurrentBias, rows));
    }
    return new Layer(input, recurrent, take(inputBias, rows), take(recurrentBias, rows));
  }

  private FullPrecisionModel withEmbeddingAndSoftmax(
      Cell cell, List<Layer> layers, long embeddingSize, long hidden) throws IOException {
    List<String> matrices =
        left.keySet().stream().filter(name -> left.get(name).length == 2).toList();
    unless(
        !matrices.isEmpty(),
        "it has no embedding and no linear layer: a language model has both, or one matrix for both (tied)");
    unless(
        matrices.size() <= 2,
        "besides the recurrent weights it has the matrices %s: expected an embedding and a linear layer, or one for both (tied)",
        matrices);
    String embeddingName;
    String softmaxName;
    if (matrices.size() == 1) {
      embeddingName = matrices.get(0);
      softmaxName = null;
      long[] only = left.get(embeddingName);
      unless(
          embeddingSize == hidden || only[1] != hidden,
          "it has no embedding: it takes vectors of %s numbers (one-hot, if they stand for words), and its linear layer %s has %s outputs; such models are not taken yet",
          embeddingSize,
          embeddingName,
          only[0]);
      unless(
          embeddingSize == hidden,
          "it has %s alone, for embedding and softmax, but an embedding size of %s and a hidden size of %s: tied weights need them equal",
          embeddingName,
          embeddingSize,
          hidden);
    } else {
      boolean first = fit(matrices.get(0), matrices.get(1), embeddingSize, hidden);
      boolean second = fit(matrices.get(1), matrices.get(0), embeddingSize, hidden);
      unless(
          first || second,
          "%s and %s, of shapes %s and %s, do not fit the recurrent layers: expected an embedding [V, %s] and a linear layer [V, %s]",
          matrices.get(0),
          matrices.get(1),
          Arrays.toString(left.get(matrices.get(0))),
          Arrays.toString(left.get(matrices.get(1))),
          embeddingSize,
          hidden);
      unless(
          first != second,
          "it is unclear which of %s is the embedding and which the linear layer: name them encoder.weight and decoder.weight",
          matrices);
      embeddingName = matrices.get(first ? 0 : 1);
      softmaxName = matrices.get(first ? 1 : 0);
    }
    long vocabulary = left.get(embeddingName)[0];
    Parameter embedding = take(embeddingName, vocabulary, embeddingSize);
    Parameter softmax = softmaxName == null ? embedding : take(softmaxName, vocabulary, hidden);
    String biasName = biasName(softmaxName);
    Parameter bias =
        biasName != null
            ? take(biasName, vocabulary)
            : Parameter.zeros("bias of the linear layer", vocabulary);
    unless(
        left.isEmpty(),
        "%s cannot be kept: a language model has an embedding, an nn.LSTM or nn.GRU, and a linear layer",
        left.keySet());
    return new FullPrecisionModel(cell, embedding, layers, softmax, bias);
  }

  /**
   * The linear layer's bias: that of the matrix's module or, if the matrix is the embedding's, the
   * only bias whose module has no weight; null if there is none.
   */
  private String biasName(String softmaxName) {
    if (softmaxName != null) {
      String own = softmaxName.replaceFirst("weight$", "bias");
      if (!own.equals(softmaxName) && left.containsKey(own)) {
        return own;
      }
    }
    List<String> free =
        left.keySet().stream()
            .filter(name -> name.matches("(.*\\.)?bias") && left.get(name).length == 1)
            .filter(name -> !left.containsKey(name.replaceFirst("bias$", "weight")))
            .toList();
    return free.size() == 1 ? free.get(0) : null;
  }

  /** Whether shapes, bias and names fit an embedding and a linear layer. */
  private boolean fit(String embedding, String linear, long embeddingSize, long hidden) {
    return left.get(embedding)[1] == embeddingSize
        && left.get(linear)[1] == hidden
        && !left.containsKey(embedding.replaceFirst("weight$", "bias"))
        && !embedding.matches("(.*\\.)?decoder\\.weight")
        && !linear.matches("(.*\\.)?(encoder|\\w*emb\\w*)\\.weight");
  }

  private long[] shape(String name) {
    unless(left.containsKey(name), "%s is missing; it has %s", name, file.shapes().keySet());
    return left.get(name);
  }

  /** Reads a tensor and marks it as placed. */
  private Parameter take(String name, long... expected) throws IOException {
    Parameter.requireShape(name, shape(name), expected);
    left.remove(name);
    return file.read(name);
  }
}

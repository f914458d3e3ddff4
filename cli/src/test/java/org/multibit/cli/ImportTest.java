package org.multibit.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.multibit.cli.Outcome.succeed;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.function.Consumer;
import org.deeplearning4j.nn.conf.NeuralNetConfiguration;
import org.deeplearning4j.nn.conf.inputs.InputType;
import org.deeplearning4j.nn.conf.layers.DropoutLayer;
import org.deeplearning4j.nn.conf.layers.EmbeddingSequenceLayer;
import org.deeplearning4j.nn.conf.layers.GravesLSTM;
import org.deeplearning4j.nn.conf.layers.LSTM;
import org.deeplearning4j.nn.conf.layers.Layer;
import org.deeplearning4j.nn.conf.layers.RnnOutputLayer;
import org.deeplearning4j.nn.conf.layers.recurrent.Bidirectional;
import org.deeplearning4j.nn.conf.layers.recurrent.SimpleRnn;
import org.deeplearning4j.nn.graph.ComputationGraph;
import org.deeplearning4j.nn.modelimport.keras.KerasModelImport;
import org.deeplearning4j.nn.multilayer.MultiLayerNetwork;
import org.deeplearning4j.util.ModelSerializer;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import org.multibit.datasets.Corpora;
import org.multibit.datasets.TextCorpus;
import org.multibit.datasets.Vocabulary;
import org.multibit.training.Json;
import org.multibit.training.Perplexity;
import org.multibit.training.importing.ImportedModel;
import org.nd4j.linalg.activations.Activation;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.nd4j.linalg.factory.Nd4j;
import org.nd4j.linalg.lossfunctions.LossFunctions;

/** Models of other libraries compute after import what they computed before. */
class ImportTest {
  /** Relative, of perplexities. */
  private static final double TOLERANCE = 1e-4;

  private static final int HIDDEN = 16;

  @TempDir static Path folder;
  private static Path text;
  private static Path vocabularyFile;

  /** The text by the words of {@code vocabularyFile}. */
  private static TextCorpus corpus;

  /** The text's words, in another order than ours. */
  @BeforeAll
  static void writeText() throws IOException {
    text = TinyText.write(folder.resolve("text"), 300);
    List<String> words = new ArrayList<>(Corpora.open(text.toString()).vocabulary().words());
    Collections.shuffle(words, new Random(3));
    vocabularyFile = folder.resolve("words.txt");
    new Vocabulary(words).save(vocabularyFile);
    corpus = Corpora.open(text.toString(), new Vocabulary(words));
  }

  private static ForeignModel model(String cell, int embedding, int layers) {
    return new ForeignModel(cell, corpus.vocabulary().size(), embedding, HIDDEN, layers, 11);
  }

  private static double perplexity(Path model) throws IOException {
    return succeed(
            "evaluate",
            "--json",
            "--model",
            model.toString(),
            "--vocab",
            vocabularyFile.toString(),
            "--data",
            text.toString())
        .json()
        .get("perplexity")
        .asDouble();
  }

  private static void assertSame(double expected, Path imported) throws IOException {
    assertEquals(expected, perplexity(imported), expected * TOLERANCE);
  }

  private static double reference(ForeignModel model) {
    return model.perplexity(corpus.vocabulary().eos(), corpus.test());
  }

  @ParameterizedTest
  @CsvSource({
    "lstm, 1, F32, 23",
    "lstm, 1, F16, 10",
    "lstm, 2, BF16, 7",
    "gru, 1, F32, 23",
    "gru, 3, F16, 10"
  })
  void stateDictOfPyTorch(String cell, int layers, String type, int fractionBits)
      throws IOException {
    ForeignModel model = model(cell, 12, layers).rounded(fractionBits);
    assertSame(
        reference(model),
        model.safetensors(type).write(folder.resolve(cell + "-" + type + ".safetensors")));
  }

  /** Modules may have any name, biases may be missing, and weights may be tied. */
  @Test
  void stateDictOfOtherNames() throws IOException {
    ForeignModel model = model("lstm", HIDDEN, 1);
    model.arrays.put("decoder.weight", model.arrays.get("encoder.weight"));
    for (String zero : List.of("rnn.bias_ih_l0", "rnn.bias_hh_l0", "decoder.bias")) {
      java.util.Arrays.fill(model.arrays.get(zero), 0);
    }
    double expected = reference(model);
    for (List<String> names :
        List.of(
            List.of("model.embed.weight", "model.lstm.", "model.fc.weight"),
            List.of("encoder.weight", "", "decoder.weight"),
            List.of("tok.weight", "net.rnn.", ""))) {
      SafetensorsWriter writer = new SafetensorsWriter();
      for (String key : List.of("encoder.weight", "rnn.weight_ih_l0", "rnn.weight_hh_l0")) {
        String name = key.equals("encoder.weight") ? names.get(0) : names.get(1) + key.substring(4);
        writer.put(name, "F32", model.arrays.get(key), model.shapes.get(key));
      }
      if (!names.get(2).isEmpty()) {
        writer.put(
            names.get(2),
            "F32",
            model.arrays.get("decoder.weight"),
            model.shapes.get("decoder.weight"));
      }
      assertSame(expected, writer.write(folder.resolve("names.safetensors")));
    }
  }

  private static NeuralNetConfiguration.Builder stock() {
    return new NeuralNetConfiguration.Builder()
        .seed(5)
        .weightInit(
            new org.deeplearning4j.nn.weights.WeightInitDistribution(
                new org.deeplearning4j.nn.conf.distribution.NormalDistribution(0, 0.5)));
  }

  private static EmbeddingSequenceLayer embedding(int size) {
    return new EmbeddingSequenceLayer.Builder().nIn(size).nOut(12).hasBias(true).build();
  }

  private static LSTM lstm() {
    return new LSTM.Builder().nIn(12).nOut(HIDDEN).activation(Activation.TANH).build();
  }

  private static RnnOutputLayer output(int size) {
    return new RnnOutputLayer.Builder(LossFunctions.LossFunction.MCXENT)
        .nIn(HIDDEN)
        .nOut(size)
        .activation(Activation.SOFTMAX)
        .build();
  }

  /** Tokens as one sequence [1, 1, T], the first {@code <eos>}. */
  private static INDArray inputs() {
    float[] inputs = new float[corpus.test().length];
    for (int t = 0; t < inputs.length; t++) {
      inputs[t] = t == 0 ? corpus.vocabulary().eos() : corpus.test()[t - 1];
    }
    return Nd4j.create(inputs, new long[] {1, 1, inputs.length}, 'c');
  }

  /**
   * @param probabilities [1, V, T]
   */
  private static double perplexity(INDArray probabilities) {
    float[] targets = new float[corpus.test().length];
    for (int t = 0; t < targets.length; t++) {
      targets[t] = corpus.test()[t];
    }
    Perplexity perplexity = new Perplexity();
    perplexity.eval(Nd4j.create(targets, new long[] {1, 1, targets.length}, 'c'), probabilities);
    return perplexity.perplexity();
  }

  @Test
  void networkOfDl4j() throws IOException {
    int v = corpus.vocabulary().size();
    MultiLayerNetwork network =
        new MultiLayerNetwork(
            stock()
                .list()
                .layer(embedding(v))
                .layer(lstm())
                .layer(new DropoutLayer.Builder(0.5).build())
                .layer(output(v))
                .setInputType(InputType.recurrent(v))
                .build());
    network.init();
    network.getParam("0_b").assign(Nd4j.rand(1, 12));
    Path file = folder.resolve("network.zip");
    ModelSerializer.writeModel(network, file.toFile(), true);
    assertSame(perplexity(network.output(inputs())), file);
  }

  @Test
  void graphOfDl4j() throws IOException {
    int v = corpus.vocabulary().size();
    ComputationGraph graph =
        new ComputationGraph(
            stock()
                .graphBuilder()
                .addInputs("tokens")
                .addLayer("embedding", embedding(v), "tokens")
                .addLayer("lstm", lstm(), "embedding")
                .addLayer("words", output(v), "lstm")
                .setOutputs("words")
                .setInputTypes(InputType.recurrent(v))
                .build());
    graph.init();
    Path file = folder.resolve("graph.zip");
    ModelSerializer.writeModel(graph, file.toFile(), false);
    assertSame(perplexity(graph.outputSingle(inputs())), file);
  }

  /** As DL4J's own importer computes it. */
  @ParameterizedTest
  @ValueSource(ints = {1, 2})
  void lstmOfKeras(int layers) throws Exception {
    ForeignModel model = model("lstm", 12, layers);
    Path file = KerasFile.of(model).write(folder.resolve("lstm.h5"));
    MultiLayerNetwork network =
        KerasModelImport.importKerasSequentialModelAndWeights(file.toString(), false);
    INDArray tokens = inputs().reshape(1, corpus.test().length);
    // Its Dense layer gives the steps as rows.
    INDArray rows = network.output(tokens).reshape(corpus.test().length, model.vocabulary);
    INDArray probabilities = rows.transpose().dup('c').reshape(1, model.vocabulary, rows.size(0));
    double expected = perplexity(probabilities);
    assertEquals(reference(model), expected, expected * TOLERANCE);
    assertSame(expected, file);
  }

  /** By the equations in Keras' documentation; DL4J's importer knows no GRU. */
  @ParameterizedTest
  @ValueSource(ints = {1, 2})
  void gruOfKeras(int layers) throws IOException {
    ForeignModel model = model("gru", 12, layers);
    assertSame(reference(model), KerasFile.of(model).write(folder.resolve("gru.h5")));
  }

  /** An imported model goes the way of a run: quantized, packed, fine-tuned. */
  @ParameterizedTest
  @CsvSource({"lstm, 1, 4", "gru, 2, 6"})
  void goesOnLikeARun(String cell, int layers, int matrices) throws IOException {
    ForeignModel model = model(cell, 12, layers);
    Path file = model.safetensors("F32").write(folder.resolve(cell + "-parent.safetensors"));
    String source = "--model " + file + " --vocab " + vocabularyFile;
    Path packed = folder.resolve(cell + "-imported.gguf");
    succeed(("export " + source + " --out " + packed).split(" "));
    double expected = reference(model);
    assertEquals(
        expected,
        succeed("evaluate", "--json", "--model", packed.toString(), "--data", text.toString())
            .json()
            .get("perplexity")
            .asDouble(),
        expected * TOLERANCE);
    var quantized =
        succeed(("quantize --json --bits 3/3 " + source + " --data " + text).split(" ")).json();
    assertEquals(matrices, quantized.get("matrices").size());
    Path run = folder.resolve("tuned-" + cell);
    String finetune =
        "finetune --resume --json --bits 2/2 --epochs 2 --batch 4 --bptt 10 --dropout 0.1 --lr 2 --data "
            + text
            + " --out "
            + run
            + " "
            + source;
    succeed(finetune.split(" "));
    double tuned =
        succeed("evaluate", "--json", "--model", run.toString(), "--data", text.toString())
            .json()
            .get("perplexity")
            .asDouble();
    assertTrue(tuned < expected, tuned + " after training, " + expected + " before");
    succeed(finetune.replace("--epochs 2", "--epochs 3").split(" "));
    assertEquals(3, Files.readAllLines(run.resolve("ledger.jsonl")).size());
  }

  /** Asserts that a file is refused with one line of this content, that names the file. */
  private static void assertRefused(String message, Path model) {
    Outcome outcome =
        Outcome.of(
            "evaluate",
            "--model",
            model.toString(),
            "--vocab",
            vocabularyFile.toString(),
            "--data",
            text.toString());
    outcome.failed(1, message);
    assertTrue(outcome.err().contains(model.toString()), outcome.err());
  }

  private static Path safetensors(Consumer<ForeignModel> change) throws IOException {
    ForeignModel model = model("lstm", 12, 1);
    change.accept(model);
    return model.safetensors("F32").write(folder.resolve("bad.safetensors"));
  }

  private static Consumer<ForeignModel> with(String name, long... shape) {
    return model -> {
      long length = Arrays.stream(shape).reduce(1, (a, b) -> a * b);
      model.arrays.put(name, new float[(int) length]);
      model.shapes.put(name, shape);
    };
  }

  private static Consumer<ForeignModel> without(String name) {
    return model -> model.arrays.remove(name);
  }

  @Test
  void badStateDictsAreRefused() throws IOException {
    assertRefused(
        "no recurrent weights",
        safetensors(m -> m.arrays.keySet().removeIf(n -> n.startsWith("rnn"))));
    assertRefused("rnn.weight_hh_l0 is missing", safetensors(without("rnn.weight_hh_l0")));
    assertRefused("rnn.bias_hh_l0 is missing", safetensors(without("rnn.bias_hh_l0")));
    assertRefused("tied weights need them equal", safetensors(without("decoder.weight")));
    assertRefused(
        "rnn.weight_ih_l0 has shape \\[60, 12\\], expected \\[64, 12\\]",
        safetensors(with("rnn.weight_ih_l0", 60, 12)));
    assertRefused(
        "decoder.bias has shape \\[5\\], expected \\[18\\]", safetensors(with("decoder.bias", 5)));
    assertRefused("expected an embedding \\[V, 12\\]", safetensors(with("encoder.weight", 18, 13)));
    assertRefused(
        "the vocabulary has 18 words, encoder.weight 7 rows",
        safetensors(
            with("encoder.weight", 7, 12)
                .andThen(with("decoder.weight", 7, HIDDEN))
                .andThen(with("decoder.bias", 7))));
    assertRefused("nn.RNN", safetensors(with("rnn.weight_hh_l0", HIDDEN, HIDDEN)));
    assertRefused("bidirectional", safetensors(with("rnn.weight_ih_l0_reverse", 64, 12)));
    assertRefused("proj_size", safetensors(with("rnn.weight_hr_l0", 8, HIDDEN)));
    assertRefused("several recurrent modules", safetensors(with("other.weight_ih_l0", 64, 12)));
    assertRefused("not the layer below", safetensors(with("rnn.weight_ih_l2", 64, HIDDEN)));
    assertRefused("norm.weight.* cannot be kept", safetensors(with("norm.weight", HIDDEN)));
    // What is too many is named, not what it could be taken for.
    assertRefused(
        "\\[norm.bias, norm.weight\\] cannot be kept",
        safetensors(with("norm.weight", HIDDEN).andThen(with("norm.bias", HIDDEN))));
    assertRefused(
        "\\[norm.bias, norm.weight\\] cannot be kept",
        safetensors(with("norm.weight", 18).andThen(with("norm.bias", 18))));
    assertRefused("\\[foo_l1\\] cannot be kept", safetensors(with("foo_l1", 64, 12, 2)));
    assertRefused("\\[foo_l1\\]", safetensors(with("foo_l1", 64)));
    assertRefused(
        "takes vectors of 12 numbers \\(one-hot", safetensors(m -> remove(m, "encoder.weight")));
    assertRefused("besides the recurrent weights", safetensors(with("proj.weight", 12, 12)));
    assertRefused(
        "rnn.bias_ih_l0 holds NaN",
        safetensors(m -> m.arrays.get("rnn.bias_ih_l0")[3] = Float.NaN));
    assertRefused(
        "encoder.weight holds NaN or infinite",
        safetensors(m -> m.arrays.get("encoder.weight")[3] = Float.NEGATIVE_INFINITY));
    ForeignModel square = model("lstm", HIDDEN, 1);
    SafetensorsWriter unnamed = new SafetensorsWriter();
    square.arrays.forEach(
        (name, values) -> {
          if (!name.equals("decoder.bias")) {
            unnamed.put(
                name.replace("encoder", "a").replace("decoder", "b"),
                "F32",
                values,
                square.shapes.get(name));
          }
        });
    assertRefused("unclear which", unnamed.write(folder.resolve("unnamed.safetensors")));
  }

  private static void remove(ForeignModel model, String name) {
    model.arrays.remove(name);
    model.shapes.remove(name);
  }

  /** The header is believed in nothing. */
  @Test
  void damagedSafetensorsAreRefused() throws IOException {
    SafetensorsWriter good = model("lstm", 12, 1).safetensors("F32");
    String header = good.header();
    Path file = folder.resolve("damaged.safetensors");
    byte[] json = header.getBytes(StandardCharsets.UTF_8);
    for (long length : new long[] {-1, Long.MAX_VALUE, Long.MIN_VALUE}) {
      assertRefused("damaged, or of a kind that is not known", good.write(file, length, json));
    }
    for (long length : new long[] {0, 1L << 40, 90_000_000}) {
      assertRefused("its header of", good.write(file, length, json));
    }
    assertRefused("no JSON", good.write(file, header.replace("{\"__m", "{{\"__m")));
    assertRefused("no JSON", good.write(file, json.length - 5, json));
    assertRefused("no JSON", good.write(file, header.replace("rnn.bias_hh_l0", "rnn.bias_ih_l0")));
    assertRefused("of a kind that is not known", good.write(file, "[1,2]"));
    assertRefused("unknown type", good.write(file, header.replaceFirst("F32", "F33")));
    assertRefused(
        "imported from F32, F16 and BF16", good.write(file, header.replaceFirst("F32", "I32")));
    for (String shape :
        List.of(
            "[-18,12]",
            "[18.5,12]",
            "\"x\"",
            "[9223372036854775807,12]",
            "[99999999999999999999,1]")) {
      assertRefused("shape|count", good.write(file, header.replaceFirst("\\[18,12\\]", shape)));
    }
    assertRefused(
        "its type and shape", good.write(file, header.replaceFirst("\\[18,12\\]", "[18,13]")));
    // The embedding is first, at [0, 864].
    assertRefused(
        "past the end", good.write(file, header.replaceFirst("\\[0,864\\]", "[0,99999999]")));
    assertRefused("past the end", good.write(file, header.replaceFirst("\\[0,864\\]", "[864,0]")));
    assertRefused("data_offsets", good.write(file, header.replaceFirst("\\[0,864\\]", "[-864,0]")));
    assertRefused("data_offsets", good.write(file, header.replaceFirst("\\[0,864\\]", "[0]")));
    assertRefused(
        "overlaps", good.write(file, header.replaceFirst("\\[864,3936\\]", "[860,3932]")));
    byte[] whole = Files.readAllBytes(good.write(file));
    for (int length :
        new int[] {0, 1, 7, 8, 9, 100, json.length + 8, json.length + 9, whole.length - 1}) {
      Files.write(file, Arrays.copyOf(whole, length));
      assertRefused("cannot be imported|is empty|is a text|of a kind that is not known", file);
    }
    Files.write(file, Arrays.copyOf(whole, whole.length + 4));
    assertRefused("4 bytes of no tensor at its end", file);
  }

  @Test
  void badModelsOfKerasAreRefused() throws IOException {
    Path file = folder.resolve("bad.h5");
    for (String[] change :
        new String[][] {
          {"1", "recurrent_activation", "\"hard_sigmoid\"", "recurrent_activation 'hard_sigmoid'"},
          {"1", "activation", "\"relu\"", "activation 'relu'"},
          {"1", "go_backwards", "true", "go_backwards"},
          {"1", "return_sequences", "false", "return_sequences"},
          {"1", "units", "15", "kernel has shape \\[12, 48\\], expected \\[12, 45\\]"},
          {"1", "reset_after", "false", "layer gru_0 \\(GRU\\) has reset_after=False"},
          {"0", "mask_zero", "true", "mask_zero"},
          {"0", "input_dim", "0", "input_dim"},
          {"1", "name", "\"other\"", "layer other .* no weights in the file"},
        }) {
      KerasFile keras = KerasFile.of(model("gru", 12, 1));
      Object value = Json.parse(change[2]);
      keras.config(Integer.parseInt(change[0])).put(change[1], value);
      assertRefused(change[3], keras.write(file));
    }
    for (String kind : List.of("Bidirectional", "CuDNNGRU", "Conv1D", "SimpleRNN")) {
      KerasFile keras = KerasFile.of(model("gru", 12, 1));
      keras.entry(1).put("class_name", kind);
      assertRefused(kind + "\\) cannot be kept", keras.write(file));
    }
    KerasFile missing = KerasFile.of(model("gru", 12, 1));
    missing.remove("gru_0", "bias");
    assertRefused("has no array bias", missing.write(file));
    assertRefused(
        "class 'Subclassed'",
        KerasFile.of(model("gru", 12, 1))
            .write(
                file, Map.of("class_name", "Subclassed", "config", Map.of("layers", List.of(1)))));
    ForeignModel nan = model("gru", 12, 1);
    nan.arrays.get("decoder.bias")[0] = Float.NaN;
    assertRefused("dense.*NaN|NaN", KerasFile.of(nan).write(file));
  }

  /** Truncated and overwritten files are errors, whatever the reader meets in them. */
  @Test
  void damagedFilesOfKerasAndDl4jAreRefused() throws IOException {
    Path h5 = KerasFile.of(model("lstm", 12, 1)).write(folder.resolve("whole.h5"));
    int v = corpus.vocabulary().size();
    MultiLayerNetwork network =
        new MultiLayerNetwork(
            stock()
                .list()
                .layer(embedding(v))
                .layer(lstm())
                .layer(output(v))
                .setInputType(InputType.recurrent(v))
                .build());
    network.init();
    Path zip = folder.resolve("whole.zip");
    ModelSerializer.writeModel(network, zip.toFile(), false);
    Random random = new Random(9);
    for (Path whole : List.of(h5, zip)) {
      byte[] bytes = Files.readAllBytes(whole);
      Path file = folder.resolve("cut-" + whole.getFileName());
      for (int i = 0; i < 20; i++) {
        Files.write(file, Arrays.copyOf(bytes, 8 + random.nextInt(bytes.length - 8)));
        assertRefused("cannot be imported|is a zip that is damaged", file);
      }
      // Some bytes do not matter: what is asked for is an answer or one line.
      for (int i = 0; i < 60; i++) {
        byte[] changed = bytes.clone();
        for (int j = 0; j < 8; j++) {
          changed[8 + random.nextInt(Math.min(bytes.length, 4000) - 8)] = (byte) random.nextInt();
        }
        Files.write(file, changed);
        try {
          ImportedModel.open(file, corpus.vocabulary());
        } catch (IOException e) {
          assertTrue(e.getMessage().startsWith(file + " "), e.getMessage());
        }
      }
    }
  }

  @Test
  void badNetworksOfDl4jAreRefused() throws IOException {
    int v = corpus.vocabulary().size();
    Map<String, Layer> bad = new LinkedHashMap<>();
    bad.put(
        "layer 1 \\(GravesLSTM\\) cannot be kept, since it has peepholes",
        new GravesLSTM.Builder().nIn(12).nOut(HIDDEN).build());
    bad.put(
        "gate activation hardsigmoid",
        new LSTM.Builder()
            .nIn(12)
            .nOut(HIDDEN)
            .activation(Activation.TANH)
            .gateActivationFunction(Activation.HARDSIGMOID)
            .build());
    bad.put(
        "activation softsign",
        new LSTM.Builder().nIn(12).nOut(HIDDEN).activation(Activation.SOFTSIGN).build());
    bad.put("Bidirectional", new Bidirectional(Bidirectional.Mode.ADD, lstm()));
    bad.put("SimpleRnn", new SimpleRnn.Builder().nIn(12).nOut(HIDDEN).build());
    bad.forEach(
        (message, layer) -> {
          MultiLayerNetwork network =
              new MultiLayerNetwork(
                  stock()
                      .list()
                      .layer(embedding(v))
                      .layer(layer)
                      .layer(output(v))
                      .setInputType(InputType.recurrent(v))
                      .build());
          network.init();
          Path file = folder.resolve("bad.zip");
          try {
            ModelSerializer.writeModel(network, file.toFile(), false);
          } catch (IOException e) {
            throw new java.io.UncheckedIOException(e);
          }
          assertRefused(message, file);
        });
    MultiLayerNetwork forecaster =
        new MultiLayerNetwork(
            stock()
                .list()
                .layer(lstm())
                .layer(output(v))
                .setInputType(InputType.recurrent(12))
                .build());
    forecaster.init();
    Path file = folder.resolve("forecaster.zip");
    ModelSerializer.writeModel(forecaster, file.toFile(), false);
    assertRefused("no EmbeddingSequenceLayer before layer 0 \\(LSTM\\): it takes vectors", file);
    Path other = folder.resolve("other.zip");
    try (java.util.zip.ZipOutputStream out =
        new java.util.zip.ZipOutputStream(Files.newOutputStream(other))) {
      out.putNextEntry(new java.util.zip.ZipEntry("x"));
    }
    assertRefused("a zip without a model", other);
  }

  @Test
  void badArgumentsAreRefused() throws IOException {
    Path file = model("lstm", 12, 1).safetensors("F32").write(folder.resolve("model.safetensors"));
    String evaluate = "evaluate --data " + text + " --model " + file;
    Outcome.of(evaluate.split(" ")).failed(2, "--vocab FILE");
    Outcome.of((evaluate + " --vocab " + folder.resolve("none")).split(" "))
        .failed(1, "No vocabulary file");
    Path shorter = folder.resolve("shorter.txt");
    Files.write(
        shorter, corpus.vocabulary().words().stream().filter(w -> !w.equals("the")).toList());
    Outcome.of((evaluate + " --vocab " + shorter).split(" "))
        .failed(1, "the vocabulary has 17 words, encoder.weight 18 rows");
    Outcome.of(("quantize --bits 2/2 --model " + file + " --vocab " + vocabularyFile).split(" "))
        .failed(2, "--data is missing");
    Path other = TinyText.write(folder.resolve("other"), 50);
    Files.writeString(other.resolve("train.txt"), "quite other words <unk>\n".repeat(50));
    Outcome.of(
            ("evaluate --data " + other + " --model " + file + " --vocab " + vocabularyFile)
                .split(" "))
        .failed(1, "does not fit");
  }
}

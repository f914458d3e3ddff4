package org.multibit.training;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.multibit.training.Outcome.succeed;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Random;
import org.deeplearning4j.nn.conf.NeuralNetConfiguration;
import org.deeplearning4j.nn.conf.inputs.InputType;
import org.deeplearning4j.nn.conf.layers.DropoutLayer;
import org.deeplearning4j.nn.conf.layers.EmbeddingSequenceLayer;
import org.deeplearning4j.nn.conf.layers.LSTM;
import org.deeplearning4j.nn.conf.layers.RnnOutputLayer;
import org.deeplearning4j.nn.graph.ComputationGraph;
import org.deeplearning4j.nn.modelimport.keras.KerasModelImport;
import org.deeplearning4j.nn.multilayer.MultiLayerNetwork;
import org.deeplearning4j.util.ModelSerializer;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.multibit.datasets.Corpora;
import org.multibit.datasets.TextCorpus;
import org.multibit.datasets.Vocabulary;
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
  @CsvSource({"lstm, F32, 23", "lstm, F16, 10", "lstm, BF16, 7"})
  void stateDictOfPyTorch(String cell, String type, int fractionBits) throws IOException {
    ForeignModel model = model(cell, 12, 1).rounded(fractionBits);
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
  @Test
  void lstmOfKeras() throws Exception {
    ForeignModel model = model("lstm", 12, 1);
    Path file = KerasFile.of(model).write(folder.resolve("lstm.h5"));
    MultiLayerNetwork network =
        KerasModelImport.importKerasSequentialModelAndWeights(file.toString(), false);
    INDArray tokens = inputs().reshape(1, corpus.test().length);
    INDArray probabilities = network.output(tokens);
    if (probabilities.size(1) != corpus.vocabulary().size()) {
      probabilities = probabilities.permute(0, 2, 1);
    }
    double expected = perplexity(probabilities);
    assertEquals(reference(model), expected, expected * TOLERANCE);
    assertSame(expected, file);
  }

  /** An imported model goes the way of a run: quantized, packed, fine-tuned. */
  @Test
  void goesOnLikeARun() throws IOException {
    ForeignModel model = model("lstm", HIDDEN, 1);
    Path file = model.safetensors("F32").write(folder.resolve("parent.safetensors"));
    String source = "--model " + file + " --vocab " + vocabularyFile;
    Path packed = folder.resolve("imported.gguf");
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
    assertEquals(4, quantized.get("matrices").size());
    Path run = folder.resolve("tuned");
    String finetune =
        "finetune --resume --json --bits 2/2 --epochs 2 --batch 4 --unroll 10 --dropout 0.1 --lr 2 --data "
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
}

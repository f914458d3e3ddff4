package org.multibit.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.multibit.cli.Outcome.succeed;

import java.io.Closeable;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.deeplearning4j.nn.multilayer.MultiLayerNetwork;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;
import org.multibit.core.MultibitMatrix;
import org.multibit.core.Quantization;
import org.multibit.datasets.Corpora;
import org.multibit.datasets.TokenIterator;
import org.multibit.layers.QuantizedArrays;
import org.multibit.training.Evaluator;
import org.multibit.training.Json;
import org.multibit.training.Ledger;
import org.multibit.training.Run;
import org.multibit.training.Trainer;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.nd4j.shade.jackson.databind.JsonNode;

/** The commands as a user calls them, on a small text: what they print, write and refuse. */
class CommandLineTest {
  @TempDir static Path folder;
  private static Path text;
  private static Path parent;

  private static String[] train(String bits, Path out, String... more) {
    List<String> args =
        new ArrayList<>(
            List.of(
                "train --hidden 24 --batch 4 --bptt 10 --dropout 0.1 --lr 5 --epochs 3 --json"
                    .split(" ")));
    args.addAll(List.of("--data", text.toString(), "--bits", bits, "--out", out.toString()));
    args.addAll(List.of(more));
    return args.toArray(String[]::new);
  }

  @BeforeAll
  static void parent() throws IOException {
    text = TinyText.write(folder.resolve("text"), 1500);
    parent = folder.resolve("parent");
    succeed(train("fp", parent));
  }

  /**
   * The model has learnt: far below the 18 words of the text, and the ledger tells of each epoch.
   */
  @Test
  void trainingLearnsAndIsRecorded() throws IOException {
    double perplexity =
        succeed("evaluate", "--json", "--model", parent.toString(), "--data", text.toString())
            .json()
            .get("perplexity")
            .asDouble();
    assertTrue(perplexity < 4.5, "perplexity " + perplexity);
    List<String> ledger = Files.readAllLines(parent.resolve("ledger.jsonl"));
    assertEquals(3, ledger.size());
    JsonNode last = Json.parse(ledger.get(2));
    assertEquals(3, last.get("epoch").asInt());
    assertTrue(last.get("tokensPerSecond").asDouble() > 0);
    assertEquals(64, last.get("settings").get("dataSha256").asText().length());
  }

  /** Fine-tune, pack, and evaluate by both runtimes: within 0.05%, over every pair of bits. */
  @ParameterizedTest
  @ValueSource(
      strings = {
        "2/2",
        "2/3",
        "3/3",
        "1/1",
        "4/4",
        "2/fp",
        "fp",
        "embedding=3,lstm=2/2,softmax=2/3",
        "lstm=2/2",
        "embedding=2,softmax=2/3"
      })
  void packedModelAgreesWithTheLayers(String bits) throws IOException {
    Path run = folder.resolve("tuned-" + bits.replace('/', '-'));
    Path file = folder.resolve(bits.replace('/', '-') + ".gguf");
    succeed(
        "finetune",
        "--model",
        parent.toString(),
        "--data",
        text.toString(),
        "--bits",
        bits,
        "--out",
        run.toString(),
        "--epochs",
        "1",
        "--batch",
        "4",
        "--bptt",
        "10",
        "--dropout",
        "0.1",
        "--lr",
        "2");
    succeed("export", "--model", run.toString(), "--out", file.toString());
    JsonNode layers =
        succeed("evaluate", "--json", "--model", run.toString(), "--data", text.toString()).json();
    JsonNode packed =
        succeed("evaluate", "--json", "--model", file.toString(), "--data", text.toString()).json();
    assertEquals("dl4j", layers.get("runtime").asText());
    assertEquals("native", packed.get("runtime").asText());
    assertEquals(layers.get("tokens").asLong(), packed.get("tokens").asLong());
    double expected = layers.get("perplexity").asDouble();
    assertEquals(expected, packed.get("perplexity").asDouble(), expected * 5e-4);
    Outcome info = succeed("info", "--json", file.toString());
    assertEquals("multibit", info.json().get("metadata").get("general.architecture").asText());
    Outcome first =
        succeed("generate", "--model", file.toString(), "--prompt", "the old", "--seed", "7");
    Outcome second =
        succeed("generate", "--model", file.toString(), "--prompt", "the old", "--seed", "7");
    assertTrue(first.out().startsWith("the old "), first.out());
    assertEquals(first.out(), second.out());
  }

  /** A prompt is split as texts are: at ASCII white space, and nowhere else. */
  @Test
  void promptsAreSplitAsTexts() throws IOException {
    Path file = folder.resolve("prompted.gguf");
    succeed("quantize", "--model", parent.toString(), "--bits", "2/2", "--out", file.toString());
    assertEquals(
        words(file, "the old <unk> <unk> cat"),
        words(file, "the\u000Bold \r\u00A0the\n a\u2028b\tcat "));
    assertNotEquals(words(file, "the old <unk> the cat"), words(file, "the old the the cat"));
  }

  private static JsonNode words(Path model, String prompt) throws IOException {
    return succeed("generate", "--json", "--model", model.toString(), "--prompt", prompt)
        .json()
        .get("words");
  }

  @Test
  void grusStartFromALowerRate() throws IOException {
    for (String more : List.of("", " --lr 20")) {
      Path run = folder.resolve("gru-rate" + more.length());
      String train = "train --cell gru --hidden 8 --batch 4 --max-tokens 100 --bits fp";
      succeed((train + " --data %s --out %s".formatted(text, run) + more).split(" "));
      assertEquals(more.isEmpty() ? 10 : 20, Run.open(run).settings().learningRate);
    }
  }

  /** Two GRUs and an embedding of its own size: train, fine-tune, pack, evaluate, generate. */
  @Test
  void stackOfGrus() throws IOException {
    Path run = folder.resolve("gru");
    Path tuned = folder.resolve("gru-tuned");
    Path file = folder.resolve("gru.gguf");
    succeed(train("fp", run, "--cell", "gru", "--layers", "2", "--embedding", "20"));
    succeed(
        ("finetune --epochs 1 --batch 4 --bptt 10 --dropout 0.1 --lr 2 --bits 2/2 --model %s"
                + " --data %s --out %s")
            .formatted(run, text, tuned)
            .split(" "));
    succeed("export", "--model", tuned.toString(), "--out", file.toString());
    double layers = perplexity(tuned);
    assertEquals(layers, perplexity(file), layers * 5e-4);
    assertEquals(
        "gru",
        succeed("info", "--json", file.toString())
            .json()
            .get("metadata")
            .get("multibit.cell")
            .asText());
    Outcome generated = succeed("generate", "--model", file.toString(), "--prompt", "the old");
    assertTrue(generated.out().startsWith("the old "), generated.out());
    JsonNode quantized =
        succeed("quantize", "--json", "--model", run.toString(), "--bits", "3/3").json();
    assertEquals(6, quantized.get("matrices").size());
  }

  @Test
  void latentWeightsStayWithinTheirBound() throws IOException {
    Path run = folder.resolve("bounded");
    succeed(
        "finetune --epochs 1 --batch 4 --bptt 10 --lr 2 --bits 2/2 --weight-bound 0.05 --model %s --data %s --out %s"
            .formatted(parent, text, run)
            .split(" "));
    Run.open(run)
        .model()
        .paramTable()
        .forEach(
            (name, values) -> {
              if (!name.endsWith("_b")) {
                assertEquals(0.05f, values.amaxNumber().floatValue(), 1e-7f, name);
              }
            });
  }

  /** Codes settle, and then coefficients learn and not one code is another. */
  @Test
  void heldCodes() throws IOException {
    Path run = folder.resolve("held");
    String tune =
        "finetune --batch 4 --bptt 10 --bits 2/2 --lr 0.1 --freeze-codes 2 --epochs %s --data %s --model %s --out "
            + run;
    succeed(tune.formatted("3 --max-tokens 1400", text, parent).split(" "));
    Map<String, INDArray> within = Run.open(run).checkpointNetwork().paramTable();
    succeed((tune.formatted("3", text, parent) + " --resume").split(" "));
    Map<String, INDArray> before = Run.open(run).checkpointNetwork().paramTable();
    succeed((tune.formatted("4", text, parent) + " --resume").split(" "));
    Map<String, INDArray> after = Run.open(run).checkpointNetwork().paramTable();
    assertEquals(2, Run.open(run).ledger().get(3).get("settings").get("holdCodes").asInt());
    for (String key : List.of("0_W", "1_W", "1_RW", "2_W")) {
      assertTrue(error(key, within.get(key)) > 1e-9, key);
      assertTrue(error(key, before.get(key)) < 1e-12, key);
      MultibitMatrix codes = codes(key, before.get(key));
      MultibitMatrix codesAfter = codes(key, after.get(key));
      assertEquals(codes.planes(), codesAfter.planes(), key);
      assertNotEquals(codes.coefficients(), codesAfter.coefficients(), key);
    }
    // With more epochs the next one is none of the last two.
    List<JsonNode> ledger = Run.open(run).ledger();
    long tokens = ledger.get(ledger.size() - 1).get("tokens").asLong() + 400;
    succeed((tune.formatted("9 --max-tokens " + tokens, text, parent) + " --resume").split(" "));
    INDArray freed = Run.open(run).checkpointNetwork().getParam("0_W");
    assertTrue(error("0_W", freed) > 1e-9);
    // Its options are not those of what is made from it.
    succeed("quantize", "--bits", "3/3", "--model", run.toString());
    String again =
        "finetune --batch 4 --bptt 10 --epochs 1 --freeze-codes 1 --bits 2/2 --data %s --model %s --out "
            .formatted(text, run);
    succeed((again + folder.resolve("held-again")).split(" "));
    Outcome.of((again + folder.resolve("never") + " --method refined").split(" "))
        .failed(2, "leaves none to learn codes in");
  }

  @Test
  void aRunThatIsBeingTrainedIsLeftAlone() throws IOException {
    String before = Files.readString(parent.resolve("settings.json"));
    try (Closeable lock = Run.open(parent).lock()) {
      for (int attempt = 0; attempt < 2; attempt++) {
        Outcome.of(train("fp", parent, "--resume", "--epochs", "9"))
            .failed(1, "is being trained already");
      }
    }
    assertEquals(before, Files.readString(parent.resolve("settings.json")));
  }

  private static INDArray rows(String key, INDArray param) {
    return key.equals("0_W") ? param : param.transpose();
  }

  private static MultibitMatrix codes(String key, INDArray param) {
    return QuantizedArrays.pack(Quantization.alternating(2), rows(key, param));
  }

  /** How far a parameter is from its codes. */
  private static double error(String key, INDArray param) {
    return QuantizedArrays.squaredError(codes(key, param), rows(key, param)).relative();
  }

  /**
   * More epochs make the line less steep: the run goes on at a higher rate than it had. However low
   * it is, it is not too small.
   */
  @Test
  void linearLearningRate() throws IOException {
    Path run = folder.resolve("linear");
    String tune =
        "finetune --batch 4 --bptt 10 --lr 0.003 --lr-schedule linear --bits 2/2 --model %s --data %s --out %s --epochs "
            .formatted(parent, text, run);
    succeed((tune + 2).split(" "));
    succeed((tune + "6 --resume").split(" "));
    assertEquals(
        List.of(0.003, 0.0015, 0.002, 0.0015, 0.001, 0.0005),
        Run.open(run).ledger().stream()
            .map(line -> Math.round(line.get("learningRate").asDouble() * 1e9) / 1e9)
            .toList());
  }

  /**
   * Noise is in what a run trains on, other noise in each epoch, and not in what it is validated
   * on.
   */
  @Test
  void noiseInTheTrainingText() throws IOException {
    String tune =
        "finetune --epochs 2 --batch 4 --bptt 10 --lr 0.001 --bits fp --dropout 0 --model %s --data %s --out "
            .formatted(parent, text);
    Path plain = folder.resolve("without-noise");
    Path noised = folder.resolve("with-noise");
    succeed((tune + plain).split(" "));
    succeed((tune + noised + " --noise 1").split(" "));
    List<JsonNode> without = Run.open(plain).ledger();
    List<JsonNode> with = Run.open(noised).ledger();
    double first = with.get(0).get("trainPerplexity").asDouble();
    double second = with.get(1).get("trainPerplexity").asDouble();
    assertTrue(first > 1.01 * without.get(0).get("trainPerplexity").asDouble(), "" + first);
    assertEquals(first, second, 0.05 * first);
    assertNotEquals(first, second, 1e-6 * first);
    assertEquals(
        without.get(1).get("validPerplexityBatched").asDouble(),
        with.get(1).get("validPerplexityBatched").asDouble(),
        1e-3);
  }

  /** Averages are what a run keeps and validates, not what it trains on from. */
  @Test
  void averagedWeights() throws IOException {
    Path plain = folder.resolve("plain");
    Path averaged = folder.resolve("averaged");
    String tune =
        "finetune --epochs 2 --batch 4 --bptt 10 --lr 2 --bits 2/2 --model %s --data %s --out "
            .formatted(parent, text);
    succeed((tune + plain).split(" "));
    succeed((tune + averaged + " --average 40").split(" "));
    assertEquals(
        Run.weightsSha256(Run.open(plain).checkpointNetwork()),
        Run.weightsSha256(Run.open(averaged).checkpointNetwork()));
    assertNotEquals(
        Run.weightsSha256(Run.open(plain).model()), Run.weightsSha256(Run.open(averaged).model()));
    Run run = Run.open(averaged);
    TokenIterator segments = Trainer.validation(Corpora.open(text.toString()), run.settings());
    assertEquals(
        Ledger.best(run.ledger()).get().get("validPerplexityBatched").asDouble(),
        Evaluator.evaluate(run.model(), segments, tokens -> {}).perplexity(),
        1e-6);
  }

  /** What a run distilled says of itself, and that neither its parent nor its weight may change. */
  @Test
  void distilledRun() throws IOException {
    Path run = folder.resolve("distilled");
    String tune =
        "finetune --epochs 1 --batch 4 --bptt 10 --lr 2 --bits 2/2 --data " + text + " --out ";
    String distill = tune + run + " --distill %s --distill-temperature 2 --model " + parent;
    succeed(distill.formatted("0.5").split(" "));
    JsonNode entry = Json.parse(Files.readAllLines(run.resolve("ledger.jsonl")).get(0));
    assertTrue(entry.get("trainDistillationLoss").asDouble() > 0, entry.toString());
    assertFalse(entry.has("trainPerplexity"), entry.toString());
    assertEquals(0.5, entry.get("settings").get("distill").asDouble());
    assertEquals(2, entry.get("settings").get("distillTemperature").asDouble());
    Outcome.of((distill.formatted("0.4") + " --resume").split(" "))
        .failed(1, "started with distill = 0.5, not 0.4; give what it was started with");
    succeed((distill.formatted("0.5") + "/../parent --resume").split(" "));
    Outcome.of((tune + folder.resolve("never") + " --distill 0.5 --model " + run).split(" "))
        .failed(2, "full-precision model, and .*distilled is 2/2");
  }

  /**
   * A quantized model goes on by what two others say, of another shape and from another library.
   */
  @Test
  void distilledFromOtherTeachers() throws IOException {
    Path gru = folder.resolve("gru-teacher");
    Path start = folder.resolve("to-teach");
    Path run = folder.resolve("taught");
    succeed(train("fp", gru, "--cell", "gru", "--embedding", "16"));
    String tune = "finetune --epochs 1 --batch 4 --bptt 10 --lr 2 --bits 2/2 --data " + text;
    succeed((tune + " --model " + parent + " --out " + start).split(" "));
    Path file = parent.resolve("parent.safetensors");
    succeed("export", "--model", parent.toString(), "--out", file.toString());
    tune += " --model " + start;
    String taught = tune + " --out " + run + " --distill 1 --teacher " + gru;
    succeed((taught + " --teacher " + file).split(" "));
    JsonNode entry = Run.open(run).ledger().get(0);
    assertEquals(2, entry.get("settings").get("teachersSha256").size());
    assertEquals(file.toString(), entry.get("settings").get("teachers").get(1).asText());
    Outcome.of((taught + " --resume").split(" ")).failed(1, "started with teachersSha256 = ");
    tune += " --out " + folder.resolve("never") + " --teacher ";
    Outcome.of((tune + gru).split(" ")).failed(2, "--teacher .* give its weight");
    tune = tune.replace("--teacher", "--distill 1 --teacher");
    Outcome.of((tune + start).split(" ")).failed(2, "full-precision model, and .*to-teach is 2/2");
    Outcome.of((tune + folder.resolve("none")).split(" ")).failed(1, "There is no file .*none");
    Path others = TinyText.write(folder.resolve("others"), 200);
    Files.writeString(others.resolve("train.txt"), "some other words\n".repeat(200));
    Path stranger = folder.resolve("stranger");
    succeed(
        "train --hidden 8 --bits fp --epochs 1 --batch 2 --bptt 5 --data %s --out %s"
            .formatted(others, stranger)
            .split(" "));
    Outcome.of((tune + stranger).split(" ")).failed(1, "vocabulary .* does not fit .*stranger");
  }

  @Test
  void oldNamesOfOptionsStay() throws IOException {
    Path run = folder.resolve("old-names");
    succeed(
        "train --hidden 8 --bits 2/2 --epochs 2 --batch 2 --unroll 5 --hold-codes 1 --data %s --out %s"
            .formatted(text, run)
            .split(" "));
    assertEquals(5, Run.open(run).settings().unroll);
    assertEquals(1, Run.open(run).settings().holdCodes);
    String help = Outcome.of("train", "--help").out();
    assertTrue(help.contains("--bptt") && help.contains("--freeze-codes"), help);
    assertFalse(help.contains("--unroll") || help.contains("--hold-codes"), help);
  }

  private static double perplexity(Path model) throws IOException {
    return succeed("evaluate", "--json", "--model", model.toString(), "--data", text.toString())
        .json()
        .get("perplexity")
        .asDouble();
  }

  @ParameterizedTest
  @CsvSource({
    "uniform,3/fp",
    "balanced,2/fp",
    "greedy,2/2",
    "refined,3/3",
    "alternating,2/2",
    "optimal,2/fp"
  })
  void quantizePrintsErrorsAndPerplexity(String method, String bits) throws IOException {
    Path file = folder.resolve(method + ".gguf");
    JsonNode result =
        succeed(
                "quantize",
                "--json",
                "--model",
                parent.toString(),
                "--method",
                method,
                "--bits",
                bits,
                "--out",
                file.toString())
            .json();
    assertEquals(4, result.get("matrices").size());
    MultiLayerNetwork trained = Run.open(parent).model();
    Map<String, String> params =
        Map.of(
            "embedding", "0_W", "rnn.0.input", "1_W", "rnn.0.recurrent", "1_RW", "softmax", "2_W");
    double lowest = 1e9;
    double highest = 0;
    for (JsonNode matrix : result.get("matrices")) {
      INDArray weights = trained.getParam(params.get(matrix.get("name").asText()));
      assertEquals(
          weights.stdNumber().doubleValue(), matrix.get("standardDeviation").asDouble(), 1e-5);
      lowest = Math.min(lowest, matrix.get("relativeSquaredError").asDouble());
      highest = Math.max(highest, matrix.get("relativeSquaredError").asDouble());
    }
    double overall = result.get("relativeSquaredError").asDouble();
    assertTrue(0 < lowest && lowest <= overall && overall <= highest, result.toString());
    JsonNode packed =
        succeed("evaluate", "--json", "--model", file.toString(), "--data", text.toString()).json();
    assertEquals(packed.get("perplexity").asDouble(), result.get("perplexity").asDouble(), 1e-9);
  }

  static List<List<String>> mistakes() throws IOException {
    Path empty = Files.createDirectories(folder.resolve("empty"));
    Path broken = TinyText.write(folder.resolve("broken"), 100);
    Files.write(broken.resolve("valid.txt"), new byte[] {'a', ' ', (byte) 0xff, '\n'});
    Path other = TinyText.write(folder.resolve("other"), 100);
    Files.writeString(other.resolve("train.txt"), "quite other words <unk>\n".repeat(50));
    Path foreign =
        Files.writeString(folder.resolve("foreign.gguf"), "not a model at all, but long enough");
    Path file = Files.writeString(folder.resolve("file"), "x");
    String data = text.toString();
    String out = folder.resolve("never").toString();
    String model = parent.toString();
    String base = "train --epochs 1 --hidden 8 --out " + out + " --bits fp --data ";
    Path keras = Files.copy(foreign, folder.resolve("foreign.h5"));
    Path dl4j = Files.copy(foreign, folder.resolve("foreign.zip"));
    String imported = " --vocab " + parent.resolve("vocabulary.txt") + " --data " + data;
    String tune = "finetune --bits 2/2 --model " + model + " --data " + data + " --out " + out;
    return List.of(
        // exit code, a part of the message, the command
        List.of("1", "no-such-folder", base + folder.resolve("no-such-folder")),
        List.of("1", "empty", base + empty),
        List.of("1", "valid.txt", base + broken),
        List.of("1", "too few|too short|tokens", base + data + " --batch 60000"),
        List.of(
            "2",
            "out of range|bits",
            "train --hidden 8 --out " + out + " --data " + data + " --bits 9/9"),
        List.of(
            "2",
            "a language model has no dense layer",
            "train --hidden 8 --out " + out + " --data " + data + " --bits lstm=2/2,dense=2/2"),
        List.of(
            "2",
            "1 to 2 bits",
            "train --method optimal --hidden 8 --out " + out + " --data " + data + " --bits 3/3"),
        List.of(
            "2",
            "no quantization method",
            "train --method best --hidden 8 --out " + out + " --data " + data + " --bits 2/2"),
        List.of("2", "--lr -1 .* 0.001 to 1000000", base + data + " --lr -1"),
        List.of("2", "--lr-schedule cosine .* plateau or linear", tune + " --lr-schedule cosine"),
        List.of("2", "--lr-decay is of", tune + " --lr-schedule linear --lr-decay 2"),
        List.of("2", "a scale of 1.*give --freeze-codes 0", tune + " --freeze-codes 1 --scale 0.3"),
        List.of("2", "up to 2 bits .*not of 3", tune.replace("2/2", "3/3") + " --freeze-codes 1"),
        List.of("2", "exclude each other", tune + " --freeze-codes 1 --average 9"),
        List.of("2", "--freeze-codes 1 is for", tune + " --freeze-codes 1 --method uniform"),
        List.of("2", "--freeze-codes 81 .* 0 to 80", tune + " --freeze-codes 81"),
        List.of("2", "--freeze-codes needs codes", tune.replace("2/2", "fp") + " --freeze-codes 1"),
        List.of("2", "leaves none to learn codes in", tune + " --epochs 4 --freeze-codes 4"),
        List.of("2", "--cycles 4 is for .* alternating", tune + " --method refined --cycles 4"),
        List.of(
            "2",
            "--weight-bound 0.4 is for quantized",
            tune.replace("2/2", "fp") + " --weight-bound 0.4"),
        List.of("2", "--method refined is for quantized", base + data + " --method refined"),
        List.of("2", "--cycles 4 is for quantized", base + data + " --cycles 4"),
        List.of("2", "--scale 0.3 is for quantized", base + data + " --scale 0.3"),
        List.of(
            "2",
            "--checkpoint-minutes 2000000 .* 0 to 1000000",
            tune + " --checkpoint-minutes 2e6"),
        List.of("2", "--noise 1.5 .* 0 to 1", tune + " --noise 1.5"),
        List.of("2", "--average -1 .* 0 to 2147483647", tune + " --average -1"),
        List.of("2", "--weight-bound -1 .* 0 to 1.0E30", tune + " --weight-bound -1"),
        List.of("2", "--epochs 0 .* 1 to 2147483647", tune + " --epochs 0"),
        List.of("2", "--max-tokens 0 .* 1 to 9223372036854775807", tune + " --max-tokens 0"),
        List.of("2", "--clip 0 .* 1.0E-30 to 1.0E30", tune + " --clip 0"),
        List.of("2", "--lr-decay 0.5 .* 1 to 1000000", tune + " --lr-decay 0.5"),
        List.of("2", "--dropout 1 .* 0 to 0.99", tune + " --dropout 1"),
        List.of("2", "scale above 0, up to 1000000, not -1.0", tune + " --scale -1"),
        List.of("2", "--top-k -1 .* 0 to 2147483647", "generate --top-k -1 --model " + model),
        List.of("2", "--threads 2000 .* 0 to 1024", tune + " --threads 2000"),
        List.of("2", "--budget-minutes -1 .* 0 to 1000000", "reproduce table1 --budget-minutes -1"),
        List.of("2", "scale 0.3 is for .* alternating", tune + " --method greedy --scale 0.3"),
        List.of(
            "2",
            "scale 0.3 is for",
            "quantize --bits 2/2 --method refined --scale 0.3 --model " + model),
        List.of("2", "a run has its own words", "quantize --bits 2/2 --model " + model + imported),
        List.of(
            "1", "There is no file mistyped", "quantize --bits 2/2 --model mistyped.h5" + imported),
        List.of("2", "--cell rnn .* lstm or gru", base + data + " --cell rnn"),
        List.of("2", "--layers 5 .* 1 to 4", base + data + " --layers 5"),
        List.of("2", "--embedding -1", base + data + " --embedding -1"),
        List.of(
            "1", "exists already", "train --hidden 8 --bits fp --data " + data + " --out " + model),
        List.of(
            "1", "folder", "train --hidden 8 --bits fp --data " + data + " --out " + file + "/run"),
        List.of(
            "1",
            "hidden = 24, not 8",
            "train --resume --batch 4 --bptt 10 --dropout 0.1 --lr 5 --hidden 8 --bits fp --data "
                + data
                + " --out "
                + model),
        List.of("2", "--bits", "train --data " + data + " --out " + out),
        List.of(
            "2",
            "Unknown option.*modle",
            "evaluate --modle x --model " + model + " --data " + data),
        List.of("2", "Unmatched argument.*did you mean.* evaluate", "evluate"),
        List.of("2", "no file of options presets/absent", tune + " @presets/absent"),
        List.of("1", "does not fit", "evaluate --model " + model + " --data " + other),
        List.of("2", "split", "evaluate --split dev --model " + model + " --data " + data),
        List.of("1", "is a text, not a model", "info " + foreign),
        List.of("1", "is a text, not a model", "generate --model " + foreign),
        List.of("1", "the folder of a run.*export", "generate --model " + model),
        List.of("1", "no file|There is no", "generate --model " + folder.resolve("none.gguf")),
        List.of(
            "1",
            "a folder without a run",
            "export --model " + empty + " --out " + folder.resolve("x.gguf")),
        List.of(
            "1",
            "no folder",
            "export --model " + model + " --out " + folder.resolve("none/x.gguf")),
        List.of("2", "ends in .gguf", "export --model " + model + " --out " + out + ".bin"),
        List.of("2", "ends in .gguf", "quantize --bits 2/2 --model " + model + " --out " + out),
        List.of(
            "1", "is no run", base.replace(out, empty.getParent().toString()) + data + " --resume"),
        List.of("1", "is a text, not a model", "evaluate --model " + keras + imported),
        List.of("1", "is a text, not a model", "evaluate --model " + dl4j + imported),
        List.of("1", "is a text, not a model", "evaluate --model " + foreign + " --data " + data),
        List.of("1", "is a text, not a model", "evaluate --model " + foreign + imported),
        List.of(
            "1",
            "diverged",
            base.replace(out, out + "-diverges") + data + " --lr 1000000 --clip 1e9 --batch 4"),
        List.of("2", "weights alone", base.replace("fp", "embedding=2/2") + data),
        List.of("2", "--distill 1.5 .* 0 to 1", tune + " --distill 1.5"),
        List.of("2", "--distill NaN .* 0 to 1", tune + " --distill NaN"),
        List.of(
            "2",
            "--distill-temperature 0 .* 0.01 to 100",
            tune + " --distill 0.5 --distill-temperature 0"),
        List.of(
            "2",
            "--distill-temperature Infinity",
            tune + " --distill 0.5 --distill-temperature Infinity"),
        List.of(
            "2",
            "--distill-temperature are for .* --distill 0.5",
            tune + " --distill-temperature 2"),
        List.of(
            "2", "has no lstm.*named gru", base.replace("fp", "lstm=2/2") + data + " --cell gru"),
        List.of("2", "has no gru.*named lstm", tune.replace("2/2", "gru=2/2")),
        List.of("2", "has no gru.*named lstm", "quantize --bits gru=2/2 --model " + model),
        List.of("2", "--models: there is no folder", "reproduce table1 --models " + out),
        List.of("2", "nothing to quantize", "quantize --bits fp --model " + model));
  }

  /** Each mistake is one line on standard error, and nothing is left behind. */
  @ParameterizedTest
  @MethodSource("mistakes")
  void mistakesAreExplained(List<String> mistake) {
    Outcome.of(mistake.get(2).split(" ")).failed(Integer.parseInt(mistake.get(0)), mistake.get(1));
    assertFalse(Files.exists(folder.resolve("never")));
    assertFalse(Files.exists(folder.resolve("never-diverges")));
  }

  /** What is not UTF-8 of a run is named with file, line and byte. */
  @ParameterizedTest
  @ValueSource(strings = {"ledger.jsonl", "settings.json", "vocabulary.txt"})
  void runThatIsNotUtf8(String name) throws IOException {
    Path run = Files.createDirectories(folder.resolve("latin1-" + name));
    for (String part : List.of("ledger.jsonl", "settings.json", "vocabulary.txt", "model.zip")) {
      Files.copy(parent.resolve(part), run.resolve(part), StandardCopyOption.REPLACE_EXISTING);
    }
    byte[] bytes = Files.readAllBytes(run.resolve(name));
    int second = new String(bytes, StandardCharsets.ISO_8859_1).indexOf('\n') + 1;
    bytes[second] = (byte) 0xE9;
    Files.write(run.resolve(name), bytes);
    Outcome.of(("export --model %s --out %s/x.gguf".formatted(run, run)).split(" "))
        .failed(1, run.resolve(name) + ".*line 2.* not UTF-8 at byte " + second + " .*0xE9");
    assertFalse(Files.exists(run.resolve("x.gguf")));
  }

  /** A truncated packed file is refused by every reader. */
  @Test
  void truncatedFileIsRefused() throws IOException {
    Path file = folder.resolve("whole.gguf");
    succeed("export", "--model", parent.toString(), "--out", file.toString());
    byte[] bytes = Files.readAllBytes(file);
    Path cut = folder.resolve("cut.gguf");
    Files.write(cut, java.util.Arrays.copyOf(bytes, bytes.length / 2));
    for (String command :
        new String[] {
          "info " + cut, "generate --model " + cut, "evaluate --data " + text + " --model " + cut
        }) {
      Outcome outcome = Outcome.of(command.split(" "));
      assertEquals(1, outcome.exitCode(), command);
      assertTrue(outcome.err().contains("cut.gguf"), outcome.err());
    }
  }

  @Test
  void everyCommandHelps() {
    for (String command :
        "quickstart train finetune quantize export evaluate generate info".split(" ")) {
      Outcome outcome = Outcome.of(command, "--help");
      assertEquals(0, outcome.exitCode(), command);
      assertTrue(outcome.out().contains("Usage: multibit " + command), outcome.out());
    }
  }
}

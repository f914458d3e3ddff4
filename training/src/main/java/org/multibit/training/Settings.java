package org.multibit.training;

import static org.multibit.training.UsageException.requireRange;

import java.io.IOException;
import java.nio.file.Path;
import java.util.Iterator;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.stream.Collectors;
import org.multibit.core.Bits;
import org.multibit.core.Cell;
import org.multibit.core.LayerBits;
import org.multibit.core.Quantizer;
import org.multibit.core.Quantizers;
import org.nd4j.shade.jackson.annotation.JsonAutoDetect;
import org.nd4j.shade.jackson.core.JsonProcessingException;
import org.nd4j.shade.jackson.databind.JsonNode;
import org.nd4j.shade.jackson.databind.node.ObjectNode;

/**
 * The settings of a run, {@code settings.json} in its folder. The defaults are the paper's for Penn
 * Treebank. Messages name settings as the command line does.
 */
@JsonAutoDetect(
    fieldVisibility = JsonAutoDetect.Visibility.PUBLIC_ONLY,
    getterVisibility = JsonAutoDetect.Visibility.NONE,
    isGetterVisibility = JsonAutoDetect.Visibility.NONE)
public class Settings {
  /**
   * The initial learning rate of a GRU. With the paper's rate of 20 it stays far behind an LSTM
   * (docs/results/notes.md).
   */
  public static final double GRU_LEARNING_RATE = 10;

  /** Training stops below this learning rate. */
  private static final double SMALLEST_LEARNING_RATE = 0.001;

  private static final String PLATEAU = "plateau";
  public static final String LINEAR = "linear";

  /** The corpus: a name (ptb, wikitext-2, text8), or a folder with train/valid/test text. */
  public String data;

  /** SHA-256 of the corpus. */
  public String dataSha256;

  /** Bits of weights and activations, as {@link LayerBits#parse} reads them. */
  public String bits;

  /** How to quantize: a name of {@link Quantizers#METHODS}. */
  public String method = "alternating";

  /** Alternating cycles; 0 is greedy. */
  public int cycles = 2;

  /** The factor of weights that alternating has quantized. */
  public float scale = 1;

  /** The seed of initialization, dropout and noise. */
  public long seed = 1;

  /** The learning rate at the start, for the mean loss per token. */
  public double learningRate = 20;

  /**
   * How the rate falls. With plateau it is divided by {@link #learningRateDecay} when validation is
   * not better. With linear it falls by the same amount after each epoch, to 0.
   */
  public String learningRateSchedule = PLATEAU;

  /** The divisor of the rate when validation is not better. */
  public double learningRateDecay = 1.2;

  /** The largest norm of the whole gradient. */
  public double clip = 0.25;

  /**
   * The latent weights of quantized layers are clipped to +- this. 0: to 1, or to the largest
   * magnitude of the weights from which fine-tuning starts.
   */
  public double weightBound;

  /** Steps in the moving average of the weights, which is validated and kept; 0: no average. */
  public int average;

  /** The probability to drop a unit. */
  public double dropout = 0.5;

  /** The largest probability to replace a word of the training text ({@code KneserNeyNoise}). */
  public double noise;

  /** The number of parallel streams. */
  public int batch = 20;

  /** Steps of truncated BPTT. */
  public int unroll = 30;

  /** The largest number of passes over the training text. */
  public int epochs = 80;

  /** The number of last epochs in which codes are frozen. */
  public int holdCodes;

  /** Training stops after the segment that reaches this number of tokens. */
  public long maxTokens = Long.MAX_VALUE;

  /** lstm or gru. */
  public String cell = "lstm";

  /** Units of each recurrent layer. */
  public int hidden = 300;

  /** Recurrent layers. */
  public int layers = 1;

  /** Size of the embedding; 0: the same as {@link #hidden}. */
  public int embedding;

  /** The model from which a fine-tuned run started, as given. */
  public String parent;

  /** SHA-256 of the parent's weights. */
  public String parentSha256;

  /**
   * The weight of the teachers in the loss of a fine-tuned run ({@code Distillation}); 0: no
   * teacher.
   */
  public double distill;

  /** The temperature of distillation. */
  public double distillTemperature = 1;

  /** The teachers, as given; empty: its parent. */
  public List<String> teachers = List.of();

  /** SHA-256 of the weights of each teacher. */
  public List<String> teachersSha256 = List.of();

  public int embeddingSize() {
    return embedding == 0 ? hidden : embedding;
  }

  /** Whether the learning rate falls by the same amount after each epoch. */
  public boolean isLinear() {
    return learningRateSchedule.equals(LINEAR);
  }

  /**
   * Whether nothing is left to train: all epochs are finished, or the learning rate has become too
   * small.
   *
   * @param finished number of finished epochs
   * @param rate learning rate of the next epoch
   */
  boolean areOver(int finished, double rate) {
    return finished >= epochs || !isLinear() && rate < SMALLEST_LEARNING_RATE;
  }

  public LayerBits layerBits() {
    return LayerBits.parse(bits);
  }

  /**
   * Parses settings from a ledger or a packed file.
   *
   * @param file the file that has them, for messages
   * @throws IOException if they are not of this version
   */
  public static Settings parse(String json, Path file) throws IOException {
    try {
      return Json.parse(json, Settings.class);
    } catch (JsonProcessingException e) {
      throw new IOException(
          "%s has settings that this version does not know: %s"
              .formatted(file, e.getOriginalMessage()),
          e);
    }
  }

  /** The quantizer of weights. */
  public Quantizer weightQuantizer() {
    return Quantizers.of(method, cycles, scale);
  }

  /** The quantizer of activations. The scale applies only to weights. */
  public Quantizer activationQuantizer() {
    return Quantizers.of(method, cycles, 1);
  }

  /**
   * The first setting that differs in another run, for example {@code learningRate = 20.0, not
   * 10.0}; empty if none.
   *
   * @param ignored names of settings that may differ
   */
  public Optional<String> difference(Settings other, Set<String> ignored) {
    JsonNode ours = withSizes();
    JsonNode theirs = other.withSizes();
    for (Iterator<String> names = ours.fieldNames(); names.hasNext(); ) {
      String name = names.next();
      if (!ignored.contains(name) && !ours.get(name).equals(theirs.get(name))) {
        return Optional.of("%s = %s, not %s".formatted(name, ours.get(name), theirs.get(name)));
      }
    }
    return Optional.empty();
  }

  /** The settings with an explicit size of the embedding, even if it is that of the layers. */
  private JsonNode withSizes() {
    ObjectNode settings = Json.tree(this);
    return settings.put("embedding", embeddingSize());
  }

  /**
   * @throws UsageException if an option is out of range; the message names the first one
   */
  public void check() {
    for (String text : new String[] {bits, method, learningRateSchedule, cell}) {
      UsageException.require(text != null, "bits, method, schedule or cell is missing");
    }
    try {
      checkBits();
    } catch (IllegalArgumentException e) {
      throw new UsageException(e.getMessage());
    }
    require(
        Cell.ALL.stream().anyMatch(known -> known.name().equals(cell)),
        "--cell",
        cell,
        Cell.ALL.stream().map(Cell::name).collect(Collectors.joining(" or ")));
    requireRange("--hidden", hidden, 1, 1 << 16);
    requireRange("--layers", layers, 1, 4);
    requireRange("--embedding", embedding, 0, 1 << 16);
    requireRange("--batch", batch, 1, 1 << 16);
    requireRange("--bptt", unroll, 1, 1 << 16);
    requireRange("--epochs", epochs, 1, Integer.MAX_VALUE);
    requireRange("--freeze-codes", holdCodes, 0, epochs);
    requireRange("--max-tokens", maxTokens, 1, Long.MAX_VALUE);
    requireRange("--lr", learningRate, SMALLEST_LEARNING_RATE, 1e6);
    require(
        isLinear() || learningRateSchedule.equals(PLATEAU),
        "--lr-schedule",
        learningRateSchedule,
        PLATEAU + " or " + LINEAR);
    UsageException.require(
        !isLinear() || learningRateDecay == new Settings().learningRateDecay,
        "--lr-decay is of --lr-schedule plateau, not linear");
    requireRange("--lr-decay", learningRateDecay, 1, 1e6);
    requireRange("--clip", clip, 1e-30, 1e30);
    requireRange("--weight-bound", weightBound, 0, 1e30);
    requireRange("--average", average, 0, Integer.MAX_VALUE);
    UsageException.require(
        average == 0 || holdCodes == 0,
        "--average and --freeze-codes exclude each other, since averages are not on codes: give --freeze-codes 0");
    requireRange("--dropout", dropout, 0, 0.99);
    requireRange("--noise", noise, 0, 1);
    requireRange("--distill", distill, 0, 1);
    requireRange("--distill-temperature", distillTemperature, 0.01, 100);
  }

  /**
   * Whether each layer's weights are quantized as in another model, so that they start as codes.
   */
  public boolean hasCodesOf(Settings model) {
    LayerBits ours = layerBits();
    LayerBits theirs = model.layerBits();
    return method.equals(model.method)
        && ours.embedding().weights() == theirs.embedding().weights()
        && ours.recurrent().weights() == theirs.recurrent().weights()
        && ours.output().weights() == theirs.output().weights();
  }

  /**
   * Checks a run that starts from weights that are not codes of its quantizer.
   *
   * @throws UsageException if codes would be frozen before any epoch could change them
   */
  public void requireEpochsForCodes() {
    UsageException.require(
        holdCodes < epochs,
        "--freeze-codes %s of --epochs %s leaves none to learn codes in: give more epochs, or --freeze-codes 0"
            .formatted(holdCodes, epochs));
  }

  /**
   * Checks the bits of a model whose cell is known.
   *
   * @throws UsageException if the bits are for layers of the other cell
   */
  public void requireBitsOfCell() {
    for (Cell other : Cell.ALL) {
      UsageException.require(
          other.name().equals(cell) || !bits.contains(other.name()),
          "--bits %s: the model has no %s, its recurrent layers are named %s"
              .formatted(bits, other, cell));
    }
  }

  private void checkBits() {
    LayerBits layerBits = layerBits();
    if (bits.contains("dense") && layerBits.dense().weights() > 0) {
      throw new IllegalArgumentException(
          "--bits %s: a language model has no dense layer but its softmax".formatted(bits));
    }
    if (scale != 1 && !method.equals("alternating")) {
      throw new IllegalArgumentException(
          "--scale %s is for --method alternating, not %s".formatted(scale, method));
    }
    if (cycles != new Settings().cycles && !method.equals("alternating")) {
      throw new IllegalArgumentException(
          "--cycles %s is for --method alternating, not %s".formatted(cycles, method));
    }
    if (layerBits.isFullPrecision()) {
      requireDefault("--method", method, new Settings().method);
      requireDefault("--cycles", cycles, new Settings().cycles);
      requireDefault("--scale", scale, new Settings().scale);
      requireDefault("--weight-bound", weightBound, new Settings().weightBound);
    }
    Quantizer quantizer = weightQuantizer();
    if (holdCodes > 0 && layerBits.isFullPrecision()) {
      throw new IllegalArgumentException(
          "--freeze-codes needs codes, and --bits %s has none: give --freeze-codes 0"
              .formatted(bits));
    }
    for (Bits b : List.of(layerBits.embedding(), layerBits.recurrent(), layerBits.output())) {
      for (int count : new int[] {b.weights(), b.activations()}) {
        if (count > 0) {
          quantizer.checkBits(count);
        }
      }
      if (holdCodes > 0 && b.weights() > 0 && !quantizer.projects(b.weights())) {
        throw new IllegalArgumentException(
            "--freeze-codes %s is for weights of up to 2 bits by refined, alternating (with cycles, and a scale of 1) or optimal, not of %s by %s: give --freeze-codes 0"
                .formatted(holdCodes, b.weights(), quantizer));
      }
    }
  }

  private void requireDefault(String option, Object value, Object byDefault) {
    if (!value.equals(byDefault)) {
      throw new IllegalArgumentException(
          "%s %s is for quantized layers, and --bits %s has none".formatted(option, value, bits));
    }
  }

  private static void require(boolean holds, String option, String value, String choices) {
    if (!holds) {
      throw new UsageException("%s %s is not known: it takes %s".formatted(option, value, choices));
    }
  }
}

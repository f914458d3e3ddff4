package org.multibit.cli;

import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Callable;
import java.util.function.Consumer;
import java.util.function.IntConsumer;
import org.deeplearning4j.nn.multilayer.MultiLayerNetwork;
import org.multibit.core.Printable;
import org.multibit.core.format.LanguageModelFile;
import org.multibit.datasets.Vocabulary;
import org.multibit.datasets.Words;
import org.multibit.runtime.NativeLibrary;
import org.multibit.runtime.PackedLanguageModel;
import org.multibit.runtime.Session;
import org.multibit.training.Backend;
import org.multibit.training.LanguageModel;
import org.multibit.training.Sampler;
import org.multibit.training.UsageException;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.nd4j.linalg.factory.Nd4j;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

@Command(name = "generate", description = "Write on from a prompt.", sortOptions = false)
public final class GenerateCommand implements Callable<Integer> {
  private static final Logger LOG = LoggerFactory.getLogger(GenerateCommand.class);

  /** Words of a native call. */
  private static final int AT_ONCE = 16;

  @Option(
      names = "--model",
      required = true,
      paramLabel = "FILE.gguf",
      description = "a packed model")
  Path model;

  @Option(
      names = "--prompt",
      description = "words to begin with, split at ASCII white space (default: none)")
  String prompt = "";

  @Option(
      names = "--tokens",
      paramLabel = "N",
      description = "words to write (default ${DEFAULT-VALUE})")
  int tokens = 50;

  @Option(
      names = "--temperature",
      paramLabel = "T",
      description = "0 takes the likeliest word each time (default ${DEFAULT-VALUE})")
  double temperature = 1;

  @Option(
      names = "--top-k",
      paramLabel = "K",
      description = "draw among the K likeliest words; 0 = all (default ${DEFAULT-VALUE})")
  int topK = 0;

  @Option(names = "--seed", description = "of the draws (default ${DEFAULT-VALUE})")
  long seed = 1;

  @Mixin CommonOptions common;

  @Override
  public Integer call() throws IOException {
    UsageException.requireRange("--tokens", tokens, 1, 1_000_000);
    UsageException.requireRange("--temperature", temperature, 0, 1000);
    UsageException.requireRange("--top-k", topK, 0, Integer.MAX_VALUE);
    LanguageModelFile file = LanguageModelFile.read(model);
    int[] start = encode(file, prompt); // An unknown word ends the command before it prints.
    TextPrinter printer = new TextPrinter(prompt);
    List<String> words =
        generate(model, file, start, tokens, temperature, topK, seed, printer::print);
    CommonOptions.print("\n");
    Map<String, Object> result = new LinkedHashMap<>();
    result.put("model", model.toString());
    result.put("prompt", prompt);
    result.put("words", words);
    result.put("seed", seed);
    common.print(result);
    return 0;
  }

  /** Prints a prompt, and words after it as they come: each end of line is a new line. */
  private static final class TextPrinter {
    private String gap;

    TextPrinter(String prompt) {
      CommonOptions.print(Printable.of(prompt));
      gap = prompt.isEmpty() ? "" : " ";
    }

    void print(String word) {
      if (!word.equals(Vocabulary.EOS)) {
        CommonOptions.print(gap + Printable.of(word));
        gap = " ";
      } else if (!gap.isEmpty()) {
        gap = gap.equals(" ") ? "\n" : gap + "\n";
      }
    }
  }

  /**
   * Draws words.
   *
   * @param start tokens to begin with, as {@link #encode} gives them
   * @param drawn told of each word, as soon as it is there
   * @return all of them
   */
  static List<String> generate(
      Path model,
      LanguageModelFile file,
      int[] start,
      int count,
      double temperature,
      int topK,
      long seed,
      Consumer<String> drawn)
      throws IOException {
    List<String> words = new ArrayList<>();
    IntConsumer take =
        token -> {
          String word = file.words().get(token);
          words.add(word);
          drawn.accept(word);
        };
    if (NativeLibrary.isAvailable()) {
      inNative(model, start, count, (float) temperature, topK, seed, take);
    } else {
      inDl4j(file, start, count, new Sampler(temperature, topK, seed), take);
    }
    return words;
  }

  /**
   * The end of line before the first, then the prompt; unknown words become the unknown token, with
   * a warning.
   */
  static int[] encode(LanguageModelFile file, String prompt) {
    List<Integer> tokens = new ArrayList<>(List.of(file.eos()));
    for (String word : Words.of(prompt)) {
      int token = file.words().indexOf(word);
      if (token < 0 && file.unknown() < 0) {
        throw new IllegalArgumentException(
            "The model does not know the word \"%s\"".formatted(Words.shown(word)));
      }
      if (token < 0) {
        LOG.warn("The model does not know the word \"{}\"; <unk> stands in", Words.shown(word));
      }
      tokens.add(token < 0 ? file.unknown() : token);
    }
    return tokens.stream().mapToInt(t -> t).toArray();
  }

  private static void inNative(
      Path model, int[] start, int count, float temperature, int topK, long seed, IntConsumer take)
      throws IOException {
    try (PackedLanguageModel packed = PackedLanguageModel.open(model);
        Session session = packed.newSession()) {
      for (int token : start) {
        session.step(token);
      }
      for (int done = 0; done < count; done += AT_ONCE) {
        int[] tokens =
            session.generate(
                Math.min(AT_ONCE, count - done), temperature, topK, Session.seedAfter(seed, done));
        for (int token : tokens) {
          take.accept(token);
        }
      }
    }
  }

  private static void inDl4j(
      LanguageModelFile file, int[] start, int count, Sampler sampler, IntConsumer take) {
    Backend.start(0);
    MultiLayerNetwork network = LanguageModel.of(file);
    float[] probabilities = null;
    for (int token : start) {
      probabilities = step(network, token);
    }
    for (int i = 0; i < count; i++) {
      int token = sampler.draw(probabilities);
      take.accept(token);
      probabilities = step(network, token);
    }
  }

  private static float[] step(MultiLayerNetwork network, int token) {
    INDArray input = Nd4j.create(new float[] {token}, new long[] {1, 1, 1}, 'c');
    INDArray output = network.rnnTimeStep(input);
    return output.reshape(output.length()).toFloatVector();
  }
}

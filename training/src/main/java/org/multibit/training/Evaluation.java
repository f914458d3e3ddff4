package org.multibit.training;

import java.io.IOException;
import java.nio.file.Path;
import java.util.Arrays;
import org.deeplearning4j.nn.multilayer.MultiLayerNetwork;
import org.multibit.core.format.LanguageModelFile;
import org.multibit.datasets.Split;
import org.multibit.datasets.TextCorpus;
import org.multibit.datasets.TokenIterator;
import org.multibit.runtime.NativeLibrary;
import org.multibit.runtime.PackedLanguageModel;
import org.multibit.runtime.PackedModel;
import org.multibit.runtime.Session;

/**
 * The perplexity of a language model on a text: one stream, zero state at the start, first input
 * {@code <eos>}, every token a target.
 *
 * @param tokens the number of targets
 * @param seconds time of computation, without loading
 * @param runtime what computed the perplexity: {@code native} or {@code dl4j}
 */
public record Evaluation(double perplexity, long tokens, double seconds, String runtime) {
  /** Tokens per forward pass in DL4J, and per progress report of the native runtime. */
  private static final int SEGMENT = 100;

  private static final int NATIVE_SEGMENT = 1000;

  /** The largest packed model, in bytes, that is evaluated in memory without a file. */
  private static final long MOST_IN_MEMORY = 2_000_000_000;

  /** Receives the progress of the evaluation. */
  public interface Listener {
    /** It begins, over so many tokens. */
    void started(long total);

    void evaluated(long tokens);

    /** It is over, or has failed. */
    void ended();
  }

  /**
   * Evaluates a run or an imported model with the DL4J layers.
   *
   * @throws IOException if the model cannot be read, or has other words than the corpus
   */
  public static Evaluation of(SavedModel model, TextCorpus corpus, Split split, Listener listener)
      throws IOException {
    Run.requireSameWords(model.vocabulary().words(), corpus, model.path());
    return of(model.model(), corpus, split, listener);
  }

  /**
   * Evaluates a packed file with the native runtime if there is one, or else with the DL4J layers.
   *
   * @throws IOException if the file cannot be read, or has other words than the corpus
   */
  public static Evaluation of(Path packed, TextCorpus corpus, Split split, Listener listener)
      throws IOException {
    if (!NativeLibrary.isAvailable()) {
      return of(LanguageModelFile.read(packed), packed, corpus, split, listener);
    }
    try (PackedLanguageModel model = PackedLanguageModel.open(packed)) {
      return of(model, packed, corpus, split, listener);
    }
  }

  /**
   * Evaluates a model as if it were in a packed file: with the native runtime, unless there is none
   * or the model does not fit into one buffer.
   *
   * @param name the model's name in messages
   * @throws IOException if the model has other words than the corpus
   */
  public static Evaluation of(
      LanguageModelFile file, Path name, TextCorpus corpus, Split split, Listener listener)
      throws IOException {
    if (!NativeLibrary.isAvailable() || file.fileBytes() > MOST_IN_MEMORY) {
      Run.requireSameWords(file.words(), corpus, name);
      return of(LanguageModel.of(file), corpus, split, listener);
    }
    try (PackedLanguageModel model =
        PackedLanguageModel.open(file.toDirectBuffer(), name.toString())) {
      return of(model, name, corpus, split, listener);
    }
  }

  private static Evaluation of(
      MultiLayerNetwork network, TextCorpus corpus, Split split, Listener listener) {
    int[] tokens = corpus.tokens(split);
    long begin = System.nanoTime();
    listener.started(tokens.length);
    try {
      Perplexity perplexity =
          Evaluator.evaluate(
              network,
              TokenIterator.evaluation(tokens, corpus.vocabulary().eos(), SEGMENT),
              listener::evaluated);
      return of(perplexity, begin, "dl4j");
    } finally {
      listener.ended();
    }
  }

  private static Evaluation of(
      PackedLanguageModel model, Path name, TextCorpus corpus, Split split, Listener listener)
      throws IOException {
    Run.requireSameWords(model.words(), corpus, name);
    model.setThreads(Math.min(Backend.threads(), PackedModel.MOST_THREADS));
    int[] tokens = corpus.tokens(split);
    Perplexity perplexity = new Perplexity();
    long begin = System.nanoTime();
    listener.started(tokens.length);
    try (Session session = model.newSession()) {
      int previous = corpus.vocabulary().eos();
      for (int start = 0; start < tokens.length; start += NATIVE_SEGMENT) {
        int[] segment =
            Arrays.copyOfRange(tokens, start, Math.min(tokens.length, start + NATIVE_SEGMENT));
        perplexity.add(session.evaluate(previous, segment), segment.length);
        previous = segment[segment.length - 1];
        listener.evaluated(segment.length);
      }
      return of(perplexity, begin, "native");
    } finally {
      listener.ended();
    }
  }

  private static Evaluation of(Perplexity perplexity, long begin, String runtime) {
    double seconds = (System.nanoTime() - begin) * 1e-9;
    return new Evaluation(perplexity.perplexity(), perplexity.tokens(), seconds, runtime);
  }
}

package org.multibit.training;

import java.io.IOException;
import java.nio.file.Path;
import java.util.Locale;
import org.deeplearning4j.nn.multilayer.MultiLayerNetwork;
import org.multibit.core.format.LanguageModelFile;
import org.multibit.datasets.Corpora;
import org.multibit.datasets.TextCorpus;
import org.multibit.datasets.Vocabulary;
import org.multibit.datasets.Words;
import org.slf4j.LoggerFactory;

/** A language model of a run or of another library, to evaluate, quantize, pack or finetune. */
public interface SavedModel {
  /** The path, as given. */
  Path path();

  /** Its settings; for an imported model only shape and bits. */
  Settings settings() throws IOException;

  Vocabulary vocabulary() throws IOException;

  /** The network, as {@link LanguageModel} makes it. */
  MultiLayerNetwork model() throws IOException;

  /** The model as a packed file. */
  LanguageModelFile pack() throws IOException;

  /** Reads a text with the model's words. */
  default TextCorpus text(String data) throws IOException {
    return text(data, vocabulary(), path());
  }

  /**
   * Reads a text with a model's words, in any order. Words that the model does not know become
   * {@code <unk>}, with a warning.
   *
   * @throws IOException if the text cannot be read, or the model knows less than half of it
   */
  static TextCorpus text(String data, Vocabulary vocabulary, Path model) throws IOException {
    TextCorpus natural = Corpora.open(data);
    if (natural.vocabulary().equals(vocabulary)) {
      return natural;
    }
    long unknown = 0;
    String example = null;
    for (int token : natural.train()) {
      String word = natural.vocabulary().word(token);
      if (!vocabulary.contains(word)) {
        unknown++;
        example = word;
      }
    }
    double share = (double) unknown / natural.train().length;
    if (share > 0.5 || (unknown > 0 && vocabulary.unk() < 0)) {
      throw new IOException(
          String.format(
              Locale.ROOT,
              "The text %s does not fit the model %s: of its training text the model does not know %.1f%%, for example '%s'; use the text that the model was trained on",
              natural.name(),
              model,
              100 * share,
              Words.shown(example)));
    }
    if (unknown > 0) {
      LoggerFactory.getLogger(SavedModel.class)
          .warn(
              "{} does not know {} of the {} words of the training text of {}, for example '{}': <unk> stands in, here and in its other texts",
              model,
              String.format(Locale.ROOT, "%,d", unknown),
              String.format(Locale.ROOT, "%,d", natural.train().length),
              natural.name(),
              Words.shown(example));
    }
    return Corpora.open(data, vocabulary);
  }
}

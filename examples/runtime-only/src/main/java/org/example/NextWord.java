package org.example;

import java.io.IOException;
import java.nio.file.Path;
import org.multibit.runtime.PackedLanguageModel;
import org.multibit.runtime.Session;

/**
 * Reads the beginning of a sentence into a packed language model; prints the likeliest next word.
 */
public final class NextWord {
  public static void main(String[] arguments) throws IOException {
    String text = arguments[1];
    try (PackedLanguageModel model = PackedLanguageModel.open(Path.of(arguments[0]));
        Session session = model.newSession()) {
      session.step(model.eos()); // A sentence begins where the one before ends.
      for (String word : text.strip().split("\\s+")) {
        int token = model.token(word);
        session.step(token >= 0 ? token : model.unknown());
      }
      float[] logits = session.logits();
      int likeliest = 0;
      for (int token = 1; token < logits.length; token++) {
        likeliest = logits[token] > logits[likeliest] ? token : likeliest;
      }
      double sum = 0;
      for (float logit : logits) {
        sum += Math.exp(logit - logits[likeliest]);
      }
      System.out.printf("%s ... %s (%.1f%%)%n", text, model.word(likeliest), 100 / sum);
    }
  }
}

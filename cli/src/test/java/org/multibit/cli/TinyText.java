package org.multibit.cli;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Random;

/** A small language with something to learn: each sentence agrees with itself over a few words. */
public final class TinyText {
  private static final String[] SUBJECTS = {"cat", "dog", "bird", "fox", "king", "child"};
  private static final String[] VERBS = {"sees", "hears", "follows", "likes"};
  private static final String[] ADJECTIVES = {"old", "small", "grey", "quick", "quiet"};

  private TinyText() {}

  /** Writes train, valid and test text of so many sentences into a new folder. */
  public static Path write(Path folder, int trainSentences) throws IOException {
    Files.createDirectories(folder);
    Files.writeString(folder.resolve("train.txt"), sentences(1, trainSentences));
    Files.writeString(folder.resolve("valid.txt"), sentences(2, 60));
    Files.writeString(folder.resolve("test.txt"), sentences(3, 60));
    return folder;
  }

  private static String sentences(long seed, int count) {
    Random random = new Random(seed);
    StringBuilder text = new StringBuilder();
    for (int i = 0; i < count; i++) {
      int subject = random.nextInt(SUBJECTS.length);
      text.append(" the ")
          .append(ADJECTIVES[random.nextInt(ADJECTIVES.length)])
          .append(' ')
          .append(SUBJECTS[subject])
          .append(' ')
          .append(VERBS[random.nextInt(VERBS.length)])
          .append(" the ")
          .append(random.nextInt(10) == 0 ? "<unk>" : SUBJECTS[(subject + 1) % SUBJECTS.length])
          .append(" \n");
    }
    return text.toString();
  }
}

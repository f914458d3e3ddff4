package org.multibit.cli.hostile;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import org.multibit.cli.Outcome;
import org.multibit.cli.TinyText;
import org.multibit.datasets.Corpora;
import org.multibit.datasets.TextCorpus;
import org.multibit.training.Run;
import org.multibit.training.Trainer;

/**
 * The files of a run's folder, one of them damaged, through what opens, packs and resumes a run.
 */
enum RunFiles implements Format {
  SETTINGS("settings.json"),
  VOCABULARY("vocabulary.txt"),
  LEDGER("ledger.jsonl"),
  MODEL("model.zip"),
  CHECKPOINT("checkpoint.zip");

  /** A run that was stopped within an epoch, and its text. */
  private static Map<String, byte[]> run;

  private static TextCorpus corpus;

  private final String fileName;

  RunFiles(String fileName) {
    this.fileName = fileName;
  }

  @Override
  public String fileName() {
    return fileName;
  }

  private static synchronized Map<String, byte[]> run() throws IOException {
    if (run == null) {
      Path folder = Files.createTempDirectory("run");
      Path text = TinyText.write(folder.resolve("text"), 60);
      corpus = Corpora.open(text.toString());
      Path trained = folder.resolve("run");
      Outcome.succeed(
          ("train --bits 2/2 --hidden 6 --batch 4 --bptt 5 --epochs 2 --max-tokens 450 --average 3 --data %s --out %s"
                  .formatted(text, trained))
              .split(" "));
      run = new LinkedHashMap<>();
      for (RunFiles file : values()) {
        run.put(file.fileName, Files.readAllBytes(trained.resolve(file.fileName)));
      }
    }
    return run;
  }

  @Override
  public List<byte[]> seeds() throws IOException {
    return List.of(run().get(fileName));
  }

  @Override
  public byte[] mutant(byte[] seed, Random random) {
    return fileName.endsWith(".zip") && random.nextBoolean()
        ? ImportedModels.zip(ImportedModels.damaged(ImportedModels.entries(seed), random))
        : Mutations.of(seed, random);
  }

  @Override
  public void read(Path file) throws IOException {
    Path folder = Files.createDirectories(file.resolveSibling("run"));
    for (Map.Entry<String, byte[]> part : run().entrySet()) {
      Files.write(
          folder.resolve(part.getKey()),
          part.getKey().equals(fileName) ? Files.readAllBytes(file) : part.getValue());
    }
    Run opened = Run.open(folder);
    opened.pack();
    opened.isOver();
    opened.requireVocabulary(corpus);
    new Trainer(
        opened,
        opened.settings(),
        corpus,
        () -> {
          throw new AssertionError("there is a checkpoint");
        },
        List.of(),
        Duration.ofMinutes(5),
        null);
  }
}

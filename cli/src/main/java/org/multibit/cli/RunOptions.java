package org.multibit.cli;

import java.io.Closeable;
import java.io.IOException;
import java.nio.file.Path;
import java.time.Duration;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CancellationException;
import org.deeplearning4j.nn.multilayer.MultiLayerNetwork;
import org.multibit.datasets.TextCorpus;
import org.multibit.training.Run;
import org.multibit.training.Settings;
import org.multibit.training.Trainer;
import org.multibit.training.UsageException;
import picocli.CommandLine.Option;

/** How and where a run is carried out, for commands that train. */
final class RunOptions {
  @Option(
      names = "--out",
      required = true,
      paramLabel = "DIR",
      description = "folder of the run; must be new without --resume")
  Path out;

  @Option(
      names = "--resume",
      description =
          "go on with the run in --out from where Ctrl-C or SIGTERM stopped it, or from its last checkpoint (start it if there is none)")
  boolean resume;

  @Option(
      names = "--threads",
      paramLabel = "N",
      description = "threads to compute with, up to 1024 (default: 0, all)")
  int threads;

  @Option(
      names = "--checkpoint-minutes",
      paramLabel = "M",
      description =
          "minutes between checkpoints within an epoch, besides that after it (default ${DEFAULT-VALUE})")
  double checkpointMinutes = 5;

  /**
   * Trains to the end of the settings, or until the process is told to end, and prints the result.
   *
   * @param teachers see {@link Trainer}
   * @throws CancellationException if it was told to end, and the run can go on
   */
  void train(
      Settings settings,
      TextCorpus corpus,
      Trainer.Start start,
      List<MultiLayerNetwork> teachers,
      CommonOptions common)
      throws IOException {
    UsageException.requireRange("--checkpoint-minutes", checkpointMinutes, 0, 1e6);
    Trainer.requireEnough(corpus, settings);
    boolean goesOn = resume && Run.exists(out);
    Run run = goesOn ? Run.resume(out, settings) : Run.create(out, settings, corpus.vocabulary());
    run.requireVocabulary(corpus);
    // A new run that fails before its first checkpoint leaves nothing.
    try (Closeable lock = run.lock();
        Closeable end = goesOn ? () -> {} : run::removeIfUntrained;
        StopSignal stop = new StopSignal();
        TrainingProgress progress = new TrainingProgress(settings)) {
      Trainer trainer =
          new Trainer(
              run,
              settings,
              corpus,
              start,
              teachers,
              Duration.ofNanos((long) (checkpointMinutes * 60e9)),
              progress);
      if (trainer.tokens() > 0) {
        common.say(
            "%s: %s after %d epochs, %,d tokens",
            out,
            trainer.isOver() ? "finished already," : "goes on",
            trainer.epochs(),
            trainer.tokens());
      } else if (resume) {
        common.say("%s: nothing is trained yet, starts from the beginning", out);
      }
      MultiLayerNetwork network = trainer.train(stop);
      if (!trainer.isOver()) {
        throw new CancellationException(
            "%s: stopped after %d epochs, %,d tokens, and saved; the same command with --resume goes on"
                .formatted(out, trainer.epochs(), trainer.tokens()));
      }
      Map<String, Object> result = new LinkedHashMap<>();
      result.put("run", out.toString());
      result.put("bits", settings.bits);
      result.put("epochs", trainer.epochs());
      result.put("tokens", trainer.tokens());
      result.put("seconds", trainer.seconds());
      result.put("bestValidPerplexityBatched", trainer.bestValidation());
      result.put("weightsSha256", Run.weightsSha256(network));
      common.say(
          "%s: %,d tokens in %.0f s; best validation perplexity %.2f (batched); weights %s",
          out,
          trainer.tokens(),
          trainer.seconds(),
          trainer.bestValidation(),
          result.get("weightsSha256"));
      common.say("Next: ./multibit evaluate --model %s --data %s", out, settings.data);
      common.print(result);
    } catch (OutOfMemoryError e) {
      throw new IllegalStateException(
          "out of memory (%s) with %s words, --hidden %s, --batch %s, --bptt %s: lower one of these (rare words can be <unk> in the text), or give more memory"
              .formatted(
                  e.getMessage(),
                  corpus.vocabulary().size(),
                  settings.hidden,
                  settings.batch,
                  settings.unroll),
          e);
    }
  }
}

package org.multibit.benchmarks;

import java.io.IOException;
import java.nio.FloatBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.concurrent.TimeUnit;
import org.multibit.core.Bits;
import org.multibit.core.format.LanguageModelFile;
import org.multibit.runtime.PackedLanguageModel;
import org.multibit.runtime.Session;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.BenchmarkMode;
import org.openjdk.jmh.annotations.Fork;
import org.openjdk.jmh.annotations.Measurement;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.annotations.OutputTimeUnit;
import org.openjdk.jmh.annotations.Param;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.TearDown;
import org.openjdk.jmh.annotations.Warmup;

/** One token of one stream through a packed LSTM language model, with its logits. */
@State(Scope.Benchmark)
@BenchmarkMode(Mode.SampleTime)
@OutputTimeUnit(TimeUnit.MICROSECONDS)
@Warmup(iterations = 3, time = 1)
@Measurement(iterations = 5, time = 1)
@Fork(1)
public class InferenceBenchmark {
  /** V x H. */
  @Param({"10000x300", "42000x1024"})
  String shape;

  @Param({"2/2", "3/3"})
  String bits;

  private Path file;
  private PackedLanguageModel model;
  private Session session;
  private FloatBuffer logits;
  private int[] tokens;
  private int step;

  @Setup
  public void setUp() throws IOException {
    KernelsBench.Size size = BenchArguments.size("shape", shape);
    file = Files.createTempFile("multibit-bench", ".gguf");
    new RandomLanguageModel(size.rows(), size.cols()).pack(Bits.parse(bits)).write(file);
    model = PackedLanguageModel.open(file);
    session = model.newSession();
    logits = LanguageModelFile.directFloats(model.vocabularySize());
    tokens = Tokens.of(0, model.vocabularySize());
  }

  @TearDown
  public void tearDown() throws IOException {
    session.close();
    model.close();
    Files.delete(file);
  }

  @Benchmark
  public FloatBuffer stepAndLogits() {
    session.step(tokens[step++ % tokens.length]);
    session.logits(logits);
    return logits;
  }
}

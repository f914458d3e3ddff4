package org.multibit.training;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.io.IOException;
import java.nio.FloatBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import org.multibit.core.Alternating;
import org.multibit.core.Kernels;
import org.multibit.core.MultibitMatrix;
import org.multibit.core.format.LanguageModelFile;

/** --threads is how many threads compute, the calling one included. */
class ThreadsTest {

  /** In a JVM of its own, since the common pool is made once. */
  static final class Computation {
    public static void main(String[] args) {
      Backend.start(Integer.parseInt(args[0]));
      FloatBuffer rows = LanguageModelFile.directFloats(2000 * 300);
      MultibitMatrix packed = MultibitMatrix.weights(2000, 300, 2);
      for (int i = 0; i < 50; i++) {
        Kernels.get().quantize(new Alternating(), rows, packed);
      }
      long workers =
          Thread.getAllStackTraces().keySet().stream()
              .filter(thread -> thread.getName().startsWith("ForkJoinPool"))
              .count();
      System.out.println(1 + workers);
    }
  }

  @ParameterizedTest
  @ValueSource(ints = {1, 2, 3})
  void asManyThreadsComputeAsAskedFor(int threads) throws IOException, InterruptedException {
    Process process =
        new ProcessBuilder(
                Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                "-cp",
                System.getProperty("java.class.path"),
                Computation.class.getName(),
                "" + threads)
            .redirectError(ProcessBuilder.Redirect.INHERIT)
            .start();
    String output = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    assertEquals(0, process.waitFor());
    assertEquals(threads, Integer.parseInt(output.strip()));
  }
}

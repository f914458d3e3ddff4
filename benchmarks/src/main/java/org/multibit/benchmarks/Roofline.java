package org.multibit.benchmarks;

import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.ArrayList;
import java.util.List;
import org.multibit.training.Json;
import org.nd4j.shade.jackson.databind.JsonNode;

/**
 * What this machine can do at best in one thread, measured by multibit-roofline (native/bench) on
 * the tier that the kernels choose: the bounds that a product of quantized matrices is held
 * against.
 *
 * @param isa the tier
 * @param popcountWordsPerSecond how many 64-bit words' bits can be counted, without reading them
 *     from memory
 * @param readBytesPerSecond for each size the bandwidth of reading warm memory of this size over
 *     and over, from the level of the caches that it fits into
 */
record Roofline(String isa, double popcountWordsPerSecond, List<Double> readBytesPerSecond) {
  private static final String NAME = "multibit-roofline";

  /** The program as a file, until this process ends. */
  private static final class Program {
    static final Path PATH = extract();

    private static Path extract() {
      try (InputStream program = Roofline.class.getResourceAsStream(NAME)) {
        if (program == null) {
          throw new IOException("The benchmarks were built without " + NAME);
        }
        Path path = Files.createTempFile(NAME, "");
        path.toFile().deleteOnExit();
        Files.write(path, program.readAllBytes());
        Files.setPosixFilePermissions(path, PosixFilePermissions.fromString("rwx------"));
        return path;
      } catch (IOException e) {
        throw new UncheckedIOException(e);
      }
    }
  }

  /**
   * Measures it.
   *
   * @param bytes sizes to read, rounded down to whole 64-bit words, 8 or more
   * @throws UncheckedIOException if the program does not run, or fails: with the line that it says
   */
  static Roofline measure(long... bytes) {
    List<String> command = new ArrayList<>(List.of(Program.PATH.toString()));
    for (long size : bytes) {
      command.add(Long.toString(size));
    }
    try {
      Process process = new ProcessBuilder(command).redirectErrorStream(true).start();
      process.getOutputStream().close();
      String line;
      try (InputStream output = process.getInputStream()) {
        line = new String(output.readAllBytes(), StandardCharsets.UTF_8).strip();
      }
      if (process.waitFor() != 0) {
        throw new IOException(line);
      }
      JsonNode measured = Json.parse(line);
      List<Double> rates = new ArrayList<>();
      measured.get("readBytesPerSecond").forEach(rate -> rates.add(rate.asDouble()));
      return new Roofline(
          measured.get("isa").asText(), measured.get("popcountWordsPerSecond").asDouble(), rates);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new IllegalStateException(e);
    }
  }
}

package org.multibit.benchmarks;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;

/**
 * The machine that was measured on, as Linux describes it.
 *
 * @param level2 bytes of the cache; 0 if unknown
 * @param level3 bytes of the cache; 0 if unknown; a virtual machine may see more than it has a
 *     share of
 */
record Cpu(String model, int cpus, long level2, long level3) {

  static Cpu read() throws IOException {
    String model =
        Files.readAllLines(Path.of("/proc/cpuinfo")).stream()
            .filter(line -> line.startsWith("model name"))
            .map(line -> line.substring(line.indexOf(':') + 1).strip())
            .findFirst()
            .orElse(System.getProperty("os.arch"));
    return new Cpu(
        model,
        Runtime.getRuntime().availableProcessors(),
        configuration("LEVEL2_CACHE_SIZE"),
        configuration("LEVEL3_CACHE_SIZE"));
  }

  private static long configuration(String name) throws IOException {
    String value = firstLine("getconf", name);
    return value.matches("[0-9]+") ? Long.parseLong(value) : 0;
  }

  /** The first line that a program prints. */
  static String firstLine(String... command) throws IOException {
    Process process = new ProcessBuilder(command).redirectErrorStream(true).start();
    String output = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    return output.lines().findFirst().orElse("unknown");
  }

  @Override
  public String toString() {
    return "%s, %d CPUs, L2 %d KiB, L3 %d KiB as the system reports it"
        .formatted(model, cpus, level2 >> 10, level3 >> 10);
  }
}

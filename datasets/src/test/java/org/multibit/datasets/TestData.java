package org.multibit.datasets;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Assumptions;

/** Corpora that tests need and the repository may not hold, in a folder beside it. */
final class TestData {

  private TestData() {}

  /**
   * A folder of the system property {@code multibit.data}, else of the environment variable {@code
   * MULTIBIT_DATA}, else of shared/data beside the repository; the test is skipped if it is not
   * there.
   */
  static Path folder(String name) {
    String variable = System.getenv().getOrDefault("MULTIBIT_DATA", "../../shared/data");
    Path folder = Path.of(System.getProperty("multibit.data", variable)).resolve(name);
    Assumptions.assumeTrue(
        Files.isDirectory(folder),
        () -> "no folder " + folder.toAbsolutePath().normalize() + "; set multibit.data");
    return folder;
  }

  /** A folder of text with the given splits. */
  static Path write(Path folder, String names, String train, String valid, String test)
      throws IOException {
    Files.createDirectories(folder);
    Files.writeString(folder.resolve(names.formatted("train")), train);
    Files.writeString(folder.resolve(names.formatted("valid")), valid);
    Files.writeString(folder.resolve(names.formatted("test")), test);
    return folder;
  }
}

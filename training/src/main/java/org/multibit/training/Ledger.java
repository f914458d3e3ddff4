package org.multibit.training;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.multibit.core.format.AtomicFile;

/**
 * What happened in a run: one JSON line per epoch. Rewritten whole, so that a line is there or not,
 * never half.
 */
final class Ledger {
  private final Path file;
  private final List<String> lines = new ArrayList<>();

  /**
   * @param epochs finished epochs of the checkpoint that the run goes on from; later lines are of
   *     lost work and go
   */
  Ledger(Path file, int epochs) throws IOException {
    this.file = file;
    if (Files.exists(file)) {
      for (String line : Files.readAllLines(file)) {
        if (Json.parse(line).path("epoch").asInt() <= epochs) {
          lines.add(line);
        }
      }
    }
  }

  void append(Map<String, ?> entry) throws IOException {
    lines.add(Json.line(entry));
    String text = String.join("\n", lines) + "\n";
    AtomicFile.write(file, path -> Files.writeString(path, text, StandardCharsets.UTF_8));
  }
}

package org.multibit.training;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.multibit.core.format.AtomicFile;
import org.nd4j.shade.jackson.core.JsonProcessingException;
import org.nd4j.shade.jackson.databind.JsonNode;

/**
 * What happened in a run: one JSON line per epoch. Rewritten whole, so that a line is there or not,
 * never half.
 */
public final class Ledger {
  private final Path file;
  private final List<String> lines = new ArrayList<>();

  /**
   * @param tokens trained on at the checkpoint that the run goes on from; lines of more tokens are
   *     of lost work and go
   */
  Ledger(Path file, long tokens) throws IOException {
    this.file = file;
    if (Files.exists(file)) {
      for (String line : Files.readAllLines(file)) {
        if (Json.parse(line).path("tokens").asLong() <= tokens) {
          lines.add(line);
        }
      }
    }
  }

  /**
   * The lines of a ledger, in order; none if it is not there.
   *
   * @throws IOException if a line is no line of a ledger, with the file's name
   */
  public static List<JsonNode> read(Path file) throws IOException {
    List<JsonNode> lines = new ArrayList<>();
    if (Files.exists(file)) {
      for (String text : Files.readAllLines(file)) {
        JsonNode line;
        try {
          line = Json.parse(text);
        } catch (JsonProcessingException e) {
          line = null;
        }
        if (line == null || !line.path("validPerplexityBatched").isNumber()) {
          throw new IOException(
              "%s is damaged: line %d is no line of a ledger".formatted(file, lines.size() + 1));
        }
        lines.add(line);
      }
    }
    return lines;
  }

  /** The line of the model that a run keeps: the best on the validation text; empty if none. */
  public static Optional<JsonNode> best(List<JsonNode> lines) {
    return lines.stream()
        .min(Comparator.comparingDouble(line -> line.path("validPerplexityBatched").asDouble()));
  }

  /**
   * The settings that a line was trained with.
   *
   * @throws IOException if it has none
   */
  public static Settings settings(JsonNode line) throws IOException {
    return Json.parse(line.path("settings").toString(), Settings.class);
  }

  void append(Map<String, ?> entry) throws IOException {
    String line = Json.line(entry);
    JsonNode added = Json.parse(line);
    // What was validated again at the same place takes the place of its line.
    for (String old : List.copyOf(lines)) {
      JsonNode before = Json.parse(old);
      if (before.path("tokens").equals(added.path("tokens"))
          && before.path("epoch").equals(added.path("epoch"))) {
        lines.remove(old);
      }
    }
    lines.add(line);
    String text = String.join("\n", lines) + "\n";
    AtomicFile.write(file, path -> Files.writeString(path, text, StandardCharsets.UTF_8));
  }
}

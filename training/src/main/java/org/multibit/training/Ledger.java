package org.multibit.training;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.stream.Collectors;
import org.multibit.core.format.AtomicFile;
import org.nd4j.shade.jackson.core.JsonProcessingException;
import org.nd4j.shade.jackson.databind.JsonNode;

/**
 * The record of a run: one JSON line per epoch. The whole file is rewritten each time, so a line is
 * never incomplete.
 */
public final class Ledger {
  private static final int MAX_BYTES = 1 << 26;

  private final Path file;
  private final List<JsonNode> lines = new ArrayList<>();

  /**
   * @param tokens tokens trained on at the checkpoint from which the run continues; lines with more
   *     tokens belong to lost work and are removed
   */
  Ledger(Path file, long tokens) throws IOException {
    this.file = file;
    for (JsonNode line : read(file)) {
      if (line.path("tokens").asLong() <= tokens) {
        lines.add(line);
      }
    }
  }

  /**
   * The lines of a ledger, in order; none if there is no file.
   *
   * @throws IOException if the file is not UTF-8, has more than 64 MiB, or a line is not a
   *     ledger's; the message has the file's name
   */
  public static List<JsonNode> read(Path file) throws IOException {
    List<JsonNode> lines = new ArrayList<>();
    if (Files.exists(file)) {
      for (String text : Utf8.read(file, MAX_BYTES).lines().toList()) {
        JsonNode line;
        try {
          line = Json.parse(text);
        } catch (JsonProcessingException e) {
          line = null;
        }
        if (line == null || !isLine(line)) {
          throw new IOException(
              "%s is damaged: line %s is no line of a ledger".formatted(file, lines.size() + 1));
        }
        lines.add(line);
      }
    }
    return lines;
  }

  private static boolean isLine(JsonNode line) {
    return line.path("epoch").isInt()
        && line.path("tokens").isIntegralNumber()
        && line.path("validPerplexityBatched").isNumber()
        && line.path("settings").isObject();
  }

  /**
   * The line of the model that a run keeps, the best on the validation text; empty if there is
   * none.
   */
  public static Optional<JsonNode> best(List<JsonNode> lines) {
    return lines.stream()
        .min(Comparator.comparingDouble(line -> line.path("validPerplexityBatched").asDouble()));
  }

  /** Whether a run with these settings had nothing left to train after the last line. */
  public static boolean isOver(List<JsonNode> lines, Settings settings) {
    JsonNode last = lines.get(lines.size() - 1);
    double rate = last.path("learningRate").asDouble();
    if (best(lines).orElseThrow() != last) {
      rate /= settings.learningRateDecay;
    }
    return settings.areOver(last.path("epoch").asInt(), rate);
  }

  /**
   * The settings of each epoch of a run.
   *
   * @param file the ledger's file, for messages
   * @throws IOException if there is no line, or if settings are not of this version
   */
  public static List<Settings> settings(List<JsonNode> lines, Path file) throws IOException {
    if (lines.isEmpty()) {
      throw new IOException("%s is damaged: it has no line".formatted(file));
    }
    List<Settings> settings = new ArrayList<>();
    for (JsonNode line : lines) {
      settings.add(Settings.parse(line.path("settings").toString(), file));
    }
    return settings;
  }

  void append(Map<String, ?> entry) throws IOException {
    JsonNode added = Json.parse(Json.line(entry));
    // What was validated again at the same place takes the place of its line.
    lines.removeIf(
        line ->
            line.path("tokens").equals(added.path("tokens"))
                && line.path("epoch").equals(added.path("epoch")));
    lines.add(added);
    String text = lines.stream().map(line -> Json.line(line) + "\n").collect(Collectors.joining());
    AtomicFile.write(file, text);
  }
}

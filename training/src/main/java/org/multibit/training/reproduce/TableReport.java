package org.multibit.training.reproduce;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.OptionalDouble;
import org.multibit.core.format.AtomicFile;

/** A table "paper | ours | difference", as Markdown, as comma-separated values and as JSON. */
public final class TableReport {
  private final String title;
  private final List<String> notes;
  private final List<String> columns;
  private final List<List<String>> rows = new ArrayList<>();

  public TableReport(String title, List<String> notes, List<String> columns) {
    this.title = title;
    this.notes = notes;
    this.columns = columns;
  }

  /**
   * @throws IllegalArgumentException if a row has not as many cells as there are columns, or one of
   *     them a comma or a bar
   */
  public void add(String... cells) {
    for (String cell : cells) {
      if (cells.length != columns.size() || cell.matches(".*[,|\n].*")) {
        throw new IllegalArgumentException(
            "No row of %d cells: %s".formatted(columns.size(), String.join(" | ", cells)));
      }
    }
    rows.add(List.of(cells));
  }

  /** A figure; - where there is none. */
  public static String figure(String format, OptionalDouble value) {
    return value.isEmpty() ? "-" : String.format(Locale.ROOT, format, value.getAsDouble());
  }

  /** How much ours is above the paper's, in percent; - if either is not there. */
  public static String difference(OptionalDouble paper, OptionalDouble ours) {
    return paper.isEmpty() || ours.isEmpty()
        ? "-"
        : String.format(
            Locale.ROOT, "%+.1f%%", 100 * (ours.getAsDouble() / paper.getAsDouble() - 1));
  }

  public List<String> markdown() {
    List<String> lines = new ArrayList<>();
    lines.add("| " + String.join(" | ", columns) + " |");
    lines.add("|" + "---|".repeat(columns.size()));
    for (List<String> row : rows) {
      lines.add("| " + String.join(" | ", row) + " |");
    }
    return lines;
  }

  /** Writes NAME.md, with the notes, and NAME.csv. */
  public void write(Path folder, String name) throws IOException {
    Files.createDirectories(folder);
    List<String> text = new ArrayList<>(List.of("# " + title, ""));
    for (String note : notes) {
      text.addAll(List.of(note, ""));
    }
    text.addAll(markdown());
    AtomicFile.write(folder.resolve(name + ".md"), path -> Files.write(path, text));
    List<String> values = new ArrayList<>(List.of(String.join(",", columns)));
    rows.forEach(row -> values.add(String.join(",", row)));
    AtomicFile.write(folder.resolve(name + ".csv"), path -> Files.write(path, values));
  }

  /** Each row by its columns' names. */
  public List<Map<String, String>> json() {
    List<Map<String, String>> all = new ArrayList<>();
    for (List<String> row : rows) {
      Map<String, String> cells = new LinkedHashMap<>();
      for (int c = 0; c < columns.size(); c++) {
        cells.put(columns.get(c), row.get(c));
      }
      all.add(cells);
    }
    return all;
  }
}

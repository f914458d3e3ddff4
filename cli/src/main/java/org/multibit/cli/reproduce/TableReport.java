package org.multibit.cli.reproduce;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.OptionalDouble;
import java.util.OptionalInt;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.multibit.core.format.AtomicFile;
import org.multibit.training.Utf8;

/** A table "paper | ours | difference", as Markdown, as comma-separated values and as JSON. */
public final class TableReport {
  private static final String NOTHING = "-";

  private static final int MAX_BYTES = 1 << 20;

  /** Numbers from here on are shown by their first digits and a power of ten, not in full. */
  private static final double LARGE = 1e7;

  private final String title;
  private final List<String> notes;
  private final String provenance;
  private final Map<String, String> formats = new LinkedHashMap<>();
  private final List<Object[]> rows = new ArrayList<>();

  /**
   * @param notes paragraphs above the table
   * @param provenance when and by what it was written: the last paragraph, and the last column of
   *     the comma-separated values
   */
  public TableReport(String title, List<String> notes, String provenance) {
    this.title = title;
    this.notes = notes;
    this.provenance = provenance;
  }

  /**
   * Adds a column.
   *
   * @param format of its cells, for example %.1f; a cell that is a text is shown as it is
   */
  public TableReport column(String name, String format) {
    formats.put(name, format);
    return this;
  }

  /**
   * Adds a row.
   *
   * @param cells as many as there are columns: texts, numbers, or optional numbers
   */
  public void add(Object... cells) {
    if (cells.length != formats.size()) {
      throw new IllegalArgumentException(
          "%d cells do not make a row of %d columns".formatted(cells.length, formats.size()));
    }
    Object[] row = new Object[cells.length];
    for (int c = 0; c < row.length; c++) {
      row[c] = value(cells[c]);
    }
    rows.add(row);
  }

  /** A text, a number, or null. */
  private static Object value(Object cell) {
    if (cell instanceof OptionalDouble number) {
      return number.isPresent() ? number.getAsDouble() : null;
    }
    if (cell instanceof OptionalInt number) {
      return number.isPresent() ? number.getAsInt() : null;
    }
    return cell == null || cell instanceof Number ? cell : cell.toString();
  }

  /** How much a figure is above another, in percent; empty where one is not there. */
  public static OptionalDouble difference(OptionalDouble reference, OptionalDouble figure) {
    return reference.isEmpty() || figure.isEmpty()
        ? OptionalDouble.empty()
        : OptionalDouble.of(100 * (figure.getAsDouble() / reference.getAsDouble() - 1));
  }

  private List<List<String>> texts(double large) {
    List<String> columns = List.copyOf(formats.values());
    List<List<String>> texts = new ArrayList<>();
    for (Object[] row : rows) {
      List<String> text = new ArrayList<>();
      for (int c = 0; c < row.length; c++) {
        text.add(
            row[c] instanceof Number number
                ? text(number, columns.get(c), large)
                : row[c] == null ? NOTHING : row[c].toString());
      }
      texts.add(text);
    }
    return texts;
  }

  private static String text(Number number, String format, double large) {
    boolean shortened = number instanceof Double && Math.abs(number.doubleValue()) >= large;
    return String.format(
        Locale.ROOT, shortened ? format.replaceFirst("[.]\\d+f", ".2e") : format, number);
  }

  public List<String> markdown() {
    List<String> lines = new ArrayList<>();
    lines.add("| " + String.join(" | ", formats.keySet()) + " |");
    lines.add("|" + "---|".repeat(formats.size()));
    for (List<String> row : texts(LARGE)) {
      lines.add("| " + String.join(" | ", row) + " |");
    }
    return lines;
  }

  /**
   * Writes NAME.md, with the notes, and NAME.csv, unless they are there already with more finished
   * rows: models may have been looked for in a wrong folder, or are being trained anew.
   *
   * @return whether they were written; if not, standard error says why
   */
  public boolean write(Path folder, String name) throws IOException {
    Path table = folder.resolve(name + ".md");
    long before =
        Files.exists(table) ? finishedRows(Utf8.read(table, MAX_BYTES).lines().toList()) : 0;
    long now = finishedRows(markdown());
    if (now < before) {
      System.err.printf(
          "%s is left as it is: it has %d finished rows, here are %d (--models, --results)%n",
          table, before, now);
      return false;
    }
    List<String> page = new ArrayList<>(List.of("# " + title, ""));
    for (String note : notes) {
      page.addAll(List.of(note, ""));
    }
    page.addAll(List.of(provenance, ""));
    page.addAll(markdown());
    AtomicFile.write(table, String.join("\n", page) + "\n");
    List<String> values = new ArrayList<>();
    values.add(commaSeparated(formats.keySet(), "provenance"));
    texts(Double.POSITIVE_INFINITY).forEach(row -> values.add(commaSeparated(row, provenance)));
    AtomicFile.write(folder.resolve(name + ".csv"), String.join("\n", values) + "\n");
    return true;
  }

  private static long finishedRows(List<String> markdown) {
    return markdown.stream()
        .filter(line -> line.contains("| %s |".formatted(Reproduction.State.FINISHED)))
        .count();
  }

  private static String commaSeparated(Collection<String> cells, String last) {
    return Stream.concat(cells.stream(), Stream.of(last))
        .map(c -> c.matches("[^\",]*") ? c : '"' + c.replace("\"", "\"\"") + '"')
        .collect(Collectors.joining(","));
  }

  /** Each row by its columns' names; null where there is nothing. */
  public List<Map<String, Object>> json() {
    List<Map<String, Object>> all = new ArrayList<>();
    for (Object[] row : rows) {
      Map<String, Object> cells = new LinkedHashMap<>();
      int c = 0;
      for (String column : formats.keySet()) {
        cells.put(column, row[c++]);
      }
      all.add(cells);
    }
    return all;
  }
}

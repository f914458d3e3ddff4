package org.multibit.cli.reproduce;

import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalDouble;
import org.multibit.core.Bits;
import org.multibit.training.Json;
import org.nd4j.shade.jackson.databind.JsonNode;

/** What the paper's tables say, from {@code paper-tables.json}. */
final class PaperTables {
  private static final String RESOURCE = "paper-tables.json";

  /** Table 1 or 2: a full-precision run's weights, quantized without training on. */
  record PostTraining(
      String title, PlannedRun parent, double perplexity, List<Integer> bits, JsonNode methods) {

    OptionalDouble error(String method, int bits) {
      return figure("errors", method, bits);
    }

    OptionalDouble perplexity(String method, int bits) {
      return figure("perplexities", method, bits);
    }

    private OptionalDouble figure(String what, String method, int width) {
      JsonNode figure = methods.path(method).path(what).path(bits.indexOf(width));
      return figure.isMissingNode() ? OptionalDouble.empty() : OptionalDouble.of(figure.asDouble());
    }
  }

  /**
   * Tables 3 to 5.
   *
   * @param rows in the order in which the runs are worth their time
   * @param note what there is to say of the paper's figures
   */
  record Trained(String title, String corpus, List<Row> rows, Optional<String> note) {}

  /**
   * @param perplexity the paper's; empty if it has no such run
   * @param fullPrecision that of the paper's model in full precision that the run is compared with
   */
  record Row(PlannedRun run, OptionalDouble perplexity, OptionalDouble fullPrecision) {}

  private final JsonNode tables;

  PaperTables() throws IOException {
    try (InputStream resource = PaperTables.class.getResourceAsStream(RESOURCE)) {
      tables = Json.parse(new String(resource.readAllBytes(), StandardCharsets.UTF_8));
    }
  }

  PostTraining postTraining(String name) {
    JsonNode table = tables.get(name);
    List<Integer> bits = new ArrayList<>();
    table.get("bits").forEach(b -> bits.add(b.asInt()));
    return new PostTraining(
        table.get("title").asText(),
        run(table, table, Bits.FULL_PRECISION.toString(), null),
        table.get("fullPrecision").asDouble(),
        bits,
        table.get("methods"));
  }

  Trained trained(String name) {
    JsonNode table = tables.get(name);
    List<Row> rows = new ArrayList<>();
    Map<PlannedRun, OptionalDouble> perplexities = new HashMap<>();
    for (JsonNode row : table.get("rows")) {
      JsonNode method = row.get("method");
      PlannedRun run =
          run(table, row, row.get("bits").asText(), method == null ? null : method.asText());
      perplexities.put(run, number(row, "paper"));
      rows.add(
          new Row(
              run,
              perplexities.get(run),
              row.has("fullPrecision")
                  ? number(row, "fullPrecision")
                  : perplexities.get(run.inFullPrecision())));
    }
    return new Trained(
        table.get("title").asText(),
        table.get("corpus").asText(),
        rows,
        Optional.ofNullable(table.get("note")).map(JsonNode::asText));
  }

  private static OptionalDouble number(JsonNode row, String name) {
    return row.has(name) ? OptionalDouble.of(row.get(name).asDouble()) : OptionalDouble.empty();
  }

  private static PlannedRun run(JsonNode table, JsonNode row, String bits, String method) {
    return new PlannedRun(
        table.get("corpus").asText(),
        row.get("cell").asText(),
        table.get("hidden").asInt(),
        table.get("batch").asInt(),
        method,
        bits,
        row.path("scratch").asBoolean());
  }
}

package org.multibit.training;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.nd4j.shade.jackson.databind.JsonNode;

/** The provenance of a model, as ledgers and packed files record it. */
public final class Provenance {
  private Provenance() {}

  /** The commit of this program, which the launcher sets; otherwise "unknown". */
  public static String commit() {
    return System.getProperty("multibit.commit", "unknown");
  }

  /** The keys under {@code multibit.provenance.} of docs/format.md for a run's model. */
  public static Map<String, Object> of(Settings settings) {
    Map<String, Object> provenance = new LinkedHashMap<>();
    provenance.put("commit", commit());
    provenance.put("seed", settings.seed);
    provenance.put("data", settings.data);
    provenance.put("data_sha256", settings.dataSha256);
    provenance.put("settings", Json.line(settings));
    return provenance;
  }

  /**
   * The same keys, plus from the ledger how far and by which commit the run's model was trained.
   */
  static Map<String, Object> of(Settings settings, List<JsonNode> ledger) {
    Map<String, Object> provenance = of(settings);
    Ledger.best(ledger)
        .ifPresent(
            line -> {
              provenance.put("commit", line.path("commit").asText());
              provenance.put("epochs", line.get("epoch").asInt());
              provenance.put("tokens", line.get("tokens").asLong());
            });
    return provenance;
  }
}

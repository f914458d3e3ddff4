package org.multibit.training;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.nd4j.shade.jackson.databind.JsonNode;

/** Where a model came from, as it is written into ledgers and packed files. */
public final class Provenance {
  private Provenance() {}

  /** The commit of this program, given by the launcher; "unknown" elsewhere. */
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

  /** The same with how far, and by which commit, the run's model was trained, by its ledger. */
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

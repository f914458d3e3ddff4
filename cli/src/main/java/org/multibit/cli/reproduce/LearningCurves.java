package org.multibit.cli.reproduce;

import java.awt.BasicStroke;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.knowm.xchart.XYChart;
import org.knowm.xchart.XYSeries;
import org.knowm.xchart.style.Styler;
import org.knowm.xchart.style.markers.SeriesMarkers;
import org.nd4j.shade.jackson.databind.JsonNode;

/** Validation perplexity by epoch, a line for each run, drawn into a PNG. */
final class LearningCurves {
  private final XYChart chart;
  private final String provenance;

  /**
   * @param provenance when and by what it was drawn, in small letters at the bottom
   */
  LearningCurves(String title, String provenance) {
    this.provenance = provenance;
    chart = ChartFile.chart(1200, 800, title, "epoch", "validation perplexity (batched)");
    chart.getStyler().setLegendPosition(Styler.LegendPosition.InsideNE);
    chart.getStyler().setDefaultSeriesRenderStyle(XYSeries.XYSeriesRenderStyle.Line);
  }

  /** A run's line; none if it has no epoch behind it. */
  void add(String name, List<JsonNode> ledger) {
    if (ledger.isEmpty()) {
      return;
    }
    List<Integer> epochs = new ArrayList<>();
    List<Double> perplexities = new ArrayList<>();
    for (JsonNode line : ledger) {
      epochs.add(line.get("epoch").asInt());
      perplexities.add(line.get("validPerplexityBatched").asDouble());
    }
    chart
        .addSeries(name, epochs, perplexities)
        .setMarker(SeriesMarkers.NONE)
        .setLineStyle(new BasicStroke(2));
  }

  /** Writes the file whole or not at all; nothing if there is no line. */
  void write(Path file) throws IOException {
    // The first epochs, of perplexities up to some hundreds, would press all else together.
    chart.getSeriesMap().values().stream()
        .mapToDouble(XYSeries::getYMin)
        .min()
        .ifPresent(
            best ->
                chart
                    .getStyler()
                    .setYAxisMin(Math.floor(0.97 * best))
                    .setYAxisMax(Math.ceil(1.5 * best)));
    ChartFile.write(chart, provenance, file);
  }
}

package org.multibit.cli.reproduce;

import java.awt.BasicStroke;
import java.awt.Color;
import java.awt.Font;
import java.awt.Graphics2D;
import java.awt.image.BufferedImage;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import javax.imageio.ImageIO;
import javax.imageio.stream.ImageOutputStream;
import javax.imageio.stream.MemoryCacheImageOutputStream;
import org.knowm.xchart.BitmapEncoder;
import org.knowm.xchart.XYChart;
import org.knowm.xchart.XYChartBuilder;
import org.knowm.xchart.XYSeries;
import org.knowm.xchart.style.Styler;
import org.knowm.xchart.style.markers.SeriesMarkers;
import org.multibit.core.format.AtomicFile;
import org.nd4j.shade.jackson.databind.JsonNode;

/** Validation perplexity by epoch, a line for each run, drawn into a PNG. */
final class LearningCurves {
  private static final int WIDTH = 1200;
  private static final int HEIGHT = 800;

  private final XYChart chart;
  private final String provenance;

  /**
   * @param provenance when and by what it was drawn, in small letters at the bottom
   */
  LearningCurves(String title, String provenance) {
    this.provenance = provenance;
    chart =
        new XYChartBuilder()
            .width(WIDTH)
            .height(HEIGHT)
            .title(title)
            .xAxisTitle("epoch")
            .yAxisTitle("validation perplexity (batched)")
            .theme(Styler.ChartTheme.XChart)
            .build();
    chart.getStyler().setChartPadding(18); // Leaves a line at the bottom.
    chart.getStyler().setLegendPosition(Styler.LegendPosition.InsideNE);
    chart.getStyler().setLocale(Locale.ROOT);
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
    if (chart.getSeriesMap().isEmpty()) {
      return;
    }
    // The first epochs, of perplexities up to some hundreds, would press all else together.
    double best =
        chart.getSeriesMap().values().stream().mapToDouble(XYSeries::getYMin).min().getAsDouble();
    chart.getStyler().setYAxisMin(Math.floor(0.97 * best)).setYAxisMax(Math.ceil(1.5 * best));
    BufferedImage image = BitmapEncoder.getBufferedImage(chart);
    Graphics2D letters = image.createGraphics();
    letters.setColor(Color.DARK_GRAY);
    letters.setFont(new Font(Font.SANS_SERIF, Font.PLAIN, 9));
    letters.drawString(provenance, 4, HEIGHT - 4);
    letters.dispose();
    ByteArrayOutputStream png = new ByteArrayOutputStream();
    // Of a plain stream ImageIO would make a file in the temporary folder.
    try (ImageOutputStream out = new MemoryCacheImageOutputStream(png)) {
      ImageIO.write(image, "png", out);
    }
    AtomicFile.write(file, png.toByteArray());
  }
}

package org.multibit.cli.reproduce;

import java.awt.BasicStroke;
import java.awt.Color;
import java.awt.Font;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collection;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.OptionalDouble;
import java.util.OptionalLong;
import org.knowm.xchart.AnnotationText;
import org.knowm.xchart.XYChart;
import org.knowm.xchart.XYSeries;
import org.knowm.xchart.style.Styler;
import org.knowm.xchart.style.markers.SeriesMarkers;

/**
 * Test perplexity by the size of the model's file, ours and the paper's, drawn into a PNG. The
 * paper gives no sizes: its points have those of our files of the same shape and bits.
 */
final class SizePlot {
  private static final List<Color> COLORS =
      List.of(new Color(0x1f77b4), new Color(0xd95f02), new Color(0x2ca02c));

  // Of a label from its point, as parts of what the axes span: ours to the left, the paper's right.
  private static final double ASIDE = 0.017;
  private static final double ABOVE = 0.016;

  private record Point(String bits, double megabytes, double perplexity) {}

  private final String title;
  private final String provenance;
  private final Map<String, List<Point>> ours = new LinkedHashMap<>();
  private final Map<String, List<Point>> papers = new LinkedHashMap<>();

  /**
   * @param provenance when and by what it was drawn, in small letters at the bottom
   */
  SizePlot(String title, String provenance) {
    this.title = title;
    this.provenance = provenance;
  }

  /**
   * A model's point and the paper's; none without a size.
   *
   * @param cell names the line that joins the points
   * @param bytes of our file
   */
  void add(
      String cell,
      String bits,
      OptionalLong bytes,
      OptionalDouble perplexity,
      OptionalDouble paper) {
    if (bytes.isPresent()) {
      double megabytes = bytes.getAsLong() * 1e-6;
      add(ours, cell, bits, megabytes, perplexity);
      add(papers, cell, bits, megabytes, paper);
    }
  }

  private static void add(
      Map<String, List<Point>> lines,
      String cell,
      String bits,
      double megabytes,
      OptionalDouble perplexity) {
    if (perplexity.isPresent()) {
      lines
          .computeIfAbsent(cell, name -> new ArrayList<>())
          .add(new Point(bits, megabytes, perplexity.getAsDouble()));
    }
  }

  /** Writes the file whole or not at all; nothing if there is no point. */
  void write(Path file) throws IOException {
    XYChart chart =
        ChartFile.chart(
            1200,
            560,
            title,
            "size of the file, MB (fp: full precision, stored in 16 bits)",
            "test perplexity");
    Styler styler = chart.getStyler();
    styler.setLegendPosition(Styler.LegendPosition.InsideNE);
    styler.setAnnotationTextFont(new Font(Font.SANS_SERIF, Font.PLAIN, 13));
    styler.setLegendFont(new Font(Font.SANS_SERIF, Font.PLAIN, 15));
    styler.setChartBackgroundColor(Color.WHITE);
    chart.getStyler().setXAxisMin(0.0);
    List<String> cells = List.copyOf(ours.keySet());
    for (int c = 0; c < cells.size(); c++) {
      String cell = cells.get(c);
      Color color = COLORS.get(c % COLORS.size());
      line(chart, cell, ours.get(cell), color, false);
      if (papers.containsKey(cell)) {
        line(chart, "the paper's " + cell, papers.get(cell), color, true);
      }
    }
    label(chart, ours, -ASIDE);
    label(chart, papers, ASIDE);
    ChartFile.write(chart, provenance, file);
  }

  private static void line(
      XYChart chart, String name, List<Point> points, Color color, boolean dashed) {
    List<Point> sorted =
        points.stream()
            .sorted(
                Comparator.comparingDouble(Point::megabytes)
                    .reversed()
                    .thenComparingDouble(Point::perplexity))
            .toList();
    chart
        .addSeries(
            name,
            sorted.stream().map(Point::megabytes).toList(),
            sorted.stream().map(Point::perplexity).toList())
        .setMarker(dashed ? SeriesMarkers.DIAMOND : SeriesMarkers.CIRCLE)
        .setMarkerColor(color)
        .setLineColor(color)
        .setLineStyle(
            dashed
                ? new BasicStroke(
                    1.5f, BasicStroke.CAP_BUTT, BasicStroke.JOIN_ROUND, 1, new float[] {6, 5}, 0)
                : new BasicStroke(2.5f));
  }

  private static void label(XYChart chart, Map<String, List<Point>> lines, double aside) {
    Collection<XYSeries> series = chart.getSeriesMap().values();
    double width = series.stream().mapToDouble(XYSeries::getXMax).max().orElse(0);
    double height =
        series.stream().mapToDouble(XYSeries::getYMax).max().orElse(0)
            - series.stream().mapToDouble(XYSeries::getYMin).min().orElse(0);
    lines.values().stream()
        .flatMap(List::stream)
        .map(
            p ->
                new AnnotationText(
                    p.bits(),
                    p.megabytes() + aside * width,
                    p.perplexity() + ABOVE * height,
                    false))
        .forEach(chart::addAnnotation);
  }
}

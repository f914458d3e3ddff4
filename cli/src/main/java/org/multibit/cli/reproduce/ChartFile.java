package org.multibit.cli.reproduce;

import java.awt.Color;
import java.awt.Font;
import java.awt.Graphics2D;
import java.awt.image.BufferedImage;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.file.Path;
import java.util.Locale;
import javax.imageio.ImageIO;
import javax.imageio.stream.ImageOutputStream;
import javax.imageio.stream.MemoryCacheImageOutputStream;
import org.knowm.xchart.BitmapEncoder;
import org.knowm.xchart.XYChart;
import org.knowm.xchart.XYChartBuilder;
import org.knowm.xchart.style.Styler;
import org.multibit.core.format.AtomicFile;

/** Charts of the tables, written as PNGs with their provenance below. */
final class ChartFile {
  private ChartFile() {}

  /** An empty chart with a free line at the bottom. */
  static XYChart chart(int width, int height, String title, String x, String y) {
    XYChart chart =
        new XYChartBuilder()
            .width(width)
            .height(height)
            .title(title)
            .xAxisTitle(x)
            .yAxisTitle(y)
            .theme(Styler.ChartTheme.XChart)
            .build();
    chart.getStyler().setChartPadding(18);
    chart.getStyler().setLocale(Locale.ROOT);
    return chart;
  }

  /**
   * Writes the file whole or not at all; nothing if the chart has no series.
   *
   * @param provenance when and by what it was drawn, in small letters at the bottom
   */
  static void write(XYChart chart, String provenance, Path file) throws IOException {
    if (chart.getSeriesMap().isEmpty()) {
      return;
    }
    BufferedImage image = BitmapEncoder.getBufferedImage(chart);
    Graphics2D letters = image.createGraphics();
    letters.setColor(Color.DARK_GRAY);
    letters.setFont(new Font(Font.SANS_SERIF, Font.PLAIN, 9));
    letters.drawString(provenance, 4, chart.getHeight() - 4);
    letters.dispose();
    ByteArrayOutputStream png = new ByteArrayOutputStream();
    // Of a plain stream ImageIO would make a file in the temporary folder.
    try (ImageOutputStream out = new MemoryCacheImageOutputStream(png)) {
      ImageIO.write(image, "png", out);
    }
    AtomicFile.write(file, png.toByteArray());
  }
}

package org.multibit.cli.reproduce;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import javax.imageio.ImageIO;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.nd4j.shade.jackson.databind.node.JsonNodeFactory;

class LearningCurvesTest {
  @TempDir Path folder;

  /** Draws one curve. */
  static final class Program {
    public static void main(String[] file) throws IOException {
      LearningCurves curves = new LearningCurves("title", "provenance");
      JsonNodeFactory nodes = JsonNodeFactory.instance;
      curves.add(
          "run", List.of(nodes.objectNode().put("epoch", 1).put("validPerplexityBatched", 90.0)));
      curves.write(Path.of(file[0]));
    }
  }

  /** Like all output, a picture is written beside its place. */
  @Test
  void noTemporaryFolderIsNeeded() throws Exception {
    Path picture = folder.resolve("curves.png");
    Path log = folder.resolve("log");
    Process drawing =
        new ProcessBuilder(
                Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                "-Djava.awt.headless=true",
                "-Djava.io.tmpdir=" + folder.resolve("none"),
                "-cp",
                System.getProperty("java.class.path"),
                Program.class.getName(),
                picture.toString())
            .redirectErrorStream(true)
            .redirectOutput(log.toFile())
            .start();
    assertEquals(0, drawing.waitFor(), () -> read(log));
    assertTrue(ImageIO.read(picture.toFile()).getWidth() > 0);
  }

  private static String read(Path log) {
    try {
      return Files.readString(log);
    } catch (IOException e) {
      return e.toString();
    }
  }
}

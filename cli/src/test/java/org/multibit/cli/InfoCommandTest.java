package org.multibit.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.multibit.core.format.LanguageModelFile;
import org.multibit.core.format.Layer;
import org.multibit.core.format.Matrix;
import org.multibit.core.format.SequenceClassifierFile;
import org.nd4j.shade.jackson.databind.JsonNode;

class InfoCommandTest {
  @TempDir Path folder;

  private static Layer layer() {
    return new Layer(zeros(8, 3), zeros(8, 2), LanguageModelFile.directFloats(8));
  }

  private static Matrix zeros(int rows, int cols) {
    return Matrix.of(LanguageModelFile.directFloats(rows * cols), rows, cols, 0);
  }

  /** What a file says about itself cannot move the cursor or add a line. */
  @Test
  void controlCharactersAreShownAsQuestionMarks() throws IOException {
    Path file = folder.resolve("model.gguf");
    new LanguageModelFile(
            List.of("<eos>", "a"),
            0,
            -1,
            zeros(2, 3),
            List.of(layer()),
            zeros(2, 2),
            LanguageModelFile.directFloats(2),
            null,
            null,
            Map.of("settings", "two\nlines\u001b[2J", "k\r\u009bey", "x", "seed", 7L))
        .write(file);
    Outcome info = Outcome.succeed("info", "--json", file.toString());
    assertTrue(info.out().contains("two?lines?[2J"), info.out());
    assertTrue(info.out().contains("multibit.provenance.k??ey"), info.out());
    assertTrue(
        info.out()
            .lines()
            .filter(line -> !line.startsWith("{"))
            .flatMapToInt(String::chars)
            .noneMatch(Character::isISOControl),
        info.out());
    assertTrue(info.out().contains("2 elements"), info.out());
    assertEquals(
        "two\nlines\u001b[2J",
        info.json().get("metadata").get("multibit.provenance.settings").asText());
  }

  private Path classifier() throws IOException {
    Path file = folder.resolve("waves.gguf");
    new SequenceClassifierFile(
            List.of(layer()), zeros(2, 2), LanguageModelFile.directFloats(2), null, null, Map.of())
        .write(file);
    return file;
  }

  /** A classifier is shown; what is for language models says what it is. */
  @Test
  void aClassifierIsNoLanguageModel() throws IOException {
    Path file = classifier();
    JsonNode info = Outcome.succeed("info", "--json", file.toString()).json();
    assertEquals("classifier", info.get("metadata").get("multibit.head").asText());
    assertEquals(3, info.get("metadata").get("multibit.input_size").asInt());
    String text = TinyText.write(folder.resolve("text"), 50).toString();
    String refusal = "waves.gguf is a classifier of float sequences, not a language model";
    Outcome.of("evaluate", "--model", file.toString(), "--data", text).failed(1, refusal);
    Outcome.of("generate", "--model", file.toString()).failed(1, refusal);
    String packed = "waves.gguf is a packed model: give the run";
    for (String command : new String[] {"quantize --bits 2/2", "export --out x.gguf"}) {
      Outcome.of((command + " --model " + file).split(" ")).failed(1, packed);
    }
  }

  @Test
  void aClassifierIsChecked() throws IOException {
    Path file = classifier();
    assertTrue(Outcome.succeed("info", file.toString()).out().contains("classifier"));
    byte[] bytes = Files.readAllBytes(file);
    bytes[bytes.length - 64 + 3] = 0x7F; // softmax.bias, infinite or not a number
    bytes[bytes.length - 64 + 2] = (byte) 0x80;
    Files.write(file, bytes);
    Outcome.of("info", file.toString()).failed(1, "element 0 of tensor softmax.bias is Infinity");
  }

  @Test
  @Timeout(60)
  void whatIsNoPackedModelIsRefused() throws Exception {
    Outcome.of("info", folder.toString()).failed(1, "a folder without a run");
    Outcome.of("info", folder.resolve("absent").toString()).failed(1, "There is no file .*absent$");
    Path pipe = folder.resolve("pipe.gguf");
    assertEquals(0, new ProcessBuilder("mkfifo", pipe.toString()).start().waitFor());
    Outcome.of("info", pipe.toString()).failed(1, "a pipe or a device: give a file");
    Path text = Files.writeString(folder.resolve("text.gguf"), "the old man\n");
    Outcome.of("info", text.toString()).failed(1, "is a text, not a model");
  }
}

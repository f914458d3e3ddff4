package org.multibit.cli.hostile;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTimeout;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.ObjectInputStream;
import java.io.ObjectOutputStream;
import java.io.OutputStream;
import java.io.Serializable;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.zip.ZipEntry;
import java.util.zip.ZipOutputStream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.multibit.cli.ForeignModel;
import org.multibit.cli.KerasFile;
import org.multibit.cli.Outcome;
import org.multibit.cli.TinyText;

/** Files made to do harm, through the commands that take them. */
class ForgedFilesTest {
  @TempDir static Path folder;

  /** What deserializing an object, or loading a class, of a file would set. */
  static final List<String> TRIPPED = new ArrayList<>();

  /** Says so when it is deserialized. */
  static final class Tripwire implements Serializable {
    private static final long serialVersionUID = 1;

    private void readObject(ObjectInputStream in) {
      TRIPPED.add("deserialized");
    }
  }

  /** Says so when it is loaded. */
  static final class LoadTripwire {
    static {
      TRIPPED.add("loaded");
    }
  }

  @BeforeEach
  void nothingIsTripped() {
    TRIPPED.clear();
  }

  private static byte[] serialized(Object object) throws IOException {
    ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    try (ObjectOutputStream out = new ObjectOutputStream(bytes)) {
      out.writeObject(object);
    }
    return bytes.toByteArray();
  }

  /** Its hash takes 2^100 steps. */
  private static Set<Object> nestedSets() {
    Set<Object> root = new HashSet<>();
    Set<Object> left = root;
    Set<Object> right = new HashSet<>();
    for (int i = 0; i < 100; i++) {
      Set<Object> nextLeft = new HashSet<>();
      Set<Object> nextRight = new HashSet<>();
      nextLeft.add("one");
      left.add(nextLeft);
      left.add(nextRight);
      right.add(nextLeft);
      right.add(nextRight);
      left = nextLeft;
      right = nextRight;
    }
    return root;
  }

  private static Map<String, byte[]> network() throws IOException {
    return ImportedModels.entries(ImportedModels.DL4J.seeds().get(0));
  }

  private static Path file(String name, byte[] bytes) throws IOException {
    return Files.write(folder.resolve(name), bytes);
  }

  private static Path words() throws IOException {
    StringBuilder words = new StringBuilder("<eos>\n<unk>\n");
    for (int i = 0; i < 9; i++) {
      words.append('w').append(i).append('\n');
    }
    return Files.writeString(folder.resolve("words.txt"), words);
  }

  /** Refused by each command that takes a model: with one line, soon, and with little memory. */
  private static void assertRefused(String message, Path model) throws IOException {
    Path text = TinyText.write(folder.resolve("text"), 60);
    String options = " --model %s --vocab %s".formatted(model, words());
    for (String command :
        List.of(
            "evaluate --data " + text,
            "export --out " + folder.resolve("out.gguf"),
            "quantize --bits 2/2 --data " + text,
            "finetune --bits 2/2 --data %s --out %s".formatted(text, folder.resolve("never")))) {
      assertRefusedSoon(message, command + options);
    }
    assertFalse(Files.exists(folder.resolve("out.gguf")));
    assertFalse(Files.exists(folder.resolve("never")));
  }

  private static void assertRefusedSoon(String message, String command) {
    Cost cost = new Cost();
    assertTimeout(Duration.ofSeconds(20), () -> Outcome.of(command.split(" ")).failed(1, message));
    cost.assertLittleMemory();
    assertEquals(List.of(), TRIPPED);
  }

  @Test
  void noObjectOfAnImportedZipIsDeserialized() throws IOException {
    for (Object object : List.of(new Tripwire(), nestedSets())) {
      for (String name : List.of("preprocessor.bin", "objects/multibit-training-state")) {
        Map<String, byte[]> entries = network();
        entries.put(name, serialized(object));
        assertRefused(
            name + ", a serialized Java object, which is never read",
            file("object.zip", ImportedModels.zip(entries)));
      }
    }
    Map<String, byte[]> normalizer = network();
    normalizer.put("normalizer.bin", new byte[100]);
    assertRefused("a normalizer", file("object.zip", ImportedModels.zip(normalizer)));
    Map<String, byte[]> other = network();
    other.put("payload.class", new byte[100]);
    assertRefused("payload.class", file("object.zip", ImportedModels.zip(other)));
  }

  /** The configuration names classes, in the ways that Jackson knows. */
  @Test
  void noClassThatAFileNamesIsLoaded() throws IOException {
    String name = LoadTripwire.class.getName();
    String evil = Matcher.quoteReplacement(name);
    String json = new String(network().get("configuration.json"), StandardCharsets.UTF_8);
    List<String> forged =
        List.of(
            json.replaceAll("\"@class\" : \"[^\"]*Adam\"", "\"@class\" : \"" + evil + "\""),
            json.replaceAll(
                "\"@class\" : \"[^\"]*ActivationTanH\"", "\"@class\" : \"" + evil + "\""),
            json.replaceFirst("\"iupdater\" : \\{", "\"iupdater\" : [\"" + evil + "\", {")
                .replaceFirst("(\"learningRate\" : [^}]*)\\}", "$1}]"),
            json.replaceFirst("\"layer\" : \\{", "\"layer\" : [\"" + evil + "\", 1], \"x\" : {"),
            json.replaceFirst(
                "\"layer\" : \\{", "\"layer\" : { \"dist\" : {\"@class\" : \"" + evil + "\"},"));
    for (String configuration : forged) {
      assertFalse(configuration.equals(json));
      Map<String, byte[]> entries = network();
      entries.put("configuration.json", configuration.getBytes(StandardCharsets.UTF_8));
      assertRefused(
          "names the class " + Pattern.quote(name) + "|is damaged|DL4J cannot restore it",
          file("class.zip", ImportedModels.zip(entries)));
    }
    // What Jackson would load before it sees that the array is none of its.
    for (String array :
        List.of("\"%s\"", "\"%s\", \"text\"", "\"%s\", 1, 2", "\"org.nd4j.linalg.X<%s>\", {}")) {
      String before = "\"iupdater\" : [" + array.formatted(evil) + "], \"x\" : {";
      Map<String, byte[]> entries = network();
      entries.put(
          "configuration.json",
          json.replaceFirst("\"iupdater\" : \\{", before).getBytes(StandardCharsets.UTF_8));
      assertRefused(
          "names the class .*" + Pattern.quote(name),
          file("class.zip", ImportedModels.zip(entries)));
    }
    Map<String, byte[]> twice = network();
    twice.put(
        "configuration.json",
        json.replaceFirst("\"@class\"", "\"@class\" : \"" + evil + "\", \"@class\"")
            .getBytes(StandardCharsets.UTF_8));
    assertRefused("is damaged: Duplicate field", file("class.zip", ImportedModels.zip(twice)));
  }

  /** A run that somebody gave away, to be evaluated or trained on. */
  @Test
  void noObjectOfARunIsDeserialized() throws IOException {
    Path text = TinyText.write(folder.resolve("text"), 60);
    Path run = folder.resolve("run");
    String train = "train --bits fp --hidden 6 --batch 4 --bptt 5 --epochs 1 --data %s --out %s";
    Outcome.succeed(train.formatted(text, run).split(" "));
    for (String name : List.of("model.zip", "checkpoint.zip")) {
      byte[] good = Files.readAllBytes(run.resolve(name));
      for (String entry : List.of("preprocessor.bin", "objects/multibit-training-state")) {
        Map<String, byte[]> entries = ImportedModels.entries(good);
        entries.put(entry, serialized(new Tripwire()));
        Files.write(run.resolve(name), ImportedModels.zip(entries));
        String command =
            name.equals("model.zip")
                ? "evaluate --data %s --model %s".formatted(text, run)
                : train.formatted(text, run).replace("--epochs 1", "--epochs 2") + " --resume";
        assertRefusedSoon(name + " is damaged .*serialized Java object", command);
      }
      Files.write(run.resolve(name), good);
    }
    Outcome.succeed("evaluate --data %s --model %s".formatted(text, run).split(" "));
  }

  /** A small file that unpacks to gigabytes. */
  @Test
  void zipsAreNotUnpackedBeyondWhatTheyNeed() throws IOException {
    for (String name : List.of("more.bin", "coefficients.bin", "configuration.json")) {
      Path bomb = folder.resolve("bomb.zip");
      Map<String, byte[]> entries = network();
      byte[] header = entries.get("coefficients.bin");
      entries.remove(name);
      try (OutputStream out = Files.newOutputStream(bomb);
          ZipOutputStream zip = new ZipOutputStream(out)) {
        for (Map.Entry<String, byte[]> entry : entries.entrySet()) {
          zip.putNextEntry(new ZipEntry(entry.getKey()));
          zip.write(entry.getValue());
        }
        zip.putNextEntry(new ZipEntry(name));
        if (name.equals("coefficients.bin")) {
          // The count is right behind the second header's name of 16 bytes.
          ByteBuffer forged = ByteBuffer.wrap(header.clone(), 0, 0x70);
          forged.putLong(0x62, 500L << 18);
          zip.write(forged.array(), 0, 0x71);
        }
        byte[] zeros = new byte[1 << 18];
        for (int i = 0; i < 2000; i++) {
          zip.write(zeros);
        }
      }
      assertRefusedSoon(
          "more.bin, which is no part|no network|is larger than",
          "evaluate --data %s --model %s --vocab %s"
              .formatted(TinyText.write(folder.resolve("text"), 60), bomb, words()));
      Files.delete(bomb);
    }
  }

  /** The directory at a zip's end may claim any size; Java does not compare it with the file. */
  @Test
  void zipsAreNotTakenAtTheirWord() throws IOException {
    Map<String, byte[]> entries = network();
    ByteBuffer claimed = ByteBuffer.wrap(entries.get("coefficients.bin"), 0, 0x80);
    claimed.putLong(0x62, 260_000_000);
    entries.put("coefficients.bin", Arrays.copyOf(claimed.array(), 0x80));
    ByteBuffer zip = ByteBuffer.wrap(ImportedModels.zip(entries)).order(ByteOrder.LITTLE_ENDIAN);
    byte[] name = "coefficients.bin".getBytes(StandardCharsets.UTF_8);
    int at = 0;
    while (zip.getInt(at) != 0x02014b50
        || !zip.slice(at + 46, name.length).equals(ByteBuffer.wrap(name))) {
      at++;
    }
    zip.putInt(at + 20, 0x10000000).putInt(at + 24, 0x7fffffff);
    assertRefused("its entries claim to be larger than the file", file("claims.zip", zip.array()));
  }

  /** jHDF has filters that read out of bounds; a file chooses which one unpacks it. */
  @Test
  void onlyFiltersThatAreSafeUnpackAnHdf5File() throws IOException {
    Path h5 = folder.resolve("packed.h5");
    KerasFile.of(new ForeignModel("lstm", 11, 5, 6, 1, 1)).packed().write(h5);
    ImportedModels.KERAS.read(h5);
    byte[] bytes = Files.readAllBytes(h5);
    // In the description of a filter: 1 (deflate), the length of its name, flags, a count, the
    // name.
    byte[] deflate = new byte[] {1, 0, 8, 0, 1, 0, 1, 0, 'd', 'e', 'f', 'l', 'a', 't', 'e', 0};
    int forged = 0;
    for (int at = 0; at + deflate.length <= bytes.length; at++) {
      if (Arrays.equals(bytes, at, at + deflate.length, deflate, 0, deflate.length)) {
        ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN).putShort(at, (short) 32004); // LZ4
        forged++;
      }
    }
    assertTrue(forged > 0);
    assertRefused("32004|[Ff]ilter", Files.write(folder.resolve("lz4.h5"), bytes));
  }

  private static byte[] safetensors(String header) {
    byte[] json = header.getBytes(StandardCharsets.UTF_8);
    return ByteBuffer.allocate(8 + json.length)
        .order(ByteOrder.LITTLE_ENDIAN)
        .putLong(json.length)
        .put(json)
        .array();
  }

  @Test
  void headersOfSafetensorsAreBounded() throws IOException {
    String tensor = "{\"w\":{\"dtype\":\"F32\",\"shape\":%s,\"data_offsets\":[0,4]}}";
    Map<String, String> forged = new LinkedHashMap<>();
    forged.put(tensor.formatted("[" + "1".repeat(1_000_000) + "]"), "no count");
    forged.put(tensor.formatted("[1e" + "1".repeat(1_000_000) + "]"), "no count");
    forged.put(tensor.formatted("[".repeat(4_000_000) + "]".repeat(4_000_000)), "no count");
    forged.put("{\"a\":".repeat(1_500_000), "unknown entry|no object");
    forged.put("{\"__metadata__\":" + "{\"a\":".repeat(1_300_000), "more than texts");
    forged.put("[".repeat(8_000_000), "no JSON object");
    forged.put(" ".repeat(9_000_000), "larger than that of any");
    forged.put("{\"" + "n".repeat(8_000_000) + "\":1}", "no object|nnn");
    for (Map.Entry<String, String> file : forged.entrySet()) {
      Path path = file("forged.safetensors", safetensors(file.getKey()));
      IOException e = assertThrows(IOException.class, () -> read(path), () -> file.getValue());
      assertTrue(
          e.getMessage().matches("(?s).*(" + file.getValue() + ").*|.*not known.*"),
          e.getMessage());
      assertTrue(e.getMessage().length() < 1000);
    }
  }

  private static void read(Path path) throws IOException {
    Cost cost = new Cost();
    try {
      ImportedModels.SAFETENSORS.read(path);
    } finally {
      cost.assertLittle();
    }
  }
}

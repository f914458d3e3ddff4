package org.multibit.datasets;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.zip.ZipEntry;
import java.util.zip.ZipOutputStream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.multibit.datasets.FaultyServer.Fault;

class Text8Test {

  /** Eleven times "often", ten times "rare": the one is a word, the other is not. */
  private static final String TRAIN = " often rare".repeat(10) + " often";

  private static final String TEXT = TRAIN + " often new" + " rare often oft";
  private static final Map<Split, Long> LENGTHS =
      Map.of(Split.TRAIN, (long) TRAIN.length(), Split.VALID, 10L, Split.TEST, 15L);

  private final Downloader downloader =
      new Downloader(Duration.ofSeconds(5), Duration.ofSeconds(5));

  @TempDir Path folder;
  private FaultyServer server;

  @BeforeEach
  void start() throws IOException {
    server = new FaultyServer();
  }

  @AfterEach
  void stop() {
    server.close();
  }

  private static byte[] zip(String entry, String text) throws IOException {
    ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    try (ZipOutputStream zip = new ZipOutputStream(bytes)) {
      zip.putNextEntry(new ZipEntry(entry));
      zip.write(text.getBytes(StandardCharsets.UTF_8));
    }
    return bytes.toByteArray();
  }

  private Text8 downloaded() {
    return new Text8(folder.resolve("text8.zip"), server.uri("text8.zip"), LENGTHS, downloader);
  }

  private static void assertRight(TextCorpus corpus) {
    assertEquals(List.of("often", "<eos>", "<unk>"), corpus.vocabulary().words());
    int[] train = new int[22];
    Arrays.setAll(train, i -> i == 21 ? 1 : i % 2 * 2);
    assertArrayEquals(train, corpus.train());
    assertArrayEquals(new int[] {0, 2, 1}, corpus.valid());
    assertArrayEquals(new int[] {2, 0, 2, 1}, corpus.test());
  }

  @Test
  void downloadsAndSplitsByCharacters() throws IOException {
    server.put("text8.zip", zip("text8", TEXT));
    server.faults(Fault.TRUNCATE);
    assertRight(TextCorpus.read(downloaded()));
    int requests = server.ranges().size();
    assertRight(TextCorpus.read(downloaded()));
    assertEquals(requests, server.ranges().size(), "the archive is there");
  }

  @Test
  void readsALocalFileOrArchive() throws IOException {
    Path text = Files.writeString(folder.resolve("text8"), TEXT);
    TextCorpus corpus = TextCorpus.read(new Text8(text, null, LENGTHS, downloader));
    assertRight(corpus);
    Path archive = Files.write(folder.resolve("text8.zip"), zip("text8", TEXT));
    assertEquals(
        corpus.sha256(), TextCorpus.read(new Text8(archive, null, LENGTHS, downloader)).sha256());
  }

  @Test
  void refusesOtherContent() throws IOException {
    assertRefused(
        zip("text8", TEXT + "a"),
        "it has %d characters, not %d".formatted(TEXT.length() + 1, TEXT.length()));
    assertRefused(
        zip("text8", TEXT.replace("new", "NEW")),
        "character %d is neither a-z nor a space".formatted(TEXT.indexOf("new")));
    assertRefused(zip("text9", TEXT), "no zip archive that holds text8");
    assertRefused(
        "<html>Sign in</html>".getBytes(StandardCharsets.UTF_8), "no zip archive that holds text8");
    byte[] corrupt = zip("text8", TEXT);
    corrupt[50] ^= 0x55;
    assertRefused(corrupt, "is not Text8 or damaged");
  }

  private void assertRefused(byte[] archive, String reason) {
    server.put("text8.zip", archive);
    IOException e = assertThrows(IOException.class, () -> TextCorpus.read(downloaded()));
    assertTrue(
        e.getMessage().startsWith("Cannot download " + server.uri("text8.zip")), e.getMessage());
    assertTrue(e.getMessage().contains(reason), e.getMessage());
    assertTrue(e.getMessage().endsWith("pass its folder with --data DIR"), e.getMessage());
  }

  /** The real lengths hold for a folder that --data names. */
  @Test
  void aFolderMustHoldTheWholeText() throws IOException {
    Path text = Files.writeString(folder.resolve("text8"), TEXT);
    IOException e = assertThrows(IOException.class, () -> Corpora.open(folder.toString()));
    assertEquals(
        text + " is not Text8 or damaged: it has 141 characters, not 100,000,000", e.getMessage());
  }
}

package org.multibit.datasets;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTimeout;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.URI;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.time.Duration;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.multibit.datasets.FaultyServer.Fault;
import org.nd4j.shade.guava.hash.Hashing;

class DownloaderTest {

  private static final byte[] CONTENT = new byte[300_000];

  static {
    new Random(1).nextBytes(CONTENT);
  }

  /** Time-outs that a busy machine does not reach by itself. */
  private Downloader downloader = new Downloader(Duration.ofSeconds(20), Duration.ofSeconds(20));

  private void beImpatient() {
    downloader = new Downloader(Duration.ofSeconds(20), Duration.ofSeconds(1));
  }

  @TempDir Path folder;
  private Path target;
  private Path part;
  private FaultyServer server;

  @BeforeEach
  void start() throws IOException {
    server = new FaultyServer();
    server.put("file", CONTENT);
    target = folder.resolve("new/file");
    part = folder.resolve("new/file.part");
  }

  @AfterEach
  void stop() {
    server.close();
  }

  private void provide() throws IOException {
    downloader.provide(server.uri("file"), target, DownloaderTest::check, "Do that instead");
  }

  private static void check(Path file) throws IOException {
    if (!Arrays.equals(CONTENT, Files.readAllBytes(file))) {
      throw new Downloader.WrongContentException("wrong content");
    }
  }

  private void assertDone() throws IOException {
    assertArrayEquals(CONTENT, Files.readAllBytes(target));
    try (Stream<Path> files = Files.list(target.getParent())) {
      assertEquals(List.of(target), files.toList(), "only the file itself is left");
    }
  }

  private void assertFails(String reason) {
    IOException e = assertThrows(IOException.class, this::provide);
    assertEquals(
        "Cannot download %s: %s. Do that instead".formatted(server.uri("file"), reason),
        e.getMessage());
    assertFalse(Files.exists(target), "no half file under the right name");
  }

  /** Whatever happens to one request, the next attempt gets the right file. */
  @ParameterizedTest
  @EnumSource(
      names = {"NONE", "TRUNCATE", "STALL", "HANG", "IGNORE_RANGE", "UNAVAILABLE", "WRONG_RANGE"})
  void survivesAFault(Fault fault) throws IOException {
    if (fault == Fault.STALL || fault == Fault.HANG) {
      beImpatient();
    }
    server.faults(fault);
    assertTimeout(Duration.ofSeconds(15), this::provide);
    assertDone();
  }

  @Test
  void downloadsOnlyOnce() throws IOException {
    provide();
    provide();
    assertEquals(1, server.ranges().size());
  }

  @Test
  void goesOnWhereItStopped() throws IOException {
    server.faults(Fault.TRUNCATE, Fault.TRUNCATE, Fault.TRUNCATE, Fault.TRUNCATE);
    provide();
    assertDone();
    long before = -1;
    for (String range : server.ranges().subList(1, 5)) {
      long from = Long.parseLong(range.replaceAll("\\D", ""));
      assertTrue(from > before, server.ranges().toString());
      before = from;
    }
  }

  /** As after the death of the process: all that is left is the part. */
  @Test
  void anotherRunGoesOn() throws IOException {
    server.faults(Fault.TRUNCATE, Fault.NOT_FOUND);
    assertFails("the server answered with status 404");
    long kept = Files.size(part);
    assertTrue(kept > 0 && kept <= CONTENT.length / 2, "kept " + kept);
    server.faults();
    provide();
    assertDone();
    assertEquals("bytes=" + kept + "-", server.ranges().get(2));
  }

  @Test
  void anotherRunFinishesAWholePartWithoutTheServer() throws IOException {
    Files.createDirectories(part.getParent());
    Files.write(part, CONTENT);
    provide();
    assertDone();
    assertTrue(server.ranges().isEmpty());
  }

  @ParameterizedTest
  @EnumSource(names = {"IGNORE_RANGE", "WRONG_RANGE"})
  void startsAgainIfTheServerCannotGoOn(Fault fault) throws IOException {
    server.faults(Fault.TRUNCATE, fault);
    provide();
    assertDone();
  }

  @Test
  void startsAgainIfThePartIsOfAnotherFile() throws IOException {
    Files.createDirectories(part.getParent());
    Files.write(part, new byte[1000]);
    provide();
    assertDone();
    assertEquals("bytes=1000-", server.ranges().get(0));
    assertNull(server.ranges().get(1));
  }

  /** What a link points to is not written. */
  @Test
  void followsNoLink() throws IOException {
    Files.createDirectories(part.getParent());
    Path other = Files.writeString(folder.resolve("other"), "other");
    Files.createSymbolicLink(part, other);
    assertFails(part + " is a symbolic link, not a part of a download: remove it");
    assertEquals("other", Files.readString(other));
  }

  @Test
  void startsAgainIfThePartIsTooLong() throws IOException {
    Files.createDirectories(part.getParent());
    Files.write(part, Arrays.copyOf(CONTENT, CONTENT.length + 1));
    provide();
    assertDone();
  }

  @Test
  void replacesADamagedFile() throws IOException {
    Files.createDirectories(target.getParent());
    Files.write(target, Arrays.copyOf(CONTENT, 1000));
    provide();
    assertDone();
  }

  @Test
  void refusesWrongContentAndKeepsNothingOfIt() throws IOException {
    server.faults(Fault.CORRUPT);
    assertFails("wrong content");
    assertFalse(Files.exists(part));
    provide();
    assertDone();
  }

  @Test
  void doesNotBeginAnewForEver() {
    server.faults(
        Fault.TRUNCATE,
        Fault.CORRUPT,
        Fault.TRUNCATE,
        Fault.CORRUPT,
        Fault.TRUNCATE,
        Fault.CORRUPT);
    assertFails("wrong content");
    assertFalse(Files.exists(part));
  }

  @Test
  void givesUpWhenNoNewBytesCome() throws IOException {
    Fault truncate = Fault.TRUNCATE_IGNORING_RANGE;
    server.faults(truncate, truncate, truncate, truncate, truncate, truncate);
    IOException e = assertThrows(IOException.class, this::provide);
    assertTrue(e.getMessage().contains("the connection broke"), e.getMessage());
    assertTrue(server.ranges().size() <= 6, "ends");
    assertFalse(Files.exists(target));
  }

  @Test
  void saysWhyItFails() throws IOException {
    server.faults(Fault.NOT_FOUND);
    assertFails("the server answered with status 404");
    server.faults(Fault.UNAVAILABLE, Fault.UNAVAILABLE, Fault.UNAVAILABLE);
    assertFails("the server answered with status 503");
    beImpatient();
    server.faults(Fault.HANG, Fault.HANG, Fault.HANG);
    assertFails("no answer from localhost in time");
    assertFalse(Files.exists(part), "nothing came, nothing is left");
  }

  @Test
  void saysThatThereIsNoConnection() throws IOException {
    int closedPort;
    try (ServerSocket socket = new ServerSocket(0, 1, InetAddress.getLoopbackAddress())) {
      closedPort = socket.getLocalPort();
    }
    URI nobody = URI.create("http://localhost:" + closedPort + "/file");
    IOException e =
        assertThrows(
            IOException.class,
            () -> downloader.provide(nobody, target, DownloaderTest::check, "Do that instead"));
    assertEquals(
        "Cannot download %s: no connection to localhost. Do that instead".formatted(nobody),
        e.getMessage());
  }

  @Test
  void twoDownloadsDoNotMix() throws IOException {
    Files.createDirectories(part.getParent());
    try (FileChannel other =
        FileChannel.open(part, StandardOpenOption.CREATE, StandardOpenOption.WRITE)) {
      other.lock();
      assertFails(
          "another process is downloading it to " + part + "; try again when it has finished");
    }
    provide();
    assertDone();
  }

  @Test
  void saysWhenTheFolderCannotBeWritten() throws IOException {
    Files.writeString(folder.resolve("new"), "a file where the folder should be");
    assertFails("FileAlreadyExistsException: " + folder.resolve("new"));
  }

  @Test
  void pennTreebankDownloadsAndVerifiesEachFile() throws IOException {
    Map<Split, String> texts =
        Map.of(Split.TRAIN, "a b\nb c <unk>\n", Split.VALID, "a\n", Split.TEST, "c c\n");
    Map<Split, String> sha256 = new HashMap<>();
    texts.forEach(
        (split, text) -> {
          byte[] bytes = text.getBytes(StandardCharsets.UTF_8);
          server.put("ptb." + split + ".txt", bytes);
          sha256.put(split, Hashing.sha256().hashBytes(bytes).toString());
        });
    PennTreebank ptb = new PennTreebank(folder, server.uri(""), sha256, downloader);
    server.faults(Fault.NONE, Fault.CORRUPT);
    IOException e = assertThrows(IOException.class, () -> TextCorpus.read(ptb));
    assertTrue(
        e.getMessage().startsWith("Cannot download " + server.uri("ptb.valid.txt")),
        e.getMessage());
    assertTrue(e.getMessage().contains("SHA-256"), e.getMessage());
    assertTrue(e.getMessage().endsWith("pass their folder with --data DIR"), e.getMessage());

    TextCorpus corpus = TextCorpus.read(ptb);
    assertEquals("ptb: 7 / 2 / 3 tokens, 5 words", corpus.toString());
    int requests = server.ranges().size();
    assertEquals(corpus.sha256(), TextCorpus.read(ptb).sha256());
    assertEquals(requests, server.ranges().size(), "the files are there");
  }
}

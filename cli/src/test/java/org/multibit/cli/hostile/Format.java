package org.multibit.cli.hostile;

import java.io.IOException;
import java.nio.file.Path;
import java.util.List;
import java.util.Random;

/** A kind of file that programs are given, and the code that reads it. */
interface Format {
  /** As test reports call it. */
  String name();

  /** The name that a file gets, for example {@code model.gguf}. */
  String fileName();

  /** Files that are right and small, of every sort that there is. */
  List<byte[]> seeds() throws IOException;

  /** A seed with some damage; a kind that knows its own structure damages that too. */
  default byte[] mutant(byte[] seed, Random random) {
    return Mutations.of(seed, random);
  }

  /**
   * Reads a file as programs do.
   *
   * @throws IOException if it is refused, with one line that says why; nothing else may be thrown,
   *     but an AssertionError where several readers do not agree
   */
  void read(Path file) throws IOException;
}

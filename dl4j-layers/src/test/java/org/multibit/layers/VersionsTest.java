package org.multibit.layers;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.io.ByteArrayOutputStream;
import java.io.PrintStream;
import org.junit.jupiter.api.Test;

class VersionsTest {

  /** What the BOM pins is what {@link Versions} expects. */
  @Test
  void theBomsVersionsRaiseNoWarning() {
    PrintStream before = System.err;
    ByteArrayOutputStream log = new ByteArrayOutputStream();
    System.setErr(new PrintStream(log, true));
    try {
      Versions.check();
    } finally {
      System.setErr(before);
    }
    assertEquals("", log.toString());
  }
}

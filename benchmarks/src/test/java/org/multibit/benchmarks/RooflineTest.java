package org.multibit.benchmarks;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.UncheckedIOException;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.multibit.runtime.NativeLibrary;

class RooflineTest {
  @Test
  void measuresTheTierOfTheKernels() {
    Roofline roofline = Roofline.measure(4096, 1 << 20);
    assertEquals(NativeLibrary.isa(), roofline.isa());
    assertTrue(roofline.popcountWordsPerSecond() > 1e6, roofline::toString);
    assertEquals(2, roofline.readBytesPerSecond().size());
    for (double rate : roofline.readBytesPerSecond()) {
      assertTrue(rate > 1e6, roofline::toString);
    }
    assertEquals(List.of(), Roofline.measure().readBytesPerSecond());
  }

  @Test
  void whatTheProgramSaysIsTheError() {
    UncheckedIOException e =
        assertThrows(UncheckedIOException.class, () -> Roofline.measure(4096, 7));
    assertTrue(e.getMessage().endsWith("of 8 or more, not '7'"), e::getMessage);
  }
}

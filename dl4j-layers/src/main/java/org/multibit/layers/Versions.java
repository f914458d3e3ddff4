package org.multibit.layers;

import org.bytedeco.javacpp.Loader;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** Checks that the class path has the library versions that the BOM pins. */
public final class Versions {
  /** JavaCPP and OpenBLAS as in multibit-bom. */
  private static final String JAVACPP = "1.5.12";

  private static final String OPENBLAS = "0.3.30-1.5.12";

  private static final Logger LOG = LoggerFactory.getLogger(Versions.class);

  private Versions() {}

  /**
   * Logs one line if the class path has another version than the BOM's. It says what that costs and
   * what to do.
   */
  public static void check() {
    String javacpp = version("org.bytedeco", "javacpp");
    String openblas = version("org.bytedeco", "openblas");
    if (!javacpp.equals(JAVACPP) || !openblas.equals(OPENBLAS)) {
      LOG.warn(
          "JavaCPP {} and OpenBLAS {} are on the class path, multibit expects {} and {}: training may be several times"
              + " slower; import org.multibit:multibit-bom before other BOMs",
          javacpp,
          openblas,
          JAVACPP,
          OPENBLAS);
    }
  }

  private static String version(String group, String artifact) {
    try {
      return Loader.getVersion(group, artifact);
    } catch (java.io.IOException e) {
      return "(none)";
    }
  }
}

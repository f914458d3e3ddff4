package org.multibit.core.format;

import java.nio.FloatBuffer;

/** Conditions that every part of a model must satisfy. */
final class Checks {
  private Checks() {}

  static void check(boolean holds, String otherwise) {
    if (!holds) {
      throw new IllegalArgumentException(otherwise);
    }
  }

  static void checkFinite(String tensor, FloatBuffer values) {
    for (int i = values.position(); i < values.limit(); i++) {
      float value = values.get(i);
      if (!Float.isFinite(value)) {
        throw new IllegalArgumentException(
            "element %s of tensor %s is %s, not finite"
                .formatted(i - values.position(), tensor, value));
      }
    }
  }
}

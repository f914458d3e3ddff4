package org.multibit.core.format;

/** The input and output of a packed model: the values of {@code multibit.head}. */
public enum Head {
  /** Tokens in, the next token's probabilities out. */
  LANGUAGE_MODEL("language-model"),
  /** A sequence of float vectors in, one class out. */
  CLASSIFIER("classifier");

  private final String key;

  Head(String key) {
    this.key = key;
  }

  /** The name in files. */
  @Override
  public String toString() {
    return key;
  }
}

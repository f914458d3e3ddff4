package org.multibit.core.format;

/** What a packed model takes and gives: the values of {@code multibit.head}. */
public enum Head {
  /** Tokens in, the next token's probabilities out. */
  LANGUAGE_MODEL("language-model"),
  /** A sequence of float vectors in, one class out. */
  CLASSIFIER("classifier");

  private final String key;

  Head(String key) {
    this.key = key;
  }

  /** As files name it. */
  @Override
  public String toString() {
    return key;
  }
}

package org.multibit.cli.hostile;

import static org.junit.jupiter.api.Assertions.assertDoesNotThrow;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Collections;
import java.util.function.Consumer;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.TestFactory;
import org.junit.jupiter.api.io.TempDir;
import org.multibit.cli.hostile.GgufParts.Key;

/** The corners of docs/format.md: both readers take what it allows, and refuse what it forbids. */
class TwoReadersTest {
  private static final PackedModels MODELS = new PackedModels();

  @TempDir Path folder;

  @TestFactory
  Stream<DynamicTest> allowed() {
    return Stream.of(
        test("keys in another order", true, 0, p -> Collections.reverse(p.keys)),
        test("tensors in another order", true, 0, p -> Collections.reverse(p.tensors)),
        test("bytes after the last tensor", true, 0, p -> p.data = Arrays.copyOf(p.data, 9999)),
        test(
            "padding behind a tensor that is not zero",
            true,
            0,
            p -> p.data[p.data.length - 1] = 1),
        test("an unknown array of arrays", true, 0, p -> p.keys.add(nested(3))),
        test("an array as provenance", true, 0, p -> p.keys.add(provenance("x", nested(0).value))),
        test("a version that is newer than needed", true, 0, p -> u32(p, "multibit.version", 3)),
        test("a version that is older than needed", true, 1, p -> u32(p, "multibit.version", 1)),
        test("weights by an unknown method", true, 0, p -> text(p, "multibit.weight.method", "x")),
        test("the scale of weights as u32", true, 0, p -> retype(p, "multibit.weight.scale", 4)),
        test("an unneeded activation method", true, 2, p -> p.keys.add(method("magic"))),
        test("a tied flag on a classifier", true, 5, p -> p.keys.add(tied(7))),
        test("a padding coefficient of -0", true, 0, TwoReadersTest::negativeZero));
  }

  @TestFactory
  Stream<DynamicTest> forbidden() {
    return Stream.of(
        test("u32 as i32", false, 0, p -> retype(p, "multibit.layers", 5)),
        test("f32 as u32", false, 0, p -> retype(p, "multibit.activation.scale", 4)),
        test("five levels of arrays", false, 0, p -> p.keys.add(nested(4))),
        test("an activation method that is needed", false, 0, p -> activation(p, "magic")),
        test("bits that a method cannot do", false, 4, p -> activation(p, "optimal")),
        test("a tied flag of 2", false, 1, p -> u32(p, "multibit.tied_embedding", 2)),
        test("more words than the limit", false, 0, p -> words(p, (1 << 21) + 1)),
        test("a head that is unknown", false, 0, p -> text(p, "multibit.head", "tagger")));
  }

  private DynamicTest test(String name, boolean allowed, int seed, Consumer<GgufParts> change) {
    return DynamicTest.dynamicTest(
        name,
        () -> {
          GgufParts parts = new GgufParts(MODELS.seeds().get(seed));
          change.accept(parts);
          Path file = Files.write(folder.resolve("model.gguf"), parts.toBytes());
          if (allowed) {
            assertDoesNotThrow(() -> MODELS.read(file));
          } else {
            assertThrows(IOException.class, () -> MODELS.read(file));
          }
        });
  }

  private static void u32(GgufParts parts, String key, int value) {
    parts.key(key).value = GgufParts.u32(value);
  }

  private static void text(GgufParts parts, String key, String value) {
    parts.key(key).value = GgufParts.string(value);
  }

  private static void retype(GgufParts parts, String key, int type) {
    parts.key(key).type = type;
  }

  private static void activation(GgufParts parts, String method) {
    text(parts, "multibit.activation.method", method);
  }

  private static Key method(String name) {
    return new Key("multibit.activation.method", GgufParts.STRING, GgufParts.string(name));
  }

  private static Key tied(int value) {
    return new Key("multibit.tied_embedding", GgufParts.U32, GgufParts.u32(value));
  }

  private static Key provenance(String name, byte[] array) {
    return new Key("multibit.provenance." + name, GgufParts.ARRAY, array);
  }

  /** An array of two bytes, as deep in others. */
  private static Key nested(int depth) {
    ByteBuffer value = ByteBuffer.allocate(12 * (depth + 1) + 2).order(ByteOrder.LITTLE_ENDIAN);
    for (int level = 0; level < depth; level++) {
      value.putInt(GgufParts.ARRAY).putLong(1);
    }
    return new Key("x.nested", GgufParts.ARRAY, value.putInt(0).putLong(2).array());
  }

  /** Empty ones, whose tensors are not there: the limit comes first. */
  private static void words(GgufParts parts, int count) {
    u32(parts, "multibit.vocabulary_size", count);
    ByteBuffer value = ByteBuffer.allocate(12 + 8 * count).order(ByteOrder.LITTLE_ENDIAN);
    value.putInt(GgufParts.STRING).putLong(count);
    parts.key("tokenizer.ggml.tokens").value = value.array();
  }

  /** Of row 9, the first past the 9 words. */
  private static void negativeZero(GgufParts parts) {
    int offset = (int) parts.tensor("softmax.coefficients").offset;
    ByteBuffer.wrap(parts.data)
        .order(ByteOrder.LITTLE_ENDIAN)
        .putFloat(offset + (8 + 1) * Float.BYTES, -0f);
  }
}

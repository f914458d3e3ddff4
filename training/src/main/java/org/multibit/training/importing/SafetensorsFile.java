package org.multibit.training.importing;

import static org.multibit.training.importing.Refusal.unless;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.Iterator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.nd4j.shade.jackson.core.JsonParser;
import org.nd4j.shade.jackson.core.JsonProcessingException;
import org.nd4j.shade.jackson.databind.DeserializationFeature;
import org.nd4j.shade.jackson.databind.JsonNode;
import org.nd4j.shade.jackson.databind.ObjectMapper;

/**
 * A .safetensors file: a header in JSON that names each tensor's type, shape and place, then the
 * tensors, little-endian and row-major. Everything that the header says is checked before a tensor
 * is read.
 */
final class SafetensorsFile {
  /** The format's own limit. */
  private static final long MAX_HEADER = 100_000_000;

  private static final ObjectMapper MAPPER =
      new ObjectMapper()
          .enable(JsonParser.Feature.STRICT_DUPLICATE_DETECTION)
          .enable(DeserializationFeature.FAIL_ON_TRAILING_TOKENS);

  private enum Type {
    F64(8),
    F32(4),
    F16(2),
    BF16(2),
    I64(8),
    I32(4),
    I16(2),
    I8(1),
    U64(8),
    U32(4),
    U16(2),
    U8(1),
    F8_E4M3(1),
    F8_E5M2(1),
    BOOL(1);

    final int bytes;

    Type(int bytes) {
      this.bytes = bytes;
    }
  }

  /** Begin and end count from the file's start. */
  private record Tensor(String name, Type type, long[] shape, long begin, long end) {}

  private final Path file;
  private final Map<String, Tensor> tensors = new LinkedHashMap<>();

  /**
   * @throws IOException if the file cannot be read
   * @throws Refusal if it is damaged or no .safetensors file
   */
  SafetensorsFile(Path file) throws IOException {
    this.file = file;
    try (FileChannel channel = FileChannel.open(file, StandardOpenOption.READ)) {
      long size = channel.size();
      unless(size >= 8, "it has %d bytes, too few for a .safetensors file", size);
      long length = bytes(channel, 0, 8).getLong();
      unless(
          length >= 2 && length <= MAX_HEADER && length <= size - 8,
          "its header of %s bytes runs past the end of the file (%d bytes) or the format's limit",
          Long.toUnsignedString(length),
          size);
      byte[] header = new byte[(int) length];
      bytes(channel, 8, header.length).get(header);
      parse(header, 8 + length, size);
    }
  }

  private static ByteBuffer bytes(FileChannel channel, long position, int count)
      throws IOException {
    ByteBuffer bytes = ByteBuffer.allocate(count).order(ByteOrder.LITTLE_ENDIAN);
    while (bytes.hasRemaining()) {
      int read = channel.read(bytes, position + bytes.position());
      unless(read > 0, "it ends at byte %d", position + bytes.position());
    }
    return bytes.flip();
  }

  private void parse(byte[] header, long start, long size) throws IOException {
    JsonNode root;
    try {
      root = MAPPER.readTree(header);
    } catch (JsonProcessingException e) {
      throw new Refusal("its header is no JSON: " + e.getOriginalMessage(), e);
    }
    unless(root != null && root.isObject(), "its header is no JSON object");
    Iterator<Map.Entry<String, JsonNode>> fields = root.fields();
    while (fields.hasNext()) {
      Map.Entry<String, JsonNode> field = fields.next();
      if (!field.getKey().equals("__metadata__")) {
        tensors.put(field.getKey(), tensor(field.getKey(), field.getValue(), start, size));
      }
    }
    List<Tensor> ordered = new ArrayList<>(tensors.values());
    ordered.sort(Comparator.comparingLong(Tensor::begin).thenComparingLong(Tensor::end));
    long end = start;
    String before = "the header";
    for (Tensor tensor : ordered) {
      unless(tensor.begin >= end, "%s overlaps %s", tensor.name, before);
      unless(
          tensor.begin == end,
          "there are bytes of no tensor between %s and %s",
          before,
          tensor.name);
      end = tensor.end;
      before = tensor.name;
    }
    unless(end == size, "there are %d bytes of no tensor at its end", size - end);
  }

  private static Tensor tensor(String name, JsonNode entry, long start, long size) {
    Type type = null;
    for (Type known : Type.values()) {
      if (known.name().equals(entry.path("dtype").asText())) {
        type = known;
      }
    }
    unless(type != null, "%s has the unknown type %s", name, entry.path("dtype"));
    unless(entry.path("shape").isArray(), "%s has no shape", name);
    long[] shape = new long[entry.path("shape").size()];
    JsonNode offsets = entry.path("data_offsets");
    unless(
        offsets.size() == 2 && isCount(offsets.path(0)) && isCount(offsets.path(1)),
        "%s has no data_offsets [begin, end]",
        name);
    long begin = offsets.path(0).asLong();
    long end = offsets.path(1).asLong();
    unless(
        begin <= end && end <= size - start,
        "%s lies at [%d, %d], past the end of the %d bytes of tensors",
        name,
        begin,
        end,
        size - start);
    try {
      long bytes = type.bytes;
      for (int d = 0; d < shape.length; d++) {
        unless(isCount(entry.path("shape").path(d)), "%s has a size that is no count", name);
        shape[d] = entry.path("shape").path(d).asLong();
        bytes = Math.multiplyExact(bytes, shape[d]);
      }
      unless(
          bytes == end - begin,
          "%s has %d bytes, its type and shape %s ask for %d",
          name,
          end - begin,
          entry.path("shape"),
          bytes);
    } catch (ArithmeticException e) {
      throw new Refusal("%s has the impossible shape %s".formatted(name, entry.path("shape")), e);
    }
    return new Tensor(name, type, shape, start + begin, start + end);
  }

  private static boolean isCount(JsonNode node) {
    return node.isIntegralNumber() && node.canConvertToLong() && node.asLong() >= 0;
  }

  /** The names and shapes of all tensors. */
  Map<String, long[]> shapes() {
    Map<String, long[]> shapes = new LinkedHashMap<>();
    tensors.forEach((name, tensor) -> shapes.put(name, tensor.shape.clone()));
    return shapes;
  }

  /**
   * A tensor's values.
   *
   * @throws Refusal if they are not F32, F16 or BF16, or not finite
   */
  Parameter read(String name) throws IOException {
    Tensor tensor = tensors.get(name);
    long bytes = tensor.end - tensor.begin;
    unless(
        bytes > 0 && bytes / tensor.type.bytes <= Integer.MAX_VALUE / Float.BYTES,
        "%s has %d bytes: it must have some, and less than 2 GiB as floats",
        name,
        bytes);
    float[] values = new float[(int) (bytes / tensor.type.bytes)];
    try (FileChannel channel = FileChannel.open(file, StandardOpenOption.READ)) {
      // Read, not mapped: a file that is cut meanwhile is an error then, not a fault.
      ByteBuffer chunk =
          ByteBuffer.allocateDirect((int) Math.min(bytes, 1 << 20)).order(ByteOrder.LITTLE_ENDIAN);
      int done = 0;
      for (long position = tensor.begin; position < tensor.end; position += chunk.limit()) {
        chunk.clear().limit((int) Math.min(chunk.capacity(), tensor.end - position));
        while (chunk.hasRemaining()) {
          int read = channel.read(chunk, position + chunk.position());
          unless(read > 0, "it ends within %s", name);
        }
        chunk.flip();
        done += decode(tensor, chunk, values, done);
      }
    }
    return Parameter.of(name, values, tensor.shape);
  }

  private static int decode(Tensor tensor, ByteBuffer bytes, float[] values, int start) {
    int count = bytes.remaining() / tensor.type.bytes;
    switch (tensor.type) {
      case F32 ->
          bytes.slice().order(ByteOrder.LITTLE_ENDIAN).asFloatBuffer().get(values, start, count);
      case F16 -> {
        for (int i = 0; i < count; i++) {
          values[start + i] = half(bytes.getShort(2 * i));
        }
      }
      case BF16 -> {
        for (int i = 0; i < count; i++) {
          values[start + i] = Float.intBitsToFloat(bytes.getShort(2 * i) << 16);
        }
      }
      default ->
          throw new Refusal(
              "%s has type %s: weights are imported from F32, F16 and BF16"
                  .formatted(tensor.name, tensor.type));
    }
    return count;
  }

  /** The value of an IEEE 754 half. */
  static float half(short bits) {
    int exponent = bits >> 10 & 0x1f;
    int fraction = bits & 0x3ff;
    float magnitude =
        switch (exponent) {
          case 0 -> fraction * 0x1p-24f;
          case 0x1f -> fraction == 0 ? Float.POSITIVE_INFINITY : Float.NaN;
          default -> Float.intBitsToFloat(exponent + 112 << 23 | fraction << 13);
        };
    return bits < 0 ? -magnitude : magnitude;
  }
}

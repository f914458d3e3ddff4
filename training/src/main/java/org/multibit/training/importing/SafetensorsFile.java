package org.multibit.training.importing;

import static org.multibit.training.importing.Refusal.unless;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.multibit.training.Json;
import org.nd4j.shade.jackson.core.JsonParser;
import org.nd4j.shade.jackson.core.JsonProcessingException;
import org.nd4j.shade.jackson.core.JsonToken;

/**
 * A .safetensors file: a header in JSON that names each tensor's type, shape and place, then the
 * tensors, little-endian and row-major. The whole header is checked before a tensor is read.
 */
final class SafetensorsFile {
  /** Larger than the header of any recurrent network; the format allows 100 MB. */
  private static final long MAX_HEADER = 1 << 23;

  private static final int MAX_RANK = 16;

  /** Every number with this many digits fits into a long. */
  private static final int MAX_DIGITS = 18;

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

    final long bytes;

    Type(long bytes) {
      this.bytes = bytes;
    }
  }

  /** Begin and end are offsets from the file's start. */
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
      unless(size >= 8, "it has %s bytes, too few for a .safetensors file", size);
      long length = bytes(channel, 0, 8).getLong();
      unless(
          length >= 2 && length <= size - 8,
          "its header of %s bytes runs past the end of the file (%s bytes): it may be incomplete",
          Long.toUnsignedString(length),
          size);
      unless(
          length <= MAX_HEADER,
          "its header of %s bytes is larger than that of any recurrent network (%s at most)",
          length,
          MAX_HEADER);
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
      unless(read > 0, "it ends at byte %s", position + bytes.position());
    }
    return bytes.flip();
  }

  private void parse(byte[] header, long start, long size) throws IOException {
    try (JsonParser json = Json.parser(header)) {
      unless(json.nextToken() == JsonToken.START_OBJECT, "its header is no JSON object");
      while (json.nextToken() == JsonToken.FIELD_NAME) {
        String name = json.getCurrentName();
        unless(json.nextToken() == JsonToken.START_OBJECT, "%s is no object in its header", name);
        if (name.equals("__metadata__")) {
          skipTexts(json);
        } else {
          tensors.put(name, tensor(name, json, start, size));
        }
      }
      unless(json.nextToken() == null, "its header goes on after its JSON");
    } catch (JsonProcessingException e) {
      throw new Refusal("its header is no JSON: " + e.getOriginalMessage(), e);
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
    unless(end == size, "there are %s bytes of no tensor at its end", size - end);
  }

  /** Skips to the end of an object of texts, the form of the format's metadata. */
  private static void skipTexts(JsonParser json) throws IOException {
    while (json.nextToken() == JsonToken.FIELD_NAME) {
      unless(json.nextToken().isScalarValue(), "its __metadata__ holds more than texts");
    }
  }

  /** Reads the entry of a tensor, to the end of its object. */
  private static Tensor tensor(String name, JsonParser json, long start, long size)
      throws IOException {
    String type = null;
    long[] shape = null;
    long[] offsets = null;
    while (json.nextToken() == JsonToken.FIELD_NAME) {
      String key = json.getCurrentName();
      JsonToken value = json.nextToken();
      switch (key) {
        case "dtype" -> type = value == JsonToken.VALUE_STRING ? json.getText() : null;
        case "shape" -> shape = counts(name, key, json);
        case "data_offsets" -> offsets = counts(name, key, json);
        default -> unless(value.isScalarValue(), "%s has the unknown entry %s", name, key);
      }
    }
    unless(shape != null, "%s has no shape", name);
    unless(offsets != null && offsets.length == 2, "%s has no data_offsets [begin, end]", name);
    Tensor tensor =
        new Tensor(name, type(name, type), shape, start + offsets[0], start + offsets[1]);
    unless(
        offsets[0] <= offsets[1] && offsets[1] <= size - start,
        "%s lies at [%s, %s], past the end of the %s bytes of tensors",
        name,
        offsets[0],
        offsets[1],
        size - start);
    try {
      long bytes = Arrays.stream(shape).reduce(tensor.type.bytes, Math::multiplyExact);
      unless(
          bytes == offsets[1] - offsets[0],
          "%s has %s bytes, its type and shape %s ask for %s",
          name,
          offsets[1] - offsets[0],
          Arrays.toString(shape),
          bytes);
    } catch (ArithmeticException e) {
      throw new Refusal(
          "%s has the impossible shape %s".formatted(name, Arrays.toString(shape)), e);
    }
    return tensor;
  }

  private static Type type(String name, String type) {
    for (Type known : Type.values()) {
      if (known.name().equals(type)) {
        return known;
      }
    }
    throw new Refusal("%s has the unknown type %s".formatted(name, type));
  }

  /** Reads an array of a few counts. */
  private static long[] counts(String name, String key, JsonParser json) throws IOException {
    unless(json.currentToken() == JsonToken.START_ARRAY, "%s has no array %s", name, key);
    long[] counts = new long[MAX_RANK];
    int rank = 0;
    while (json.nextToken() != JsonToken.END_ARRAY) {
      unless(
          json.currentToken() == JsonToken.VALUE_NUMBER_INT
              && json.getTextLength() <= MAX_DIGITS
              && json.getLongValue() >= 0,
          "the %s of %s holds what is no count",
          key,
          name);
      unless(rank < MAX_RANK, "the %s of %s has more than %s elements", key, name, MAX_RANK);
      counts[rank++] = json.getLongValue();
    }
    return Arrays.copyOf(counts, rank);
  }

  /** The names and shapes of all tensors. */
  Map<String, long[]> shapes() {
    Map<String, long[]> shapes = new LinkedHashMap<>();
    tensors.forEach((name, tensor) -> shapes.put(name, tensor.shape.clone()));
    return shapes;
  }

  /**
   * Reads a tensor's values.
   *
   * @throws Refusal if they are not F32, F16 or BF16, or not finite
   */
  Parameter read(String name) throws IOException {
    Tensor tensor = tensors.get(name);
    long bytes = tensor.end - tensor.begin;
    unless(
        bytes > 0 && bytes / tensor.type.bytes <= Integer.MAX_VALUE / Float.BYTES,
        "%s has %s bytes: it must have some, and less than 2 GiB as floats",
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
    int count = (int) (bytes.remaining() / tensor.type.bytes);
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

package org.multibit.cli;

import java.io.IOException;
import java.io.OutputStream;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.multibit.training.Json;

/** Writes arrays as a .safetensors file, by the format's description. */
public final class SafetensorsWriter {
  private final Map<String, Object> header = new LinkedHashMap<>();
  private final Map<String, byte[]> data = new LinkedHashMap<>();
  private long end;

  SafetensorsWriter() {
    header.put("__metadata__", Map.of("format", "pt"));
  }

  SafetensorsWriter put(String name, String type, float[] values, long... shape) {
    int size = type.equals("F32") ? 4 : 2;
    ByteBuffer bytes = ByteBuffer.allocate(values.length * size).order(ByteOrder.LITTLE_ENDIAN);
    for (float value : values) {
      switch (type) {
        case "F32" -> bytes.putFloat(value);
        case "BF16" -> bytes.putShort((short) (Float.floatToRawIntBits(value) >> 16));
        case "F16" -> bytes.putShort(half(value));
        default -> throw new IllegalArgumentException(type);
      }
    }
    header.put(
        name,
        Map.of("dtype", type, "shape", shape, "data_offsets", List.of(end, end + bytes.limit())));
    data.put(name, bytes.array());
    end += bytes.limit();
    return this;
  }

  /** The half of a value that is one. */
  static short half(float value) {
    int bits = Float.floatToRawIntBits(value);
    int exponent = (bits >> 23 & 0xff) - 112;
    int sign = bits >>> 16 & 0x8000;
    if (exponent <= 0) {
      return (short) (sign | Math.round(Math.abs(value) * 0x1p24f));
    }
    return (short) (sign | exponent << 10 | bits >> 13 & 0x3ff);
  }

  public Path write(Path file) throws IOException {
    return write(file, Json.line(header));
  }

  /** With another header, which may be wrong. */
  public Path write(Path file, String text) throws IOException {
    byte[] json = text.getBytes(StandardCharsets.UTF_8);
    return write(file, json.length, json);
  }

  public Path write(Path file, long headerLength, byte[] json) throws IOException {
    try (OutputStream out = Files.newOutputStream(file)) {
      out.write(
          ByteBuffer.allocate(8).order(ByteOrder.LITTLE_ENDIAN).putLong(headerLength).array());
      out.write(json);
      for (byte[] bytes : data.values()) {
        out.write(bytes);
      }
    }
    return file;
  }

  String header() {
    return Json.line(header);
  }
}

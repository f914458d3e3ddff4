package org.multibit.cli.hostile;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Random;

/** A GGUF file taken apart, to be put together wrongly; shares no main code. */
final class GgufParts {
  private static final int[] SIZES = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};

  static final int U32 = 4;
  static final int STRING = 8;
  static final int ARRAY = 9;

  static final class Key {
    byte[] name;
    int type;
    byte[] value;

    Key(String name, int type, byte[] value) {
      this(name.getBytes(StandardCharsets.UTF_8), type, value);
    }

    private Key(byte[] name, int type, byte[] value) {
      this.name = name;
      this.type = type;
      this.value = value;
    }
  }

  static final class Tensor {
    byte[] name;
    long[] dims;
    int type;
    long offset;

    private Tensor(byte[] name, long[] dims, int type, long offset) {
      this.name = name;
      this.dims = dims;
      this.type = type;
      this.offset = offset;
    }
  }

  final List<Key> keys = new ArrayList<>();
  final List<Tensor> tensors = new ArrayList<>();
  byte[] data;

  /** What the counts say more than is there. */
  private long moreKeys;

  private long moreTensors;

  /** Of a file that is right. */
  GgufParts(byte[] file) {
    ByteBuffer in = ByteBuffer.wrap(file).order(ByteOrder.LITTLE_ENDIAN).position(8);
    long tensorCount = in.getLong();
    long keyCount = in.getLong();
    for (long i = 0; i < keyCount; i++) {
      byte[] name = take(in, (int) in.getLong());
      int type = in.getInt();
      int start = in.position();
      skip(in, type);
      byte[] value = new byte[in.position() - start];
      in.get(start, value);
      keys.add(new Key(name, type, value));
    }
    for (long i = 0; i < tensorCount; i++) {
      byte[] name = take(in, (int) in.getLong());
      long[] dims = new long[in.getInt()];
      for (int d = 0; d < dims.length; d++) {
        dims[d] = in.getLong();
      }
      tensors.add(new Tensor(name, dims, in.getInt(), in.getLong()));
    }
    in.position((in.position() + 63) / 64 * 64);
    data = take(in, in.remaining());
  }

  private static byte[] take(ByteBuffer in, int length) {
    byte[] bytes = new byte[length];
    in.get(bytes);
    return bytes;
  }

  private static void skip(ByteBuffer in, int type) {
    if (type == STRING) {
      take(in, (int) in.getLong());
    } else if (type == ARRAY) {
      int element = in.getInt();
      for (long left = in.getLong(); left > 0; left--) {
        skip(in, element);
      }
    } else {
      in.position(in.position() + SIZES[type]);
    }
  }

  byte[] toBytes() {
    int size = 24 + 64 + data.length;
    for (Key key : keys) {
      size += 12 + key.name.length + key.value.length;
    }
    for (Tensor tensor : tensors) {
      size += 24 + tensor.name.length + 8 * tensor.dims.length;
    }
    ByteBuffer out = ByteBuffer.allocate(size).order(ByteOrder.LITTLE_ENDIAN);
    out.put("GGUF".getBytes(StandardCharsets.US_ASCII)).putInt(3);
    out.putLong(tensors.size() + moreTensors).putLong(keys.size() + moreKeys);
    for (Key key : keys) {
      out.putLong(key.name.length).put(key.name).putInt(key.type).put(key.value);
    }
    for (Tensor tensor : tensors) {
      out.putLong(tensor.name.length).put(tensor.name).putInt(tensor.dims.length);
      for (long dim : tensor.dims) {
        out.putLong(dim);
      }
      out.putInt(tensor.type).putLong(tensor.offset);
    }
    out.position((out.position() + 63) / 64 * 64).put(data);
    byte[] bytes = new byte[out.position()];
    out.flip().get(bytes);
    return bytes;
  }

  static byte[] u32(int value) {
    return ByteBuffer.allocate(4).order(ByteOrder.LITTLE_ENDIAN).putInt(value).array();
  }

  static byte[] string(String value) {
    byte[] utf8 = value.getBytes(StandardCharsets.UTF_8);
    return ByteBuffer.allocate(8 + utf8.length)
        .order(ByteOrder.LITTLE_ENDIAN)
        .putLong(utf8.length)
        .put(utf8)
        .array();
  }

  Key key(String name) {
    return keys.stream()
        .filter(k -> new String(k.name, StandardCharsets.UTF_8).equals(name))
        .findFirst()
        .orElseThrow();
  }

  Tensor tensor(String name) {
    return tensors.stream()
        .filter(t -> new String(t.name, StandardCharsets.UTF_8).equals(name))
        .findFirst()
        .orElseThrow();
  }

  /** One thing wrong, or moved to where it may be as well. */
  void damage(Random random) {
    Key key = keys.get(random.nextInt(keys.size()));
    Tensor tensor = tensors.get(random.nextInt(tensors.size()));
    switch (random.nextInt(20)) {
      case 0 -> key.type = random.nextInt(15) - 1;
      case 1 -> key.type = key.type == U32 ? 5 : U32;
      case 2, 3 -> changeValue(key, random);
      case 4 -> keys.remove(key);
      case 5 -> keys.add(random.nextInt(keys.size()), key);
      case 6 -> changeByte(key.name, random);
      case 7 -> key.value = keys.get(random.nextInt(keys.size())).value;
      case 8 -> keys.add(random.nextInt(keys.size()), unknown(random));
      case 9 -> Collections.shuffle(random.nextBoolean() ? keys : tensors, random);
      case 10 ->
          tensor.dims[random.nextInt(tensor.dims.length)] =
              Mutations.number(tensor.dims[0], random);
      case 11 -> tensor.type = random.nextBoolean() ? 27 - tensor.type : random.nextInt(32);
      case 12 ->
          tensor.offset =
              random.nextBoolean()
                  ? Mutations.number(tensor.offset, random)
                  : tensor.offset + 64L * (random.nextInt(9) - 4);
      case 13 -> tensors.remove(tensor);
      case 14 -> tensors.add(random.nextInt(tensors.size()), tensor);
      case 15 -> changeByte(tensor.name, random);
      case 16 -> tensor.dims = Arrays.copyOf(tensor.dims, 1 + random.nextInt(5));
      case 17 -> changeByte(data, random);
      case 18 ->
          ByteBuffer.wrap(data)
              .order(ByteOrder.LITTLE_ENDIAN)
              .putInt(
                  random.nextInt(data.length / 4) * 4,
                  random.nextBoolean() ? 0x7FC00000 : 0x80000000);
      default -> {
        if (random.nextBoolean()) {
          moreKeys = Mutations.number(0, random);
        } else {
          moreTensors = Mutations.number(0, random);
        }
      }
    }
  }

  private static void changeValue(Key key, Random random) {
    if (key.type == U32) {
      key.value =
          u32(
              (int)
                  Mutations.number(
                      ByteBuffer.wrap(key.value).order(ByteOrder.LITTLE_ENDIAN).getInt(), random));
    } else {
      changeByte(key.value, random);
    }
  }

  /** To one that texts treat differently, or to any. */
  private static void changeByte(byte[] bytes, Random random) {
    byte[] special = {' ', '\n', 0, (byte) 0xFF, (byte) 0xC3, 'a'};
    if (bytes.length > 0) {
      bytes[random.nextInt(bytes.length)] =
          random.nextBoolean()
              ? special[random.nextInt(special.length)]
              : (byte) random.nextInt(256);
    }
  }

  /** A key that no reader knows; its value is right more often than not. */
  private static Key unknown(Random random) {
    ByteBuffer value = ByteBuffer.allocate(256).order(ByteOrder.LITTLE_ENDIAN);
    int type = ARRAY;
    for (int depth = random.nextInt(6); depth > 0; depth--) {
      value.putInt(ARRAY).putLong(1);
    }
    int element = random.nextInt(14);
    int count = random.nextInt(4);
    value.putInt(element).putLong(count);
    for (int i = 0; i < count; i++) {
      if (element == STRING) {
        value.putLong(1).put((byte) random.nextInt(160));
      } else if (element == ARRAY) {
        value.putInt(random.nextInt(14)).putLong(0);
      } else if (element < SIZES.length) {
        value.put(new byte[SIZES[element] - 1]).put((byte) random.nextInt(3));
      }
    }
    byte[] bytes = new byte[value.position()];
    value.flip().get(bytes);
    return new Key("x.unknown." + random.nextInt(), type, bytes);
  }
}

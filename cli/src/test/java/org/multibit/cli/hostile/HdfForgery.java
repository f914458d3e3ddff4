package org.multibit.cli.hostile;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/**
 * Writes HDF5 files that no library writes: superblock 0, object headers of version 1 without
 * checksums, whose parts may lie anywhere. Parts come first, the root last.
 */
final class HdfForgery {
  private static final long UNDEFINED = -1;
  private static final int SUPERBLOCK = 96;

  /** HDF5's message types. */
  private static final int DATASPACE = 1;

  private static final int LINK_INFO = 2;
  private static final int DATATYPE = 3;
  private static final int LINK = 6;
  private static final int LAYOUT = 8;
  private static final int FILTERS = 11;
  private static final int ATTRIBUTE = 12;

  private static final byte[] FLOAT32 = {
    0x11, 0x20, 31, 0, 4, 0, 0, 0, 0, 0, 32, 0, 23, 8, 0, 23, 127, 0, 0, 0
  };

  /** Of variable length. */
  private static final byte[] TEXT = {0x19, 1, 1, 0, 16, 0, 0, 0, 0x13, 0x10, 0, 0, 1, 0, 0, 0};

  private byte[] bytes = new byte[SUPERBLOCK];

  /** A part of an object: its type, its content. */
  record Message(int type, byte[] content) {}

  private static ByteBuffer buffer(int length) {
    return ByteBuffer.allocate(length).order(ByteOrder.LITTLE_ENDIAN);
  }

  /** Adds bytes at a multiple of 8; returns their place. */
  private long add(byte[] part) {
    int at = (bytes.length + 7) / 8 * 8;
    bytes = Arrays.copyOf(bytes, at + part.length);
    System.arraycopy(part, 0, bytes, at, part.length);
    return at;
  }

  /** Adds an object; returns its place. */
  long object(List<Message> messages) {
    int length = messages.stream().mapToInt(m -> 8 + (m.content.length + 7) / 8 * 8).sum();
    ByteBuffer header = buffer(16 + length);
    header.put((byte) 1).put((byte) 0).putShort((short) messages.size()).putInt(1).putInt(length);
    header.position(16);
    for (Message message : messages) {
      int padded = (message.content.length + 7) / 8 * 8;
      header.putShort((short) message.type).putShort((short) padded).putInt(0);
      header.put(message.content).position(header.position() + padded - message.content.length);
    }
    return add(header.array());
  }

  /** A group's messages: links by name, all hard. */
  static List<Message> links(Object... namesAndPlaces) {
    List<Message> messages = new ArrayList<>();
    messages.add(
        new Message(LINK_INFO, buffer(18).putLong(2, UNDEFINED).putLong(10, UNDEFINED).array()));
    for (int i = 0; i < namesAndPlaces.length; i += 2) {
      byte[] name = ((String) namesAndPlaces[i]).getBytes(StandardCharsets.UTF_8);
      ByteBuffer link = buffer(3 + name.length + 8);
      link.put((byte) 1).put((byte) 0).put((byte) name.length).put(name);
      messages.add(new Message(LINK, link.putLong((long) namesAndPlaces[i + 1]).array()));
    }
    return messages;
  }

  /** Adds a heap with one text; returns its place. */
  long heap(byte[] text) {
    int padded = (text.length + 7) / 8 * 8;
    ByteBuffer heap = buffer(16 + 16 + padded);
    heap.put("GCOL".getBytes(StandardCharsets.US_ASCII)).putInt(1).putLong(heap.capacity());
    heap.putShort((short) 1).putShort((short) 1).putInt(0).putLong(text.length).put(text);
    return add(heap.array());
  }

  /**
   * An attribute of texts.
   *
   * @param count of texts; 0 for a single one
   * @param heap of the text that all of them are
   */
  static Message texts(String name, int count, long heap, int length) {
    byte[] padded = Arrays.copyOf(name.getBytes(StandardCharsets.UTF_8), name.length() / 8 * 8 + 8);
    byte[] space = space(count == 0 ? new int[0] : new int[] {count});
    ByteBuffer attribute =
        buffer(8 + padded.length + TEXT.length + space.length + 16 * Math.max(1, count));
    attribute.put((byte) 1).put((byte) 0).putShort((short) padded.length);
    attribute.putShort((short) TEXT.length).putShort((short) space.length);
    attribute.put(padded).put(TEXT).put(space);
    while (attribute.hasRemaining()) {
      attribute.putInt(length).putLong(heap).putInt(1);
    }
    return new Message(ATTRIBUTE, attribute.array());
  }

  private static byte[] space(int[] shape) {
    ByteBuffer space = buffer(8 + 8 * shape.length).put((byte) 1).put((byte) shape.length);
    space.position(8);
    for (int size : shape) {
      space.putLong(size);
    }
    return space.array();
  }

  /**
   * Adds an array of floats in chunks, each of which is the same bytes; returns its place.
   *
   * @param filters their numbers, in the order in which they pack
   * @param offsets of the chunks, in elements
   */
  long chunked(int[] shape, int[] chunk, byte[] packed, List<Integer> filters, int[]... offsets) {
    long data = add(packed);
    int keyBytes = 8 + 8 * (shape.length + 1);
    ByteBuffer tree = buffer(24 + offsets.length * (keyBytes + 8) + keyBytes);
    tree.put("TREE".getBytes(StandardCharsets.US_ASCII)).put((byte) 1).put((byte) 0);
    tree.putShort((short) offsets.length).putLong(UNDEFINED).putLong(UNDEFINED);
    for (int[] offset : offsets) {
      tree.putInt(packed.length).putInt(0);
      for (int at : offset) {
        tree.putLong(at);
      }
      tree.putLong(0).putLong(data);
    }
    ByteBuffer layout = buffer(11 + 4 * shape.length + 4);
    layout.put((byte) 3).put((byte) 2).put((byte) (shape.length + 1)).putLong(add(tree.array()));
    for (int size : chunk) {
      layout.putInt(size);
    }
    ByteBuffer pipeline = buffer(8 + 16 * filters.size());
    pipeline.put((byte) 1).put((byte) filters.size()).position(8);
    for (int filter : filters) {
      pipeline.putShort((short) filter).putShort((short) 0).putShort((short) 0);
      pipeline.putShort((short) 1).putInt(Float.BYTES).putInt(0);
    }
    return object(
        List.of(
            new Message(DATASPACE, space(shape)),
            new Message(DATATYPE, FLOAT32),
            new Message(LAYOUT, layout.putInt(Float.BYTES).array()),
            new Message(FILTERS, pipeline.array())));
  }

  /** Adds an array of floats in one piece, which are zero; returns its place. */
  long zeros(int... shape) {
    int count = Arrays.stream(shape).reduce(1, Math::multiplyExact);
    ByteBuffer layout = buffer(18).put((byte) 3).put((byte) 1);
    layout.putLong(add(new byte[Float.BYTES * count])).putLong((long) Float.BYTES * count);
    return object(
        List.of(
            new Message(DATASPACE, space(shape)),
            new Message(DATATYPE, FLOAT32),
            new Message(LAYOUT, layout.array())));
  }

  /** Adds an array of texts, all of them one; returns its place. */
  long textArray(long heap, int length, int... shape) {
    int count = Arrays.stream(shape).reduce(1, Math::multiplyExact);
    ByteBuffer ids = buffer(16 * count);
    while (ids.hasRemaining()) {
      ids.putInt(length).putLong(heap).putInt(1);
    }
    ByteBuffer layout = buffer(18).put((byte) 3).put((byte) 1);
    layout.putLong(add(ids.array())).putLong(16L * count);
    return object(
        List.of(
            new Message(DATASPACE, space(shape)),
            new Message(DATATYPE, TEXT),
            new Message(LAYOUT, layout.array())));
  }

  /** The file, with this object as its root. */
  byte[] file(List<Message> root) {
    long place = object(root);
    ByteBuffer start = ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN);
    start.put(new byte[] {(byte) 0x89, 'H', 'D', 'F', '\r', '\n', 0x1a, '\n', 0, 0, 0, 0, 0, 8, 8});
    start.put((byte) 0).putShort((short) 4).putShort((short) 16).putInt(0);
    start.putLong(0).putLong(UNDEFINED).putLong(bytes.length).putLong(UNDEFINED);
    start.putLong(0).putLong(place);
    return bytes;
  }
}

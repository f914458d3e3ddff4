package org.multibit.core.format;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertDoesNotThrow;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.sun.management.ThreadMXBean;
import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.FloatBuffer;
import java.nio.LongBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.function.Consumer;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/** The container: writer and reader against bytes put together by hand. */
class GgufTest {
  @TempDir Path directory;
  private Path file;

  @BeforeEach
  void name() {
    file = directory.resolve("file.gguf");
  }

  /** The two keys that a reader insists on. */
  private static GgufBytes start(int tensors, int moreKeys) {
    return GgufBytes.header(tensors, 2 + moreKeys)
        .key("general.architecture", "multibit")
        .key("general.alignment", 64);
  }

  @Test
  void writesTheBytesOfTheSpecification() throws IOException {
    new GgufWriter()
        .put("general.architecture", "multibit")
        .put("general.alignment", 64)
        .put("a.long", 1L << 40)
        .put("a.float", 0.5f)
        .put("a.double", -0.1)
        .put("a.bool", true)
        .put("words", List.of("é", "", "b"))
        .put("floats", FloatBuffer.wrap(new float[] {1, 2, 3, 4, 5, 6}), 3, 2)
        .put("longs", LongBuffer.wrap(new long[] {-1, 7}), 2)
        .put("one", FloatBuffer.wrap(new float[] {9, 8}).position(1), 1, 1, 1, 1)
        .write(file);
    byte[] expected =
        start(3, 5)
            .with(b -> b.string("a.long").u32(GgufBytes.U64).u64(1L << 40))
            .with(b -> b.string("a.float").u32(GgufBytes.F32).f32(0.5f))
            .with(b -> b.string("a.double").u32(GgufBytes.F64).f64(-0.1))
            .with(b -> b.string("a.bool").u32(GgufBytes.BOOL).u8(1))
            .key("words", List.of("é", "", "b"))
            .tensor("floats", GgufBytes.TENSOR_F32, 0, 3, 2)
            .tensor("longs", GgufBytes.TENSOR_I64, 64, 2)
            .tensor("one", GgufBytes.TENSOR_F32, 128, 1, 1, 1, 1)
            .pad()
            .with(b -> b.f32(1).f32(2).f32(3).f32(4).f32(5).f32(6))
            .pad()
            .with(b -> b.u64(-1).u64(7))
            .pad()
            .with(b -> b.f32(8))
            .pad()
            .bytes();
    assertArrayEquals(expected, Files.readAllBytes(file));
  }

  @Test
  void readsEveryTypeOfValue() throws IOException {
    start(0, 16)
        .with(b -> b.string("u8").u32(GgufBytes.U8).u8(200))
        .with(b -> b.string("i8").u32(GgufBytes.I8).u8(200))
        .with(b -> b.string("u16").u32(GgufBytes.U16).u16(60000))
        .with(b -> b.string("i16").u32(GgufBytes.I16).u16(60000))
        .with(b -> b.string("u32").u32(GgufBytes.U32).u32(70000))
        .with(b -> b.string("i32").u32(GgufBytes.I32).u32(-70000))
        .with(b -> b.string("f32").u32(GgufBytes.F32).f32(1.5f))
        .with(b -> b.string("yes").u32(GgufBytes.BOOL).u8(1))
        .with(b -> b.string("no").u32(GgufBytes.BOOL).u8(0))
        .with(b -> b.string("u64").u32(GgufBytes.U64).u64(1L << 50))
        .with(b -> b.string("i64").u32(GgufBytes.I64).u64(-5))
        .with(b -> b.string("f64").u32(GgufBytes.F64).f64(0.1))
        .key("text", "naïve 戦場")
        .key("words", List.of("a", "戦"))
        .with(b -> b.string("bytes").u32(GgufBytes.ARRAY).u32(GgufBytes.U8).u64(2).u8(1).u8(255))
        .with(b -> b.string("nested").u32(GgufBytes.ARRAY).u32(GgufBytes.ARRAY).u64(1))
        .with(b -> b.u32(GgufBytes.U8).u64(2).u8(3).u8(4))
        .writeTo(file);
    GgufReader reader = new GgufReader(file);
    Map<String, Object> values = reader.metadata();
    assertEquals(
        List.of(
            "general.architecture",
            "general.alignment",
            "u8",
            "i8",
            "u16",
            "i16",
            "u32",
            "i32",
            "f32",
            "yes",
            "no",
            "u64",
            "i64",
            "f64",
            "text",
            "words",
            "bytes",
            "nested"),
        List.copyOf(values.keySet()));
    assertEquals(
        List.of(
            "multibit",
            64,
            200,
            -56,
            60000,
            -5536,
            70000,
            -70000,
            1.5f,
            true,
            false,
            1L << 50,
            -5L,
            0.1,
            "naïve 戦場"),
        values.values().stream().filter(v -> !(v instanceof GgufReader.Array)).toList());
    assertEquals(List.of("a", "戦"), reader.strings("words"));
    assertEquals(2, reader.stringCount("words"));
    assertEquals("2 elements", values.get("bytes").toString());
    assertEquals(1, ((GgufReader.Array) values.get("nested")).count());
    assertEquals(70000, reader.u32("u32"));
    assertEquals(1.5f, reader.f32("f32"));
    assertEquals("naïve 戦場", reader.string("text"));
    assertRefused("the key i32 is of type i32, not u32", () -> reader.u32("i32"));
    assertRefused("the key u64 is of type u64, not u32", () -> reader.u32("u64"));
    assertRefused("the key f64 is of type f64, not f32", () -> reader.f32("f64"));
    assertRefused("the key yes is of type bool, not string", () -> reader.string("yes"));
    assertRefused("the key text is of type string, not array", () -> reader.strings("text"));
    assertRefused("the key bytes is an array of u8", () -> reader.strings("bytes"));
  }

  @Test
  void mapsTensorsAndIgnoresUnknownOnes() throws IOException {
    start(3, 0)
        .tensor("longs", GgufBytes.TENSOR_I64, 64, 2, 1)
        .tensor("of another type", 14, 128, 1L << 40)
        .tensor("floats", GgufBytes.TENSOR_F32, 0, 3)
        .pad()
        .with(b -> b.f32(1).f32(2).f32(3))
        .pad()
        .with(b -> b.u64(5).u64(-6))
        .pad()
        .writeTo(file);
    GgufReader reader = new GgufReader(file);
    assertEquals(FloatBuffer.wrap(new float[] {1, 2, 3}), reader.floats("floats", 3));
    LongBuffer longs = reader.longs("longs", 2, 1);
    assertEquals(LongBuffer.wrap(new long[] {5, -6}), longs);
    assertTrue(longs.isDirect() && longs.isReadOnly());
    assertEquals(
        List.of("longs", "of another type", "floats"), List.copyOf(reader.tensors().keySet()));
    assertEquals(Files.size(file), reader.bytes());
    assertRefused("lacks the tensor more", () -> reader.floats("more", 3));
    assertRefused("expected F32[4]", () -> reader.floats("floats", 4));
    assertRefused("expected F32[3, 1]", () -> reader.floats("floats", 3, 1));
    assertRefused("expected I64[3]", () -> reader.longs("floats", 3));
    assertRefused("lacks the key x", () -> reader.u32("x"));
    assertRefused(
        "general.alignment is of type u32, not string", () -> reader.string("general.alignment"));
  }

  @Test
  void dataLargerThanAWritersChunkIsWhole() throws IOException {
    FloatBuffer many =
        ByteBuffer.allocateDirect(400_004).order(ByteOrder.nativeOrder()).asFloatBuffer();
    for (int i = 0; i < many.capacity(); i++) {
      many.put(i, i);
    }
    new GgufWriter()
        .put("general.architecture", "multibit")
        .put("general.alignment", 64)
        .put("many", many, many.capacity())
        .write(file);
    assertEquals(many, new GgufReader(file).floats("many", many.capacity()));
    assertEquals(0, many.position());
  }

  @Test
  void whatIsNoMultibitFileIsRefused() throws IOException {
    assertRefused("There is no file", () -> new GgufReader(file));
    assertRefused("is a folder", () -> new GgufReader(directory));
    Files.write(file, new byte[0]);
    assertUnreadable("is empty");
    Files.writeString(file, "Once upon a time there was a model that was not one.\n");
    assertUnreadable("is a text, not a model");
    Files.writeString(file, "GG");
    assertUnreadable("is a text, not a model");
    Files.writeString(file, "GGUF");
    assertUnreadable("ends inside the header");
    new GgufBytes().ascii("GGUF").u32(2).u64(0).u64(0).writeTo(file);
    assertUnreadable("is GGUF version 2; version 3 is needed");
    new GgufBytes().ascii("GGUF").u32(0x03000000).u64(0).u64(0).writeTo(file); // big-endian
    assertUnreadable("version 3 is needed");
    GgufBytes.header(0, 1).key("general.architecture", "llama").writeTo(file);
    assertUnreadable("its architecture is \"llama\", expected \"multibit\"");
    GgufBytes.header(0, 0).writeTo(file);
    assertUnreadable("lacks the key general.architecture");
    GgufBytes.header(0, 1).key("general.architecture", "multibit").writeTo(file);
    assertUnreadable("lacks the key general.alignment");
    GgufBytes.header(0, 2)
        .key("general.architecture", "multibit")
        .key("general.alignment", 32)
        .writeTo(file);
    assertUnreadable("general.alignment is 32, not 64");
  }

  @Test
  void damagedHeadersAreRefused() {
    start(0, 1).key("general.alignment", 64).writeTo(file);
    assertUnreadable("the key general.alignment occurs twice");
    start(0, 1).string("x").u32(13).u64(0).writeTo(file);
    assertUnreadable("unknown type 13");
    start(0, 1).string("x").u32(-1).u64(0).writeTo(file);
    assertUnreadable("unknown type 4294967295");
    start(0, 1).u64(1L << 62).writeTo(file);
    assertUnreadable("a string takes 4611686018427387904 bytes, more than 1048576");
    start(0, 1).u64(-1).writeTo(file);
    assertUnreadable("a string takes 18446744073709551615 bytes");
    start(0, 1).u64(1 << 20).writeTo(file);
    assertUnreadable("ends inside the header");
    start(0, 1).u64(2).u8(0xC0).u8(0x80).u32(GgufBytes.U8).u8(0).writeTo(file);
    assertUnreadable("is not UTF-8");
    start(0, 1).string("x").u32(GgufBytes.STRING).u64(3).u8(0xED).u8(0xA0).u8(0x80).writeTo(file);
    assertUnreadable("is not UTF-8");
    start(0, 1)
        .string("x")
        .u32(GgufBytes.ARRAY)
        .u32(GgufBytes.STRING)
        .u64(1)
        .u64(1)
        .u8(0xFF)
        .writeTo(file);
    assertUnreadable("is not UTF-8");
    start(0, 1).key("x", "\uFFFD").writeTo(file);
    assertDoesNotThrow(() -> new GgufReader(file)); // UTF-8 has it too.
    start(0, 1).string("x").u32(GgufBytes.BOOL).u8(2).writeTo(file);
    assertUnreadable("a bool is 2, neither 0 nor 1");
    start(0, 1)
        .string("x")
        .u32(GgufBytes.ARRAY)
        .u32(GgufBytes.BOOL)
        .u64(2)
        .u8(1)
        .u8(-1)
        .writeTo(file);
    assertUnreadable("a bool is -1");
    start(0, 1).string("x").u32(GgufBytes.ARRAY).u32(13).u64(0).writeTo(file);
    assertUnreadable("unknown type 13");
    start(0, 1).string("x").u32(GgufBytes.ARRAY).u32(GgufBytes.U8).u64(1L << 33).writeTo(file);
    assertUnreadable("an array of 8589934592 elements of type u8 runs past the end");
    start(0, 1).string("x").u32(GgufBytes.ARRAY).u32(GgufBytes.STRING).u64(1 << 20).writeTo(file);
    assertUnreadable("an array of 1048576 elements of type string runs past the end");
    GgufBytes nested = start(0, 1).string("x").u32(GgufBytes.ARRAY);
    for (int level = 0; level < 5; level++) {
      nested.u32(GgufBytes.ARRAY).u64(1);
    }
    nested.writeTo(file);
    assertUnreadable("an array lies 4 levels deep in others");
    GgufBytes.header(0, -1).writeTo(file);
    assertUnreadable("18446744073709551615 keys, more than 65536");
    GgufBytes.header(1L << 40, 0).writeTo(file);
    assertUnreadable("1099511627776 tensors");
  }

  @Test
  void tensorsOutOfPlaceAreRefused() {
    start(2, 0)
        .tensor("a", 0, 0, 1)
        .tensor("a", 0, 64, 1)
        .pad()
        .with(b -> b.u64(0).pad().u64(0))
        .writeTo(file);
    assertUnreadable("the tensor a occurs twice");
    start(2, 0)
        .tensor("b", 0, 64, 1)
        .tensor("a", 0, 0, 17)
        .pad()
        .with(b -> b.u64(0).pad().u64(0).pad())
        .writeTo(file);
    assertUnreadable("tensor b [1] overlaps a [17]");
    start(2, 0)
        .tensor("a", 0, 0, 1)
        .tensor("b", 0, 0, 1)
        .pad()
        .with(b -> b.u64(0).pad())
        .writeTo(file);
    assertUnreadable("overlaps");
    oneTensor(0, 32, 1);
    assertUnreadable("not aligned to 64");
    oneTensor(0, -64, 1);
    assertUnreadable("outside the file");
    oneTensor(0, Long.MAX_VALUE - 63, 1);
    assertUnreadable("outside the file");
    oneTensor(0, 0, 17);
    assertUnreadable("tensor a [17] runs past the end of the file");
    oneTensor(0, 64, 1);
    assertUnreadable("runs past the end of the file");
    oneTensor(27, 0, 9);
    assertUnreadable("runs past the end of the file");
    oneTensor(0, 0, 1L << 40, 1L << 40);
    assertUnreadable("overflows");
    oneTensor(0, 0, 0);
    assertUnreadable("tensor a is empty");
    oneTensor(14, 0, 3, 0);
    assertUnreadable("tensor a is empty");
    oneTensor(0, 0, -1, -1);
    assertUnreadable("overflows");
    oneTensor(0, 0);
    assertUnreadable("has rank 0");
    oneTensor(0, 0, 1, 1, 1, 1, 1);
    assertUnreadable("has rank 5");
  }

  /** A file with 64 bytes of data. */
  private void oneTensor(int type, long offset, long... dims) {
    start(1, 0).tensor("a", type, offset, dims).pad().with(b -> b.u64(0).pad()).writeTo(file);
  }

  /** Opening a pipe would wait for a writer. */
  @Test
  @Timeout(20)
  void pipesAndDevicesAreRefused() throws Exception {
    assertEquals(0, new ProcessBuilder("mkfifo", file.toString()).start().waitFor());
    assertUnreadable("a pipe or a device");
    assertThrows(IOException.class, () -> new GgufReader(Path.of("/dev/zero")));
  }

  /** Of types that are not known only the start is checked: nobody knows where they end. */
  @Test
  void tensorsOfUnknownTypesMayStartAnywhereInTheFile() throws IOException {
    start(2, 0)
        .tensor("a", GgufBytes.TENSOR_F32, 0, 32)
        .tensor("b", 14, 64, 1L << 62, 1L << 62)
        .pad()
        .with(b -> b.u64(0).pad().u64(0).pad())
        .writeTo(file);
    assertEquals(32, new GgufReader(file).floats("a", 32).remaining());
    oneTensor(14, 64, 1);
    assertEquals(1, new GgufReader(file).tensors().size());
    oneTensor(14, 128, 1);
    assertUnreadable("outside the file");
    oneTensor(14, 32, 1);
    assertUnreadable("not aligned");
  }

  /**
   * What a header of 64 MiB can make of little: no more than it takes itself, and within a moment.
   */
  @Test
  @Timeout(60)
  void aLargeHeaderCostsLittle() throws IOException {
    int room = (1 << 26) - 1000;
    // Arrays without elements in an array, 12 bytes each; bools and one-byte strings.
    assertCheap(GgufBytes.ARRAY, room / 12, b -> b.putInt(GgufBytes.U8).putLong(0));
    assertCheap(GgufBytes.BOOL, room, b -> b.put((byte) 1));
    assertCheap(GgufBytes.STRING, room / 9, b -> b.putLong(1).put((byte) 'a'));
    assertCheap(GgufBytes.F64, room / 8, b -> b.putDouble(0.5));
  }

  private void assertCheap(int type, int count, Consumer<ByteBuffer> element) throws IOException {
    byte[] start = start(0, 1).string("x").u32(GgufBytes.ARRAY).u32(type).u64(count).bytes();
    ByteBuffer bytes = ByteBuffer.allocate(1 << 26).order(ByteOrder.LITTLE_ENDIAN).put(start);
    for (int i = 0; i < count; i++) {
      element.accept(bytes);
    }
    Files.write(file, bytes.array());
    ThreadMXBean thread = (ThreadMXBean) ManagementFactory.getThreadMXBean();
    long before = thread.getCurrentThreadAllocatedBytes();
    GgufReader reader = new GgufReader(file);
    assertEquals(count + " elements", reader.metadata().get("x").toString());
    assertTrue(thread.getCurrentThreadAllocatedBytes() - before < 1 << 20);
  }

  @Test
  void messagesAreOneShortLineWhateverTheFileHolds() {
    String name = "line\nbreak " + "x".repeat(5000);
    start(0, 2).key(name, 1).key(name, 1).writeTo(file);
    assertUnreadable("line?break");
  }

  @Test
  void theWriterRefusesWhatItCannotWrite() {
    GgufWriter writer = new GgufWriter().put("k", 1).put("t", FloatBuffer.allocate(1), 1);
    assertThrows(IllegalArgumentException.class, () -> writer.put("k", 2));
    assertThrows(IllegalArgumentException.class, () -> writer.put("t", FloatBuffer.allocate(1), 1));
    assertThrows(IllegalArgumentException.class, () -> writer.put("u", FloatBuffer.allocate(3), 4));
    assertThrows(IllegalArgumentException.class, () -> writer.put("x", new Object()));
    assertThrows(IllegalArgumentException.class, () -> writer.put("x", List.of(1, 2)));
  }

  private void assertUnreadable(String why) {
    assertRefused(why, () -> new GgufReader(file));
  }

  private interface Action {
    void run() throws IOException;
  }

  private void assertRefused(String why, Action action) {
    String message = assertThrows(IOException.class, action::run).getMessage();
    assertTrue(message.contains(why), message);
    assertTrue(message.contains(directory.toString()), message);
    assertTrue(message.length() < 500, message);
    assertFalse(message.contains("\n"), message);
  }
}

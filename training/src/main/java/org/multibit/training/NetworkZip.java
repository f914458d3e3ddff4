package org.multibit.training;

import java.io.BufferedInputStream;
import java.io.BufferedOutputStream;
import java.io.Closeable;
import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.EOFException;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.lang.ref.Reference;
import java.nio.ByteBuffer;
import java.nio.FloatBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.regex.MatchResult;
import java.util.regex.Pattern;
import java.util.zip.ZipEntry;
import java.util.zip.ZipFile;
import java.util.zip.ZipOutputStream;
import org.bytedeco.javacpp.indexer.HalfIndexer;
import org.deeplearning4j.nn.conf.ComputationGraphConfiguration;
import org.deeplearning4j.nn.conf.MultiLayerConfiguration;
import org.deeplearning4j.nn.conf.serde.JsonMappers;
import org.deeplearning4j.nn.graph.ComputationGraph;
import org.deeplearning4j.nn.multilayer.MultiLayerNetwork;
import org.deeplearning4j.util.ModelSerializer;
import org.multibit.core.Printable;
import org.multibit.layers.FloatRows;
import org.nd4j.linalg.api.buffer.DataType;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.nd4j.linalg.factory.Nd4j;
import org.nd4j.shade.jackson.core.JsonProcessingException;
import org.nd4j.shade.jackson.databind.JavaType;
import org.nd4j.shade.jackson.databind.JsonNode;
import org.nd4j.shade.jackson.databind.ObjectMapper;
import org.nd4j.shade.jackson.databind.cfg.MapperConfig;
import org.nd4j.shade.jackson.databind.exc.InvalidTypeIdException;
import org.nd4j.shade.jackson.databind.jsontype.PolymorphicTypeValidator;

/**
 * A network in a zip as DL4J's {@code ModelSerializer} writes it. DL4J's own reader deserializes
 * any Java object in the file and reads entries of any size into memory. This reader only reads the
 * entries that a network has, each within bounds. The only classes that a file can choose are
 * layers, activations and similar classes of DL4J, ND4J and multibit.
 */
public final class NetworkZip implements Closeable {
  private static final Set<String> NETWORK =
      Set.of(
          ModelSerializer.CONFIGURATION_JSON,
          ModelSerializer.COEFFICIENTS_BIN,
          ModelSerializer.UPDATER_BIN);

  /** The entry in which versions until 2026 stored the state of a checkpoint. */
  private static final String OLD_STATE = "objects/multibit-training-state";

  private static final int MAX_JSON = 1 << 24;

  /** The packages whose classes a configuration may name. */
  private static final List<String> PACKAGES =
      List.of(
          "org.deeplearning4j.nn.",
          "org.nd4j.linalg.",
          "org.multibit.core.",
          "org.multibit.layers.");

  /** What a text may name as a class, also as a parameter of a type or an element of an array. */
  private static final Pattern CLASS_NAME = Pattern.compile("[\\w$]+(?:\\.[\\w$]+)+");

  /** A rank of at most 32, as ND4J describes shapes. */
  private static final int MAX_SHAPE = 2 * 32 + 4;

  private final ZipFile zip;
  private final Map<String, ZipEntry> entries = new HashMap<>();

  /**
   * Opens a zip and checks its contents.
   *
   * @param more entries that it may have in addition to a network's
   * @throws IOException if it is not a zip, has other entries, or has no network; the message lacks
   *     the file's name
   */
  public NetworkZip(Path file, Set<String> more) throws IOException {
    zip = new ZipFile(file.toFile());
    try {
      long left = Files.size(file);
      for (ZipEntry entry : Collections.list(zip.entries())) {
        String name = entry.getName();
        // Java takes sizes as the zip's directory has them.
        long packed = entry.getCompressedSize();
        if (packed < 0 || packed > left) {
          throw new IOException("it is damaged: its entries claim to be larger than the file");
        }
        left -= packed;
        if (!NETWORK.contains(name) && !more.contains(name)) {
          throw new IOException(foreign(name));
        }
        if (entries.put(name, entry) != null) {
          throw new IOException("it holds " + name + " twice");
        }
      }
      for (String name :
          List.of(ModelSerializer.CONFIGURATION_JSON, ModelSerializer.COEFFICIENTS_BIN)) {
        if (!entries.containsKey(name)) {
          throw new IOException("it lacks " + name);
        }
      }
    } catch (IOException | RuntimeException e) {
      zip.close();
      throw e;
    }
  }

  private static String foreign(String name) {
    if (name.equals(ModelSerializer.PREPROCESSOR_BIN) || name.startsWith("objects/")) {
      return "it holds %s, a serialized Java object, which is never read: %s"
          .formatted(
              Printable.of(name),
              name.equals(OLD_STATE)
                  ? "the checkpoint is of an older version, which cannot go on"
                  : "save the network alone (ModelSerializer.writeModel)");
    }
    if (name.equals(ModelSerializer.NORMALIZER_BIN)) {
      return "it holds a normalizer (normalizer.bin), which cannot be kept: save the network alone (ModelSerializer.writeModel)";
    }
    return "it holds %s, which is no part of a network: save the network alone (ModelSerializer.writeModel)"
        .formatted(Printable.of(name));
  }

  /**
   * Writes a network and further entries.
   *
   * @param more entries by name
   */
  static void write(MultiLayerNetwork network, Map<String, byte[]> more, OutputStream out)
      throws IOException {
    try (ZipOutputStream zip = new ZipOutputStream(new BufferedOutputStream(out, 1 << 16))) {
      zip.putNextEntry(new ZipEntry(ModelSerializer.CONFIGURATION_JSON));
      zip.write(network.getLayerWiseConfigurations().toJson().getBytes(StandardCharsets.UTF_8));
      write(zip, ModelSerializer.COEFFICIENTS_BIN, network.params());
      INDArray updaterState = network.getUpdater().getStateViewArray();
      if (updaterState != null && updaterState.length() > 0) {
        write(zip, ModelSerializer.UPDATER_BIN, updaterState);
      }
      for (Map.Entry<String, byte[]> entry : more.entrySet()) {
        zip.putNextEntry(new ZipEntry(entry.getKey()));
        zip.write(entry.getValue());
      }
    }
  }

  private static void write(ZipOutputStream zip, String name, INDArray values) throws IOException {
    zip.putNextEntry(new ZipEntry(name));
    DataOutputStream data = new DataOutputStream(new BufferedOutputStream(zip, 1 << 16));
    Nd4j.write(values, data);
    data.flush();
  }

  /** Whether the network is a ComputationGraph. */
  public boolean isGraph() throws IOException {
    return tree(text(ModelSerializer.CONFIGURATION_JSON)).has("vertices");
  }

  /**
   * The network, with the state of its updater if there is one.
   *
   * @throws IOException if an entry is damaged
   * @throws RuntimeException if DL4J cannot make a network from the configuration
   */
  public MultiLayerNetwork network() throws IOException {
    MultiLayerConfiguration configuration =
        MultiLayerConfiguration.fromJson(configuration(MultiLayerConfiguration.class));
    INDArray parameters = values(ModelSerializer.COEFFICIENTS_BIN);
    configuration.setDataType(parameters.dataType());
    MultiLayerNetwork network = new MultiLayerNetwork(configuration);
    network.init(parameters, false);
    if (entries.containsKey(ModelSerializer.UPDATER_BIN)) {
      network.getUpdater().setStateViewArray(network, values(ModelSerializer.UPDATER_BIN), false);
    }
    return network;
  }

  /**
   * The network, without the state of its updater.
   *
   * @throws IOException if an entry is damaged
   * @throws RuntimeException if DL4J cannot make a network from the configuration
   */
  public ComputationGraph graph() throws IOException {
    ComputationGraphConfiguration configuration =
        ComputationGraphConfiguration.fromJson(configuration(ComputationGraphConfiguration.class));
    INDArray parameters = values(ModelSerializer.COEFFICIENTS_BIN);
    configuration.setDataType(parameters.dataType());
    ComputationGraph graph = new ComputationGraph(configuration);
    graph.init(parameters, false);
    return graph;
  }

  /**
   * The configuration's JSON, for DL4J to read.
   *
   * @throws IOException if it names a class that is not allowed
   */
  private String configuration(Class<?> type) throws IOException {
    String text = text(ModelSerializer.CONFIGURATION_JSON);
    requireOwnClasses(tree(text));
    try {
      restricted(JsonMappers.getMapper()).readValue(text, type);
    } catch (InvalidTypeIdException e) {
      if (isDenied(e)) {
        throw foreignClass(e.getTypeId());
      }
      // Of a version before 1.0.0-beta, which DL4J reads by names of its own.
      try {
        restricted(JsonMappers.getLegacyMapper()).readValue(text, type);
      } catch (InvalidTypeIdException old) {
        throw isDenied(old) ? foreignClass(old.getTypeId()) : damagedConfiguration(old);
      } catch (JsonProcessingException old) {
        throw damagedConfiguration(old);
      }
    } catch (JsonProcessingException e) {
      throw damagedConfiguration(e);
    }
    return text;
  }

  /** A copy of DL4J's mapper that checks a class name before it looks for the class. */
  private static ObjectMapper restricted(ObjectMapper mapper) {
    return mapper
        .copy()
        .setPolymorphicTypeValidator(
            new PolymorphicTypeValidator.Base() {
              private static final long serialVersionUID = 1;

              @Override
              public Validity validateSubClassName(
                  MapperConfig<?> config, JavaType base, String name) {
                return isOwn(name) ? Validity.ALLOWED : Validity.DENIED;
              }
            });
  }

  private static boolean isOwn(String className) {
    return PACKAGES.stream().anyMatch(className::startsWith);
  }

  private static boolean isDenied(InvalidTypeIdException e) {
    return e.getTypeId() != null && !isOwn(e.getTypeId()) && e.getMessage().contains("denie");
  }

  /**
   * Checks class names itself, since DL4J reads some parts of a configuration with a mapper that
   * cannot check them.
   */
  private static void requireOwnClasses(JsonNode node) throws IOException {
    // Jackson loads the class that an array begins with before it sees what follows.
    JsonNode name = node.isArray() ? node.get(0) : node.get("@class");
    if (name != null && name.isTextual()) {
      boolean isTyped = node.isObject() || node.size() == 2 && !node.get(1).isTextual();
      if (isTyped && !isOwn(name.asText()) || namesForeignClass(name.asText())) {
        throw foreignClass(name.asText());
      }
    }
    for (JsonNode child : node) {
      requireOwnClasses(child);
    }
  }

  /** Whether a class of that name is there, without loading it: names of layers may have dots. */
  private static boolean namesForeignClass(String text) {
    ClassLoader classes = NetworkZip.class.getClassLoader();
    return CLASS_NAME
        .matcher(text)
        .results()
        .map(MatchResult::group)
        .anyMatch(
            name -> !isOwn(name) && classes.getResource(name.replace('.', '/') + ".class") != null);
  }

  private static IOException foreignClass(String name) {
    return new IOException(
        "%s names the class %s: only classes of DL4J, ND4J and multibit are taken"
            .formatted(ModelSerializer.CONFIGURATION_JSON, Printable.of(name)));
  }

  private static IOException damagedConfiguration(JsonProcessingException e) {
    return damaged(ModelSerializer.CONFIGURATION_JSON, e);
  }

  /** The exception for an entry that is not the expected JSON. */
  static IOException damaged(String name, JsonProcessingException e) {
    String reason = e.getOriginalMessage().lines().findFirst().orElse("");
    return new IOException("%s is damaged: %s".formatted(name, Printable.of(reason)), e);
  }

  /** The tree of a configuration. */
  private static JsonNode tree(String configuration) throws IOException {
    try {
      return Json.parse(configuration);
    } catch (JsonProcessingException e) {
      throw damagedConfiguration(e);
    }
  }

  /**
   * An entry's text.
   *
   * @throws IOException if there is no such entry, or it is larger than that of any network
   */
  String text(String name) throws IOException {
    if (!entries.containsKey(name)) {
      throw new IOException("it lacks " + name);
    }
    try (InputStream in = zip.getInputStream(entries.get(name))) {
      byte[] text = in.readNBytes(MAX_JSON + 1);
      if (text.length > MAX_JSON) {
        throw new IOException("%s is larger than %s bytes".formatted(name, MAX_JSON));
      }
      return new String(text, StandardCharsets.UTF_8);
    }
  }

  /**
   * An entry of values that the caller reads step by step.
   *
   * @param bytes the number of bytes that the caller needs
   * @throws IOException if there is no such entry, or it cannot have that many bytes
   */
  DataInputStream open(String name, long bytes) throws IOException {
    ZipEntry entry = entries.get(name);
    if (entry == null || bytes > entry.getSize()) {
      throw new IOException("it lacks values: %s bytes of %s".formatted(bytes, name));
    }
    if (!Unpacking.isPlausible(bytes, entry.getCompressedSize())) {
      throw new IOException(
          "%s has %s bytes of values, packed into %s: that is no network"
              .formatted(name, Long.toUnsignedString(bytes), entry.getCompressedSize()));
    }
    return new DataInputStream(new BufferedInputStream(zip.getInputStream(entry), 1 << 16));
  }

  /**
   * Reads the format of {@code Nd4j.write}: the description of a shape, then values, each with a
   * header.
   */
  private INDArray values(String name) throws IOException {
    try (DataInputStream in = open(name, entries.get(name).getSize())) {
      Header shape = new Header(in);
      if (shape.length < 4
          || shape.length > MAX_SHAPE
          || shape.type != DataType.LONG && shape.type != DataType.INT) {
        throw new IOException(name + " is damaged: it describes no shape");
      }
      in.skipNBytes(shape.length * shape.type.width());
      Header values = new Header(in);
      if (!Set.of(DataType.FLOAT, DataType.DOUBLE, DataType.HALF).contains(values.type)) {
        throw new IOException("%s holds values of type %s".formatted(name, values.type));
      }
      // Memory is taken only for values that are there.
      long bytes = values.length * values.type.width();
      if (values.length < 1
          || values.length > Integer.MAX_VALUE / Double.BYTES
          || bytes > entries.get(name).getSize()) {
        throw new IOException(
            "%s is damaged: it claims to have %s values in %s bytes"
                .formatted(name, values.length, entries.get(name).getSize()));
      }
      INDArray array = read(in, (int) values.length, values.type);
      if (array.isNaN().any() || array.isInfinite().any()) {
        throw new IOException(
            name + " holds NaN or infinite values: the network has diverged or is damaged");
      }
      if (in.read() >= 0) {
        throw new IOException(name + " is damaged: it runs on after its values");
      }
      return array;
    } catch (EOFException e) {
      throw new IOException(name + " is damaged: it ends within its values", e);
    }
  }

  private static INDArray read(DataInputStream in, int count, DataType type) throws IOException {
    if (type == DataType.DOUBLE) {
      double[] values = new double[count];
      for (int i = 0; i < count; i++) {
        values[i] = in.readDouble();
      }
      return Nd4j.createFromArray(values);
    }
    INDArray array = Nd4j.createUninitialized(DataType.FLOAT, count);
    FloatBuffer floats = FloatRows.of(array);
    byte[] chunk = new byte[(1 << 16) / type.width() * type.width()];
    while (floats.hasRemaining()) {
      int bytes = (int) Math.min(chunk.length, (long) floats.remaining() * type.width());
      in.readFully(chunk, 0, bytes);
      ByteBuffer read = ByteBuffer.wrap(chunk, 0, bytes);
      if (type == DataType.FLOAT) {
        floats.put(read.asFloatBuffer());
      } else {
        while (read.hasRemaining()) {
          floats.put(HalfIndexer.toFloat(read.getShort()));
        }
      }
    }
    Reference.reachabilityFence(array);
    return array;
  }

  /** The header of an ND4J buffer: how it was allocated, its length, its type. */
  private static final class Header {
    final long length;
    final DataType type;

    Header(DataInputStream in) throws IOException {
      String allocation = in.readUTF();
      // Older versions' modes have an int for the length.
      length =
          Set.of("DIRECT", "HEAP", "JAVACPP").contains(allocation) ? in.readInt() : in.readLong();
      String name = in.readUTF();
      try {
        type = DataType.valueOf(name);
      } catch (IllegalArgumentException e) {
        throw new IOException("it holds values of the unknown type " + Printable.of(name), e);
      }
    }
  }

  @Override
  public void close() throws IOException {
    zip.close();
  }
}

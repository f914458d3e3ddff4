package org.multibit.training;

import java.io.Closeable;
import java.io.IOException;
import java.lang.ref.Reference;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.stream.Stream;
import org.deeplearning4j.nn.multilayer.MultiLayerNetwork;
import org.multibit.core.Printable;
import org.multibit.core.format.AtomicFile;
import org.multibit.core.format.LanguageModelFile;
import org.multibit.datasets.TextCorpus;
import org.multibit.datasets.Vocabulary;
import org.multibit.layers.FloatRows;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.nd4j.linalg.indexing.NDArrayIndex;
import org.nd4j.shade.jackson.databind.JsonNode;

/**
 * The folder of a training run: {@code settings.json}, {@code vocabulary.txt}, {@code
 * checkpoint.zip} (from which training continues), {@code model.zip} (the best model on the
 * validation text so far, an ordinary DL4J zip) and {@code ledger.jsonl}.
 */
public final class Run implements SavedModel {
  /**
   * Settings that may change when a run continues: how long it takes, and the places of its text
   * and its models, which are identified by their SHA-256.
   */
  public static final Set<String> MAY_CHANGE =
      Set.of("epochs", "maxTokens", "data", "parent", "teachers");

  private static final String LOCK = ".lock";

  /** The largest number of characters of the reason in a message about a damaged file. */
  private static final int LONGEST_REASON = 300;

  /** Runs that this process trains. Closing a second lock on a file would release the first. */
  private static final Set<Path> LOCKED = ConcurrentHashMap.newKeySet();

  /** The number of floats to hash at once, since a large model does not fit into one buffer. */
  private static final int HASHED_AT_ONCE = 1 << 16;

  private static final int MAX_SETTINGS = 1 << 20;

  private final Path folder;

  /** Whether {@link #create} made the folder, which was not there. */
  private final boolean isFolderNew;

  private Run(Path folder, boolean isFolderNew) {
    this.folder = folder;
    this.isFolderNew = isFolderNew;
  }

  /**
   * Creates a new run.
   *
   * @throws IOException if the folder is not empty or not writable
   */
  public static Run create(Path folder, Settings settings, Vocabulary vocabulary)
      throws IOException {
    if (Files.exists(folder) && !isEmptyFolder(folder)) {
      throw new IOException(
          exists(folder)
              ? "%s exists already: choose another --out, or go on with that run by --resume"
                  .formatted(folder)
              : "%s exists already and is no run: choose another --out".formatted(folder));
    }
    boolean isFolderNew = !Files.exists(folder);
    AtomicFile.createFolder(folder);
    Run run = new Run(folder, isFolderNew);
    vocabulary.save(run.vocabularyFile());
    // The settings come last: a folder with settings is a run.
    run.saveSettings(settings);
    return run;
  }

  /**
   * Removes the files of a run without a checkpoint, and its folder if the run made it and it has
   * no other files. Only the holder of its lock may call this.
   */
  public void removeIfUntrained() throws IOException {
    if (hasCheckpoint() || Files.exists(modelFile())) {
      return;
    }
    for (Path file :
        List.of(settingsFile(), vocabularyFile(), ledgerFile(), folder.resolve(LOCK))) {
      Files.deleteIfExists(file);
    }
    if (!isFolderNew) {
      return;
    }
    try (Stream<Path> others = Files.list(folder)) {
      if (others.findAny().isPresent()) {
        return;
      }
    }
    Files.delete(folder);
  }

  /** Whether the folder has a run that can continue. */
  public static boolean exists(Path folder) {
    return Files.isRegularFile(new Run(folder, false).settingsFile());
  }

  /**
   * Opens an existing run.
   *
   * @throws IOException if the folder has no run
   */
  public static Run open(Path folder) throws IOException {
    if (Files.isRegularFile(folder)) {
      throw new IOException(folder + " is a file: give the folder of a run");
    }
    if (!Files.isDirectory(folder)) {
      throw new IOException("There is no run " + folder);
    }
    if (!exists(folder)) {
      throw new IOException("%s is not a run: it has no settings.json".formatted(folder));
    }
    return new Run(folder, false);
  }

  /**
   * Opens a run to continue it.
   *
   * @param settings the new settings; only those in {@link #MAY_CHANGE} may differ
   * @throws IOException if the run was started with other settings; the message names the first one
   *     that differs
   */
  public static Run resume(Path folder, Settings settings) throws IOException {
    Run run = open(folder);
    run.requireSame(settings);
    return run;
  }

  /**
   * Prevents other code, in this and in other processes, from training the same run until the lock
   * is closed.
   *
   * @throws IOException if the run is being trained now
   */
  public Closeable lock() throws IOException {
    Path trained = folder.toRealPath();
    if (!LOCKED.add(trained)) {
      throw isBeingTrained();
    }
    FileChannel channel = null;
    boolean locked = false;
    try {
      channel =
          FileChannel.open(
              folder.resolve(LOCK), StandardOpenOption.CREATE, StandardOpenOption.WRITE);
      if (channel.tryLock() == null) {
        throw isBeingTrained();
      }
      AtomicFile.removeStale(folder);
      locked = true;
      return unlock(channel, trained);
    } finally {
      if (!locked) {
        unlock(channel, trained).close();
      }
    }
  }

  /**
   * @param channel that has the lock; null if it could not be opened
   */
  private static Closeable unlock(FileChannel channel, Path trained) {
    return () -> {
      try {
        if (channel != null) {
          channel.close();
        }
      } finally {
        LOCKED.remove(trained);
      }
    };
  }

  private IOException isBeingTrained() {
    return new IOException(folder + " is being trained already: wait for that or stop it");
  }

  private static boolean isEmptyFolder(Path folder) throws IOException {
    if (!Files.isDirectory(folder)) {
      return false;
    }
    // A run that was killed before its settings were written holds at most its vocabulary.
    try (Stream<Path> files = Files.list(folder)) {
      return files.allMatch(
          file -> file.endsWith("vocabulary.txt") || AtomicFile.isTemporary(file));
    }
  }

  @Override
  public Path path() {
    return folder;
  }

  private Path settingsFile() {
    return folder.resolve("settings.json");
  }

  private Path vocabularyFile() {
    return folder.resolve("vocabulary.txt");
  }

  Path modelFile() {
    return folder.resolve("model.zip");
  }

  Path checkpointFile() {
    return folder.resolve("checkpoint.zip");
  }

  public Path ledgerFile() {
    return folder.resolve("ledger.jsonl");
  }

  @Override
  public Settings settings() throws IOException {
    String text = Utf8.read(settingsFile(), MAX_SETTINGS);
    try {
      Settings settings = Json.parse(text, Settings.class);
      settings.check();
      return settings;
    } catch (IOException | UsageException e) {
      throw new IOException("%s cannot be read: %s".formatted(settingsFile(), firstLine(e)), e);
    }
  }

  void saveSettings(Settings settings) throws IOException {
    AtomicFile.write(settingsFile(), Json.pretty(settings) + "\n");
  }

  @Override
  public Vocabulary vocabulary() throws IOException {
    return Vocabulary.load(vocabularyFile());
  }

  private void requireSame(Settings wanted) throws IOException {
    Optional<String> difference = settings().difference(wanted, MAY_CHANGE);
    if (difference.isPresent()) {
      throw new IOException(
          "Cannot resume %s: it was started with %s; give what it was started with, or another folder"
              .formatted(folder, difference.get()));
    }
  }

  /**
   * @throws IOException if the corpus has other words than the run's model
   */
  public void requireVocabulary(TextCorpus corpus) throws IOException {
    requireSameWords(vocabulary().words(), corpus, folder);
  }

  /** The best model, packed, with the run's provenance. */
  @Override
  public LanguageModelFile pack() throws IOException {
    return pack(Map.of());
  }

  /**
   * @param more further provenance, for example a test perplexity
   */
  public LanguageModelFile pack(Map<String, Object> more) throws IOException {
    Map<String, Object> provenance = Provenance.of(settings(), ledger());
    provenance.putAll(more);
    return new PackedExport(model()).pack(vocabulary(), provenance);
  }

  /** The lines of the ledger, one per epoch. */
  public List<JsonNode> ledger() throws IOException {
    return Ledger.read(ledgerFile());
  }

  /** Whether its settings leave nothing to train. */
  public boolean isOver() throws IOException {
    return hasCheckpoint() && checkpointState().isOver(settings());
  }

  /**
   * The best model so far.
   *
   * @throws IOException if no epoch is finished or the file is damaged
   */
  @Override
  public MultiLayerNetwork model() throws IOException {
    if (!Files.exists(modelFile())) {
      throw new IOException(
          "%s has no model yet: let it train until its first validation".formatted(folder));
    }
    MultiLayerNetwork network = load(modelFile());
    long words = network.layerInputSize(PackedExport.EMBEDDING);
    if (words != vocabulary().size()) {
      throw new IOException(
          "%s has %s words, the model %s %s: it is not the vocabulary that the run was started with"
              .formatted(vocabularyFile(), vocabulary().size(), modelFile(), words));
    }
    return network;
  }

  void saveModel(MultiLayerNetwork network) throws IOException {
    AtomicFile.write(modelFile(), out -> NetworkZip.write(network, Map.of(), out));
  }

  void saveCheckpoint(MultiLayerNetwork network, TrainingState state) throws IOException {
    AtomicFile.write(checkpointFile(), out -> NetworkZip.write(network, state.entries(), out));
  }

  /** Whether training can continue from a checkpoint. */
  public boolean hasCheckpoint() {
    return Files.exists(checkpointFile());
  }

  /**
   * The network of the checkpoint.
   *
   * @throws IOException if there is no checkpoint, or it is damaged
   */
  public MultiLayerNetwork checkpointNetwork() throws IOException {
    return load(checkpointFile());
  }

  TrainingState checkpointState() throws IOException {
    try (NetworkZip zip = new NetworkZip(checkpointFile(), TrainingState.ENTRIES)) {
      return TrainingState.of(zip);
    } catch (IOException | RuntimeException e) {
      throw damaged(checkpointFile(), e);
    }
  }

  private static MultiLayerNetwork load(Path file) throws IOException {
    try (NetworkZip zip = new NetworkZip(file, TrainingState.ENTRIES)) {
      return zip.network();
    } catch (IOException | RuntimeException e) {
      throw damaged(file, e);
    }
  }

  IOException damagedCheckpoint(Exception e) {
    return damaged(checkpointFile(), e);
  }

  private static IOException damaged(Path file, Exception e) {
    return new IOException(
        "%s is damaged (%s): bring back a copy of it; without one the run is to be trained anew, in another folder"
            .formatted(file, firstLine(e)),
        e);
  }

  private static String firstLine(Exception e) {
    String message = e.getMessage() == null ? e.toString() : e.getMessage();
    return Printable.of(message.lines().findFirst().orElse(""), LONGEST_REASON);
  }

  /**
   * @throws IOException if a model's words differ from the corpus's; the message has the first
   *     difference
   */
  public static void requireSameWords(List<String> words, TextCorpus corpus, Path model)
      throws IOException {
    List<String> others = corpus.vocabulary().words();
    int i = 0;
    while (i < words.size() && i < others.size() && words.get(i).equals(others.get(i))) {
      i++;
    }
    if (i < words.size() || i < others.size()) {
      throw new IOException(
          "The vocabulary of %s (%s words) does not fit the model %s (%s words): they differ from word %s on; use the text that the model was trained on"
              .formatted(corpus.name(), others.size(), model, words.size(), i));
    }
  }

  /** SHA-256 of all parameters as little-endian floats, in DL4J's order. */
  public static String weightsSha256(MultiLayerNetwork network) {
    try {
      MessageDigest digest = MessageDigest.getInstance("SHA-256");
      INDArray params = network.params().reshape(network.numParams());
      ByteBuffer bytes =
          ByteBuffer.allocate(Float.BYTES * HASHED_AT_ONCE).order(ByteOrder.LITTLE_ENDIAN);
      for (long from = 0; from < params.length(); from += HASHED_AT_ONCE) {
        long to = Math.min(params.length(), from + HASHED_AT_ONCE);
        bytes
            .clear()
            .asFloatBuffer()
            .put(FloatRows.of(params.get(NDArrayIndex.interval(from, to))));
        digest.update(bytes.limit(Math.toIntExact(Float.BYTES * (to - from))));
      }
      Reference.reachabilityFence(params);
      return HexFormat.of().formatHex(digest.digest());
    } catch (NoSuchAlgorithmException e) {
      throw new IllegalStateException("Every Java platform has SHA-256", e);
    }
  }
}

package org.multibit.training;

import java.io.DataInputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.nd4j.shade.jackson.annotation.JsonAutoDetect;
import org.nd4j.shade.jackson.annotation.JsonIgnore;
import org.nd4j.shade.jackson.core.JsonProcessingException;

/**
 * The state of a run. Together with the network it has all that is needed to continue to the bit.
 * In a checkpoint it is JSON, plus the floats of its arrays one after the other, little-endian.
 */
@JsonAutoDetect(
    fieldVisibility = JsonAutoDetect.Visibility.NON_PRIVATE,
    getterVisibility = JsonAutoDetect.Visibility.NONE,
    isGetterVisibility = JsonAutoDetect.Visibility.NONE,
    creatorVisibility = JsonAutoDetect.Visibility.ANY)
final class TrainingState {
  private static final String JSON = "trainingState.json";
  private static final String FLOATS = "trainingState.f32";

  /** The entries of a checkpoint in addition to the network's. */
  static final Set<String> ENTRIES = Set.of(JSON, FLOATS);

  /** Finished epochs. */
  int epochs;

  /** Finished segments of the current epoch. */
  int segments;

  /** Tokens trained on since the run started. */
  long tokens;

  /** Tokens of the current epoch, and their summed loss. */
  long epochTokens;

  double epochLoss;

  /** Seconds spent on the current epoch, and on the whole run. */
  double epochSeconds;

  double seconds;

  double learningRate;

  /** The best validation perplexity of a whole epoch so far, which the learning rate follows. */
  double bestValidation = Double.POSITIVE_INFINITY;

  /** The validation perplexity of the saved model, which may be from a paused epoch. */
  double savedValidation = Double.POSITIVE_INFINITY;

  /**
   * h and, for LSTMs, c of each recurrent layer after the last segment, [B, H] row-major; null at
   * the start of an epoch.
   */
  @JsonIgnore float[][][] model;

  /** The same for the teachers of the run; also null if there are none. */
  @JsonIgnore float[][][] teachers;

  /** The average of the weights and the number of its steps; null if the run has no average. */
  @JsonIgnore float[] average;

  long averagedSteps;

  /** Lengths of the arrays above; null if the array is null. */
  int[][] modelLengths;

  int[][] teachersLengths;

  Integer averageLength;

  /** For JSON. */
  private TrainingState() {}

  TrainingState(double learningRate) {
    this.learningRate = learningRate;
  }

  /** The state as entries of a zip. */
  Map<String, byte[]> entries() {
    modelLengths = lengths(model);
    teachersLengths = lengths(teachers);
    averageLength = average == null ? null : average.length;
    List<float[]> arrays = arrays();
    ByteBuffer floats =
        ByteBuffer.allocate(Float.BYTES * arrays.stream().mapToInt(a -> a.length).sum())
            .order(ByteOrder.LITTLE_ENDIAN);
    for (float[] array : arrays) {
      for (float value : array) {
        floats.putFloat(value);
      }
    }
    return Map.of(JSON, Json.exact(this).getBytes(StandardCharsets.UTF_8), FLOATS, floats.array());
  }

  /**
   * Reads the state in a checkpoint.
   *
   * @throws IOException if it is missing or damaged; the message lacks the file's name
   */
  static TrainingState of(NetworkZip checkpoint) throws IOException {
    TrainingState state;
    try {
      state = Json.parse(checkpoint.text(JSON), TrainingState.class);
    } catch (JsonProcessingException e) {
      throw NetworkZip.damaged(JSON, e);
    }
    if (state.epochs < 0
        || state.segments < 0
        || state.tokens < 0
        || !(state.learningRate >= 0)
        || state.segments > 0 && state.modelLengths == null) {
      throw new IOException(JSON + " is damaged: it counts what cannot be");
    }
    long count = state.averageLength == null ? 0 : state.averageLength;
    for (int[][] lengths : new int[][][] {state.modelLengths, state.teachersLengths}) {
      for (int[] layer : lengths == null ? new int[0][] : lengths) {
        for (int length : layer) {
          count += Integer.toUnsignedLong(length);
        }
      }
    }
    try (DataInputStream in = checkpoint.open(FLOATS, Float.BYTES * count)) {
      state.model = floats(in, state.modelLengths);
      state.teachers = floats(in, state.teachersLengths);
      state.average = state.averageLength == null ? null : floats(in, state.averageLength);
    }
    return state;
  }

  private static int[][] lengths(float[][][] ofLayers) {
    return ofLayers == null
        ? null
        : Arrays.stream(ofLayers)
            .map(states -> Arrays.stream(states).mapToInt(state -> state.length).toArray())
            .toArray(int[][]::new);
  }

  /** All arrays, in the order of the file. */
  private List<float[]> arrays() {
    List<float[]> arrays = new ArrayList<>();
    for (float[][][] ofLayers : new float[][][][] {model, teachers}) {
      for (float[][] states : ofLayers == null ? new float[0][][] : ofLayers) {
        arrays.addAll(Arrays.asList(states));
      }
    }
    if (average != null) {
      arrays.add(average);
    }
    return arrays;
  }

  private static float[][][] floats(DataInputStream in, int[][] lengths) throws IOException {
    if (lengths == null) {
      return null;
    }
    float[][][] ofLayers = new float[lengths.length][][];
    for (int l = 0; l < lengths.length; l++) {
      ofLayers[l] = new float[lengths[l].length][];
      for (int s = 0; s < lengths[l].length; s++) {
        ofLayers[l][s] = floats(in, lengths[l][s]);
      }
    }
    return ofLayers;
  }

  private static float[] floats(DataInputStream in, int length) throws IOException {
    byte[] bytes = in.readNBytes(Math.multiplyExact(Float.BYTES, length));
    if (bytes.length < Float.BYTES * length) {
      throw new IOException(FLOATS + " is damaged: it ends within its values");
    }
    float[] floats = new float[length];
    ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN).asFloatBuffer().get(floats);
    return floats;
  }

  /** Whether nothing is left to train. */
  boolean isOver(Settings settings) {
    return settings.areOver(epochs, learningRate);
  }

  void startEpoch() {
    segments = 0;
    epochTokens = 0;
    epochLoss = 0;
    epochSeconds = 0;
    model = null;
    teachers = null;
  }
}

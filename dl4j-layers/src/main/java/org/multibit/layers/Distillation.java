package org.multibit.layers;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.deeplearning4j.nn.api.Layer;
import org.deeplearning4j.nn.api.layers.RecurrentLayer;
import org.deeplearning4j.nn.multilayer.MultiLayerNetwork;
import org.deeplearning4j.nn.params.DefaultParamInitializer;
import org.deeplearning4j.nn.workspace.LayerWorkspaceMgr;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.nd4j.linalg.dataset.api.DataSet;
import org.nd4j.linalg.dataset.api.DataSetPreProcessor;
import org.nd4j.linalg.factory.Nd4j;

/**
 * Distillation (Hinton, Vinyals and Dean 2015, "Distilling the Knowledge in a Neural Network",
 * section 2): in training, a student learns from the labels and from a teacher's predictions for
 * the same text. With a weight w and a temperature T its loss is {@code (1-w) cross-entropy + w T^2
 * KL(softmax(teacher/T) || softmax(student/T))}. Outside of training (evaluation, scores of
 * inference) the loss is the cross-entropy alone. Several teachers act as one whose logits are the
 * mean of theirs (section 1: the geometric mean of their predictions).
 *
 * <p>It is the pre-processor of the training data. It runs each teacher over a segment up to its
 * softmax, without dropout and with the state carried from segment to segment. It appends the
 * hidden states to the labels, which grow from [B, 1, T] to [B, 1 + H, T]. From these the student's
 * output layer computes the teacher's logits some rows at a time, so soft targets [B, V, T] never
 * exist.
 *
 * <pre>{@code
 * Distillation distillation = new Distillation(teacher, 0.5, 2);
 * distillation.applyTo(student);
 * segments.setPreProcessor(distillation);
 * student.fit(segments);
 * }</pre>
 *
 * <p>It is not part of the student's configuration and is not saved with it.
 */
public final class Distillation implements DataSetPreProcessor {
  private static final long serialVersionUID = 1;

  /** The layers of each teacher, except its softmax. */
  private final List<Layer[]> hiddenLayers = new ArrayList<>();

  private final SoftTargets targets;

  /** Distillation from one teacher; see {@link #Distillation(List, double, double)}. */
  public Distillation(MultiLayerNetwork teacher, double weight, double temperature) {
    this(List.of(teacher), weight, temperature);
  }

  /**
   * @param teachers networks with the same vocabulary and data type, which must not change while
   *     the student learns. The last layer of each is a full-precision {@link
   *     QuantizedSoftmaxOutput}; its recurrent layers are {@link QuantizedRecurrent}.
   * @param weight the weight w of the teachers, from 0 to 1
   * @param temperature T, above 0
   * @throws IllegalArgumentException if one of these conditions does not hold
   */
  public Distillation(List<MultiLayerNetwork> teachers, double weight, double temperature) {
    if (teachers.isEmpty()) {
      throw new IllegalArgumentException("Distillation needs a teacher");
    }
    if (!(weight >= 0 && weight <= 1)) {
      throw new IllegalArgumentException(
          "The teacher's weight is from 0 to 1, not %s".formatted(weight));
    }
    if (!(temperature > 0 && Double.isFinite(temperature))) {
      throw new IllegalArgumentException(
          "The temperature of distillation is above 0, not %s".formatted(temperature));
    }
    List<INDArray> matrices = new ArrayList<>();
    List<INDArray> biases = new ArrayList<>();
    for (MultiLayerNetwork teacher : teachers) {
      QuantizedSoftmaxOutputLayer softmax = softmax(teacher);
      hiddenLayers.add(Arrays.copyOf(teacher.getLayers(), teacher.getnLayers() - 1));
      INDArray matrix = softmax.getParam(DefaultParamInitializer.WEIGHT_KEY).transpose();
      if (!matrices.isEmpty() && matrix.size(0) != matrices.get(0).size(0)) {
        throw new IllegalArgumentException(
            "Teachers share a vocabulary, but one has %s words, another %s"
                .formatted(matrices.get(0).size(0), matrix.size(0)));
      }
      if (!matrices.isEmpty() && matrix.dataType() != matrices.get(0).dataType()) {
        throw new IllegalArgumentException(
            "Teachers compute in one data type, but one in %s, another in %s"
                .formatted(matrices.get(0).dataType(), matrix.dataType()));
      }
      matrices.add(matrix);
      biases.add(
          softmax.hasBias()
              ? softmax.getParam(DefaultParamInitializer.BIAS_KEY).reshape(1, matrix.size(0))
              : Nd4j.zeros(matrix.dataType(), 1, matrix.size(0)));
    }
    targets = new SoftTargets(mean(1, matrices), mean(0, biases).sum(true, 0), weight, temperature);
  }

  /** The teachers' shares of the mean, concatenated along a dimension. */
  private static INDArray mean(int dimension, List<INDArray> ofTeachers) {
    if (ofTeachers.size() == 1) {
      return ofTeachers.get(0);
    }
    return Nd4j.concat(dimension, ofTeachers.toArray(INDArray[]::new))
        .divi(ofTeachers.size())
        .dup('c');
  }

  private static QuantizedSoftmaxOutputLayer softmax(MultiLayerNetwork teacher) {
    Layer[] layers = teacher.getLayers();
    for (Layer layer : layers) {
      if (layer instanceof RecurrentLayer && !(layer instanceof QuantizedRecurrentLayer)) {
        throw new IllegalArgumentException(
            "The teacher's layer %s is a %s: convert the network by NetworkQuantizer first"
                .formatted(layer.getIndex(), layer.getClass().getSimpleName()));
      }
    }
    if (!(layers[layers.length - 1] instanceof QuantizedSoftmaxOutputLayer output)
        || output.layerConf().getWeightQuantization() != null
        || output.layerConf().getActivationQuantization() != null) {
      throw new IllegalArgumentException(
          "The teacher ends in %s, not in a full-precision QuantizedSoftmaxOutput"
              .formatted(layers[layers.length - 1].conf().getLayer()));
    }
    return output;
  }

  /**
   * Makes the student's output layer also learn from the teacher, in every later {@code fit}.
   *
   * @throws IllegalArgumentException if the student's last layer is not a {@link
   *     QuantizedSoftmaxOutput} with the teacher's classes and data type
   */
  public void applyTo(MultiLayerNetwork student) {
    if (!(student.getOutputLayer() instanceof QuantizedSoftmaxOutputLayer output)) {
      throw new IllegalArgumentException("The student does not end in a QuantizedSoftmaxOutput");
    }
    if (output.layerConf().getNOut() != targets.classes()) {
      throw new IllegalArgumentException(
          "The teacher's vocabulary has %s words, the student's %s"
              .formatted(targets.classes(), output.layerConf().getNOut()));
    }
    if (output.getParam(DefaultParamInitializer.WEIGHT_KEY).dataType() != targets.dataType()) {
      throw new IllegalArgumentException(
          "The teacher computes in %s, the student does not".formatted(targets.dataType()));
    }
    output.setSoftTargets(targets);
  }

  /** Appends the teachers' hidden states of a segment to its labels. */
  @Override
  public void preProcess(DataSet segment) {
    List<INDArray> rows = new ArrayList<>();
    rows.add(segment.getLabels().castTo(targets.dataType()));
    hiddenLayers.forEach(layers -> rows.add(hidden(layers, segment.getFeatures())));
    segment.setLabels(Nd4j.concat(1, rows.toArray(INDArray[]::new)));
  }

  private static INDArray hidden(Layer[] layers, INDArray features) {
    INDArray hidden = features;
    LayerWorkspaceMgr none = LayerWorkspaceMgr.noWorkspaces();
    for (Layer layer : layers) {
      hidden =
          layer instanceof QuantizedRecurrentLayer recurrent
              ? recurrent.rnnTimeStep(hidden, none)
              : layer.activate(hidden, false, none);
    }
    return hidden;
  }

  /**
   * The states from which the teachers' next segment starts: for each of their recurrent layers,
   * the state that {@link QuantizedRecurrentLayer#getCarriedState} describes.
   */
  public List<INDArray[]> getTeacherState() {
    return recurrentLayers().stream().map(QuantizedRecurrentLayer::timeStepState).toList();
  }

  /**
   * @param states as {@link #getTeacherState} returns them
   */
  public void setTeacherState(List<INDArray[]> states) {
    List<QuantizedRecurrentLayer> layers = recurrentLayers();
    for (int l = 0; l < layers.size(); l++) {
      layers.get(l).setTimeStepState(states.get(l));
    }
  }

  /** Makes the teachers' next segment start from zeros. */
  public void clearTeacherState() {
    recurrentLayers().forEach(layer -> layer.setTimeStepState(null));
  }

  private List<QuantizedRecurrentLayer> recurrentLayers() {
    return hiddenLayers.stream()
        .flatMap(Arrays::stream)
        .filter(QuantizedRecurrentLayer.class::isInstance)
        .map(QuantizedRecurrentLayer.class::cast)
        .toList();
  }
}

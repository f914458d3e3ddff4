package org.multibit.layers;

import java.lang.ref.Reference;
import java.nio.FloatBuffer;
import java.util.HashMap;
import java.util.Map;
import java.util.WeakHashMap;
import org.deeplearning4j.exception.DL4JInvalidConfigException;
import org.deeplearning4j.nn.api.Layer;
import org.deeplearning4j.nn.conf.weightnoise.IWeightNoise;
import org.deeplearning4j.nn.workspace.LayerWorkspaceMgr;
import org.multibit.core.Quantization;
import org.nd4j.linalg.api.buffer.DataType;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.nd4j.linalg.factory.Nd4j;
import org.nd4j.shade.jackson.annotation.JsonProperty;

/**
 * Quantizes the weights of DL4J's own layers, in training and in inference, while activations stay
 * full precision. Set it with {@code weightNoise(new WeightQuantization(...))}. The gradient goes
 * straight through to the latent weights, which are the ones that are saved.
 *
 * <p>The weights of each unit are quantized separately: the columns of a matrix [nIn, nOut], or the
 * slices along the first dimension of an array with more dimensions. Biases do not change, nor do
 * embeddings, whose layers take no weight noise.
 */
public class WeightQuantization implements IWeightNoise {
  private static final long serialVersionUID = 1;

  @QuantizationJson private final Quantization quantization;

  /** By layer and parameter. */
  private transient Map<Layer, Map<String, Quantized>> known = new WeakHashMap<>();

  /**
   * Weights, and what they were quantized to.
   *
   * @param latent as they were then
   * @param rows a unit's weights each
   * @param view rows in the parameter's own shape
   */
  private record Quantized(FloatBuffer latent, INDArray rows, INDArray view) {}

  public WeightQuantization(@JsonProperty("quantization") Quantization quantization) {
    if (quantization == null) {
      throw new IllegalArgumentException("WeightQuantization needs a quantization");
    }
    this.quantization = quantization;
  }

  @JsonProperty("quantization")
  public Quantization quantization() {
    return quantization;
  }

  @Override
  public INDArray getParameter(
      Layer layer,
      String paramKey,
      int iteration,
      int epoch,
      boolean train,
      LayerWorkspaceMgr workspaceMgr) {
    INDArray param = layer.getParam(paramKey);
    var conf = layer.conf().getLayer();
    if (!conf.initializer().isWeightParam(conf, paramKey) || param.rank() < 2) {
      return param;
    }
    if (param.dataType() != DataType.FLOAT) {
      throw new DL4JInvalidConfigException(
          "WeightQuantization quantizes in FLOAT, but parameter %s of layer %s is %s: set dataType(DataType.FLOAT)"
              .formatted(paramKey, layer.getIndex(), param.dataType()));
    }
    return quantized(layer, paramKey, param);
  }

  /**
   * Every time step of rnnTimeStep asks: quantized anew only if the weights changed, which nothing
   * but their values tells.
   */
  private synchronized INDArray quantized(Layer layer, String key, INDArray param) {
    if (known == null) {
      known = new WeakHashMap<>();
    }
    INDArray rows =
        param.rank() == 2
            ? param.transpose()
            : param.dup('c').reshape('c', param.size(0), param.length() / param.size(0));
    FloatBuffer latent = FloatRows.of(rows);
    Map<String, Quantized> ofLayer = known.computeIfAbsent(layer, l -> new HashMap<>());
    Quantized before = ofLayer.get(key);
    if (before == null || before.latent.mismatch(latent) >= 0) {
      Quantized now = before == null ? allocate(param, rows) : before;
      try {
        QuantizedArrays.quantize(quantization, rows, now.rows);
      } catch (IllegalArgumentException notFinite) {
        throw new ArithmeticException(
            "Parameter %s of layer %s: %s; training has diverged, use a smaller learning rate"
                .formatted(key, layer.getIndex(), notFinite.getMessage()));
      }
      now.latent.duplicate().put(latent.duplicate());
      ofLayer.put(key, now);
      before = now;
    }
    Reference.reachabilityFence(rows);
    return before.view;
  }

  private static Quantized allocate(INDArray param, INDArray rows) {
    INDArray into = Nd4j.createUninitializedDetached(DataType.FLOAT, 'c', rows.shape());
    return new Quantized(
        FloatBuffer.allocate((int) rows.length()),
        into,
        param.rank() == 2 ? into.transpose() : into.reshape('c', param.shape()));
  }

  @Override
  public WeightQuantization clone() {
    return new WeightQuantization(quantization);
  }

  @Override
  public boolean equals(Object other) {
    return other instanceof WeightQuantization n && n.quantization.equals(quantization);
  }

  @Override
  public int hashCode() {
    return quantization.hashCode();
  }

  @Override
  public String toString() {
    return "WeightQuantization(" + quantization + ")";
  }
}

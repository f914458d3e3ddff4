package org.multibit.benchmarks;

import static org.bytedeco.pytorch.global.torch.clip_grad_norm_;
import static org.bytedeco.pytorch.global.torch.cross_entropy;
import static org.bytedeco.pytorch.global.torch.dropout;

import java.util.LinkedHashMap;
import java.util.Map;
import org.bytedeco.javacpp.Loader;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.mkl.global.mkl_rt;
import org.bytedeco.openblas.presets.openblas_nolapack;
import org.bytedeco.pytorch.EmbeddingImpl;
import org.bytedeco.pytorch.GeneratorOptional;
import org.bytedeco.pytorch.LSTMImpl;
import org.bytedeco.pytorch.LinearImpl;
import org.bytedeco.pytorch.Module;
import org.bytedeco.pytorch.NoGradGuard;
import org.bytedeco.pytorch.SGD;
import org.bytedeco.pytorch.SGDOptions;
import org.bytedeco.pytorch.T_TensorT_TensorTensor_T_T;
import org.bytedeco.pytorch.T_TensorTensor_T;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch;
import org.nd4j.shade.jackson.databind.JsonNode;

/** The model in PyTorch's C++ API. */
final class PyTorchTraining implements BenchmarkedSystem {
  /** Set to mkl for MKL in place of OpenBLAS. */
  static final String BLAS_PROPERTY = "org.bytedeco.openblas.load";

  static boolean isAvailable() {
    return PyTorchTraining.class.getResource(
            "/org/bytedeco/pytorch/%s/libtorch_cpu.so".formatted(Loader.getPlatform()))
        != null;
  }

  PyTorchTraining() {
    Loader.load(openblas_nolapack.class);
    torch.set_num_threads(Runtime.getRuntime().availableProcessors());
    torch.manual_seed(1);
  }

  @Override
  public Map<String, String> describe() throws Exception {
    Map<String, String> description = new LinkedHashMap<>();
    description.put("PyTorch", torch.TORCH_VERSION);
    description.put("threads", "" + torch.get_num_threads());
    if ("mkl".equals(System.getProperty(BLAS_PROPERTY))) {
      description.put("MKL", TrainingTask.version("mkl"));
      try (mkl_rt.MKLVersion version = new mkl_rt.MKLVersion()) {
        mkl_rt.MKL_Get_Version(version);
        description.put("kernels", version.Processor().getString());
      }
    } else {
      description.put("OpenBLAS", TrainingTask.version("openblas"));
    }
    description.put("loaded", TrainingTask.loadedLibraries());
    return description;
  }

  /** Settings: as {@link TrainingTask.Settings}, whose bits are left alone. */
  @Override
  public Task prepare(JsonNode json) {
    return new Training(TrainingTask.Settings.of(json));
  }

  private static final class Training extends TrainingTask {
    private final Settings settings;
    private final int[] text;
    private final EmbeddingImpl embedding;
    private final LSTMImpl lstm;
    private final LinearImpl softmax;
    private final TensorVector parameters = new TensorVector();
    private final SGD sgd;

    /** Carried from segment to segment, detached. */
    private Tensor hidden;

    private Tensor cell;
    private int segment;

    Training(Settings settings) {
      this.settings = settings;
      text = settings.text();
      embedding = new EmbeddingImpl(settings.vocab(), settings.hidden());
      lstm = new LSTMImpl(settings.hidden(), settings.hidden());
      softmax = new LinearImpl(settings.hidden(), settings.vocab());
      initialize(embedding, 0.1);
      initialize(lstm, 1 / Math.sqrt(settings.hidden()));
      initialize(softmax, 0.1);
      sgd = new SGD(parameters, new SGDOptions(settings.learningRate()));
      hidden = torch.zeros(1, settings.batch(), settings.hidden());
      cell = torch.zeros(1, settings.batch(), settings.hidden());
    }

    /** Weights uniform in +-range, biases 0. */
    private void initialize(Module module, double range) {
      // The tensors lie in the vector, which must not be collected before they are copied.
      try (NoGradGuard none = new NoGradGuard();
          TensorVector own = module.parameters()) {
        for (Tensor parameter : own.get()) {
          if (parameter.dim() == 1) {
            parameter.zero_();
          } else {
            parameter.uniform_(-range, range, new GeneratorOptional());
          }
          parameters.push_back(parameter);
        }
      }
    }

    /** The tokens from {@code start} on in each row, [time * batch]. */
    private Tensor tokens(int start) {
      long[] ids = new long[settings.tokens()];
      int row = text.length / settings.batch();
      for (int i = 0; i < ids.length; i++) {
        ids[i] = text[i % settings.batch() * row + start + i / settings.batch()];
      }
      return torch.tensor(ids);
    }

    @Override
    double step() {
      try (PointerScope scope = new PointerScope()) {
        int start = segment++ % SEGMENTS * settings.unroll();
        Tensor words = tokens(start).view(settings.unroll(), settings.batch());
        sgd.zero_grad();
        Tensor x = dropout(embedding.forward(words), settings.dropout(), true);
        T_TensorT_TensorTensor_T_T output = lstm.forward(x, new T_TensorTensor_T(hidden, cell));
        Tensor h = dropout(output.get0(), settings.dropout(), true);
        Tensor logits = softmax.forward(h.view(settings.tokens(), settings.hidden()));
        Tensor loss = cross_entropy(logits, tokens(start + 1));
        loss.backward();
        clip_grad_norm_(parameters, settings.clip());
        sgd.step();
        carry(output.get1());
        return loss.item_double();
      }
    }

    private void carry(T_TensorTensor_T state) {
      Tensor lastHidden = state.get0().detach();
      Tensor lastCell = state.get1().detach();
      // They outlive the step's scope.
      lastHidden.retainReference();
      lastCell.retainReference();
      hidden.deallocate();
      cell.deallocate();
      hidden = lastHidden;
      cell = lastCell;
    }
  }
}

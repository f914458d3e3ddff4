package org.multibit.runtime;

import org.bytedeco.javacpp.BytePointer;
import org.bytedeco.javacpp.DoublePointer;
import org.bytedeco.javacpp.FloatPointer;
import org.bytedeco.javacpp.IntPointer;
import org.bytedeco.javacpp.LongPointer;
import org.bytedeco.javacpp.Pointer;
import org.bytedeco.javacpp.annotation.ByPtrPtr;
import org.bytedeco.javacpp.annotation.Cast;
import org.bytedeco.javacpp.annotation.MemberGetter;
import org.bytedeco.javacpp.annotation.Name;
import org.bytedeco.javacpp.annotation.NoException;
import org.bytedeco.javacpp.annotation.Platform;

/**
 * What native code offers, as it is: multibit.h and kernel_calls.h. Models, sessions, batches and
 * kernels are addresses; strings are bytes that end with a zero. Call {@link NativeLibrary#load}
 * first.
 */
@Platform(
    include = {"multibit.h", "kernel_calls.h"},
    library = "jnimultibit")
@NoException
final class Bindings {
  static final int OK = 0;
  static final int ERROR_ARGUMENT = 1;
  static final int ERROR_IO = 2;
  static final int ERROR_FORMAT = 3;
  static final int ERROR_MEMORY = 4;
  static final int ERROR_ISA = 5;

  private Bindings() {}

  /** multibit_model_info. */
  @Name("multibit_model_info")
  @NoException
  static final class ModelInfo extends Pointer {
    ModelInfo() {
      allocate();
    }

    private native void allocate();

    @MemberGetter
    native int vocabulary_size();

    @MemberGetter
    native int embedding_size();

    @MemberGetter
    native int hidden_size();

    @MemberGetter
    native int layers();

    @MemberGetter
    native int eos_token();

    @MemberGetter
    native int unknown_token();

    @MemberGetter
    native int embedding_bits();

    @MemberGetter
    native int weight_bits();

    @MemberGetter
    native int activation_bits();

    @MemberGetter
    native @Cast("jlong") long file_bytes();

    @MemberGetter
    native @Cast("const char*") BytePointer cell();

    @MemberGetter
    native int input_size();

    @MemberGetter
    native int classes();
  }

  static native @Cast("const char*") BytePointer multibit_last_error();

  static native int multibit_isa(@Cast("const char**") @ByPtrPtr BytePointer name);

  static native int multibit_model_open(
      @Cast("const char*") byte[] path, @Cast("multibit_model**") long[] model);

  /** The caller keeps the memory until the model is closed. */
  static native int multibit_model_open_memory(
      @Cast("const void*") Pointer data,
      @Cast("size_t") long size,
      @Cast("const char*") byte[] name,
      @Cast("multibit_model**") long[] model);

  static native void multibit_model_close(@Cast("multibit_model*") long model);

  static native int multibit_model_set_threads(@Cast("multibit_model*") long model, int threads);

  static native int multibit_model_describe(
      @Cast("const multibit_model*") long model, ModelInfo info);

  static native int multibit_model_word(
      @Cast("const multibit_model*") long model,
      int token,
      @Cast("const char**") @ByPtrPtr BytePointer word,
      @Cast("size_t*") long[] length);

  static native int multibit_model_metadata(
      @Cast("const multibit_model*") long model,
      @Cast("const char*") byte[] key,
      @Cast("const char**") @ByPtrPtr BytePointer value);

  static native int multibit_session_new(
      @Cast("const multibit_model*") long model, @Cast("multibit_session**") long[] session);

  static native void multibit_session_free(@Cast("multibit_session*") long session);

  static native int multibit_session_reset(@Cast("multibit_session*") long session);

  static native int multibit_session_step(@Cast("multibit_session*") long session, int token);

  static native int multibit_session_step_floats(
      @Cast("multibit_session*") long session,
      @Cast("const float*") float[] inputs,
      @Cast("size_t") long count);

  static native int multibit_session_logits(
      @Cast("multibit_session*") long session,
      @Cast("const float**") @ByPtrPtr FloatPointer logits);

  static native int multibit_session_write_logits(
      @Cast("multibit_session*") long session, FloatPointer logits);

  static native int multibit_session_evaluate(
      @Cast("multibit_session*") long session,
      int first,
      @Cast("const int32_t*") int[] tokens,
      @Cast("size_t") long count,
      double[] totalLoss);

  static native int multibit_session_generate(
      @Cast("multibit_session*") long session,
      float temperature,
      int topK,
      @Cast("uint64_t") long seed,
      @Cast("int32_t*") int[] tokens,
      @Cast("size_t") long count);

  static native int multibit_batch_new(
      @Cast("const multibit_model*") long model,
      int streams,
      @Cast("multibit_batch**") long[] batch);

  static native void multibit_batch_free(@Cast("multibit_batch*") long batch);

  static native int multibit_batch_reset(@Cast("multibit_batch*") long batch, int stream);

  static native int multibit_batch_reset_all(@Cast("multibit_batch*") long batch);

  static native int multibit_batch_step(
      @Cast("multibit_batch*") long batch, @Cast("const int32_t*") int[] tokens);

  static native int multibit_batch_logits(
      @Cast("multibit_batch*") long batch, @Cast("const float**") @ByPtrPtr FloatPointer logits);

  /** 0 past the last tier. */
  @Name("multibit::SupportedTier")
  static native @Cast("jlong") long supportedTier(int index);

  @Name("multibit::TierName")
  static native @Cast("const char*") BytePointer tierName(
      @Cast("const multibit::Kernels*") long kernels);

  @Name("multibit::Quantize")
  static native @Cast("jlong") long quantize(
      @Cast("const multibit::Kernels*") long kernels,
      int method,
      int cycles,
      float scale,
      @Cast("const float*") FloatPointer w,
      @Cast("int64_t") long rows,
      @Cast("int64_t") long cols,
      @Cast("int64_t") long firstRow,
      @Cast("int64_t") long lastRow,
      int bits,
      int lanes,
      @Cast("uint64_t*") LongPointer planes,
      FloatPointer coefficients);

  @Name("multibit::Dequantize")
  static native void dequantize(
      @Cast("const multibit::Kernels*") long kernels,
      @Cast("const uint64_t*") LongPointer planes,
      @Cast("const float*") FloatPointer coefficients,
      @Cast("int64_t") long firstRow,
      @Cast("int64_t") long lastRow,
      @Cast("int64_t") long cols,
      int bits,
      int lanes,
      FloatPointer out);

  @Name("multibit::Multiply")
  static native void multiply(
      @Cast("const multibit::Kernels*") long kernels,
      @Cast("const uint64_t*") LongPointer weightPlanes,
      @Cast("const float*") FloatPointer weightCoefficients,
      @Cast("int64_t") long rows,
      @Cast("int64_t") long firstRow,
      @Cast("int64_t") long lastRow,
      @Cast("int64_t") long cols,
      int weightBits,
      @Cast("const uint64_t*") LongPointer activationPlanes,
      @Cast("const float*") FloatPointer activationCoefficients,
      int activationBits,
      @Cast("int64_t") long batch,
      FloatPointer out);

  @Name("multibit::MultiplyFloat")
  static native void multiplyFloat(
      @Cast("const multibit::Kernels*") long kernels,
      @Cast("const uint64_t*") LongPointer weightPlanes,
      @Cast("const float*") FloatPointer weightCoefficients,
      @Cast("int64_t") long rows,
      @Cast("int64_t") long firstRow,
      @Cast("int64_t") long lastRow,
      @Cast("int64_t") long cols,
      int weightBits,
      @Cast("const float*") FloatPointer activations,
      @Cast("int64_t") long batch,
      FloatPointer out);

  @Name("multibit::Softmax")
  static native void softmax(
      @Cast("const multibit::Kernels*") long kernels,
      FloatPointer logits,
      @Cast("int64_t") long firstRow,
      @Cast("int64_t") long lastRow,
      @Cast("int64_t") long classes,
      @Cast("const int32_t*") IntPointer labels,
      FloatPointer losses);

  @Name("multibit::Distill")
  static native void distill(
      @Cast("const multibit::Kernels*") long kernels,
      FloatPointer logits,
      FloatPointer teacher,
      @Cast("int64_t") long firstRow,
      @Cast("int64_t") long lastRow,
      @Cast("int64_t") long classes,
      @Cast("const int32_t*") IntPointer labels,
      float weight,
      float temperature,
      FloatPointer losses);

  @Name("multibit::ReadWords")
  static native @Cast("uint64_t") long readWords(
      @Cast("const multibit::Kernels*") long kernels,
      @Cast("const uint64_t*") LongPointer words,
      @Cast("int64_t") long count);

  @Name("multibit::CountBits")
  static native @Cast("uint64_t") long countBits(
      @Cast("const multibit::Kernels*") long kernels, @Cast("int64_t") long words);

  @Name("multibit::MultiplyMasked")
  static native void multiplyMasked(
      @Cast("const multibit::Kernels*") long kernels,
      @Cast("const uint64_t*") LongPointer weightPlanes,
      @Cast("const float*") FloatPointer weightCoefficients,
      @Cast("int64_t") long rows,
      @Cast("int64_t") long firstRow,
      @Cast("int64_t") long lastRow,
      @Cast("int64_t") long cols,
      int weightBits,
      @Cast("const uint64_t*") LongPointer activationPlanes,
      @Cast("const float*") FloatPointer activationCoefficients,
      int activationBits,
      @Cast("const uint64_t*") LongPointer masks,
      @Cast("int64_t") long batch,
      @Cast("const float*") FloatPointer start,
      FloatPointer out);

  @Name("multibit::SoftmaxBackwardFloats")
  static native @Cast("jlong") long softmaxBackwardFloats(
      @Cast("int64_t") long batch, @Cast("int64_t") long cols);

  @Name("multibit::SoftmaxBlocks")
  static native @Cast("jlong") long softmaxBlocks(@Cast("int64_t") long classes);

  @Name("multibit::SoftmaxBackwardInput")
  static native void softmaxBackwardInput(
      @Cast("const multibit::Kernels*") long kernels,
      @Cast("const uint64_t*") LongPointer weightPlanes,
      @Cast("const float*") FloatPointer weightCoefficients,
      @Cast("int64_t") long classes,
      @Cast("int64_t") long cols,
      int weightBits,
      @Cast("const uint64_t*") LongPointer activationPlanes,
      @Cast("const float*") FloatPointer activationCoefficients,
      int activationBits,
      @Cast("const uint64_t*") LongPointer masks,
      @Cast("int64_t") long batch,
      @Cast("const float*") FloatPointer start,
      @Cast("const int32_t*") IntPointer labels,
      @Cast("const float*") FloatPointer factors,
      @Cast("int64_t") long first,
      @Cast("int64_t") long last,
      FloatPointer memory,
      FloatPointer exponentials,
      FloatPointer scales,
      FloatPointer losses,
      FloatPointer dx);

  @Name("multibit::SoftmaxBackwardInput")
  static native void softmaxBackwardInput(
      @Cast("const multibit::Kernels*") long kernels,
      @Cast("const float*") FloatPointer w,
      @Cast("const float*") FloatPointer panels,
      @Cast("int64_t") long classes,
      @Cast("const float*") FloatPointer x,
      @Cast("int64_t") long cols,
      @Cast("int64_t") long batch,
      @Cast("const float*") FloatPointer start,
      @Cast("const int32_t*") IntPointer labels,
      @Cast("const float*") FloatPointer factors,
      @Cast("int64_t") long first,
      @Cast("int64_t") long last,
      FloatPointer memory,
      FloatPointer exponentials,
      FloatPointer scales,
      FloatPointer losses,
      FloatPointer dx);

  @Name("multibit::SoftmaxBackwardWeights")
  static native void softmaxBackwardWeights(
      @Cast("const multibit::Kernels*") long kernels,
      @Cast("const float*") FloatPointer exponentials,
      @Cast("int64_t") long batch,
      @Cast("int64_t") long classes,
      @Cast("int64_t") long cols,
      @Cast("const int32_t*") IntPointer labels,
      @Cast("const float*") FloatPointer factors,
      @Cast("const float*") FloatPointer x,
      @Cast("const float*") FloatPointer scales,
      @Cast("int64_t") long first,
      @Cast("int64_t") long last,
      FloatPointer memory,
      boolean add,
      FloatPointer dw,
      FloatPointer db);

  @Name("multibit::DropoutMasks")
  static native void dropoutMasks(
      @Cast("const multibit::Kernels*") long kernels,
      @Cast("uint64_t") long key,
      @Cast("uint64_t") long threshold,
      @Cast("int64_t") long firstRow,
      @Cast("int64_t") long lastRow,
      @Cast("int64_t") long cols,
      @Cast("uint64_t*") LongPointer masks);

  @Name("multibit::Drop")
  static native void drop(
      @Cast("const multibit::Kernels*") long kernels,
      @Cast("const uint64_t*") LongPointer masks,
      float factor,
      @Cast("int64_t") long firstRow,
      @Cast("int64_t") long lastRow,
      @Cast("int64_t") long cols,
      FloatPointer x);

  @Name("multibit::AddToRows")
  static native void addToRows(
      @Cast("const multibit::Kernels*") long kernels,
      @Cast("const float*") FloatPointer row,
      @Cast("int64_t") long firstRow,
      @Cast("int64_t") long lastRow,
      @Cast("int64_t") long cols,
      FloatPointer into);

  @Name("multibit::AddRows")
  static native void addRows(
      @Cast("const multibit::Kernels*") long kernels,
      @Cast("const float*") FloatPointer x,
      @Cast("const int32_t*") IntPointer index,
      @Cast("int64_t") long rows,
      @Cast("int64_t") long cols,
      FloatPointer into);

  @Name("multibit::SumRows")
  static native void sumRows(
      @Cast("const multibit::Kernels*") long kernels,
      @Cast("const float*") FloatPointer x,
      @Cast("int64_t") long rows,
      @Cast("int64_t") long cols,
      @Cast("int64_t") long first,
      @Cast("int64_t") long last,
      FloatPointer sums);

  @Name("multibit::SumsOfSquares")
  static native void sumsOfSquares(
      @Cast("const multibit::Kernels*") long kernels,
      @Cast("const float*") FloatPointer x,
      @Cast("int64_t") long n,
      @Cast("int64_t") long chunk,
      @Cast("int64_t") long first,
      @Cast("int64_t") long last,
      DoublePointer sums);

  @Name("multibit::Scale")
  static native void scale(
      @Cast("const multibit::Kernels*") long kernels,
      FloatPointer x,
      @Cast("int64_t") long first,
      @Cast("int64_t") long last,
      float factor);

  @Name("multibit::Clip")
  static native void clip(
      @Cast("const multibit::Kernels*") long kernels,
      FloatPointer x,
      @Cast("int64_t") long first,
      @Cast("int64_t") long last,
      float bound);

  @Name("multibit::LstmForward")
  static native void lstmForward(
      @Cast("const multibit::Kernels*") long kernels,
      @Cast("int64_t") long firstRow,
      @Cast("int64_t") long lastRow,
      @Cast("int64_t") long units,
      FloatPointer gates,
      @Cast("const float*") FloatPointer before,
      FloatPointer cell,
      FloatPointer cellTanh,
      FloatPointer hidden);

  @Name("multibit::LstmBackward")
  static native void lstmBackward(
      @Cast("const multibit::Kernels*") long kernels,
      @Cast("int64_t") long firstRow,
      @Cast("int64_t") long lastRow,
      @Cast("int64_t") long units,
      @Cast("const float*") FloatPointer gates,
      @Cast("const float*") FloatPointer before,
      @Cast("const float*") FloatPointer cellTanh,
      @Cast("const float*") FloatPointer hiddenGradient,
      FloatPointer cellGradient,
      FloatPointer gateGradients);

  @Name("multibit::GruForward")
  static native void gruForward(
      @Cast("const multibit::Kernels*") long kernels,
      @Cast("int64_t") long firstRow,
      @Cast("int64_t") long lastRow,
      @Cast("int64_t") long units,
      FloatPointer gates,
      @Cast("const float*") FloatPointer recurrent,
      @Cast("const float*") FloatPointer before,
      FloatPointer hidden);

  @Name("multibit::GruBackward")
  static native void gruBackward(
      @Cast("const multibit::Kernels*") long kernels,
      @Cast("int64_t") long firstRow,
      @Cast("int64_t") long lastRow,
      @Cast("int64_t") long units,
      @Cast("const float*") FloatPointer gates,
      @Cast("const float*") FloatPointer recurrent,
      @Cast("const float*") FloatPointer before,
      @Cast("const float*") FloatPointer hiddenGradient,
      FloatPointer carriedGradient,
      FloatPointer gateGradients,
      FloatPointer recurrentGradients);

  @Name("multibit::MakePanels")
  static native void makePanels(
      @Cast("const float*") FloatPointer w,
      @Cast("int64_t") long inner,
      @Cast("int64_t") long cols,
      @Cast("bool") boolean transposed,
      @Cast("int64_t") long first,
      @Cast("int64_t") long last,
      FloatPointer panels);

  @Name("multibit::MultiplyDense")
  static native void multiplyDense(
      @Cast("const multibit::Kernels*") long kernels,
      @Cast("const float*") FloatPointer a,
      @Cast("bool") boolean transposed,
      @Cast("const float*") FloatPointer b,
      @Cast("int64_t") long rows,
      @Cast("int64_t") long inner,
      @Cast("int64_t") long cols,
      float alpha,
      @Cast("bool") boolean add,
      @Cast("int64_t") long first,
      @Cast("int64_t") long last,
      FloatPointer c);

  @Name("multibit::MultiplyPanels")
  static native void multiplyPanels(
      @Cast("const multibit::Kernels*") long kernels,
      @Cast("const float*") FloatPointer x,
      @Cast("int64_t") long inner,
      @Cast("const float*") FloatPointer panels,
      @Cast("int64_t") long cols,
      @Cast("const float*") FloatPointer start,
      @Cast("int64_t") long first,
      @Cast("int64_t") long last,
      FloatPointer out);

  @Name("multibit::LstmForwardSteps")
  static native void lstmForwardSteps(
      @Cast("const multibit::Kernels*") long kernels,
      @Cast("int64_t") long steps,
      @Cast("int64_t") long batch,
      @Cast("int64_t") long first,
      @Cast("int64_t") long last,
      @Cast("int64_t") long units,
      @Cast("const float*") FloatPointer panels,
      FloatPointer gates,
      FloatPointer hidden,
      FloatPointer cells,
      FloatPointer cellTanh);

  @Name("multibit::LstmForwardSteps")
  static native @Cast("int64_t") long lstmForwardSteps(
      @Cast("const multibit::Kernels*") long kernels,
      int method,
      int cycles,
      float scale,
      @Cast("const uint64_t*") LongPointer weightPlanes,
      @Cast("const float*") FloatPointer weightCoefficients,
      int weightBits,
      @Cast("uint64_t*") LongPointer planes,
      FloatPointer coefficients,
      int bits,
      @Cast("int64_t") long steps,
      @Cast("int64_t") long batch,
      @Cast("int64_t") long first,
      @Cast("int64_t") long last,
      @Cast("int64_t") long units,
      FloatPointer gates,
      FloatPointer hidden,
      FloatPointer cells,
      FloatPointer cellTanh);

  @Name("multibit::LstmBackwardSteps")
  static native void lstmBackwardSteps(
      @Cast("const multibit::Kernels*") long kernels,
      @Cast("int64_t") long firstStep,
      @Cast("int64_t") long steps,
      @Cast("int64_t") long batch,
      @Cast("int64_t") long first,
      @Cast("int64_t") long last,
      @Cast("int64_t") long units,
      @Cast("const float*") FloatPointer panels,
      @Cast("const float*") FloatPointer gates,
      @Cast("const float*") FloatPointer cells,
      @Cast("const float*") FloatPointer cellTanh,
      FloatPointer hiddenGradients,
      FloatPointer cellGradient,
      FloatPointer gateGradients);

  @Name("multibit::GruForwardSteps")
  static native void gruForwardSteps(
      @Cast("const multibit::Kernels*") long kernels,
      @Cast("int64_t") long steps,
      @Cast("int64_t") long batch,
      @Cast("int64_t") long first,
      @Cast("int64_t") long last,
      @Cast("int64_t") long units,
      @Cast("const float*") FloatPointer panels,
      FloatPointer gates,
      FloatPointer recurrent,
      FloatPointer hidden);

  @Name("multibit::GruForwardSteps")
  static native @Cast("int64_t") long gruForwardSteps(
      @Cast("const multibit::Kernels*") long kernels,
      int method,
      int cycles,
      float scale,
      @Cast("const uint64_t*") LongPointer weightPlanes,
      @Cast("const float*") FloatPointer weightCoefficients,
      int weightBits,
      @Cast("uint64_t*") LongPointer planes,
      FloatPointer coefficients,
      int bits,
      @Cast("int64_t") long steps,
      @Cast("int64_t") long batch,
      @Cast("int64_t") long first,
      @Cast("int64_t") long last,
      @Cast("int64_t") long units,
      FloatPointer gates,
      FloatPointer recurrent,
      FloatPointer hidden);

  @Name("multibit::GruBackwardSteps")
  static native void gruBackwardSteps(
      @Cast("const multibit::Kernels*") long kernels,
      @Cast("int64_t") long firstStep,
      @Cast("int64_t") long steps,
      @Cast("int64_t") long batch,
      @Cast("int64_t") long first,
      @Cast("int64_t") long last,
      @Cast("int64_t") long units,
      @Cast("const float*") FloatPointer panels,
      @Cast("const float*") FloatPointer gates,
      @Cast("const float*") FloatPointer recurrent,
      @Cast("const float*") FloatPointer hidden,
      FloatPointer hiddenGradients,
      FloatPointer carriedGradient,
      FloatPointer gateGradients,
      FloatPointer recurrentGradients);

  @Name("multibit::CallForText")
  static native @Cast("const char*") BytePointer callForText(@Cast("const void*") Pointer function);

  @Name("multibit::CallForNumber")
  static native int callForNumber(@Cast("const void*") Pointer function);
}

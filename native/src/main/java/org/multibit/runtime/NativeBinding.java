package org.multibit.runtime;

import java.nio.FloatBuffer;
import java.nio.IntBuffer;
import java.nio.LongBuffer;
import org.bytedeco.javacpp.BytePointer;
import org.bytedeco.javacpp.FloatPointer;
import org.bytedeco.javacpp.Loader;
import org.bytedeco.javacpp.Pointer;
import org.bytedeco.javacpp.PointerPointer;
import org.bytedeco.javacpp.SizeTPointer;
import org.bytedeco.javacpp.annotation.Cast;
import org.bytedeco.javacpp.annotation.Const;
import org.bytedeco.javacpp.annotation.MemberGetter;
import org.bytedeco.javacpp.annotation.Namespace;
import org.bytedeco.javacpp.annotation.Opaque;
import org.bytedeco.javacpp.annotation.Platform;
import org.bytedeco.javacpp.annotation.Properties;

/**
 * The native functions, as declared in {@code multibit.h} and {@code java_binding.h}. Buffers are
 * direct and sliced: JavaCPP passes their address and ignores their position.
 */
@Properties(
    @Platform(
        include = {"multibit.h", "java_binding.h"},
        library = "jnimultibit"))
final class NativeBinding {
  static {
    Loader.load();
  }

  private NativeBinding() {}

  /** Throws UnsatisfiedLinkError if there is no library for this platform. */
  static void load() {
    Loader.load(NativeBinding.class);
  }

  @Opaque
  static class multibit_model extends Pointer {
    multibit_model() {
      super((Pointer) null);
    }
  }

  @Opaque
  static class multibit_session extends Pointer {
    multibit_session() {
      super((Pointer) null);
    }
  }

  static class multibit_model_info extends Pointer {
    multibit_model_info() {
      super((Pointer) null);
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
    @Cast("int64_t")
    native long file_bytes();

    @MemberGetter
    native @Cast("const char*") BytePointer cell();
  }

  static native @Cast("const char*") BytePointer multibit_last_error();

  static native @Cast("const char*") BytePointer multibit_version();

  static native int multibit_isa(@Cast("const char**") PointerPointer<?> name);

  static native int multibit_model_open(
      @Cast("const char*") BytePointer path, @Cast("multibit_model**") PointerPointer<?> model);

  static native void multibit_model_close(multibit_model model);

  static native int multibit_model_describe(@Const multibit_model model, multibit_model_info info);

  static native int multibit_model_word(
      @Const multibit_model model,
      int token,
      @Cast("const char**") PointerPointer<?> word,
      SizeTPointer length);

  static native int multibit_model_metadata(
      @Const multibit_model model,
      @Cast("const char*") BytePointer key,
      @Cast("const char**") PointerPointer<?> value);

  static native int multibit_session_new(
      @Const multibit_model model, @Cast("multibit_session**") PointerPointer<?> session);

  static native void multibit_session_free(multibit_session session);

  static native int multibit_session_reset(multibit_session session);

  static native int multibit_session_step(multibit_session session, int token);

  static native int multibit_session_logits(
      multibit_session session, @Cast("const float**") PointerPointer<?> logits);

  static native int multibit_session_evaluate(
      multibit_session session,
      int first,
      @Cast("const int32_t*") int[] tokens,
      @Cast("size_t") long count,
      double[] totalLoss);

  static native int multibit_session_generate(
      multibit_session session,
      float temperature,
      int topK,
      @Cast("uint64_t") long seed,
      @Cast("int32_t*") int[] tokens,
      @Cast("size_t") long count);

  @Namespace("multibit::java")
  @Cast("int64_t")
  static native long SelectedKernels();

  @Namespace("multibit::java")
  static native @Cast("const char*") BytePointer KernelsError();

  @Namespace("multibit::java")
  @Cast("int64_t")
  static native long SupportedTier(int i);

  @Namespace("multibit::java")
  static native @Cast("const char*") BytePointer KernelsName(@Cast("int64_t") long kernels);

  @Namespace("multibit::java")
  @Cast("int64_t")
  static native long Quantize(
      @Cast("int64_t") long kernels,
      int method,
      int cycles,
      float scale,
      FloatBuffer w,
      @Cast("int64_t") long rows,
      @Cast("int64_t") long cols,
      @Cast("int64_t") long firstRow,
      @Cast("int64_t") long lastRow,
      int bits,
      int lanes,
      @Cast("uint64_t*") LongBuffer planes,
      FloatBuffer coefficients);

  @Namespace("multibit::java")
  static native void Dequantize(
      @Cast("int64_t") long kernels,
      @Cast("uint64_t*") LongBuffer planes,
      FloatBuffer coefficients,
      @Cast("int64_t") long firstRow,
      @Cast("int64_t") long lastRow,
      @Cast("int64_t") long cols,
      int bits,
      int lanes,
      FloatBuffer out);

  @Namespace("multibit::java")
  static native void Gemm(
      @Cast("int64_t") long kernels,
      @Cast("uint64_t*") LongBuffer weightPlanes,
      FloatBuffer weightCoefficients,
      @Cast("int64_t") long firstRow,
      @Cast("int64_t") long lastRow,
      @Cast("int64_t") long cols,
      int weightBits,
      @Cast("uint64_t*") LongBuffer activationPlanes,
      FloatBuffer activationCoefficients,
      int activationBits,
      @Cast("int64_t") long batch,
      FloatBuffer out,
      @Cast("int64_t") long outStride);

  @Namespace("multibit::java")
  static native void GemvFloat(
      @Cast("int64_t") long kernels,
      @Cast("uint64_t*") LongBuffer weightPlanes,
      FloatBuffer weightCoefficients,
      @Cast("int64_t") long firstRow,
      @Cast("int64_t") long lastRow,
      @Cast("int64_t") long cols,
      int weightBits,
      FloatBuffer x,
      FloatBuffer out);

  @Namespace("multibit::java")
  static native void Softmax(
      @Cast("int64_t") long kernels,
      FloatBuffer logits,
      @Cast("int64_t") long rows,
      @Cast("int64_t") long classes,
      @Cast("int32_t*") IntBuffer labels,
      FloatBuffer losses);

  /** The string that a {@code const char**} was set to. */
  static String string(PointerPointer<BytePointer> pointer) {
    BytePointer text = pointer.get(BytePointer.class, 0);
    return text == null || text.isNull()
        ? null
        : text.getString(java.nio.charset.StandardCharsets.UTF_8);
  }

  /** The floats that a {@code const float**} was set to. */
  static FloatPointer floats(PointerPointer<FloatPointer> pointer) {
    return pointer.get(FloatPointer.class, 0);
  }
}

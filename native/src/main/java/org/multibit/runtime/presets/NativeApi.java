package org.multibit.runtime.presets;

import org.bytedeco.javacpp.annotation.NoException;
import org.bytedeco.javacpp.annotation.Platform;
import org.bytedeco.javacpp.annotation.Properties;
import org.bytedeco.javacpp.tools.Info;
import org.bytedeco.javacpp.tools.InfoMap;
import org.bytedeco.javacpp.tools.InfoMapper;

/** The headers that JavaCPP makes {@code org.multibit.runtime.bindings} of, and how. */
@Properties(
    value =
        @Platform(
            include = {
              "multibit.h",
              "kernels.h",
              "binding.h",
              "kernel_list.h",
              "prepack.h",
              "rows.h",
              "sequences.h",
              "cross_entropy.h"
            },
            library = "jnimultibit"),
    target = "org.multibit.runtime.bindings",
    global = "org.multibit.runtime.bindings.Bindings")
@NoException
public class NativeApi implements InfoMapper {
  @Override
  public void map(InfoMap infos) {
    infos
        // Each kernel is a function; its first argument is the table of a tier.
        .put(
            new Info("KERNEL")
                .cppText(
                    "#define KERNEL(result, Name, ...) namespace multibit { result Name(const Kernels* kernels, __VA_ARGS__); }"))
        .put(opaque("multibit::Kernels"))
        .put(opaque("multibit_model"))
        .put(opaque("multibit_session"))
        .put(opaque("multibit_batch"))
        // Cells are run by ForwardRows and its like, whatever the cell.
        .put(new Info("MULTIBIT_CELLS").cppText("#define MULTIBIT_CELLS(CELL)"))
        .put(new Info("CELL").cppText("#define CELL(...)"))
        .put(new Info("multibit::CellKernels", "multibit::KernelsOf", "multibit::Cell").skip())
        .put(new Info("multibit::kCells", "multibit::CellKind", "multibit::SelectKernels").skip())
        .put(new Info("multibit::SupportedKernels").skip())
        // Names that core has for its own.
        .put(new Info("multibit::Quantizer").pointerTypes("NativeQuantizer"))
        .put(new Info("multibit::CellStates").pointerTypes("NativeCellStates"))
        .put(new Info("multibit::CellGradients").pointerTypes("NativeCellGradients"))
        // No overloads for buffers: JavaCPP 1.5.12 gets their positions wrong.
        .put(new Info("float").valueTypes("float").pointerTypes("FloatPointer", "float[]"))
        .put(new Info("double").valueTypes("double").pointerTypes("DoublePointer", "double[]"))
        .put(new Info("int32_t").valueTypes("int").pointerTypes("IntPointer", "int[]"))
        .put(new Info("uint64_t").cast().valueTypes("long").pointerTypes("LongPointer"))
        .put(new Info("size_t").cast().valueTypes("long").pointerTypes("SizeTPointer"))
        .put(new Info("const char").cast().valueTypes("byte").pointerTypes("BytePointer"));
  }

  /** An object that native code alone looks into. */
  private static Info opaque(String type) {
    return new Info(type).cast().pointerTypes("Pointer").skip();
  }
}

package org.multibit.cli;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.concurrent.Callable;
import org.multibit.core.format.LanguageModelFile;
import org.multibit.core.format.Matrix;
import org.multibit.training.Backend;
import org.multibit.training.PyTorchExport;
import org.multibit.training.UsageException;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

@Command(
    name = "export",
    description = {
      "Pack a model into a file for the native runtime (docs/format.md).",
      "A full-precision model can also be written as a PyTorch state dict in half precision, FILE.safetensors; its words are in the vocabulary.txt of its run."
    },
    sortOptions = false)
public final class ExportCommand implements Callable<Integer> {
  @Mixin ModelOptions model;

  @Option(
      names = "--out",
      required = true,
      paramLabel = "FILE.gguf|FILE.safetensors",
      description = "the file to write")
  Path out;

  @Mixin CommonOptions common;

  @Override
  public Integer call() throws IOException {
    boolean stateDict = out.toString().endsWith(".safetensors");
    UsageException.require(
        stateDict || out.toString().endsWith(".gguf"),
        "--out %s: a packed model's name ends in .gguf, that of a PyTorch state dict in .safetensors"
            .formatted(out));
    Backend.start(0);
    LanguageModelFile packed = model.open().pack();
    long weights = packed.matrices().values().stream().mapToLong(Matrix::bytes).sum();
    String what = "planes and coefficients";
    if (stateDict) {
      new PyTorchExport(packed).write(out);
      weights /= 2;
      what = "weights";
    } else {
      packed.write(out);
    }
    long bytes = Files.size(out);
    common.say("%s: %,d bytes, of which %s %,d", out, bytes, what, weights);
    Map<String, Object> result = new LinkedHashMap<>();
    result.put("model", model.model.toString());
    result.put("file", out.toString());
    result.put("bytes", bytes);
    result.put("weightBytes", weights);
    common.print(result);
    return 0;
  }
}

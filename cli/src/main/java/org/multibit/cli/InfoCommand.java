package org.multibit.cli;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Callable;
import org.multibit.core.Printable;
import org.multibit.core.format.GgufReader;
import org.multibit.core.format.Head;
import org.multibit.core.format.LanguageModelFile;
import org.multibit.core.format.SequenceClassifierFile;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Parameters;

@Command(name = "info", description = "Show what a packed model file holds.", sortOptions = false)
public final class InfoCommand implements Callable<Integer> {
  @Parameters(paramLabel = "FILE", description = "a packed model")
  Path file;

  @Mixin CommonOptions common;

  @Override
  public Integer call() throws IOException {
    GgufReader reader = new GgufReader(file);
    // All of it is checked, as what it is.
    if (Head.CLASSIFIER.toString().equals(reader.metadata().get("multibit.head"))) {
      SequenceClassifierFile.read(file);
    } else {
      LanguageModelFile.read(file);
    }
    Map<String, Object> metadata = new LinkedHashMap<>();
    reader
        .metadata()
        .forEach(
            (key, value) ->
                metadata.put(key, value instanceof GgufReader.Array ? value.toString() : value));
    List<Map<String, Object>> tensors = new ArrayList<>();
    for (GgufReader.Tensor tensor : reader.tensors().values()) {
      tensors.add(
          Map.of(
              "name", tensor.name(),
              "dims", tensor.dims(),
              "type",
                  tensor.type() == 0 ? "F32" : tensor.type() == 27 ? "I64" : "" + tensor.type()));
    }
    common.say("%s: %,d bytes", file, Files.size(file));
    metadata.forEach(
        (key, value) ->
            common.say("%-45s %s", Printable.of(key), Printable.of(String.valueOf(value))));
    tensors.forEach(
        t ->
            common.say(
                "%-25s %-4s %s",
                Printable.of((String) t.get("name")),
                t.get("type"),
                Arrays.toString((long[]) t.get("dims"))));
    Map<String, Object> result = new LinkedHashMap<>();
    result.put("file", file.toString());
    result.put("bytes", Files.size(file));
    result.put("metadata", metadata);
    result.put("tensors", tensors);
    common.print(result);
    return 0;
  }
}

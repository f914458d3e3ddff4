package org.multibit.benchmarks;

import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.multibit.core.format.AtomicFile;
import org.multibit.training.Provenance;

/**
 * A page of results in Markdown, line by line. It begins with the command that wrote it, and the
 * machine.
 */
final class MarkdownReport {
  private final List<String> lines = new ArrayList<>();

  /**
   * @param command what wrote it, see {@link BenchArguments#command}
   */
  MarkdownReport(String title, String command) throws IOException {
    say("# %s", title);
    say("");
    say("Written by `%s` at commit %s.", command, Provenance.commit());
    say("");
    say("* CPU: %s", Cpu.read());
    // The one that the build takes, in its own words.
    say("* Compiler: %s; Java %s", Cpu.firstLine("c++", "--version"), Runtime.version());
  }

  /** A line. */
  void say(String format, Object... arguments) {
    lines.add(arguments.length == 0 ? format : format.formatted(arguments));
  }

  /** A line on a measured system, as it described itself. */
  void system(String name, Map<String, String> description) {
    say(
        "* %s: %s",
        name,
        String.join(
            "; ",
            description.entrySet().stream().map(e -> e.getKey() + " " + e.getValue()).toList()));
  }

  void write(Path path) throws IOException {
    AtomicFile.write(path, String.join("\n", lines) + "\n");
  }
}

package org.multibit.benchmarks;

import picocli.CommandLine.Command;
import picocli.CommandLine.Option;

/** {@code ./multibit bench}: side-by-side runs against other libraries. */
@Command(
    name = "multibit bench",
    description = "Measure against other libraries on this machine.",
    synopsisSubcommandLabel = "COMMAND",
    subcommands = {
      KernelsCommand.class,
      InferenceCommand.class,
      TrainingCommand.class,
      JmhCommand.class,
      CpuTimeCommand.class
    },
    footer = {"", "bench COMMAND --help tells more."})
public final class Main {
  @Option(
      names = {"-h", "--help"},
      usageHelp = true,
      description = "show this help")
  boolean help;

  private Main() {}

  public static void main(String[] args) {
    System.exit(org.multibit.cli.Main.run(new Main(), args));
  }
}

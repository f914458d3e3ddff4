package org.multibit.benchmarks;

import java.util.List;
import java.util.concurrent.Callable;
import org.openjdk.jmh.Main;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

@Command(
    name = "jmh",
    description = {
      "Run the JMH benchmarks of our kernels and our runtime alone.",
      "JMH's own options go after --: ./multibit bench jmh -- -l, ./multibit bench jmh -- -h"
    })
final class JmhCommand implements Callable<Integer> {
  @Parameters(paramLabel = "ARGUMENT", description = "for JMH; none runs everything")
  List<String> arguments = List.of();

  @Option(
      names = {"-h", "--help"},
      usageHelp = true,
      description = "show this help")
  boolean help;

  @Override
  public Integer call() throws Exception {
    Main.main(arguments.toArray(String[]::new));
    return 0;
  }
}

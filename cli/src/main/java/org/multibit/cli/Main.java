package org.multibit.cli;

import static java.nio.charset.StandardCharsets.ISO_8859_1;
import static java.nio.charset.StandardCharsets.UTF_8;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.AccessDeniedException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import org.multibit.cli.reproduce.ReproduceCommand;
import org.multibit.core.Printable;
import org.multibit.runtime.NativeLibrary;
import org.multibit.training.Provenance;
import org.multibit.training.UsageException;
import picocli.CommandLine;
import picocli.CommandLine.Command;

/**
 * The command line. Exit code 0 on success, 1 for a failure, 2 for bad usage, 130 and 143 where
 * Ctrl-C or SIGTERM ended it; errors are one line on standard error.
 */
@Command(
    name = "multibit",
    description = "Recurrent language models with weights and activations of 2-3 bits.",
    mixinStandardHelpOptions = true,
    versionProvider = Main.Version.class,
    synopsisSubcommandLabel = "COMMAND",
    subcommands = {
      QuickstartCommand.class,
      TrainCommand.class,
      FinetuneCommand.class,
      QuantizeCommand.class,
      ExportCommand.class,
      EvaluateCommand.class,
      GenerateCommand.class,
      InfoCommand.class,
      ReproduceCommand.class
    },
    footer = {
      "  bench       Measure against other libraries (bench --help).",
      "  test        Run all checks of this source tree (test --help).",
      "",
      "COMMAND --help tells more. @FILE stands for the options in a file (presets/), those after it count.",
      "Tools that the build needs are installed; MULTIBIT_INSTALL=no only names them."
    })
public final class Main {
  static {
    // Of the command line's binding of SLF4J, set before the first logger is made: warnings go to
    // standard error, and what multibit itself has to say. A simplelogger.properties in this jar
    // would set the logs of whoever uses it as a library.
    Map.of(
            "defaultLogLevel", "warn",
            "log.org.multibit", "info",
            "showThreadName", "false",
            "showShortLogName", "true",
            "logFile", "System.err")
        .forEach(
            (key, value) -> {
              String property = "org.slf4j.simpleLogger." + key;
              if (System.getProperty(property) == null) {
                System.setProperty(property, value);
              }
            });
  }

  /** Read from the jar's or the launcher's properties. */
  static final class Version implements CommandLine.IVersionProvider {
    @Override
    public String[] getVersion() {
      return new String[] {"multibit 0.1.0-SNAPSHOT, commit " + Provenance.commit()};
    }
  }

  private Main() {}

  public static void main(String[] args) {
    int exitCode = isText(args) ? run(args) : CommandLine.ExitCode.USAGE;
    StopSignal.reported();
    System.exit(exitCode);
  }

  /** Java puts a replacement character for bytes that are no text: no file has that name. */
  private static boolean isText(String... args) {
    for (int i = 0; i < args.length; i++) {
      if (args[i].indexOf('\uFFFD') >= 0 && !isGiven(args[i])) {
        System.err.println(
            "multibit: argument "
                + (i + 1)
                + " is not UTF-8: rename the file, or give a link to it");
        return false;
      }
    }
    return true;
  }

  /** Whether the command line has that argument to the byte, where the system tells. */
  private static boolean isGiven(String argument) {
    try {
      byte[] line = Files.readAllBytes(Path.of("/proc/self/cmdline"));
      String given = new String(argument.getBytes(UTF_8), ISO_8859_1);
      return List.of(new String(line, ISO_8859_1).split("\0")).contains(given);
    } catch (IOException e) {
      return false;
    }
  }

  /** Runs one command and returns the exit code. */
  static int run(String... args) {
    return run(new Main(), args);
  }

  /** The program's commands and options, for those who only ask what there is. */
  static CommandLine commandLine() {
    return commandLine(new Main());
  }

  private static CommandLine commandLine(Object program) {
    // So that options after a preset's change it.
    return new CommandLine(program).setOverwrittenOptionsAllowed(true);
  }

  /**
   * Runs a command of picocli's as this program does: exit codes, errors on one line, and figures
   * in the root locale, which becomes the process's.
   *
   * @return the exit code
   */
  public static int run(Object program, String... args) {
    // The same figures everywhere, whatever the user's language.
    Locale.setDefault(Locale.Category.FORMAT, Locale.ROOT);
    CommandLine line = commandLine(program);
    line.setExecutionExceptionHandler(
        (e, command, parsed) -> {
          boolean debug = parsed.expandedArgs().contains("--debug");
          if (debug) {
            e.printStackTrace(command.getErr());
          }
          command.getErr().println("multibit: " + message(e));
          return e instanceof UsageException
              ? CommandLine.ExitCode.USAGE
              : CommandLine.ExitCode.SOFTWARE;
        });
    line.setParameterExceptionHandler(
        (e, arguments) -> {
          CommandLine command = e.getCommandLine();
          // picocli takes an @FILE that is not there for an argument, or for an option's value.
          String absent =
              Arrays.stream(arguments)
                  .filter(a -> a.startsWith("@") && !Files.exists(Path.of(a.substring(1))))
                  .map(a -> "; there is no file of options " + a.substring(1))
                  .findFirst()
                  .orElse("");
          List<String> similar =
              e instanceof CommandLine.UnmatchedArgumentException unmatched
                  ? unmatched.getSuggestions()
                  : List.of();
          String meant = similar.isEmpty() ? "" : "; did you mean " + String.join(", ", similar);
          command
              .getErr()
              .printf(
                  "multibit: %s%s (see %s --help)%n",
                  e.getMessage(), absent + meant, command.getCommandSpec().qualifiedName());
          return CommandLine.ExitCode.USAGE;
        });
    if (args.length == 0) {
      line.usage(line.getErr());
      return CommandLine.ExitCode.USAGE;
    }
    try {
      int exitCode = line.execute(args);
      // Of help and versions nobody else asks.
      line.getOut().flush();
      if (exitCode == CommandLine.ExitCode.OK) {
        CommonOptions.requireWritten();
      }
      return exitCode;
    } catch (UncheckedIOException e) {
      line.getErr().println("multibit: " + message(e));
    } catch (OutOfMemoryError e) {
      line.getErr().println("multibit: " + outOfMemory(e));
    } catch (LinkageError e) {
      line.getErr().println("multibit: a library does not load: " + NativeLibrary.reason(e));
    } catch (InternalError e) {
      // What Java makes of SIGBUS.
      if (!String.valueOf(e.getMessage()).contains("unsafe memory access")) {
        throw e;
      }
      line.getErr()
          .println(
              "multibit: a file was cut while it was read: write a new file and rename it, and run the command again");
    }
    return CommandLine.ExitCode.SOFTWARE;
  }

  private static String outOfMemory(Throwable e) {
    return "out of memory (%s): use a smaller --hidden or --batch, or more memory"
        .formatted(e.getMessage());
  }

  /** One line that says what was wrong; an exception that nobody foresaw is named as such. */
  private static String message(Throwable e) {
    if (e instanceof UncheckedIOException unchecked) {
      return message(unchecked.getCause());
    }
    if (e instanceof AccessDeniedException denied) {
      return denied.getFile() + ": permission denied";
    }
    if (e instanceof NoSuchFileException missing) {
      return "There is no file " + missing.getFile();
    }
    // ND4J's native code throws no error of a class of its own.
    if (e.getClass() == RuntimeException.class
        && String.valueOf(e.getMessage()).matches("(?s).*(bad_alloc|[Ff]ailed to allocate).*")) {
      return outOfMemory(e);
    }
    boolean foreseen =
        e.getMessage() != null
            && (e instanceof IOException
                || e instanceof IllegalArgumentException
                || e instanceof IllegalStateException
                || e instanceof ArithmeticException);
    String text = foreseen ? e.getMessage() : e + " (unexpected: --debug shows where)";
    return Printable.of(text.lines().findFirst().orElse(e.toString()));
  }
}

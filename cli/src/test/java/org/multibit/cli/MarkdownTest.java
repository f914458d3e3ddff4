package org.multibit.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.io.StringReader;
import java.io.StringWriter;
import java.net.URL;
import java.net.URLClassLoader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.stream.Stream;
import javax.tools.JavaCompiler;
import javax.tools.ToolProvider;
import javax.xml.parsers.DocumentBuilderFactory;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.DynamicContainer;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;
import org.junit.jupiter.api.io.TempDir;
import org.xml.sax.InputSource;
import picocli.CommandLine;

/**
 * What the documents claim works: every command in a block of code is run, in the order of its
 * document and with stand-ins that make it short; those in sentences are parsed; Java and C are
 * compiled, XML is parsed. The names of the tests are file and line.
 */
class MarkdownTest {
  private static final Path ROOT = Path.of("").toAbsolutePath().getParent();

  /** Options whose values are files or folders. */
  private static final Set<String> PATHS =
      Set.of(
          "--data", "--model", "--teacher", "--vocab", "--out", "--runs", "--models", "--results");

  /** What a document's own words for values stand for. */
  private static final Map<String, String> WORDS = Map.of("N", "2", "RATE", "0.1");

  /** Commands of the launcher or of benchmarks, which their own tests run; looked up in sources. */
  private static final Set<String> ELSEWHERE = Set.of("bench", "test");

  /** Prints each command of a block, its line first, in place of running it. */
  private static final String RECORD =
      "multibit() { printf '%s\\0' \"${BASH_LINENO[0]}\" $# \"$@\" >&3; }; set -e; exec 3>\"$1\"\n";

  @TempDir static Path folder;
  private static Path text;
  private static Map<String, Path> standIns;

  @BeforeAll
  static void models() throws IOException {
    text = TinyText.write(folder.resolve("text"), 200);
    Path lstm = trained("lstm", "fp");
    Path gru = trained("gru", "fp");
    Path quantized = trained("lstm", "2/2");
    Path words = lstm.resolve("vocabulary.txt");
    Path pyTorch = exported(lstm);
    standIns =
        Map.of(
            "ptb", text,
            "wikitext-2", text,
            "text8", text,
            "RUN", quantized,
            "words.txt", words,
            "models/ptb-words.txt", words,
            "lm.safetensors", pyTorch,
            "parent.safetensors", pyTorch,
            "models/ptb-lstm-300-fp.safetensors", pyTorch,
            "models/ptb-gru-300-fp.safetensors", exported(gru));
  }

  private static Path trained(String cell, String bits) {
    Path run = folder.resolve(cell + "-" + bits.replace('/', '-'));
    Outcome.succeed(
        "train --hidden 8 --batch 4 --bptt 10 --max-tokens 200 --cell %s --bits %s --data %s --out %s"
            .formatted(cell, bits, text, run)
            .split(" "));
    return run;
  }

  private static Path exported(Path run) {
    Path file = run.resolve("model.safetensors");
    Outcome.succeed("export", "--model", run.toString(), "--out", file.toString());
    return file;
  }

  /** A command as a document has it, split by the shell. */
  private record Command(Path file, int line, List<String> arguments) {
    String place() {
      return ROOT.relativize(file) + ":" + line;
    }

    DynamicTest test(org.junit.jupiter.api.function.Executable body) {
      return DynamicTest.dynamicTest(
          place() + " ./multibit " + String.join(" ", arguments), file.toUri(), body);
    }
  }

  @TestFactory
  Stream<DynamicContainer> commandsRun() throws IOException, InterruptedException {
    List<DynamicContainer> documents = new ArrayList<>();
    int count = 0;
    for (Path document : MarkdownBlock.documents(ROOT)) {
      Path work = Files.createTempDirectory(folder, "work");
      Files.createSymbolicLink(work.resolve("datasets"), ROOT.resolve("datasets"));
      List<DynamicTest> tests = new ArrayList<>();
      for (MarkdownBlock block : MarkdownBlock.of(document)) {
        if (block.hasCommands()) {
          for (Command command : commands(block, work)) {
            tests.add(command.test(() -> run(command, work)));
          }
        }
      }
      count += tests.size();
      documents.add(DynamicContainer.dynamicContainer(document.toString(), tests.stream()));
    }
    assertTrue(count > 30, count + " commands found");
    return documents.stream();
  }

  /** Runs the block's other lines, and returns what it would have called the program with. */
  private static List<Command> commands(MarkdownBlock block, Path work)
      throws IOException, InterruptedException {
    Path recorded = Files.createTempFile(folder, "commands", "");
    Path output = Files.createTempFile(folder, "output", "");
    Process bash =
        new ProcessBuilder(
                "bash",
                "-c",
                RECORD + block.code().replace("./multibit ", "multibit "),
                "bash",
                recorded.toString())
            .directory(work.toFile())
            .redirectErrorStream(true)
            .redirectOutput(output.toFile())
            .start();
    assertEquals(
        0, bash.waitFor(), () -> block.file() + ":" + block.line() + " fails, see " + output);
    String[] fields = Files.readString(recorded).split("\0", -1);
    List<Command> commands = new ArrayList<>();
    for (int i = 0; i + 1 < fields.length; ) {
      int line = block.line() + Integer.parseInt(fields[i]) - 2; // The script is a line down.
      int arguments = Integer.parseInt(fields[i + 1]);
      i += 2 + arguments;
      commands.add(new Command(block.file(), line, List.of(fields).subList(i - arguments, i)));
    }
    return commands;
  }

  private static void run(Command command, Path work) throws IOException {
    String name = command.arguments().get(0);
    List<String> arguments = new ArrayList<>(standIns(command.arguments(), work));
    if (ELSEWHERE.contains(name)) {
      requireElsewhere(command.arguments());
      return;
    }
    if (name.equals("quickstart")) { // Minutes, and nothing makes it shorter.
      parse(command.arguments());
      return;
    }
    if (Set.of("train", "finetune").contains(name)) {
      arguments.addAll(List.of("--batch", "4", "--bptt", "10", "--max-tokens", "200"));
    }
    if (name.equals("train")) {
      arguments.addAll(List.of("--hidden", "16"));
    }
    if (name.equals("reproduce")) {
      Path empty = work.resolve("reproduced");
      empty.toFile().mkdirs();
      String places = " --runs %s --models %s --results %s".formatted(empty, empty, empty);
      arguments.addAll(List.of(("--budget-minutes 0 --data " + text + places).strip().split(" +")));
    }
    Outcome outcome = Outcome.of(arguments.toArray(String[]::new));
    assertEquals(
        0,
        outcome.exitCode(),
        () -> command.place() + ", run as " + String.join(" ", arguments) + "\n" + outcome.err());
  }

  private static List<String> standIns(List<String> arguments, Path work) {
    List<String> replaced = new ArrayList<>();
    String option = "";
    for (String argument : arguments) {
      if (argument.startsWith("@")) {
        replaced.add("@" + ROOT.resolve(argument.substring(1)));
      } else if (!PATHS.contains(option)) {
        replaced.add(WORDS.getOrDefault(argument, argument));
      } else {
        replaced.add(path(option, argument, work).toString());
      }
      option = argument;
    }
    return replaced;
  }

  private static Path path(String option, String value, Path work) {
    boolean shipped = value.startsWith("models/");
    assertTrue(!shipped || Files.exists(ROOT.resolve(value)), value + " is not there");
    if (option.equals("--out")) {
      Path out = work.resolve(value);
      // A word for a folder is another one each time.
      return value.equals("DIR") ? work.resolve("DIR-" + System.nanoTime()) : out;
    }
    return Optional.ofNullable(standIns.get(value)).orElse((shipped ? ROOT : work).resolve(value));
  }

  /** Fails if there is no such command or option; values may be missing. */
  private static void parse(List<String> arguments) {
    try {
      Main.commandLine().parseArgs(arguments.toArray(String[]::new));
    } catch (CommandLine.MissingParameterException e) {
      // A sentence need not name all that a command takes.
    }
  }

  /** Fails if the sources of the launcher or of benchmarks have no such command or option. */
  private static void requireElsewhere(List<String> arguments) throws IOException {
    boolean bench = arguments.get(0).equals("bench");
    String source =
        bench
            ? sources("benchmarks/src/main", ".java") + sources("cli/src/main", "Options.java")
            : Files.readString(ROOT.resolve("scripts/run_tests.sh"));
    for (int i = 1; i < arguments.size(); i++) {
      String argument = arguments.get(i);
      if (argument.startsWith("--")) {
        assertTrue(source.contains(bench ? '"' + argument + '"' : argument), argument);
      } else if (i == 1) {
        assertTrue(source.contains("name = \"" + argument + '"'), argument);
      }
    }
  }

  private static String sources(String of, String ending) throws IOException {
    StringBuilder text = new StringBuilder();
    try (Stream<Path> files = Files.walk(ROOT.resolve(of))) {
      for (Path file : files.filter(f -> f.toString().endsWith(ending)).toList()) {
        if (!file.toString().contains("/target/")) {
          text.append(Files.readString(file));
        }
      }
    }
    return text.toString();
  }

  /**
   * Maven's and CMake's commands are not run, but name folders, profiles, properties and options
   * that there are.
   */
  @TestFactory
  Stream<DynamicTest> buildCommandsNameWhatThereIs() throws IOException {
    String maven = sources("examples", "pom.xml") + Files.readString(ROOT.resolve("pom.xml"));
    String cmake = sources("native", "CMakeLists.txt") + " CMAKE_TOOLCHAIN_FILE";
    List<DynamicTest> tests = new ArrayList<>();
    for (Path document : MarkdownBlock.documents(ROOT)) {
      for (MarkdownBlock block : MarkdownBlock.of(document)) {
        for (String line : block.code().lines().toList()) {
          List<String> words = List.of(line.replaceFirst("#.*", "").strip().split("\\s+"));
          String where = ROOT.relativize(document) + ":" + block.line() + " " + line.strip();
          if (words.get(0).equals("mvn")) {
            tests.add(DynamicTest.dynamicTest(where, () -> requireNames(maven, words)));
          } else if (words.get(0).equals("cmake")) {
            tests.add(DynamicTest.dynamicTest(where, () -> requireNames(cmake, words)));
          }
        }
      }
    }
    assertTrue(tests.size() > 5, tests.size() + " commands found");
    return tests.stream();
  }

  private static void requireNames(String source, List<String> words) {
    for (String word : words) {
      if (word.startsWith("-P")) {
        assertTrue(source.contains("<id>" + word.substring(2) + "</id>"), word);
      } else if (word.startsWith("-D") && !word.equals("-DskipTests")) {
        assertTrue(source.contains(word.substring(2).replaceFirst("=.*", "")), word);
      }
    }
    int folder = words.indexOf("-S");
    assertTrue(
        folder < 0 || Files.exists(ROOT.resolve(words.get(folder + 1)).resolve("CMakeLists.txt")));
  }

  @TestFactory
  Stream<DynamicTest> commandsInSentencesParse() throws IOException {
    List<DynamicTest> tests = new ArrayList<>();
    for (Path document : MarkdownBlock.documents(ROOT)) {
      for (MarkdownBlock block : MarkdownBlock.commandsInText(document)) {
        List<String> words = List.of(block.code().split(" "));
        Command command = new Command(document, block.line(), words.subList(1, words.size()));
        String name = words.get(1);
        if (ELSEWHERE.contains(name)) {
          tests.add(command.test(() -> requireElsewhere(command.arguments())));
        } else if (!name.equals("COMMAND") && !block.code().contains("...")) {
          tests.add(command.test(() -> parse(standIns(command.arguments(), folder))));
        }
      }
    }
    return tests.stream();
  }

  @TestFactory
  Stream<DynamicTest> codeCompiles() throws IOException {
    List<DynamicTest> tests = new ArrayList<>();
    for (Path document : MarkdownBlock.documents(ROOT)) {
      for (MarkdownBlock block : MarkdownBlock.of(document)) {
        String name = ROOT.relativize(document) + ":" + block.line() + " " + block.language();
        switch (block.language()) {
          case "java" -> tests.add(DynamicTest.dynamicTest(name, () -> compileJava(name, block)));
          case "c" -> tests.add(DynamicTest.dynamicTest(name, () -> compileC(name, block)));
          case "xml" -> tests.add(DynamicTest.dynamicTest(name, () -> parseXml(block)));
          default -> {}
        }
      }
    }
    return tests.stream();
  }

  /** Runs it too, where it is a part of a network's configuration, which needs nothing else. */
  private static void compileJava(String name, MarkdownBlock block) throws Exception {
    boolean layers = block.code().startsWith(".");
    String body =
        layers ? "new NeuralNetConfiguration.Builder().list()" + block.code() + ";" : block.code();
    String source =
        Stream.of(
                    "java.nio.file",
                    "java.util",
                    "org.deeplearning4j.nn.conf",
                    "org.deeplearning4j.nn.conf.layers",
                    "org.deeplearning4j.nn.graph",
                    "org.deeplearning4j.nn.multilayer",
                    "org.multibit.core",
                    "org.multibit.datasets",
                    "org.multibit.layers",
                    "org.multibit.runtime",
                    "org.multibit.training",
                    "org.nd4j.linalg.api.ndarray",
                    "org.nd4j.linalg.dataset.api.iterator")
                .map("import %s.*;\n"::formatted)
                .reduce("", String::concat)
            + "public class Block {\n"
            // What a block may call its own.
            + "  static MultiLayerNetwork network; static DataSetIterator data; static Path file;\n"
            + "  public static void run() throws Exception {\n"
            + body
            + "\n}}\n";
    Path work = Files.createTempDirectory(folder, "java");
    Path file = Files.writeString(work.resolve("Block.java"), source);
    JavaCompiler compiler = ToolProvider.getSystemJavaCompiler();
    StringWriter errors = new StringWriter();
    boolean compiled =
        compiler
            .getTask(
                errors,
                null,
                null,
                List.of("-proc:none", "-d", work.toString(), "-cp", classPath()),
                null,
                compiler.getStandardFileManager(null, null, null).getJavaFileObjects(file))
            .call();
    assertTrue(compiled, () -> name + " does not compile:\n" + errors);
    if (layers) {
      try (URLClassLoader loader = new URLClassLoader(new URL[] {work.toUri().toURL()})) {
        loader.loadClass("Block").getMethod("run").invoke(null);
      }
    }
  }

  private static String classPath() {
    return System.getProperty("surefire.test.class.path", System.getProperty("java.class.path"));
  }

  /** A program as it is, other code as the body of a function. */
  private static void compileC(String name, MarkdownBlock block) throws Exception {
    String code = block.code();
    String source =
        code.contains("int main(")
            ? code
            : "#include <multibit.h>\n#include <stddef.h>\nvoid block(void) {\n" + code + "\n}\n";
    Path file = Files.writeString(Files.createTempFile(folder, "block", ".c"), source);
    Process gcc =
        new ProcessBuilder(
                "gcc",
                "-fsyntax-only",
                "-std=c99",
                "-pedantic",
                "-Wall",
                "-Werror",
                "-I",
                ROOT.resolve("native/include").toString(),
                file.toString())
            .redirectErrorStream(true)
            .start();
    String errors = new String(gcc.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    assertEquals(0, gcc.waitFor(), () -> name + " does not compile:\n" + errors);
  }

  private static void parseXml(MarkdownBlock block) throws Exception {
    DocumentBuilderFactory.newInstance()
        .newDocumentBuilder()
        .parse(new InputSource(new StringReader("<root>" + block.code() + "</root>")));
  }

  /** The extractor finds what there is to find. */
  @Test
  void blocksAreFound() throws IOException {
    Path file =
        Files.writeString(
            folder.resolve("some.md"),
            """
            A sentence with `./multibit info
            FILE` in it.

                ./multibit a \\
                  "b c"

            1. A list

                   code
                continued: no code before it

            ```java
            x;
            ```
            """);
    assertEquals(
        List.of("4:./multibit a \\\n  \"b c\"", "9:   code\ncontinued: no code before it", "13:x;"),
        MarkdownBlock.of(file).stream().map(b -> b.line() + ":" + b.code()).toList());
    assertEquals(
        List.of("1:./multibit info FILE"),
        MarkdownBlock.commandsInText(file).stream().map(b -> b.line() + ":" + b.code()).toList());
    assertEquals(List.of("java"), Arrays.asList(MarkdownBlock.of(file).get(2).language()));
  }
}

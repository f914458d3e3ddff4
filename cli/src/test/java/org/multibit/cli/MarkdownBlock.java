package org.multibit.cli;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;

/**
 * A block of code in a Markdown document: fenced, or indented after a blank line.
 *
 * @param file the document
 * @param line of its first line of code, from 1
 * @param language as the fence names it; empty if it does not
 * @param code without the indentation
 */
record MarkdownBlock(Path file, int line, String language, String code) {

  private static final Pattern FENCE = Pattern.compile("( *)```(\\w*)");
  private static final Pattern COMMAND_IN_TEXT =
      Pattern.compile("`(?:[A-Z_]+=\\S+ )?(\\./multibit\\s[^`]*)`");

  /** The blocks of a document, in order. */
  static List<MarkdownBlock> of(Path file) throws IOException {
    List<String> lines = Files.readAllLines(file);
    List<MarkdownBlock> blocks = new ArrayList<>();
    for (int i = 0; i < lines.size(); i++) {
      Matcher fence = FENCE.matcher(lines.get(i));
      if (fence.matches()) {
        int first = i + 1;
        while (++i < lines.size() && !lines.get(i).strip().equals("```")) {}
        blocks.add(
            new MarkdownBlock(
                file, first + 1, fence.group(2), String.join("\n", lines.subList(first, i))));
      } else if (lines.get(i).startsWith("    ") && (i == 0 || lines.get(i - 1).isBlank())) {
        int first = i;
        while (i + 1 < lines.size() && lines.get(i + 1).startsWith("    ")) {
          i++;
        }
        String code = String.join("\n", lines.subList(first, i + 1)).stripIndent();
        blocks.add(new MarkdownBlock(file, first + 1, "", code));
      }
    }
    return blocks;
  }

  /** The commands that the document's sentences name, each as a block of its own. */
  static List<MarkdownBlock> commandsInText(Path file) throws IOException {
    String text = Files.readString(file);
    List<MarkdownBlock> commands = new ArrayList<>();
    for (Matcher command = COMMAND_IN_TEXT.matcher(text); command.find(); ) {
      int line = (int) text.substring(0, command.start(1)).lines().count();
      String oneLine = command.group(1).replaceAll("\\s+", " ");
      commands.add(new MarkdownBlock(file, line, "sh", oneLine));
    }
    return commands;
  }

  /** All documents of the source tree. */
  static List<Path> documents(Path root) throws IOException {
    List<Path> documents = new ArrayList<>();
    for (String folder : List.of("", "docs", "docs/results", "models")) {
      add(root.resolve(folder), documents);
    }
    try (Stream<Path> examples = Files.list(root.resolve("examples"))) {
      for (Path example : examples.filter(Files::isDirectory).sorted().toList()) {
        add(example, documents);
      }
    }
    return documents;
  }

  private static void add(Path folder, List<Path> documents) throws IOException {
    try (Stream<Path> files = Files.list(folder)) {
      files.filter(file -> file.toString().endsWith(".md")).sorted().forEach(documents::add);
    }
  }

  /** Whether it has a command of the program. */
  boolean hasCommands() {
    return code.contains("./multibit ");
  }
}

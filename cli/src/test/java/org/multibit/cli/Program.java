package org.multibit.cli;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/** The program as a process of its own. */
final class Program {
  private Program() {}

  /**
   * @param java options of the JVM
   * @param command its words apart by single spaces
   */
  static ProcessBuilder of(List<String> java, String command) {
    List<String> words = new ArrayList<>();
    words.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
    words.addAll(java);
    words.addAll(List.of("-cp", System.getProperty("java.class.path"), Main.class.getName()));
    words.addAll(List.of(command.split(" ")));
    return new ProcessBuilder(words);
  }
}

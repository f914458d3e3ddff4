package org.multibit.core;

import java.util.Iterator;
import java.util.ServiceConfigurationError;
import java.util.ServiceLoader;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** Provides the kernels. The first call chooses them. */
final class KernelProvider {
  private static final Logger LOG = LoggerFactory.getLogger(Kernels.class);

  private static volatile Kernels chosen;

  private KernelProvider() {}

  static Kernels get() {
    if (chosen == null) {
      synchronized (KernelProvider.class) {
        if (chosen == null) {
          // Not the thread's context class loader: the first caller may be a pool's thread.
          chosen = choose(Kernels.class.getClassLoader());
        }
      }
    }
    return chosen;
  }

  /** For tests that compare implementations. */
  static void set(Kernels kernels) {
    chosen = kernels;
  }

  /** The first provider that loads, or else Java. */
  static Kernels choose(ClassLoader loader) {
    String why = "multibit-native is not on the class path";
    String remedy = "add it as a dependency";
    Iterator<JavaKernels> candidates = ServiceLoader.load(JavaKernels.class, loader).iterator();
    while (true) {
      try {
        if (!candidates.hasNext()) {
          break;
        }
        Kernels kernels = new Kernels(candidates.next());
        LOG.info("Kernels: {}", kernels.name());
        return kernels;
      } catch (ServiceConfigurationError e) {
        // A bad MULTIBIT_ISA is the user's mistake and must not be papered over.
        if (e.getCause() instanceof IllegalStateException bad) {
          throw bad;
        }
        why =
            "the native kernels did not load ("
                + (e.getCause() == null ? e.getMessage() : e.getCause())
                + ")";
        remedy = "use a multibit-native jar with this platform's library";
      }
    }
    LOG.warn("Kernels: plain Java, much slower, because {}; {}", why, remedy);
    return Kernels.java();
  }
}

package org.multibit.cli.hostile;

import static org.junit.jupiter.api.Assertions.assertTrue;

import com.sun.management.ThreadMXBean;
import java.lang.management.ManagementFactory;
import java.util.HashMap;
import java.util.Map;
import org.bytedeco.javacpp.Pointer;

/**
 * What the whole process spent since this was made: all of its threads, since readers share out
 * work, and native memory too.
 */
final class Cost {
  /** Of the processor, so that a busy machine fails nothing. */
  private static final double MOST_SECONDS = 2;

  private static final long MOST_BYTES = 300_000_000;

  private static final ThreadMXBean THREADS = (ThreadMXBean) ManagementFactory.getThreadMXBean();

  private final Map<Long, Long> allocated = allocated();
  private final long nativeBytes = Pointer.totalBytes();
  private final long resident = Pointer.physicalBytes();
  private final long time = THREADS.getCurrentThreadCpuTime();

  private static Map<Long, Long> allocated() {
    Map<Long, Long> allocated = new HashMap<>();
    long[] ids = THREADS.getAllThreadIds();
    long[] bytes = THREADS.getThreadAllocatedBytes(ids);
    for (int i = 0; i < ids.length; i++) {
      allocated.put(ids[i], bytes[i]);
    }
    return allocated;
  }

  /**
   * Fails if it was more memory than any small file may take.
   *
   * @throws AssertionError says how much
   */
  void assertLittleMemory() {
    long bytes = 0;
    for (Map.Entry<Long, Long> thread : allocated().entrySet()) {
      bytes += thread.getValue() - allocated.getOrDefault(thread.getKey(), 0L);
    }
    assertTrue(bytes <= MOST_BYTES, "it takes %,d bytes of heap".formatted(bytes));
    long taken = Pointer.totalBytes() - nativeBytes;
    assertTrue(taken <= MOST_BYTES, "it takes %,d bytes of native memory".formatted(taken));
    long more = Pointer.physicalBytes() - resident;
    // The heap grows as the JVM likes, by what was allocated at most.
    assertTrue(more <= 2 * MOST_BYTES, "the process grows by %,d bytes".formatted(more));
  }

  /** Fails if it was more of this thread's time, or more memory, than any small file may take. */
  void assertLittle() {
    double seconds = (THREADS.getCurrentThreadCpuTime() - time) * 1e-9;
    assertTrue(seconds <= MOST_SECONDS, "it takes %.1f s".formatted(seconds));
    assertLittleMemory();
  }
}

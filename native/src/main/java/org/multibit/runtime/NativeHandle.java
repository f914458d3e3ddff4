package org.multibit.runtime;

import java.lang.ref.Cleaner;
import java.util.function.Consumer;
import org.bytedeco.javacpp.Pointer;

/**
 * A native object: a model, a session or a batch. Its owner closes it once; if the owner forgets
 * that, it is closed after the owner becomes unreachable. It is freed when its last user is done.
 *
 * <p>Its monitor guards the native object. A call holds the monitor, so an owner that becomes
 * unreachable during its last call is freed after that call.
 */
final class NativeHandle {
  private static final Cleaner CLEANER = Cleaner.create();

  private final Pointer address;
  private final Consumer<Pointer> free;
  private int users = 1;
  private boolean closed;

  /**
   * @param free frees the object at an address; it must not refer to the owner
   */
  NativeHandle(Pointer address, Consumer<Pointer> free) {
    this.address = address;
    this.free = free;
  }

  /** Also closes the handle when the owner is no longer reachable. */
  void closeWith(Object owner) {
    CLEANER.register(owner, this::close);
  }

  /**
   * The native object's address.
   *
   * @param name its name in error messages
   * @throws IllegalStateException if it is closed
   */
  synchronized Pointer address(String name) {
    if (closed) {
      throw new IllegalStateException(name + " is closed");
    }
    return address;
  }

  /** Makes the handle of an object that uses this one, as a session uses its model. */
  synchronized NativeHandle user(Pointer address, Consumer<Pointer> free) {
    users++;
    return new NativeHandle(
        address,
        own -> {
          free.accept(own);
          release();
        });
  }

  private synchronized void release() {
    if (--users == 0) {
      free.accept(address);
    }
  }

  /** Ends the owner's use. Closing again does nothing. */
  synchronized void close() {
    if (!closed) {
      closed = true;
      release();
    }
  }
}

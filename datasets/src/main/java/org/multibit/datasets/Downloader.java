package org.multibit.datasets;

import java.io.IOException;
import java.io.InputStream;
import java.io.InterruptedIOException;
import java.net.ConnectException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpConnectTimeoutException;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.net.http.HttpTimeoutException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.channels.OverlappingFileLockException;
import java.nio.file.FileSystemException;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.time.Duration;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import org.nd4j.shade.guava.base.Throwables;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Downloads a file once. It grows under the name {@code FILE.part} and gets its own name only when
 * it is whole and its content is right; a download that was cut off, by the network or by the end
 * of the process, goes on where it stopped if the server can do that, else it starts again.
 */
final class Downloader {

  private static final Logger log = LoggerFactory.getLogger(Downloader.class);

  /** Attempts in a row that bring no new byte, before giving up. */
  private static final int ATTEMPTS = 3;

  /**
   * Looks at a downloaded file, and throws {@link WrongContentException} if it is not what it
   * should be.
   */
  @FunctionalInterface
  interface Check {
    void check(Path file) throws IOException;
  }

  /** The file is there and can be read, but it is another one or damaged. */
  static final class WrongContentException extends IOException {
    private static final long serialVersionUID = 1;

    WrongContentException(String message) {
      super(message);
    }
  }

  /** The connection failed in a way that another attempt may get past. */
  private static final class ConnectionException extends IOException {
    private static final long serialVersionUID = 1;

    ConnectionException(String message, Throwable cause) {
      super(message, cause);
    }
  }

  private final Duration connectTimeout;
  private final Duration stallTimeout;

  /** With time-outs of 20 s to connect and 30 s without a byte. */
  Downloader() {
    this(Duration.ofSeconds(20), Duration.ofSeconds(30));
  }

  /**
   * @param connectTimeout the longest wait for a connection
   * @param stallTimeout the longest wait for the answer's head, and between two reads of its body
   */
  Downloader(Duration connectTimeout, Duration stallTimeout) {
    this.connectTimeout = connectTimeout;
    this.stallTimeout = stallTimeout;
  }

  /**
   * Makes sure that a file is there: does nothing if it passes the check, else downloads it.
   *
   * @param source where from
   * @param target where to; its folder is created
   * @param check what the file must be
   * @param otherwise what a person can do when the download fails, for the message
   * @throws IOException if the file cannot be had; {@code target} is then as it was
   */
  void provide(URI source, Path target, Check check, String otherwise) throws IOException {
    if (Files.exists(target)) {
      try {
        check.check(target);
        return;
      } catch (WrongContentException e) {
        log.warn("{}; downloading it again", e.getMessage());
      }
    }
    try {
      download(source, target, check);
    } catch (IOException e) {
      throw new IOException(
          "Cannot download %s: %s. %s".formatted(source, reason(e), otherwise), e);
    }
  }

  /** The message, with the kind of error where the message is nothing or only a file's name. */
  private static String reason(IOException e) {
    String kind = e.getClass().getSimpleName();
    if (e.getMessage() == null) {
      return kind;
    }
    return e instanceof FileSystemException ? kind + ": " + e.getMessage() : e.getMessage();
  }

  private void download(URI source, Path target, Check check) throws IOException {
    Files.createDirectories(target.toAbsolutePath().getParent());
    Path part = target.resolveSibling(target.getFileName() + ".part");
    if (Files.isSymbolicLink(part)) {
      throw new IOException(part + " is a symbolic link, not a part of a download: remove it");
    }
    try (FileChannel file =
        FileChannel.open(
            part,
            StandardOpenOption.CREATE,
            StandardOpenOption.READ,
            StandardOpenOption.WRITE,
            LinkOption.NOFOLLOW_LINKS)) {
      lock(file, part);
      if (file.size() == 0 || !passes(part, check)) {
        log.info("Downloading {} to {}", source, target);
        try {
          fetch(source, file, part, check);
        } finally {
          if (file.size() == 0) {
            Files.delete(part);
          }
        }
      }
      file.force(true);
      Files.move(part, target, StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING);
    }
  }

  /** Two processes that append to one file would spoil it. */
  private static void lock(FileChannel file, Path part) throws IOException {
    boolean locked;
    try {
      locked = file.tryLock() != null;
    } catch (OverlappingFileLockException e) {
      locked = false;
    }
    // Another process may have finished, and renamed the file, since it was opened here.
    if (!locked || !Files.exists(part)) {
      throw new IOException(
          "another process is downloading it to " + part + "; try again when it has finished");
    }
  }

  private static boolean passes(Path part, Check check) throws IOException {
    try {
      check.check(part);
      return true;
    } catch (WrongContentException e) {
      return false;
    }
  }

  /**
   * Fills the file, in as many attempts as it takes; each goes on from the bytes that are there.
   */
  private void fetch(URI source, FileChannel file, Path part, Check check) throws IOException {
    HttpClient client =
        HttpClient.newBuilder()
            .version(HttpClient.Version.HTTP_1_1)
            .followRedirects(HttpClient.Redirect.NORMAL)
            .connectTimeout(connectTimeout)
            .build();
    long most = file.size();
    int failures = 0;
    boolean restarted = false;
    while (true) {
      try {
        boolean resumed = transfer(client, source, file);
        try {
          check.check(part);
          return;
        } catch (WrongContentException e) {
          // The bytes kept from before may be those of another file: begin anew, once.
          file.truncate(0);
          if (!resumed || restarted) {
            throw e;
          }
          restarted = true;
          log.warn("{}; starting again", e.getMessage());
        }
      } catch (ConnectionException e) {
        failures = file.size() > most ? 1 : failures + 1;
        most = Math.max(most, file.size());
        if (failures >= ATTEMPTS) {
          throw e;
        }
        log.warn("{}; trying again", e.getMessage());
      }
    }
  }

  /**
   * One request, to the end of its answer; true if the answer continued the bytes that were there.
   */
  private boolean transfer(HttpClient client, URI source, FileChannel file) throws IOException {
    long have = file.size();
    HttpRequest.Builder request = HttpRequest.newBuilder(source).timeout(stallTimeout);
    if (have > 0) {
      request.header("Range", "bytes=" + have + "-");
    }
    HttpResponse<InputStream> response = send(client, request.build());
    try (InputStream body = response.body()) {
      int status = response.statusCode();
      boolean resumed = status == 206;
      if (resumed
          && !response
              .headers()
              .firstValue("Content-Range")
              .orElse("")
              .startsWith("bytes " + have + "-")) {
        file.truncate(0);
        throw new ConnectionException(
            "the server sent another part of the file than was asked for", null);
      }
      if (status == 416) {
        file.truncate(0);
        throw new ConnectionException("the server has no bytes after the first " + have, null);
      }
      if (status >= 500) {
        throw new ConnectionException("the server answered with status " + status, null);
      }
      if (status != 200 && !resumed) {
        throw new IOException("the server answered with status " + status);
      }
      if (!resumed) {
        file.truncate(0);
      }
      file.position(file.size());
      copy(body, file);
      return resumed;
    }
  }

  private static HttpResponse<InputStream> send(HttpClient client, HttpRequest request)
      throws IOException {
    try {
      return client.send(request, BodyHandlers.ofInputStream());
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new InterruptedIOException("interrupted");
    } catch (HttpConnectTimeoutException | ConnectException e) {
      throw new ConnectionException("no connection to " + request.uri().getHost(), e);
    } catch (HttpTimeoutException e) {
      throw new ConnectionException("no answer from " + request.uri().getHost() + " in time", e);
    } catch (IOException e) {
      throw new ConnectionException(reason(e), e);
    }
  }

  private void copy(InputStream body, FileChannel file) throws IOException {
    // HttpClient has no time-out for a body that stalls: each read runs in a thread that need not
    // be waited for.
    ExecutorService reader =
        Executors.newSingleThreadExecutor(
            task -> {
              Thread thread = new Thread(task, "download");
              thread.setDaemon(true);
              return thread;
            });
    try {
      byte[] buffer = new byte[1 << 16];
      int length;
      while ((length = read(reader, body, buffer)) >= 0) {
        for (ByteBuffer left = ByteBuffer.wrap(buffer, 0, length); left.hasRemaining(); ) {
          file.write(left);
        }
      }
    } finally {
      reader.shutdownNow();
    }
  }

  private int read(ExecutorService reader, InputStream body, byte[] buffer) throws IOException {
    try {
      return reader
          .submit(() -> body.read(buffer))
          .get(stallTimeout.toMillis(), TimeUnit.MILLISECONDS);
    } catch (TimeoutException e) {
      throw new ConnectionException("no more bytes in time", e);
    } catch (ExecutionException e) {
      throw new ConnectionException(
          "the connection broke (" + Throwables.getRootCause(e).getMessage() + ")", e);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new InterruptedIOException("interrupted");
    }
  }
}

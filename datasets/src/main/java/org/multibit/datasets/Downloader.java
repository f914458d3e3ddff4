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
 * Downloads a file once. The file grows under the name {@code FILE.part} and gets its own name only
 * when it is complete and its content is right. A download that the network or the end of the
 * process cut off continues where it stopped, if the server supports that; otherwise it starts
 * again.
 */
final class Downloader {

  private static final Logger log = LoggerFactory.getLogger(Downloader.class);

  /** The number of attempts in a row without a new byte before it gives up. */
  private static final int ATTEMPTS = 3;

  /** Checks a downloaded file and throws {@link WrongContentException} if its content is wrong. */
  @FunctionalInterface
  interface Check {
    void check(Path file) throws IOException;
  }

  /** The file exists and is readable, but is another file or damaged. */
  static final class WrongContentException extends IOException {
    private static final long serialVersionUID = 1;

    WrongContentException(String message) {
      super(message);
    }
  }

  /** The connection failed, but another attempt may succeed. */
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
   * @param stallTimeout the longest wait for the header of the answer, and between two reads of its
   *     body
   */
  Downloader(Duration connectTimeout, Duration stallTimeout) {
    this.connectTimeout = connectTimeout;
    this.stallTimeout = stallTimeout;
  }

  /**
   * Makes sure that a file exists: does nothing if it passes the check, or else downloads it.
   *
   * @param source where to download it from
   * @param target where to store it; its folder is created
   * @param check decides whether the file is right
   * @param otherwise for the message, what a person can do if the download fails
   * @throws IOException if the file cannot be downloaded; {@code target} then stays unchanged
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

  /** The message, with the kind of error if the message is empty or only a file's name. */
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

  /** Fills the file in as many attempts as it takes. Each continues from the bytes that it has. */
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
   * Makes one request and reads its whole answer. Returns whether the answer continued the bytes
   * that the file had.
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

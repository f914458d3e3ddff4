package org.multibit.datasets;

import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.io.OutputStream;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.URI;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.Deque;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;

/** A file server on this machine that does to each request what it is told. */
final class FaultyServer implements AutoCloseable {

  enum Fault {
    /** Answers rightly, a range too. */
    NONE,
    /** Sends half of what is left, then closes the connection. */
    TRUNCATE,
    /** Sends half of what is left, then nothing. */
    STALL,
    /** Never answers. */
    HANG,
    /** Sends as many bytes as are right, one of them wrong. */
    CORRUPT,
    /** Sends the whole file whatever range was asked for. */
    IGNORE_RANGE,
    /** Sends half of the whole file whatever range was asked for, then closes the connection. */
    TRUNCATE_IGNORING_RANGE,
    /** Says that it sends another range than was asked for. */
    WRONG_RANGE,
    NOT_FOUND,
    UNAVAILABLE
  }

  private final HttpServer server;
  private final ExecutorService threads = Executors.newCachedThreadPool();
  private final CountDownLatch closed = new CountDownLatch(1);
  private final Map<String, byte[]> files = new HashMap<>();
  private final Deque<Fault> faults = new ArrayDeque<>();
  private final List<String> ranges = Collections.synchronizedList(new ArrayList<>());

  FaultyServer() throws IOException {
    server = HttpServer.create(new InetSocketAddress(InetAddress.getLoopbackAddress(), 0), 0);
    server.setExecutor(threads);
    server.createContext("/", this::answer);
    server.start();
  }

  URI uri(String file) {
    return URI.create(
        "http://%s:%d/%s".formatted("localhost", server.getAddress().getPort(), file));
  }

  synchronized void put(String file, byte[] content) {
    files.put(file, content);
  }

  /** What to do to the next requests, one each; after them none is harmed. */
  synchronized void faults(Fault... next) {
    faults.clear();
    faults.addAll(Arrays.asList(next));
  }

  /** The Range header of each request so far, null where there was none. */
  List<String> ranges() {
    return ranges;
  }

  private synchronized Fault nextFault() {
    return faults.isEmpty() ? Fault.NONE : faults.remove();
  }

  private synchronized byte[] content(String file) {
    return files.get(file);
  }

  private void answer(HttpExchange exchange) throws IOException {
    try (exchange) {
      Fault fault = nextFault();
      String range = exchange.getRequestHeaders().getFirst("Range");
      ranges.add(range);
      byte[] content = content(exchange.getRequestURI().getPath().substring(1));
      if (fault == Fault.HANG) {
        closed.await();
      } else if (fault == Fault.UNAVAILABLE) {
        exchange.sendResponseHeaders(503, -1);
      } else if (content == null || fault == Fault.NOT_FOUND) {
        exchange.sendResponseHeaders(404, -1);
      } else {
        send(exchange, fault, content, range);
      }
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  private void send(HttpExchange exchange, Fault fault, byte[] content, String range)
      throws IOException, InterruptedException {
    boolean whole =
        range == null || fault == Fault.IGNORE_RANGE || fault == Fault.TRUNCATE_IGNORING_RANGE;
    int from = whole ? 0 : Integer.parseInt(range.substring("bytes=".length(), range.length() - 1));
    if (from >= content.length) {
      exchange.sendResponseHeaders(416, -1);
      return;
    }
    if (!whole) {
      int said = fault == Fault.WRONG_RANGE ? from + 1 : from;
      exchange
          .getResponseHeaders()
          .set(
              "Content-Range",
              "bytes %d-%d/%d".formatted(said, content.length - 1, content.length));
    }
    byte[] body = Arrays.copyOfRange(content, from, content.length);
    if (fault == Fault.CORRUPT) {
      body[body.length / 2] ^= 1;
    }
    exchange.sendResponseHeaders(whole ? 200 : 206, body.length);
    boolean half =
        fault == Fault.TRUNCATE || fault == Fault.TRUNCATE_IGNORING_RANGE || fault == Fault.STALL;
    OutputStream out = exchange.getResponseBody();
    out.write(body, 0, half ? body.length / 2 : body.length);
    out.flush();
    if (fault == Fault.STALL) {
      closed.await();
    }
  }

  @Override
  public void close() {
    closed.countDown();
    server.stop(0);
    threads.shutdownNow();
  }
}

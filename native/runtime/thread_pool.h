// Threads that help with one product at a time. Whoever finds them at work computes alone, so that any number of
// sessions may share them without waiting for each other.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <thread>
#include <vector>

namespace multibit {

class ThreadPool {
 public:
  static constexpr int kMaxThreads = 256;

  ThreadPool() = default;
  ~ThreadPool() { Stop(); }
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  // The cores that this thread may run on. More threads than that would only wait for each other.
  static int AvailableCores();

  // How many threads work on a product, the caller's among them: 1..kMaxThreads. Waits for a product that is under way.
  // The threads start when they are first needed.
  void SetThreads(int threads);
  int threads() const { return threads_.load(std::memory_order_relaxed); }

  // Calls task(part) for each part in [0, parts) and returns when all are done. Does not allocate once the threads run;
  // task must not throw.
  template <typename Task>
  void Run(int parts, const Task& task) {
    Run(
        parts, [](const void* context, int part) { (*static_cast<const Task*>(context))(part); }, &task);
  }

 private:
  using Function = void (*)(const void* context, int part);

  void Run(int parts, Function function, const void* context);
  void Start();
  void Stop();
  void Work();
  bool HasParts() const { return static_cast<uint32_t>(ticket_.load()) != 0; }
  void TakeParts();
  void AwaitParts();

  std::atomic<int> threads_{1};
  std::mutex busy_;                   // held by the caller whom the threads work for
  std::vector<std::thread> workers_;  // guarded by busy_, like the job

  // The job. ticket_ holds its number in the upper half and the parts that nobody has taken in the lower: only who
  // takes a part may read the rest, and a job is not replaced before all of its parts are done.
  std::atomic<uint64_t> ticket_{0};
  std::atomic<int> unfinished_{0};
  Function function_ = nullptr;
  const void* context_ = nullptr;

  // Those who wait for long sleep.
  std::mutex mutex_;
  std::condition_variable wake_;
  std::condition_variable done_;
  std::atomic<int> sleeping_{0};
  std::atomic<bool> caller_sleeps_{false};
  std::atomic<bool> stop_{false};
};

}  // namespace multibit

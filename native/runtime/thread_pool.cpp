#include "thread_pool.h"

#include <sched.h>

#include <algorithm>
#include <chrono>
#include <system_error>

namespace multibit {
namespace {

// Products of one step follow each other within this time; longer gaps are slept through.
constexpr std::chrono::microseconds kSpinTime(20);

void Pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// Waits a little for a condition; returns whether it came.
template <typename Condition>
bool Spin(const Condition& condition) {
  const auto end = std::chrono::steady_clock::now() + kSpinTime;
  do {
    for (int i = 0; i < 32; ++i) {
      if (condition()) return true;
      Pause();
    }
  } while (std::chrono::steady_clock::now() < end);
  return condition();
}

}  // namespace

int ThreadPool::AvailableCores() {
  cpu_set_t cores;
  // The set is too small for machines of more than 1024 cores.
  if (sched_getaffinity(0, sizeof(cores), &cores) != 0) return kMaxThreads;
  return std::max(1, CPU_COUNT(&cores));
}

void ThreadPool::SetThreads(int threads) {
  const std::lock_guard<std::mutex> lock(busy_);
  if (threads == this->threads()) return;
  Stop();
  threads_.store(threads);
}

void ThreadPool::Start() {
  const auto wanted = static_cast<size_t>(threads() - 1);
  workers_.reserve(wanted);
  try {
    while (workers_.size() < wanted) workers_.emplace_back([this] { Work(); });
  } catch (const std::system_error&) {
    // The system gives no more threads: those there are do the work. This is not tried again for each product.
    threads_.store(static_cast<int>(workers_.size()) + 1);
  }
}

void ThreadPool::Stop() {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    stop_.store(true);
  }
  wake_.notify_all();
  for (std::thread& worker : workers_) worker.join();
  workers_ = std::vector<std::thread>();
  stop_.store(false);
}

void ThreadPool::Run(int parts, Function function, const void* context) {
  std::unique_lock<std::mutex> busy(busy_, std::defer_lock);
  if (parts > 1 && threads() > 1 && busy.try_lock()) {
    if (workers_.empty() && threads() > 1) Start();
    function_ = function;
    context_ = context;
    unfinished_.store(parts);
    const uint64_t job = (ticket_.load() >> 32) + 1;
    ticket_.store(job << 32 | static_cast<uint32_t>(parts));
    if (sleeping_.load() > 0) {
      // Who is about to sleep holds the mutex until it does.
      { const std::lock_guard<std::mutex> lock(mutex_); }
      wake_.notify_all();
    }
    TakeParts();
    AwaitParts();
    return;
  }
  for (int part = 0; part < parts; ++part) function(context, part);
}

void ThreadPool::TakeParts() {
  uint64_t ticket = ticket_.load();
  while (static_cast<uint32_t>(ticket) != 0) {
    if (!ticket_.compare_exchange_weak(ticket, ticket - 1)) continue;
    function_(context_, static_cast<int>(static_cast<uint32_t>(ticket) - 1));
    if (unfinished_.fetch_sub(1) == 1 && caller_sleeps_.load()) {
      { const std::lock_guard<std::mutex> lock(mutex_); }
      done_.notify_one();
    }
    ticket = ticket_.load();
  }
}

void ThreadPool::AwaitParts() {
  const auto done = [this] { return unfinished_.load() == 0; };
  if (Spin(done)) return;
  std::unique_lock<std::mutex> lock(mutex_);
  caller_sleeps_.store(true);
  done_.wait(lock, done);
  caller_sleeps_.store(false);
}

void ThreadPool::Work() {
  const auto needed = [this] { return HasParts() || stop_.load(); };
  for (;;) {
    if (!Spin(needed)) {
      std::unique_lock<std::mutex> lock(mutex_);
      ++sleeping_;
      wake_.wait(lock, needed);
      --sleeping_;
    }
    if (stop_.load()) return;
    TakeParts();
  }
}

}  // namespace multibit

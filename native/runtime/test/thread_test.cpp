// Threads: sessions of one model on many, and the pool that helps with large products.
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstring>
#include <set>
#include <thread>
#include <vector>

#include "handles.h"
#include "multibit.h"
#include "test_model.h"
#include "thread_pool.h"

namespace {

using multibit::ThreadPool;

TEST(ThreadPoolTest, RunsEachPartOnce) {
  ThreadPool pool;
  for (const int threads : {1, 2, 5, 3}) {
    pool.SetThreads(threads);
    for (int parts = 0; parts < 40; ++parts) {
      std::vector<std::atomic<int>> runs(parts);
      pool.Run(parts, [&](int part) { ++runs[part]; });
      for (const std::atomic<int>& count : runs) EXPECT_EQ(1, count.load());
    }
  }
}

TEST(ThreadPoolTest, SharesTheParts) {
  ThreadPool pool;
  pool.SetThreads(3);
  // Each part waits until three threads have come: with fewer this would not end.
  std::atomic<int> present{0};
  pool.Run(3, [&](int) {
    ++present;
    while (present.load() < 3) std::this_thread::yield();
  });
  // And again after a sleep.
  std::this_thread::sleep_for(std::chrono::milliseconds(5));
  present = 0;
  pool.Run(3, [&](int) {
    ++present;
    while (present.load() < 3) std::this_thread::yield();
  });
}

TEST(ThreadPoolTest, ServesManyCallersAndChangesOfSize) {
  ThreadPool pool;
  pool.SetThreads(3);
  std::atomic<bool> stop{false};
  std::thread resizing([&] {
    for (int i = 0; !stop.load(); ++i) {
      pool.SetThreads(1 + i % 4);
      std::this_thread::sleep_for(std::chrono::microseconds(300));
    }
  });
  std::vector<std::thread> callers;
  for (int caller = 0; caller < 6; ++caller) {
    callers.emplace_back([&] {
      for (int i = 0; i < 500; ++i) {
        int runs[7] = {};  // not atomic: a part belongs to one thread, and Run returns after all
        pool.Run(7, [&](int part) { runs[part] += 1; });
        for (const int count : runs) EXPECT_EQ(1, count);
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
  stop = true;
  resizing.join();
}

TEST(ThreadPoolTest, CoresAreThoseOfTheThread) {
  const int all = ThreadPool::AvailableCores();
  EXPECT_GE(all, 1);
  cpu_set_t before, one;
  ASSERT_EQ(0, sched_getaffinity(0, sizeof(before), &before));
  CPU_ZERO(&one);
  CPU_SET(sched_getcpu(), &one);
  ASSERT_EQ(0, sched_setaffinity(0, sizeof(one), &one));
  EXPECT_EQ(1, ThreadPool::AvailableCores());
  ASSERT_EQ(0, sched_setaffinity(0, sizeof(before), &before));
  EXPECT_EQ(all, ThreadPool::AvailableCores());
}

// Large enough that single steps are shared out.
struct LargeEnough {
  static constexpr int kVocabulary = 20001;
  LargeEnough() : file(LargeModel(kVocabulary, 256, 2).Bytes()), model(Open(file.path())) {}
  const TemporaryFile file;
  const ModelPointer model;
};

TEST(ThreadsTest, ResultsDoNotDependOnThem) {
  const LargeEnough large;
  const std::vector<int32_t> tokens = {5, 20000, 17, 0, 9999, 1, 2, 3};
  const auto run = [&] {
    const SessionPointer session = NewSession(large.model);
    std::vector<float> all;
    for (const int32_t token : tokens) {
      EXPECT_EQ(MULTIBIT_OK, multibit_session_step(session.get(), token));
      const std::vector<float> logits = CopyOfLogits(session, LargeEnough::kVocabulary);
      all.insert(all.end(), logits.begin(), logits.end());
    }
    const BatchPointer batch = NewBatch(large.model, static_cast<int32_t>(tokens.size()));
    EXPECT_EQ(MULTIBIT_OK, multibit_batch_step(batch.get(), tokens.data()));
    const float* logits = Logits(batch);
    all.insert(all.end(), logits, logits + tokens.size() * LargeEnough::kVocabulary);
    double loss = 0;
    EXPECT_EQ(MULTIBIT_OK, multibit_session_evaluate(session.get(), 0, tokens.data(), tokens.size(), &loss));
    all.push_back(static_cast<float>(loss));
    return all;
  };
  const std::vector<float> alone = run();
  for (const int threads : {2, 3, 1, 7}) {
    ASSERT_EQ(MULTIBIT_OK, multibit_model_set_threads(large.model.get(), threads));
    EXPECT_EQ(alone, run()) << threads;
  }
  for (const int threads : {0, -1, 257, INT32_MAX, INT32_MIN}) {
    EXPECT_EQ(MULTIBIT_ERROR_ARGUMENT, multibit_model_set_threads(large.model.get(), threads));
  }
  EXPECT_EQ(MULTIBIT_ERROR_ARGUMENT, multibit_model_set_threads(nullptr, 1));
}

// As multibit.h says of fork: the threads are gone, and the child may go on with the model.
TEST(ThreadsTest, OneThreadSurvivesAFork) {
  const LargeEnough large;
  ASSERT_EQ(MULTIBIT_OK, multibit_model_set_threads(large.model.get(), 3));
  const SessionPointer session = NewSession(large.model);
  ASSERT_EQ(MULTIBIT_OK, multibit_session_step(session.get(), 1));
  Logits(session);
  ASSERT_EQ(MULTIBIT_OK, multibit_model_set_threads(large.model.get(), 1));
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    alarm(60);
    multibit_model* model = nullptr;
    multibit_session* own = nullptr;
    const float* logits = nullptr;
    bool ok = multibit_session_step(session.get(), 2) == MULTIBIT_OK;
    ok &= multibit_session_logits(session.get(), &logits) == MULTIBIT_OK;
    ok &= multibit_model_open(large.file.path(), &model) == MULTIBIT_OK;
    ok &= multibit_model_set_threads(model, 2) == MULTIBIT_OK;
    ok &= multibit_session_new(model, &own) == MULTIBIT_OK;
    ok &= multibit_session_step(own, 2) == MULTIBIT_OK;
    ok &= multibit_session_logits(own, &logits) == MULTIBIT_OK;
    multibit_session_free(own);
    multibit_model_close(model);
    _exit(ok ? 0 : 1);
  }
  int status = -1;
  ASSERT_EQ(child, waitpid(child, &status, 0));
  EXPECT_EQ(0, status);
}

// 16 threads, each the only one to use 4 of 64 sessions.
void StepSixtyFourSessions(const ModelPointer& model, int vocabulary, int steps) {
  constexpr int kThreads = 16;
  constexpr int kSessions = 64;
  const auto token = [&](int session, int step) { return (session * 31 + step * (session + 3)) % vocabulary; };
  std::vector<std::vector<float>> serial(kSessions);
  multibit_model_set_threads(model.get(), 1);
  for (int s = 0; s < kSessions; ++s) {
    const SessionPointer session = NewSession(model);
    for (int step = 0; step < steps; ++step) multibit_session_step(session.get(), token(s, step));
    serial[s] = CopyOfLogits(session, vocabulary);
  }
  for (const int pool : {1, 3}) {
    multibit_model_set_threads(model.get(), pool);
    std::vector<SessionPointer> sessions;
    for (int s = 0; s < kSessions; ++s) sessions.push_back(NewSession(model));
    std::vector<std::vector<float>> threaded(kSessions);
    std::vector<std::thread> threads;
    for (int t = 0; t < kThreads; ++t) {
      threads.emplace_back([&, t] {
        for (int step = 0; step < steps; ++step) {
          for (int s = t; s < kSessions; s += kThreads) {
            multibit_session_step(sessions[s].get(), token(s, step));
            if (step == steps - 1) threaded[s] = CopyOfLogits(sessions[s], vocabulary);
          }
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    for (int s = 0; s < kSessions; ++s) EXPECT_EQ(serial[s], threaded[s]) << "session " << s << ", pool of " << pool;
  }
}

TEST(ThreadsTest, SixteenThreadsOnSixtyFourSessionsAgreeWithSerialRuns) {
  const LargeEnough large;
  StepSixtyFourSessions(large.model, LargeEnough::kVocabulary, 3);
  for (const Shape& shape : kShapes) {
    const TestModel test(shape);
    const TemporaryFile file(test.file.Bytes());
    StepSixtyFourSessions(Open(file.path()), shape.vocabulary, 20);
  }
}

}  // namespace

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}

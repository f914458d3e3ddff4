// Steps and logits allocate nothing: malloc, which the standard library's operator new calls, is counted.
#include <gtest/gtest.h>

#include <atomic>
#include <cstddef>

#include "handles.h"
#include "multibit.h"
#include "test_model.h"

namespace {
std::atomic<int64_t> allocations{0};
}

extern "C" {
void* __libc_malloc(size_t size);
void* __libc_calloc(size_t count, size_t size);
void* __libc_realloc(void* memory, size_t size);
void* __libc_memalign(size_t alignment, size_t size);

void* malloc(size_t size) {
  ++allocations;
  return __libc_malloc(size);
}
void* calloc(size_t count, size_t size) {
  ++allocations;
  return __libc_calloc(count, size);
}
void* realloc(void* memory, size_t size) {
  ++allocations;
  return __libc_realloc(memory, size);
}
void* aligned_alloc(size_t alignment, size_t size) {
  ++allocations;
  return __libc_memalign(alignment, size);
}
}

namespace {

// The allocations of some steps with logits, and whether all of them succeeded.
struct Counted {
  int64_t allocations;
  bool succeeded;
};

Counted StepAndLogits(multibit_session* session, multibit_batch* batch, int32_t vocabulary) {
  const int64_t before = allocations.load();
  bool succeeded = true;
  const float* logits = nullptr;
  int32_t tokens[5];
  for (int step = 0; step < 20; ++step) {
    succeeded &= multibit_session_step(session, step % vocabulary) == MULTIBIT_OK;
    succeeded &= multibit_session_logits(session, &logits) == MULTIBIT_OK;
    for (int s = 0; s < 5; ++s) tokens[s] = (s + step) % 3 == 0 ? MULTIBIT_IDLE : (s * 7 + step) % vocabulary;
    succeeded &= multibit_batch_step(batch, tokens) == MULTIBIT_OK;
    succeeded &= multibit_batch_logits(batch, &logits) == MULTIBIT_OK;
    if (step % 5 == 0) succeeded &= multibit_batch_reset(batch, step / 5) == MULTIBIT_OK;
  }
  succeeded &= multibit_session_reset(session) == MULTIBIT_OK;
  return {allocations.load() - before, succeeded};
}

TEST(AllocationTest, IsSeen) {
  const int64_t before = allocations.load();
  delete new std::string(1000, 'x');
  EXPECT_EQ(2, allocations.load() - before);
}

TEST(AllocationTest, StepsAndLogitsNeedNone) {
  for (const Shape& shape : kShapes) {
    const TestModel test(shape);
    const TemporaryFile file(test.file.Bytes());
    const ModelPointer model = Open(file.path());
    const SessionPointer session = NewSession(model);
    const BatchPointer batch = NewBatch(model, 5);
    const Counted counted = StepAndLogits(session.get(), batch.get(), shape.vocabulary);
    EXPECT_TRUE(counted.succeeded) << multibit_last_error();
    EXPECT_EQ(0, counted.allocations) << shape.name;
  }
}

TEST(AllocationTest, ClassifiersNeedNone) {
  for (const Shape& shape : kClassifiers) {
    const TestModel test(shape);
    const TemporaryFile file(test.file.Bytes());
    const ModelPointer model = Open(file.path());
    const SessionPointer session = NewSession(model);
    const std::vector<float> x(shape.embedding, 0.5f);
    const float* logits = nullptr;
    const int64_t before = allocations.load();
    for (int step = 0; step < 20; ++step) {
      if (multibit_session_step_floats(session.get(), x.data(), x.size()) != MULTIBIT_OK ||
          multibit_session_logits(session.get(), &logits) != MULTIBIT_OK) {
        logits = nullptr;
      }
    }
    EXPECT_EQ(0, allocations.load() - before) << shape.name;
    EXPECT_NE(nullptr, logits);
  }
}

TEST(AllocationTest, ThreadsNeedNoneOnceTheyRun) {
  const TemporaryFile file(LargeModel(20001, 256, 2).Bytes());
  const ModelPointer model = Open(file.path());
  ASSERT_EQ(MULTIBIT_OK, multibit_model_set_threads(model.get(), 3));
  const SessionPointer session = NewSession(model);
  const BatchPointer batch = NewBatch(model, 5);
  StepAndLogits(session.get(), batch.get(), 20001);
  const Counted counted = StepAndLogits(session.get(), batch.get(), 20001);
  EXPECT_TRUE(counted.succeeded) << multibit_last_error();
  EXPECT_EQ(0, counted.allocations);
}

}  // namespace

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}

// Batches of streams against single sessions: the same bits, whoever idles, comes or goes.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <random>
#include <vector>

#include "handles.h"
#include "multibit.h"
#include "test_model.h"

namespace {

class BatchTest : public testing::TestWithParam<Shape> {};

INSTANTIATE_TEST_SUITE_P(Shapes, BatchTest, testing::ValuesIn(kShapes),
                         [](const auto& info) { return std::string(info.param.name); });

TEST_P(BatchTest, StreamsEqualSessions) {
  const TestModel test(GetParam());
  const TemporaryFile file(test.file.Bytes());
  const ModelPointer model = Open(file.path());
  const int vocabulary = GetParam().vocabulary;
  for (const int streams : {1, 2, 3, 8, 17}) {
    const BatchPointer batch = NewBatch(model, streams);
    std::vector<SessionPointer> sessions;
    for (int s = 0; s < streams; ++s) sessions.push_back(NewSession(model));
    std::mt19937 random(streams);
    std::vector<int32_t> tokens(streams);
    for (int step = 0; step < 40; ++step) {
      // All, half, few or none of them take part; now and then one starts anew.
      const unsigned idle = step % 4;
      for (int32_t& token : tokens) {
        token = random() % 4 < idle ? MULTIBIT_IDLE : static_cast<int32_t>(random() % vocabulary);
      }
      if (random() % 4 == 0) {
        const auto stream = static_cast<int32_t>(random() % streams);
        ASSERT_EQ(MULTIBIT_OK, multibit_batch_reset(batch.get(), stream));
        ASSERT_EQ(MULTIBIT_OK, multibit_session_reset(sessions[stream].get()));
      }
      ASSERT_EQ(MULTIBIT_OK, multibit_batch_step(batch.get(), tokens.data())) << multibit_last_error();
      for (int s = 0; s < streams; ++s) {
        if (tokens[s] != MULTIBIT_IDLE) multibit_session_step(sessions[s].get(), tokens[s]);
      }
      if (random() % 3 == 0) continue;
      if (std::count(tokens.begin(), tokens.end(), MULTIBIT_IDLE) == streams) {
        const float* none = nullptr;
        ASSERT_EQ(MULTIBIT_ERROR_ARGUMENT, multibit_batch_logits(batch.get(), &none));
        continue;
      }
      const float* logits = Logits(batch);
      for (int s = 0; s < streams; ++s) {
        if (tokens[s] == MULTIBIT_IDLE) continue;
        ASSERT_EQ(0, std::memcmp(Logits(sessions[s]), logits + static_cast<size_t>(s) * vocabulary,
                                 vocabulary * sizeof(float)))
            << "stream " << s << " of " << streams << ", step " << step;
      }
    }
  }
}

TEST_P(BatchTest, LossesAreThoseOfSteps) {
  const TestModel test(GetParam());
  const TemporaryFile file(test.file.Bytes());
  const ModelPointer model = Open(file.path());
  std::vector<int32_t> tokens(100);
  std::mt19937 random(3);
  for (int32_t& token : tokens) token = static_cast<int32_t>(random() % GetParam().vocabulary);
  // One token at a time is a batch of one.
  const SessionPointer stepped = NewSession(model);
  double expected = 0;
  for (size_t i = 0; i < tokens.size(); ++i) {
    ASSERT_EQ(MULTIBIT_OK,
              multibit_session_evaluate(stepped.get(), i == 0 ? 0 : tokens[i - 1], &tokens[i], 1, &expected));
  }
  for (const size_t count : {size_t{1}, size_t{15}, size_t{16}, size_t{17}, size_t{99}}) {
    const SessionPointer session = NewSession(model);
    double begin = 0, end = 0;
    ASSERT_EQ(MULTIBIT_OK, multibit_session_evaluate(session.get(), 0, tokens.data(), count, &begin));
    ASSERT_EQ(MULTIBIT_OK, multibit_session_evaluate(session.get(), tokens[count - 1], tokens.data() + count,
                                                     tokens.size() - count, &end));
    EXPECT_NEAR(expected, begin + end, 1e-12 * expected);
    EXPECT_EQ(CopyOfLogits(stepped, GetParam().vocabulary), CopyOfLogits(session, GetParam().vocabulary));
  }
}

TEST(BatchArgumentsTest, AreChecked) {
  const TestModel test(kShapes[0]);
  const TemporaryFile file(test.file.Bytes());
  const ModelPointer model = Open(file.path());
  multibit_batch* none = nullptr;
  EXPECT_EQ(MULTIBIT_ERROR_ARGUMENT, multibit_batch_new(nullptr, 1, &none));
  EXPECT_EQ(MULTIBIT_ERROR_ARGUMENT, multibit_batch_new(model.get(), 1, nullptr));
  for (const int32_t streams : {0, -1, 4097, INT32_MAX, INT32_MIN}) {
    EXPECT_EQ(MULTIBIT_ERROR_ARGUMENT, multibit_batch_new(model.get(), streams, &none));
  }
  EXPECT_EQ(nullptr, none);
  const BatchPointer batch = NewBatch(model, 3);
  for (const int32_t stream : {-1, 3, INT32_MAX, INT32_MIN}) {
    EXPECT_EQ(MULTIBIT_ERROR_ARGUMENT, multibit_batch_reset(batch.get(), stream));
  }
  EXPECT_STREQ("There is no stream -2147483648 in a batch of 3", multibit_last_error());
  const float* logits = nullptr;
  EXPECT_EQ(MULTIBIT_ERROR_ARGUMENT, multibit_batch_logits(batch.get(), &logits));
  EXPECT_EQ(MULTIBIT_ERROR_ARGUMENT, multibit_batch_step(batch.get(), nullptr));
  EXPECT_EQ(MULTIBIT_ERROR_ARGUMENT, multibit_batch_step(nullptr, nullptr));
  EXPECT_EQ(MULTIBIT_ERROR_ARGUMENT, multibit_batch_reset_all(nullptr));

  // A token that is none: nothing was fed, and the logits are those of before.
  const int32_t good[] = {1, 2, 3};
  ASSERT_EQ(MULTIBIT_OK, multibit_batch_step(batch.get(), good));
  const size_t floats = 3 * static_cast<size_t>(kShapes[0].vocabulary);
  const std::vector<float> before(Logits(batch), Logits(batch) + floats);
  for (const int32_t token : {-2, kShapes[0].vocabulary, INT32_MAX, INT32_MIN}) {
    const int32_t bad[] = {4, 5, token};
    EXPECT_EQ(MULTIBIT_ERROR_ARGUMENT, multibit_batch_step(batch.get(), bad));
  }
  EXPECT_EQ(before, std::vector<float>(Logits(batch), Logits(batch) + floats));

  ASSERT_EQ(MULTIBIT_OK, multibit_batch_reset_all(batch.get()));
  EXPECT_EQ(MULTIBIT_ERROR_ARGUMENT, multibit_batch_logits(batch.get(), &logits));
  ASSERT_EQ(MULTIBIT_OK, multibit_batch_step(batch.get(), good));
  EXPECT_EQ(before, std::vector<float>(Logits(batch), Logits(batch) + floats));
  multibit_batch_free(nullptr);
}

}  // namespace

// The runtime through its C API: against a plain reading of docs/format.md, and on damaged files.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "handles.h"
#include "kernels.h"
#include "multibit.h"
#include "test_model.h"

namespace {

class RuntimeTest : public testing::TestWithParam<Shape> {};

INSTANTIATE_TEST_SUITE_P(Shapes, RuntimeTest, testing::ValuesIn(kShapes),
                         [](const auto& info) { return std::string(info.param.name); });

// A hidden state within rounding of a threshold may take another code in the oracle, which then is no oracle any more:
// such a step is tolerated if most streams never see one.
TEST_P(RuntimeTest, StepsAsTheFormatSays) {
  int streams_that_agree = 0;
  constexpr int kStreams = 10;
  for (int stream = 0; stream < kStreams; ++stream) {
    TestModel oracle(GetParam(), stream + 1);
    const TemporaryFile file(oracle.file.Bytes());
    const ModelPointer model = Open(file.path());
    ASSERT_NE(nullptr, model);
    const SessionPointer session = NewSession(model);
    std::mt19937 random(stream);
    bool agrees = true;
    for (int step = 0; step < 6; ++step) {
      const int token = static_cast<int>(random() % GetParam().vocabulary);
      ASSERT_EQ(MULTIBIT_OK, multibit_session_step(session.get(), token));
      const std::vector<double> expected = oracle.Step(token);
      const float* actual = Logits(session);
      for (size_t v = 0; v < expected.size(); ++v) agrees &= std::fabs(expected[v] - actual[v]) < 1e-4;
    }
    streams_that_agree += agrees;
  }
  const bool quantizes = GetParam().activation_bits > 0 || GetParam().softmax_activation_bits > 0;
  EXPECT_GE(streams_that_agree, quantizes ? kStreams * 8 / 10 : kStreams);
}

TEST_P(RuntimeTest, EvaluateSumsTheLossesOfSteps) {
  TestModel test(GetParam());
  const TemporaryFile file(test.file.Bytes());
  const ModelPointer model = Open(file.path());
  const SessionPointer session = NewSession(model);
  const SessionPointer stepped = NewSession(model);
  std::mt19937 random(7);
  std::vector<int32_t> tokens(40);
  for (int32_t& token : tokens) token = static_cast<int32_t>(random() % GetParam().vocabulary);
  double expected = 0;
  for (size_t i = 0; i < tokens.size(); ++i) {
    ASSERT_EQ(MULTIBIT_OK, multibit_session_step(stepped.get(), i == 0 ? 0 : tokens[i - 1]));
    const float* logits = Logits(stepped);
    double sum = 0;
    for (int v = 0; v < GetParam().vocabulary; ++v) sum += std::exp(static_cast<double>(logits[v]));
    expected += std::log(sum) - logits[tokens[i]];
  }
  double loss = 100;
  ASSERT_EQ(MULTIBIT_OK, multibit_session_evaluate(session.get(), 0, tokens.data(), 25, &loss));
  ASSERT_EQ(MULTIBIT_OK,
            multibit_session_evaluate(session.get(), tokens[24], tokens.data() + 25, tokens.size() - 25, &loss));
  EXPECT_NEAR(100 + expected, loss, 1e-5 * expected);
}

TEST_P(RuntimeTest, SessionsAreIndependentInOneThreadAndInMany) {
  TestModel test(GetParam());
  const TemporaryFile file(test.file.Bytes());
  const ModelPointer model = Open(file.path());
  constexpr int kStreams = 4;
  constexpr int kSteps = 30;
  const auto token = [&](int stream, int step) { return (stream * 7 + step * (stream + 3)) % GetParam().vocabulary; };
  const auto copy = [&](const SessionPointer& session) {
    const float* logits = Logits(session);
    return std::vector<float>(logits, logits + GetParam().vocabulary);
  };
  std::vector<std::vector<float>> alone(kStreams);
  const SessionPointer reused = NewSession(model);
  for (int stream = 0; stream < kStreams; ++stream) {
    multibit_session_reset(reused.get());
    for (int step = 0; step < kSteps; ++step) multibit_session_step(reused.get(), token(stream, step));
    alone[stream] = copy(reused);
  }
  std::vector<SessionPointer> sessions;
  for (int stream = 0; stream < kStreams; ++stream) sessions.push_back(NewSession(model));
  for (int step = 0; step < kSteps; ++step) {
    for (int stream = 0; stream < kStreams; ++stream) {
      multibit_session_step(sessions[stream].get(), token(stream, step));
      if (step % (stream + 2) == 0) Logits(sessions[stream]);
    }
  }
  for (int stream = 0; stream < kStreams; ++stream) EXPECT_EQ(alone[stream], copy(sessions[stream]));

  std::vector<std::vector<float>> threaded(kStreams);
  std::vector<std::thread> threads;
  for (int stream = 0; stream < kStreams; ++stream) {
    threads.emplace_back([&, stream] {
      const SessionPointer session = NewSession(model);
      for (int step = 0; step < kSteps; ++step) multibit_session_step(session.get(), token(stream, step));
      threaded[stream] = copy(session);
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(alone, threaded);
}

class ClassifierTest : public testing::TestWithParam<Shape> {
 protected:
  std::vector<float> Vector(std::mt19937* random) const {
    std::normal_distribution<float> normal;
    std::vector<float> x(GetParam().embedding);
    for (float& value : x) value = normal(*random);
    return x;
  }
};

INSTANTIATE_TEST_SUITE_P(Shapes, ClassifierTest, testing::ValuesIn(kClassifiers),
                         [](const auto& info) { return std::string(info.param.name); });

// As for tokens; a sequence fed at once is that of its steps, to the bit.
TEST_P(ClassifierTest, StepsAsTheFormatSays) {
  const int classes = GetParam().vocabulary;
  int streams_that_agree = 0;
  constexpr int kStreams = 10;
  for (int stream = 0; stream < kStreams; ++stream) {
    TestModel oracle(GetParam(), stream + 1);
    const TemporaryFile file(oracle.file.Bytes());
    const ModelPointer model = Open(file.path());
    ASSERT_NE(nullptr, model);
    const SessionPointer session = NewSession(model);
    std::mt19937 random(stream);
    std::vector<float> sequence;
    bool agrees = true;
    for (int step = 0; step < 6; ++step) {
      // A vector of zeros too, as the rows at an image's edge are.
      const std::vector<float> x = step == 2 ? std::vector<float>(GetParam().embedding) : Vector(&random);
      sequence.insert(sequence.end(), x.begin(), x.end());
      ASSERT_EQ(MULTIBIT_OK, multibit_session_step_floats(session.get(), x.data(), x.size()));
      const std::vector<double> expected = oracle.Step(x);
      const float* actual = Logits(session);
      for (int c = 0; c < classes; ++c) agrees &= std::fabs(expected[c] - actual[c]) < 1e-4;
    }
    streams_that_agree += agrees;
    const std::vector<float> stepped = CopyOfLogits(session, classes);
    ASSERT_EQ(MULTIBIT_OK, multibit_session_reset(session.get()));
    ASSERT_EQ(MULTIBIT_OK, multibit_session_step_floats(session.get(), sequence.data(), sequence.size()));
    EXPECT_EQ(stepped, CopyOfLogits(session, classes));
  }
  const bool quantizes = GetParam().activation_bits > 0 || GetParam().softmax_activation_bits > 0;
  EXPECT_GE(streams_that_agree, quantizes ? kStreams * 8 / 10 : kStreams);
}

TEST_P(ClassifierTest, DescribesItself) {
  const TestModel test(GetParam());
  const TemporaryFile file(test.file.Bytes());
  const ModelPointer model = Open(file.path());
  multibit_model_info info;
  ASSERT_EQ(MULTIBIT_OK, multibit_model_describe(model.get(), &info));
  EXPECT_STREQ("classifier", info.head);
  EXPECT_EQ(GetParam().embedding, info.input_size);
  EXPECT_EQ(GetParam().vocabulary, info.classes);
  EXPECT_EQ(GetParam().hidden, info.hidden_size);
  EXPECT_EQ(GetParam().layers, info.layers);
  EXPECT_EQ(GetParam().weight_bits, info.weight_bits);
  EXPECT_EQ(0, info.vocabulary_size);
  EXPECT_EQ(0, info.embedding_size);
  EXPECT_EQ(0, info.embedding_bits);
  EXPECT_EQ(-1, info.eos_token);
  EXPECT_EQ(-1, info.unknown_token);
}

// What a classifier is not fed and what it cannot be asked for; the session goes on as if nothing had been called.
TEST_P(ClassifierTest, RefusesWhatIsForLanguageModels) {
  const TestModel test(GetParam());
  const TemporaryFile file(test.file.Bytes());
  const ModelPointer model = Open(file.path());
  const SessionPointer session = NewSession(model);
  std::mt19937 random(1);
  std::vector<float> x = Vector(&random);
  const float* none = nullptr;
  EXPECT_EQ(MULTIBIT_ERROR_ARGUMENT, multibit_session_logits(session.get(), &none));
  ASSERT_EQ(MULTIBIT_OK, multibit_session_step_floats(session.get(), x.data(), x.size()));
  const std::vector<float> before = CopyOfLogits(session, GetParam().vocabulary);
  const auto refuses = [](int code, const char* why) {
    EXPECT_EQ(MULTIBIT_ERROR_ARGUMENT, code) << why;
    EXPECT_NE(nullptr, std::strstr(multibit_last_error(), why)) << multibit_last_error();
  };
  const char* tokens = "is a classifier: it is fed vectors of";
  int32_t token = 0;
  double loss = 0;
  const char* word = nullptr;
  size_t length = 0;
  multibit_batch* batch = nullptr;
  refuses(multibit_session_step(session.get(), 0), tokens);
  refuses(multibit_session_evaluate(session.get(), 0, &token, 1, &loss), tokens);
  refuses(multibit_session_evaluate(session.get(), 0, nullptr, 0, &loss), tokens);
  refuses(multibit_session_generate(session.get(), 1, 0, 1, &token, 1), tokens);
  refuses(multibit_session_generate(session.get(), 1, 0, 1, nullptr, 0), tokens);
  refuses(multibit_model_word(model.get(), 0, &word, &length), tokens);
  refuses(multibit_batch_new(model.get(), 2, &batch), tokens);
  EXPECT_EQ(nullptr, batch);
  EXPECT_EQ(MULTIBIT_OK, multibit_model_token(model.get(), "w2", 2, &token));
  EXPECT_EQ(-1, token);
  refuses(multibit_session_step_floats(nullptr, x.data(), x.size()), "session is null");
  refuses(multibit_session_step_floats(session.get(), nullptr, x.size()), "inputs is null");
  refuses(multibit_session_step_floats(session.get(), x.data(), 0), "0 floats are no steps of");
  if (x.size() > 1) refuses(multibit_session_step_floats(session.get(), x.data(), x.size() - 1), "are no steps of");
  for (const float value : {NAN, INFINITY, -INFINITY}) {
    std::vector<float> two(2 * x.size());
    two.back() = value;
    refuses(multibit_session_step_floats(session.get(), two.data(), two.size()), "of the input is not finite");
  }
  EXPECT_EQ(before, CopyOfLogits(session, GetParam().vocabulary));
}

TEST(CApiTest, LanguageModelsAreFedNoFloats) {
  TestModel test(kShapes[0]);
  const TemporaryFile file(test.file.Bytes());
  const ModelPointer model = Open(file.path());
  const SessionPointer session = NewSession(model);
  const std::vector<float> x(kShapes[0].embedding);
  EXPECT_EQ(MULTIBIT_ERROR_ARGUMENT, multibit_session_step_floats(session.get(), x.data(), x.size()));
  EXPECT_STREQ("The model is a language model: it is fed tokens, not vectors of floats", multibit_last_error());
}

class GenerateTest : public testing::Test {
 protected:
  GenerateTest() : test_(kShapes[0]), file_(test_.file.Bytes()), model_(Open(file_.path())) {}

  std::vector<int32_t> Generate(float temperature, int32_t top_k, uint64_t seed, size_t count = 60) {
    const SessionPointer session = NewSession(model_);
    EXPECT_EQ(MULTIBIT_OK, multibit_session_step(session.get(), 0));
    std::vector<int32_t> tokens(count);
    EXPECT_EQ(MULTIBIT_OK,
              multibit_session_generate(session.get(), temperature, top_k, seed, tokens.data(), tokens.size()));
    return tokens;
  }

  TestModel test_;
  TemporaryFile file_;
  ModelPointer model_;
};

TEST_F(GenerateTest, OneSeedGivesTheSameTokens) {
  EXPECT_EQ(Generate(1, 0, 42), Generate(1, 0, 42));
  EXPECT_EQ(Generate(1, 5, 42), Generate(1, 5, 42));
  EXPECT_NE(Generate(1, 0, 42), Generate(1, 0, 43));
}

TEST_F(GenerateTest, ZeroTemperatureTakesTheLikeliest) {
  const std::vector<int32_t> tokens = Generate(0, 0, 1);
  EXPECT_EQ(tokens, Generate(1, 1, 2));
  const SessionPointer session = NewSession(model_);
  multibit_session_step(session.get(), 0);
  for (const int32_t token : tokens) {
    const float* logits = Logits(session);
    EXPECT_EQ(std::max_element(logits, logits + kShapes[0].vocabulary) - logits, token);
    multibit_session_step(session.get(), token);
  }
}

TEST_F(GenerateTest, DrawsFollowTheSoftmaxOfTheLikeliest) {
  constexpr int kDraws = 20000;
  constexpr int kTop = 4;
  constexpr float kTemperature = 0.7f;
  const SessionPointer session = NewSession(model_);
  multibit_session_step(session.get(), 3);
  const float* logits = Logits(session);
  std::vector<double> expected(logits, logits + kShapes[0].vocabulary);
  std::vector<double> sorted = expected;
  std::sort(sorted.rbegin(), sorted.rend());
  double sum = 0;
  for (double& p : expected) sum += p = p < sorted[kTop - 1] ? 0 : std::exp((p - sorted[0]) / kTemperature);
  std::vector<double> counts(expected.size());
  for (int seed = 0; seed < kDraws; ++seed) {
    multibit_session_reset(session.get());
    multibit_session_step(session.get(), 3);
    int32_t token;
    ASSERT_EQ(MULTIBIT_OK, multibit_session_generate(session.get(), kTemperature, kTop, seed, &token, 1));
    ++counts[token];
  }
  for (size_t v = 0; v < expected.size(); ++v) {
    const double p = expected[v] / sum;
    // Five standard deviations.
    EXPECT_NEAR(p * kDraws, counts[v], 5 * std::sqrt(p * (1 - p) * kDraws)) << "token " << v;
  }
}

TEST_F(GenerateTest, RefusesBadArguments) {
  const SessionPointer session = NewSession(model_);
  int32_t token;
  EXPECT_EQ(MULTIBIT_ERROR_ARGUMENT, multibit_session_generate(session.get(), 1, 0, 1, &token, 1));
  multibit_session_step(session.get(), 0);
  EXPECT_EQ(MULTIBIT_ERROR_ARGUMENT, multibit_session_generate(session.get(), -1, 0, 1, &token, 1));
  EXPECT_EQ(MULTIBIT_ERROR_ARGUMENT, multibit_session_generate(session.get(), NAN, 0, 1, &token, 1));
  EXPECT_EQ(MULTIBIT_ERROR_ARGUMENT, multibit_session_generate(session.get(), INFINITY, 0, 1, &token, 1));
  EXPECT_EQ(MULTIBIT_ERROR_ARGUMENT, multibit_session_generate(session.get(), 1, -1, 1, &token, 1));
  EXPECT_EQ(MULTIBIT_ERROR_ARGUMENT, multibit_session_generate(session.get(), 1, 0, 1, nullptr, 1));
  EXPECT_EQ(MULTIBIT_OK, multibit_session_generate(session.get(), 1, 1000000, 1, &token, 1));
  EXPECT_EQ(MULTIBIT_OK, multibit_session_generate(session.get(), 1e-30f, 0, 1, &token, 1));
  EXPECT_EQ(MULTIBIT_OK, multibit_session_generate(session.get(), 1, 0, 1, nullptr, 0));
}

TEST(CApiTest, RefusesNullPointersAndForeignTokens) {
  TestModel test(kShapes[0]);
  const TemporaryFile file(test.file.Bytes());
  const ModelPointer model = Open(file.path());
  const SessionPointer session = NewSession(model);
  multibit_model* opened = nullptr;
  EXPECT_EQ(MULTIBIT_ERROR_ARGUMENT, multibit_model_open(nullptr, &opened));
  EXPECT_EQ(MULTIBIT_ERROR_ARGUMENT, multibit_model_open(file.path(), nullptr));
  EXPECT_EQ(MULTIBIT_ERROR_ARGUMENT, multibit_session_new(nullptr, nullptr));
  EXPECT_EQ(MULTIBIT_ERROR_ARGUMENT, multibit_session_step(nullptr, 0));
  EXPECT_STREQ("The argument session is null", multibit_last_error());
  for (const int32_t token : {-1, kShapes[0].vocabulary, INT32_MAX, INT32_MIN}) {
    EXPECT_EQ(MULTIBIT_ERROR_ARGUMENT, multibit_session_step(session.get(), token));
    double loss = 0;
    EXPECT_EQ(MULTIBIT_ERROR_ARGUMENT, multibit_session_evaluate(session.get(), 0, &token, 1, &loss));
    EXPECT_EQ(MULTIBIT_ERROR_ARGUMENT, multibit_session_evaluate(session.get(), token, &token, 1, &loss));
    const char* word;
    size_t length;
    EXPECT_EQ(MULTIBIT_ERROR_ARGUMENT, multibit_model_word(model.get(), token, &word, &length));
  }
  const float* logits = nullptr;
  EXPECT_EQ(MULTIBIT_ERROR_ARGUMENT, multibit_session_logits(session.get(), &logits));
  std::vector<float> written(kShapes[0].vocabulary);
  EXPECT_EQ(MULTIBIT_ERROR_ARGUMENT, multibit_session_write_logits(session.get(), written.data()));
  EXPECT_EQ(MULTIBIT_ERROR_ARGUMENT, multibit_session_write_logits(session.get(), nullptr));
  std::thread([] { EXPECT_STREQ("", multibit_last_error()); }).join();
  multibit_model_close(nullptr);
  multibit_session_free(nullptr);
}

TEST(CApiTest, DescribesTheModel) {
  TestModel test(kShapes[1]);
  const std::string bytes = test.file.Bytes();
  const TemporaryFile file(bytes);
  const ModelPointer model = Open(file.path());
  multibit_model_info info;
  ASSERT_EQ(MULTIBIT_OK, multibit_model_describe(model.get(), &info));
  EXPECT_EQ(21, info.vocabulary_size);
  EXPECT_EQ(40, info.embedding_size);
  EXPECT_EQ(67, info.hidden_size);
  EXPECT_EQ(2, info.layers);
  EXPECT_EQ(0, info.eos_token);
  EXPECT_EQ(1, info.unknown_token);
  EXPECT_EQ(3, info.embedding_bits);
  EXPECT_EQ(3, info.weight_bits);
  EXPECT_EQ(3, info.activation_bits);
  EXPECT_EQ(static_cast<int64_t>(bytes.size()), info.file_bytes);
  EXPECT_STREQ("lstm", info.cell);
  EXPECT_STREQ("language-model", info.head);
  EXPECT_EQ(0, info.input_size);
  EXPECT_EQ(0, info.classes);
  const char* word;
  size_t length;
  ASSERT_EQ(MULTIBIT_OK, multibit_model_word(model.get(), 20, &word, &length));
  EXPECT_EQ("w20", std::string(word, length));
  int32_t token;
  ASSERT_EQ(MULTIBIT_OK, multibit_model_token(model.get(), "w20", 3, &token));
  EXPECT_EQ(20, token);
  ASSERT_EQ(MULTIBIT_OK, multibit_model_token(model.get(), "w2000", 5, &token));
  EXPECT_EQ(-1, token);
  const auto metadata = [&](const char* key) {
    const char* value = nullptr;
    EXPECT_EQ(MULTIBIT_OK, multibit_model_metadata(model.get(), key, &value));
    return std::string(value == nullptr ? "(null)" : value);
  };
  EXPECT_EQ("multibit", metadata("general.architecture"));
  EXPECT_EQ("21", metadata("tokenizer.ggml.tokens"));
  EXPECT_EQ("0.3", metadata("multibit.activation.scale"));
  EXPECT_EQ("12.5", metadata("multibit.provenance.test_perplexity"));
  EXPECT_EQ("(null)", metadata("no such key"));
}

TEST(CApiTest, DescribesAGru) {
  TestModel test(FindShape("gru_w3a2_two_layers"));
  const TemporaryFile file(test.file.Bytes());
  const ModelPointer model = Open(file.path());
  multibit_model_info info;
  ASSERT_EQ(MULTIBIT_OK, multibit_model_describe(model.get(), &info));
  EXPECT_STREQ("gru", info.cell);
  EXPECT_EQ(2, info.layers);
  EXPECT_EQ(40, info.embedding_size);
  EXPECT_EQ(67, info.hidden_size);
}

TEST(CApiTest, HandlesAreNullAfterAnError) {
  TestModel test(kShapes[0]);
  const TemporaryFile file(test.file.Bytes());
  const ModelPointer model = Open(file.path());
  int nothing = 0;
  auto* opened = reinterpret_cast<multibit_model*>(&nothing);
  EXPECT_EQ(MULTIBIT_ERROR_IO, multibit_model_open("/no/such/file", &opened));
  EXPECT_EQ(nullptr, opened);
  opened = reinterpret_cast<multibit_model*>(&nothing);
  EXPECT_EQ(MULTIBIT_ERROR_ARGUMENT, multibit_model_open(nullptr, &opened));
  EXPECT_EQ(nullptr, opened);
  auto* session = reinterpret_cast<multibit_session*>(&nothing);
  EXPECT_EQ(MULTIBIT_ERROR_ARGUMENT, multibit_session_new(nullptr, &session));
  EXPECT_EQ(nullptr, session);
  auto* batch = reinterpret_cast<multibit_batch*>(&nothing);
  EXPECT_EQ(MULTIBIT_ERROR_ARGUMENT, multibit_batch_new(nullptr, 1, &batch));
  EXPECT_EQ(nullptr, batch);
  batch = reinterpret_cast<multibit_batch*>(&nothing);
  EXPECT_EQ(MULTIBIT_ERROR_ARGUMENT, multibit_batch_new(model.get(), 0, &batch));
  EXPECT_EQ(nullptr, batch);
}

// Opening a file is a point where a thread may be cancelled: that ends the thread, not the process.
TEST(CApiTest, ThreadsCanBeCancelled) {
  pthread_t thread;
  const auto run = [](void*) -> void* {
    pthread_cancel(pthread_self());
    multibit_model* model = nullptr;
    multibit_model_open("/dev/null", &model);
    return nullptr;
  };
  ASSERT_EQ(0, pthread_create(&thread, nullptr, run, nullptr));
  void* result = nullptr;
  ASSERT_EQ(0, pthread_join(thread, &result));
  EXPECT_EQ(PTHREAD_CANCELED, result);
}

TEST(CApiTest, WordsAreFoundByTheirBytes) {
  TestModel test(kShapes[0]);
  std::vector<std::string> words = {"<eos>", "<unk>", "b", "a", "ab", "\xC3\xA4", "B", "\xC2\xA0"};
  while (static_cast<int>(words.size()) < kShapes[0].vocabulary) words.push_back("w" + std::to_string(words.size()));
  test.file.Strings("tokenizer.ggml.tokens", words);
  const TemporaryFile file(test.file.Bytes());
  const ModelPointer model = Open(file.path());
  for (size_t i = 0; i < words.size(); ++i) {
    int32_t token = -2;
    ASSERT_EQ(MULTIBIT_OK, multibit_model_token(model.get(), words[i].data(), words[i].size(), &token));
    EXPECT_EQ(i, token) << words[i];
  }
  for (const std::string word : {"c", "aa", "A", "\xC3", "<", ""}) {
    int32_t token = -2;
    ASSERT_EQ(MULTIBIT_OK, multibit_model_token(model.get(), word.data(), word.size(), &token));
    EXPECT_EQ(-1, token) << word;
  }
}

// Words of 16 bytes of ASCII that the standard library's hash function (MurmurHash2 with a fixed seed) all takes to one
// value.
std::vector<std::string> Colliding(size_t count) {
  constexpr uint64_t kFactor = 0xc6a4a7935bd1e995;
  uint64_t inverse = kFactor;
  for (int i = 0; i < 5; ++i) inverse *= 2 - kFactor * inverse;
  const auto shift = [](uint64_t v) { return v ^ v >> 47; };
  const auto is_word = [](const std::string& text) {
    return std::all_of(text.begin(), text.end(), [](char c) { return c > ' ' && c < 0x7F; });
  };
  std::vector<std::string> texts;
  for (uint64_t i = 0; texts.size() < count; ++i) {
    std::string first = "........";
    for (int digit = 0; digit < 6; ++digit) first[digit] = static_cast<char>('!' + (i >> 5 * digit & 31));
    uint64_t start;
    std::memcpy(&start, first.data(), sizeof(start));
    const uint64_t mixed = ((0xc70f6907ull ^ 16 * kFactor) ^ shift(start * kFactor) * kFactor) * kFactor;
    const std::string text = first + GgufWriter::Bytes(shift((mixed ^ 12345) * inverse) * inverse);
    if (is_word(text)) texts.push_back(text);
  }
  return texts;
}

TEST(FormatTest, NamesAndWordsThatCollideTakeNoLonger) {
  constexpr size_t kCount = 50000;
  const std::vector<std::string> texts = Colliding(kCount);
#ifdef __GLIBCXX__
  EXPECT_EQ(std::hash<std::string>()(texts[0]), std::hash<std::string>()(texts[kCount - 1]));
#endif
  // A vocabulary, keys and tensors; compared pair by pair, each would take minutes.
  GgufWriter words = LargeModel(kCount, 1, 2);
  std::vector<std::string> vocabulary = texts;
  vocabulary[0] = "<eos>";
  vocabulary[1] = "<unk>";
  words.Strings("tokenizer.ggml.tokens", vocabulary);
  std::string keys =
      "GGUF" + GgufWriter::Bytes<uint32_t>(3) + GgufWriter::Bytes<uint64_t>(0) + GgufWriter::Bytes<uint64_t>(kCount);
  std::string tensors =
      "GGUF" + GgufWriter::Bytes<uint32_t>(3) + GgufWriter::Bytes<uint64_t>(kCount) + GgufWriter::Bytes<uint64_t>(0);
  for (const std::string& text : texts) {
    keys += GgufWriter::String(text) + GgufWriter::Bytes<uint32_t>(0) + "x";
    tensors += GgufWriter::String(text) + GgufWriter::Bytes<uint32_t>(1) + GgufWriter::Bytes<uint64_t>(1) +
               GgufWriter::Bytes<uint32_t>(0) + GgufWriter::Bytes<uint64_t>(0);
  }
  const auto begin = std::chrono::steady_clock::now();
  multibit_model* none = nullptr;
  const TemporaryFile key_file(keys);
  EXPECT_EQ(MULTIBIT_ERROR_FORMAT, multibit_model_open(key_file.path(), &none));
  EXPECT_NE(nullptr, std::strstr(multibit_last_error(), "it lacks the key general.alignment")) << multibit_last_error();
  const TemporaryFile tensor_file(tensors);
  EXPECT_EQ(MULTIBIT_ERROR_FORMAT, multibit_model_open(tensor_file.path(), &none));
  EXPECT_NE(nullptr, std::strstr(multibit_last_error(), "it lacks the key general.alignment")) << multibit_last_error();
  const TemporaryFile word_file(words.Bytes());
  const ModelPointer model = Open(word_file.path());
  for (const size_t word : {size_t{2}, kCount / 2, kCount - 1}) {
    int32_t token = -1;
    EXPECT_EQ(MULTIBIT_OK, multibit_model_token(model.get(), texts[word].data(), texts[word].size(), &token));
    EXPECT_EQ(word, token);
  }
  EXPECT_LT(std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count(), 30);
}

// What a file says goes into one line, without anything that a terminal obeys.
TEST(FormatTest, MessagesHaveNoControlCharacters) {
  const auto message = [](const std::function<void(GgufWriter*)>& damage) {
    TestModel test(kShapes[0]);
    damage(&test.file);
    const TemporaryFile file(test.file.Bytes());
    multibit_model* model = nullptr;
    EXPECT_EQ(MULTIBIT_ERROR_FORMAT, multibit_model_open(file.path(), &model));
    const std::string text = multibit_last_error();
    EXPECT_EQ(0, std::count_if(text.begin(), text.end(), [](char c) { return c >= 0 && c < ' '; })) << text;
    return text.substr(text.find("model: ") + 7);
  };
  const auto name = [](const char* key) {
    return [key](GgufWriter* file) { file->String(key, "a\n\x1B[2J\x7F\xC2\x9B\xC3\xA4"); };
  };
  EXPECT_EQ("multibit.cell is \"a??[2J??\xC3\xA4\", expected \"lstm\" or \"gru\"", message(name("multibit.cell")));
  EXPECT_EQ("there is no activation method \"a??[2J??\xC3\xA4\"", message(name("multibit.activation.method")));
  EXPECT_EQ("the string \"a?b?\" is not UTF-8", message([](GgufWriter* file) { file->String("x", "a\nb\xFF"); }));
  EXPECT_EQ("the key k?y occurs twice", message([](GgufWriter* file) {
              file->U32("k\ny", 1);
              file->Repeat("k\ny");
            }));
  EXPECT_EQ("tensor t?n is not aligned", message([](GgufWriter* file) {
              file->Find("x.unknown").name = "t\rn";
              file->Find("t\rn").offset += 4;
            }));
}

// One code and one message for each file that docs/format.md forbids.
TEST(FormatTest, RefusesWhatTheFormatForbids) {
  struct Case {
    std::function<void(GgufWriter*)> damage;
    const char* message;
    Shape shape = kShapes[0];
  };
  const auto u32 = [](const char* key, uint32_t value) { return [=](GgufWriter* file) { file->U32(key, value); }; };
  const auto text = [](const char* key, const char* value) {
    return [=](GgufWriter* file) { file->String(key, value); };
  };
  const auto tensor = [](const char* name, const std::function<void(GgufWriter::Tensor*)>& change) {
    return [=](GgufWriter* file) { change(&file->Find(name)); };
  };
  const auto set_float = [](size_t index, float value) {
    return [=](GgufWriter::Tensor* t) { std::memcpy(&t->data[index * sizeof(float)], &value, sizeof(float)); };
  };
  const auto word = [](size_t token, const char* value) {
    return [=](GgufWriter* file) {
      std::vector<std::string> words = {"<eos>", "<unk>"};
      while (static_cast<int>(words.size()) < kShapes[0].vocabulary)
        words.push_back("w" + std::to_string(words.size()));
      words[token] = value;
      file->Strings("tokenizer.ggml.tokens", words);
    };
  };
  const Shape gru = FindShape("gru_w3a2_two_layers"), tied = FindShape("gru_tied_two_layers"),
              classifier = kClassifiers[1];
  const std::vector<Case> cases = {
      {text("general.architecture", "llama"), "general.architecture is \"llama\""},
      {u32("general.alignment", 32), "general.alignment is 32"},
      {u32("multibit.version", 4), "format version 4"},
      {u32("multibit.version", 0), "format version 0"},
      {text("multibit.head", "tagger"), "multibit.head is \"tagger\", expected \"language-model\" or \"classifier\""},
      {text("multibit.head", "classifier"), "lacks the key multibit.classes"},
      {text("multibit.head", "language-model"), "lacks the key tokenizer.ggml.model", classifier},
      {u32("multibit.input_size", 0), "multibit.input_size is 0", classifier},
      {u32("multibit.input_size", 129), "tensor rnn.0.input.planes has the dims 8 3 2 26", classifier},
      {u32("multibit.input_size", UINT32_MAX), "multibit.input_size is 4294967295", classifier},
      {u32("multibit.classes", 0), "multibit.classes is 0", classifier},
      {u32("multibit.classes", 9), "tensor softmax.planes has the dims", classifier},
      {u32("multibit.hidden_size", 66), "dims", classifier},
      {u32("multibit.softmax.activation_bits", 9), "outside 0..8", classifier},
      {u32("multibit.rnn.0.input.activation_bits", 9), "outside 0..8", classifier},
      {[](GgufWriter* f) { f->Remove("multibit.activation.method"); }, "multibit.activation.method", classifier},
      {tensor("softmax.bias", [](auto* t) { t->dims = {4}; }), "softmax.bias has the dims 4, expected 5", classifier},
      {tensor("rnn.1.input.planes", [](auto* t) { t->type = 0; }), "rnn.1.input.planes is of type 0", classifier},
      {tensor("softmax.bias", set_float(4, NAN)), "softmax.bias is not finite", classifier},
      {text("multibit.cell", "rnn"), "multibit.cell is \"rnn\", expected \"lstm\" or \"gru\""},
      {text("multibit.cell", "gru"), "tensor rnn.0.input.planes has the dims 8 2 2 25, expected 8 2 2 19"},
      {u32("multibit.tied_embedding", 1), "need multibit.embedding_size = multibit.hidden_size, not 65 and 50"},
      {u32("multibit.tied_embedding", 2), "multibit.tied_embedding is 2"},
      {text("multibit.cell", "lstm"), "tensor rnn.0.input.planes has the dims", gru},
      {u32("multibit.layers", 3), "multibit.rnn.2.input.weight_bits", gru},
      {u32("multibit.hidden_size", 66), "dims", gru},
      {u32("multibit.rnn.1.input.weight_bits", 2), "tensor rnn.1.input.planes has the dims", gru},
      {tensor("rnn.1.input.planes", [](auto* t) { std::swap(t->dims[2], t->dims[3]); }), "rnn.1.input.planes", gru},
      {tensor("rnn.1.recurrent_bias", [](auto* t) { t->dims = {200}; }), "rnn.1.recurrent_bias has the dims 200", gru},
      {tensor("rnn.1.recurrent_bias", set_float(200, NAN)), "rnn.1.recurrent_bias is not finite", gru},
      {tensor("rnn.0.recurrent_bias", [](auto* t) { t->name = "other"; }), "lacks the tensor rnn.0.recurrent_bias",
       gru},
      {u32("multibit.embedding_size", 49), "embedding_size = multibit.hidden_size, not 49 and 50", tied},
      {u32("multibit.tied_embedding", 0), "multibit.softmax.weight_bits", tied},
      {[](GgufWriter* f) { f->Remove("multibit.softmax.activation_bits"); }, "multibit.softmax.activation_bits", tied},
      {text("tokenizer.ggml.model", "bpe"), "tokenizer.ggml.model"},
      {u32("multibit.layers", 0), "multibit.layers is 0"},
      {u32("multibit.layers", 3), "multibit.rnn.1.input.weight_bits"},
      {u32("multibit.layers", UINT32_MAX), "multibit.layers is 4294967295"},
      {u32("multibit.hidden_size", UINT32_MAX), "multibit.hidden_size is 4294967295"},
      {u32("multibit.vocabulary_size", UINT32_MAX), "multibit.vocabulary_size is 4294967295"},
      {u32("multibit.vocabulary_size", 1u << 28), "37 words, not 268435456"},
      {u32("multibit.embedding_size", 1u << 28), "dims"},
      {u32("multibit.layers", 1u << 28), "multibit.rnn.1.input.weight_bits"},
      {u32("multibit.vocabulary_size", 36), "37 words, not 36"},
      {u32("multibit.hidden_size", 40), "dims"},
      {u32("multibit.softmax.weight_bits", 9), "outside 0..8"},
      {u32("multibit.softmax.weight_bits", 3), "dims"},
      {u32("multibit.softmax.weight_bits", 0), "it lacks the tensor softmax.weight"},
      {u32("multibit.rnn.0.input.activation_bits", 3), "the embedding has 2 bits"},
      {u32("multibit.softmax.activation_bits", 9), "outside 0..8"},
      {u32("tokenizer.ggml.eos_token_id", 37), "outside the vocabulary"},
      {u32("tokenizer.ggml.unknown_token_id", 37), "outside the vocabulary"},
      {text("multibit.activation.method", "magic"), "no activation method \"magic\""},
      {u32("multibit.activation.cycles", 1001), "multibit.activation.cycles is 1001"},
      {[](GgufWriter* f) { f->F32("multibit.activation.scale", NAN); }, "multibit.activation.scale"},
      {[](GgufWriter* f) { f->F32("multibit.activation.scale", 0); }, "multibit.activation.scale"},
      {[](GgufWriter* f) { f->U64("multibit.version", 1); }, "multibit.version is of type 10, not 4"},
      {[](GgufWriter* f) { f->Add("multibit.version", 5, GgufWriter::Bytes<int32_t>(1)); }, "is of type 5, not 4"},
      {[](GgufWriter* f) { f->Add("x", 13, "a"); }, "unknown type 13"},
      {[](GgufWriter* f) { f->Add("x", 7, "\2"); }, "a bool is 2, neither 0 nor 1"},
      {[](GgufWriter* f) {
         f->Add("x", 9, GgufWriter::Bytes<uint32_t>(7) + GgufWriter::Bytes<uint64_t>(2) + "\1\xFF");
       },
       "a bool is 255"},
      {[](GgufWriter* f) { f->Add("x", 9, GgufWriter::Bytes<uint32_t>(13) + GgufWriter::Bytes<uint64_t>(0)); },
       "array of type 13"},
      {[](GgufWriter* f) { f->Add("x", 9, GgufWriter::Bytes<uint32_t>(0) + GgufWriter::Bytes<uint64_t>(1ull << 40)); },
       "1099511627776 elements of type 0 runs past"},
      {text("x", "\xC0\x80"), "is not UTF-8"},
      {text("\xED\xA0\x80", "x"), "is not UTF-8"},
      {tensor("x.unknown", [](auto* t) { t->name = "\xFF"; }), "is not UTF-8"},
      {[](GgufWriter* f) { f->String("x", std::string((1 << 20) + 1, 'a')); },
       "takes 1048577 bytes, more than 1048576"},
      {[](GgufWriter* f) {
         for (int i = 0; i < 65; ++i) f->String("x" + std::to_string(i), std::string(1 << 20, 'a'));
       },
       "its header takes more than 67108864 bytes"},
      {word(3, "w4"), "the vocabulary holds \"w4\" twice"},
      {word(3, ""), "word 3 of the vocabulary, \"\", is empty or holds white space"},
      {word(3, "a\vb"), "word 3 of the vocabulary, \"a?b\", is empty or holds white space"},
      {u32("tokenizer.ggml.eos_token_id", 1), "eos_token_id is that of the word \"<unk>\", not <eos>"},
      {u32("tokenizer.ggml.unknown_token_id", 2), "unknown_token_id is that of the word \"w2\", not <unk>"},
      {[](GgufWriter* f) { f->Repeat("multibit.version"); }, "the key multibit.version occurs twice"},
      {[](GgufWriter* f) { f->tensors.push_back(f->Find("softmax.bias")); }, "softmax.bias occurs twice"},
      {[](GgufWriter* f) { f->Strings("tokenizer.ggml.tokens", {"a"}); }, "1 words, not 37"},
      {tensor("softmax.bias", [](auto* t) { t->type = 27; }), "runs past its end"},
      {tensor("softmax.bias", [](auto* t) { t->type = 1; }), "tensor softmax.bias is of type 1, not 0"},
      {tensor("softmax.bias",
              [](auto* t) {
                t->dims = {37, 1};
              }),
       "dims 37 1, expected 37"},
      {tensor("softmax.bias", [](auto* t) { t->dims = {0}; }), "softmax.bias is empty"},
      {tensor("softmax.bias", [](auto* t) { t->dims = {}; }), "rank 0"},
      {tensor("softmax.bias",
              [](auto* t) {
                t->dims = {1, 1, 1, 1, 37};
              }),
       "rank 5"},
      {tensor("softmax.bias",
              [](auto* t) {
                t->dims = {1ull << 32, 1ull << 32};
              }),
       "overflows"},
      {tensor("softmax.bias", [](auto* t) { t->dims = {1ull << 61}; }), "runs past its end"},
      {tensor("softmax.bias", [](auto* t) { t->offset += 4; }), "not aligned"},
      {tensor("softmax.bias", [](auto* t) { t->offset = 1ull << 40; }), "runs past its end"},
      {tensor("softmax.bias", [](auto* t) { t->offset = ~0ull - 63; }), "runs past its end"},
      {tensor("softmax.bias", [](auto* t) { t->offset = 0; }), "overlap"},
      {tensor("softmax.bias", set_float(36, NAN)), "element 36 of tensor softmax.bias is not finite"},
      {tensor("rnn.0.bias", set_float(0, INFINITY)), "not finite"},
      {tensor("softmax.coefficients", set_float(5, -INFINITY)), "not finite"},
      // Row 37, the first past the 37 rows; then column 50 of 50.
      {tensor("softmax.planes", [](auto* t) { t->data[((4 * 1 * 2 + 0) * 8 + 5) * 8] = 1; }), "padding of softmax"},
      {tensor("softmax.planes", [](auto* t) { t->data[6] = 4; }), "padding of softmax"},
      {tensor("softmax.coefficients", set_float(4 * 2 * 8 + 5, 1)), "padding of softmax"},
  };
  for (const Case& damaged : cases) {
    TestModel test(damaged.shape);
    damaged.damage(&test.file);
    const TemporaryFile file(test.file.Bytes());
    multibit_model* model = nullptr;
    EXPECT_EQ(MULTIBIT_ERROR_FORMAT, multibit_model_open(file.path(), &model)) << damaged.message;
    EXPECT_NE(nullptr, std::strstr(multibit_last_error(), damaged.message))
        << multibit_last_error() << "\ndoes not say " << damaged.message;
    EXPECT_NE(nullptr, std::strstr(multibit_last_error(), file.path()));
    multibit_model_close(model);
  }
}

TEST(FormatTest, EveryRequiredKeyAndTensorIsMissed) {
  const auto opens = [](const GgufWriter& writer) {
    const TemporaryFile file(writer.Bytes());
    multibit_model* model = nullptr;
    const int code = multibit_model_open(file.path(), &model);
    multibit_model_close(model);
    return code == MULTIBIT_OK;
  };
  const std::vector<std::string> optional = {"tokenizer.ggml.unknown_token_id", "x.nested",
                                             "multibit.provenance.test_perplexity"};
  const TestModel test(kShapes[0]);
  for (const char* key : {"general.architecture",
                          "general.alignment",
                          "multibit.version",
                          "multibit.head",
                          "multibit.cell",
                          "multibit.layers",
                          "multibit.vocabulary_size",
                          "multibit.embedding_size",
                          "multibit.hidden_size",
                          "multibit.embedding.weight_bits",
                          "multibit.rnn.0.input.weight_bits",
                          "multibit.rnn.0.recurrent.weight_bits",
                          "multibit.softmax.weight_bits",
                          "multibit.rnn.0.input.activation_bits",
                          "multibit.rnn.0.recurrent.activation_bits",
                          "multibit.softmax.activation_bits",
                          "multibit.activation.method",
                          "multibit.activation.cycles",
                          "multibit.activation.scale",
                          "tokenizer.ggml.model",
                          "tokenizer.ggml.tokens",
                          "tokenizer.ggml.eos_token_id"}) {
    GgufWriter damaged = test.file;
    damaged.Remove(key);
    EXPECT_FALSE(opens(damaged)) << key;
  }
  for (const std::string& key : optional) {
    GgufWriter reduced = test.file;
    reduced.Remove(key);
    EXPECT_TRUE(opens(reduced)) << key;
  }
  const TestModel classifier(kClassifiers[0]);
  for (const char* key : {"multibit.head", "multibit.cell", "multibit.layers", "multibit.classes",
                          "multibit.input_size", "multibit.hidden_size", "multibit.rnn.0.input.activation_bits",
                          "multibit.softmax.weight_bits", "multibit.activation.method"}) {
    GgufWriter damaged = classifier.file;
    damaged.Remove(key);
    EXPECT_FALSE(opens(damaged)) << key;
  }
  for (const Shape& shape :
       {kShapes[0], FindShape("gru_w3a2_two_layers"), FindShape("gru_tied_two_layers"), kClassifiers[1]}) {
    const GgufWriter whole = TestModel(shape).file;
    for (size_t i = 0; i < whole.tensors.size(); ++i) {
      GgufWriter damaged = whole;
      damaged.tensors.erase(damaged.tensors.begin() + static_cast<std::ptrdiff_t>(i));
      EXPECT_EQ(whole.tensors[i].name == "x.unknown", opens(damaged)) << whole.tensors[i].name;
    }
  }
}

// Opens and, where that succeeds, runs the model: nothing may crash.
int Try(const char* path) {
  multibit_model* opened = nullptr;
  const int code = multibit_model_open(path, &opened);
  if (code != MULTIBIT_OK) {
    EXPECT_TRUE(code == MULTIBIT_ERROR_FORMAT || code == MULTIBIT_ERROR_IO) << code;
    EXPECT_NE(nullptr, std::strstr(multibit_last_error(), path)) << multibit_last_error();
    return code;
  }
  const ModelPointer model(opened);
  const SessionPointer session = NewSession(model);
  multibit_model_info info;
  EXPECT_EQ(MULTIBIT_OK, multibit_model_describe(opened, &info));
  const std::vector<float> steps(2 * static_cast<size_t>(info.input_size), 0.5f);
  multibit_session_step_floats(session.get(), steps.data(), steps.size());
  const float* logits = nullptr;
  multibit_session_logits(session.get(), &logits);
  const int32_t tokens[] = {1, 0, 1};
  double loss = 0;
  multibit_session_evaluate(session.get(), 0, tokens, 3, &loss);
  int32_t generated[2];
  multibit_session_generate(session.get(), 1, 0, 1, generated, 2);
  return code;
}

const Shape kTiny[] = {
    {"tiny", 3, 2, 2, 1, 2, 2, 2, 2, 2, multibit::kAlternating, 2, 1},
    {"tiny_gru_tied", 3, 2, 2, 2, 2, 2, 2, 2, 2, multibit::kAlternating, 2, 1, true, true},
    {"tiny_classifier", 3, 2, 2, 1, 0, 2, 2, 2, 2, multibit::kAlternating, 2, 1, false, false, true},
};

class DamageTest : public testing::TestWithParam<Shape> {};

INSTANTIATE_TEST_SUITE_P(Shapes, DamageTest, testing::ValuesIn(kTiny),
                         [](const auto& info) { return std::string(info.param.name); });

TEST_P(DamageTest, FilesCutAtAnyByteAreRefused) {
  const TestModel test(GetParam());
  const std::string bytes = test.file.Bytes();
  const TemporaryFile file(bytes);
  ASSERT_EQ(MULTIBIT_OK, Try(file.path()));
  for (size_t size = bytes.size(); size-- > 0;) {
    ASSERT_EQ(0, truncate(file.path(), static_cast<off_t>(size)));
    ASSERT_EQ(MULTIBIT_ERROR_FORMAT, Try(file.path())) << size;
  }
}

// Each byte of the header with each bit flipped, and set to the extremes: an error or a model that runs.
TEST_P(DamageTest, NoByteOfTheHeaderCrashes) {
  const TestModel test(GetParam());
  size_t header = 0;
  const std::string bytes = test.file.Bytes(&header);
  const TemporaryFile file(bytes);
  const int descriptor = open(file.path(), O_WRONLY);
  ASSERT_GE(descriptor, 0);
  for (size_t i = 0; i < header; ++i) {
    std::set<uint8_t> values = {0, 1, 127, 128, 255};
    for (int bit = 0; bit < 8; ++bit) values.insert(static_cast<uint8_t>(bytes[i] ^ (1 << bit)));
    for (const uint8_t value : values) {
      ASSERT_EQ(1, pwrite(descriptor, &value, 1, static_cast<off_t>(i)));
      Try(file.path());
    }
    ASSERT_EQ(1, pwrite(descriptor, &bytes[i], 1, static_cast<off_t>(i)));
  }
  close(descriptor);
  EXPECT_EQ(MULTIBIT_OK, Try(file.path()));
}

// Weights of any bits, as long as they are finite, run to numbers or to an error.
TEST(WildTest, WildWeightsAreSurvived) {
  std::vector<Shape> shapes(std::begin(kShapes), std::end(kShapes));
  shapes.insert(shapes.end(), std::begin(kClassifiers), std::end(kClassifiers));
  for (const Shape& shape : shapes) {
    for (unsigned seed = 1; seed <= 20; ++seed) {
      TestModel test(shape, seed);
      std::mt19937 random(seed);
      for (GgufWriter::Tensor& tensor : test.file.tensors) {
        for (size_t i = 0; tensor.type == 0 && i + 4 <= tensor.data.size(); i += 4) {
          float value;
          std::memcpy(&value, &tensor.data[i], 4);
          if (value == 0) continue;
          value = std::ldexp(value, static_cast<int>(random() % 250) - 125);
          std::memcpy(&tensor.data[i], &value, 4);
        }
      }
      const TemporaryFile file(test.file.Bytes());
      Try(file.path());
    }
  }
}

// Memory that ends where a page that cannot be read begins.
class GuardedMemory {
 public:
  explicit GuardedMemory(const std::string& bytes) : size_((bytes.size() + 63) / 64 * 64) {
    const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
    mapped_ = (size_ + page - 1) / page * page + page;
    void* memory = mmap(nullptr, mapped_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    EXPECT_NE(MAP_FAILED, memory);
    start_ = static_cast<uint8_t*>(memory);
    EXPECT_EQ(0, mprotect(start_ + mapped_ - page, page, PROT_NONE));
    data_ = start_ + mapped_ - page - size_;
    std::memcpy(data_, bytes.data(), bytes.size());
  }
  ~GuardedMemory() { munmap(start_, mapped_); }
  GuardedMemory(const GuardedMemory&) = delete;
  GuardedMemory& operator=(const GuardedMemory&) = delete;

  const uint8_t* data() const { return data_; }
  size_t size() const { return size_; }

 private:
  size_t size_, mapped_ = 0;
  uint8_t* start_ = nullptr;
  uint8_t* data_ = nullptr;
};

TEST(MemoryTest, ModelsInMemoryRunAsInAFile) {
  for (const Shape& shape : kShapes) {
    TestModel test(shape);
    const std::string bytes = test.file.Bytes();
    const TemporaryFile file(bytes);
    const GuardedMemory memory(bytes);
    const ModelPointer from_file = Open(file.path());
    multibit_model* opened = nullptr;
    ASSERT_EQ(MULTIBIT_OK, multibit_model_open_memory(memory.data(), memory.size(), "asset", &opened))
        << multibit_last_error();
    const ModelPointer from_memory(opened);
    const SessionPointer expected = NewSession(from_file), actual = NewSession(from_memory);
    for (const int32_t token : {0, 1, 0}) {
      ASSERT_EQ(MULTIBIT_OK, multibit_session_step(expected.get(), token));
      ASSERT_EQ(MULTIBIT_OK, multibit_session_step(actual.get(), token));
      EXPECT_EQ(CopyOfLogits(expected, shape.vocabulary), CopyOfLogits(actual, shape.vocabulary)) << shape;
    }
    multibit_model_info info;
    ASSERT_EQ(MULTIBIT_OK, multibit_model_describe(opened, &info));
    EXPECT_EQ(memory.size(), info.file_bytes);
  }
}

TEST(MemoryTest, WhatIsNoModelInMemoryIsRefused) {
  TestModel test(kShapes[0]);
  const std::string bytes = test.file.Bytes();
  const GuardedMemory memory(bytes);
  int nothing = 0;
  const auto refused = [&](int code, const char* why, const void* data, size_t size, const char* name) {
    auto* model = reinterpret_cast<multibit_model*>(&nothing);
    EXPECT_EQ(code, multibit_model_open_memory(data, size, name, &model)) << why;
    EXPECT_EQ(nullptr, model);
    EXPECT_NE(nullptr, std::strstr(multibit_last_error(), why)) << multibit_last_error();
  };
  refused(MULTIBIT_ERROR_ARGUMENT, "argument data is null", nullptr, memory.size(), "asset");
  refused(MULTIBIT_ERROR_ARGUMENT, "argument name is null", memory.data(), memory.size(), nullptr);
  refused(MULTIBIT_ERROR_ARGUMENT, "The memory of asset starts 8 bytes past a multiple of 64", memory.data() + 8,
          memory.size() - 8, "asset");
  refused(MULTIBIT_ERROR_FORMAT, "asset is not a packed model", memory.data(), 0, "asset");
  refused(MULTIBIT_ERROR_FORMAT, "asset is damaged", memory.data(), 100, "asset");
  refused(MULTIBIT_ERROR_FORMAT, "asset is not a packed model", memory.data() + 64, memory.size() - 64, "asset");
  EXPECT_EQ(MULTIBIT_ERROR_ARGUMENT, multibit_model_open_memory(memory.data(), memory.size(), "asset", nullptr));
  // Cut anywhere, with what cannot be read close behind.
  for (size_t size = 0; size < bytes.size(); size += 61) {
    const GuardedMemory cut(bytes.substr(0, size));
    multibit_model* model = nullptr;
    const uint8_t* data = cut.data();
    EXPECT_EQ(MULTIBIT_ERROR_FORMAT, multibit_model_open_memory(data, size, "asset", &model)) << size;
  }
}

TEST(FileTest, WhatIsNoFileIsRefused) {
  multibit_model* model = nullptr;
  EXPECT_EQ(MULTIBIT_ERROR_IO, multibit_model_open("/no/such/file", &model));
  EXPECT_EQ(MULTIBIT_ERROR_IO, multibit_model_open("/tmp", &model));
  EXPECT_EQ(MULTIBIT_ERROR_IO, multibit_model_open("/dev/null", &model));
  const TemporaryFile pipe;
  unlink(pipe.path());
  ASSERT_EQ(0, mkfifo(pipe.path(), 0600));
  EXPECT_EQ(MULTIBIT_ERROR_IO, multibit_model_open(pipe.path(), &model));
  EXPECT_EQ(nullptr, model);
}

TEST(IsaTest, UnknownTiersAreAnError) {
  const char* before = std::getenv("MULTIBIT_ISA");
  const std::string saved = before == nullptr ? "" : before;
  setenv("MULTIBIT_ISA", "abacus", 1);
  const char* name = nullptr;
  EXPECT_EQ(MULTIBIT_ERROR_ISA, multibit_isa(&name));
  EXPECT_NE(nullptr, std::strstr(multibit_last_error(), "abacus"));
  multibit_model* model = nullptr;
  EXPECT_EQ(MULTIBIT_ERROR_ISA, multibit_model_open("/no/such/file", &model));
  setenv("MULTIBIT_ISA", "scalar", 1);
  EXPECT_EQ(MULTIBIT_OK, multibit_isa(&name));
  EXPECT_STREQ("scalar", name);
  setenv("MULTIBIT_ISA", saved.c_str(), 1);
}

}  // namespace

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  const char* tier = nullptr;
  if (multibit_isa(&tier) != MULTIBIT_OK) {
    std::puts(multibit_last_error());
    return 77;
  }
  return RUN_ALL_TESTS();
}

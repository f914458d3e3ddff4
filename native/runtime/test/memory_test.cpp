// What a large model takes: on disk, to open, in memory. Its own process, so that nothing else has grown it.
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <string>

#include "handles.h"
#include "multibit.h"
#include "test_model.h"

namespace {

constexpr int kVocabulary = 42000;
constexpr int kHidden = 1024;
constexpr double kFullPrecisionBytes = 4.0 * kHidden * (2.0 * kVocabulary + 8.0 * kHidden);

int64_t ResidentBytes() {
  std::FILE* status = std::fopen("/proc/self/status", "r");
  char line[256];
  long kilobytes = 0;
  while (status != nullptr && std::fgets(line, sizeof(line), status) != nullptr) {
    if (std::sscanf(line, "VmRSS: %ld kB", &kilobytes) == 1) break;
  }
  if (status != nullptr) std::fclose(status);
  return kilobytes * 1024;
}

class LargeModelTest : public testing::TestWithParam<int> {};

INSTANTIATE_TEST_SUITE_P(Bits, LargeModelTest, testing::Values(2, 3), testing::PrintToStringParamName());

// By a process of its own, so that none of this one's memory is used before.
void Write(int bits, const TemporaryFile& file) {
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    const GgufWriter writer = LargeModel(kVocabulary, kHidden, bits);
    file.Write(writer.Bytes());
    size_t matrix_bytes = 0;
    for (const GgufWriter::Tensor& tensor : writer.tensors) {
      if (tensor.name.find("bias") == std::string::npos) matrix_bytes += tensor.data.size();
    }
    const double times = kFullPrecisionBytes / static_cast<double>(matrix_bytes);
    std::printf("planes and coefficients are 1/%.2f of full precision\n", times);
    std::fflush(stdout);
    _exit(times >= (bits == 2 ? 15 : 10) ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(child, waitpid(child, &status, 0));
  EXPECT_EQ(0, status) << "planes and coefficients are too large";
}

TEST_P(LargeModelTest, IsSmallAndOpensFast) {
  const int bits = GetParam();
  const TemporaryFile file;
  Write(bits, file);

  const int64_t before = ResidentBytes();
  ModelPointer model = Open(file.path());
  const SessionPointer session = NewSession(model);
  for (int step = 0; step < 100; ++step) {
    ASSERT_EQ(MULTIBIT_OK, multibit_session_step(session.get(), step * 419 % kVocabulary));
    Logits(session);
  }
  const int64_t grown = ResidentBytes() - before;
  multibit_model_info info;
  ASSERT_EQ(MULTIBIT_OK, multibit_model_describe(model.get(), &info));
  const double times = kFullPrecisionBytes / static_cast<double>(info.file_bytes);
  std::printf("the file is 1/%.2f of full precision; %.1f MiB resident on a file of %.1f MiB\n", times,
              static_cast<double>(grown) / (1 << 20), static_cast<double>(info.file_bytes) / (1 << 20));
  if (bits == 2) {
    EXPECT_GE(times, 14.5);
  }

  double fastest = 1e9;
  for (int i = 0; i < 3; ++i) {
    const auto begin = std::chrono::steady_clock::now();
    const ModelPointer again = Open(file.path());
    const std::chrono::duration<double, std::milli> time = std::chrono::steady_clock::now() - begin;
    fastest = std::min(fastest, time.count());
  }
  std::printf("opens in %.1f ms\n", fastest);
#ifdef MULTIBIT_MEASURES
  EXPECT_LE(grown, info.file_bytes + (4 << 20));
  EXPECT_LT(fastest, 50);
#endif
}

}  // namespace

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}

// multibit-roofline BYTES...: what this machine can do at best in one thread, on the tier that the kernels choose.
// Prints a line of JSON: how many 64-bit words' bits it counts per second, and for each size how many bytes per second
// it reads of warm memory of that size, rounded down to whole words, from the level of the caches that it fits into.
#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <exception>
#include <iterator>
#include <numeric>
#include <vector>

#include "kernels.h"
#include "roofline.h"

namespace multibit {

// MULTIBIT_TIERS is TIER(namespace) for each.
#define TIER(space)                \
  namespace space {                \
  extern const Roofline kRoofline; \
  }
MULTIBIT_TIERS
#undef TIER

namespace {

constexpr const Roofline* kRooflines[] = {
#define TIER(space) &space::kRoofline,
    MULTIBIT_TIERS
#undef TIER
};

const Roofline& Of(const Kernels& kernels) {
  return **std::find_if(std::begin(kRooflines), std::end(kRooflines),
                        [&](const Roofline* r) { return std::strcmp(r->isa, kernels.name) == 0; });
}

using Seconds = std::chrono::duration<double>;

// Enough for the clock, little enough for a sample to escape most interruptions.
constexpr Seconds kSample(0.5e-3);

template <typename Call>
Seconds Time(const Call& call, int64_t calls) {
  const auto start = std::chrono::steady_clock::now();
  for (int64_t i = 0; i < calls; ++i) call();
  return std::chrono::steady_clock::now() - start;
}

// The median seconds of a call, after a warm-up.
template <typename Call>
double MedianSeconds(const Call& call) {
  int64_t calls = 1;
  while (Time(call, calls) < kSample) calls *= 2;
  std::array<double, 51> samples;
  for (double& sample : samples) sample = Time(call, calls).count() / calls;
  std::nth_element(samples.begin(), samples.begin() + samples.size() / 2, samples.end());
  return samples[samples.size() / 2];
}

double ReadBytesPerSecond(const Roofline& roofline, int64_t words) {
  std::vector<uint64_t> memory(words);
  std::iota(memory.begin(), memory.end(), 0);
  return words * sizeof(uint64_t) / MedianSeconds([&] { roofline.ReadWords(memory.data(), words); });
}

double PopcountWordsPerSecond(const Roofline& roofline) {
  const int64_t words = 1 << 18;
  return words / MedianSeconds([&] { roofline.CountBits(words); });
}

int Run(int argc, char** argv) {
  std::vector<int64_t> sizes;
  for (int i = 1; i < argc; ++i) {
    const char* const end = argv[i] + std::strlen(argv[i]);
    int64_t bytes;
    const auto [parsed, error] = std::from_chars(argv[i], end, bytes);
    if (error != std::errc() || parsed != end || bytes < static_cast<int64_t>(sizeof(uint64_t))) {
      std::fprintf(stderr, "multibit-roofline takes sizes in bytes, of 8 or more, not '%.64s'\n", argv[i]);
      return 2;
    }
    sizes.push_back(bytes / sizeof(uint64_t));
  }
  const char* error = nullptr;
  const Kernels* kernels = SelectKernels(&error);
  if (kernels == nullptr) {
    std::fprintf(stderr, "%s\n", error);
    return 1;
  }
  const Roofline& roofline = Of(*kernels);
  // Reading first: programs started together read together.
  std::vector<double> rates;
  for (int64_t words : sizes) rates.push_back(ReadBytesPerSecond(roofline, words));
  std::printf("{\"isa\":\"%s\",\"popcountWordsPerSecond\":%.9g,\"readBytesPerSecond\":[", roofline.isa,
              PopcountWordsPerSecond(roofline));
  for (size_t i = 0; i < rates.size(); ++i) std::printf("%s%.9g", i == 0 ? "" : ",", rates[i]);
  std::printf("]}\n");
  return std::fflush(stdout) == 0 ? 0 : 1;
}

}  // namespace
}  // namespace multibit

int main(int argc, char** argv) {
  try {
    return multibit::Run(argc, argv);
  } catch (const std::exception&) {  // of memory that there is not
    std::fprintf(stderr, "multibit-roofline: not enough memory\n");
    return 1;
  }
}

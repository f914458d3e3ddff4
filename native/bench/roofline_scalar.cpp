#include "roofline.h"

namespace multibit {
namespace {

uint64_t ReadWords(const uint64_t* words, int64_t count) {
  uint64_t all = 0;
  for (int64_t i = 0; i < count; ++i) all |= words[i];
  return all;
}

uint64_t CountBits(int64_t words) {
  uint64_t counts[4] = {1, 2, 3, 4};
  for (int64_t i = 0; i < words; i += 4) {
    for (uint64_t& count : counts) count += __builtin_popcountll(count);
  }
  return counts[0] + counts[1] + counts[2] + counts[3];
}

}  // namespace

namespace MULTIBIT_TIER_SPACE {

extern const Roofline kRoofline;
const Roofline kRoofline = {.isa = MULTIBIT_TIER, .ReadWords = ReadWords, .CountBits = CountBits};

}  // namespace MULTIBIT_TIER_SPACE
}  // namespace multibit

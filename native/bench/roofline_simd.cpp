// Reading memory and counting bits with a tier's widest vectors. Compiled once per tier, as simd/vectors.h says.
#include "roofline.h"
#include "simd/words.h"

namespace multibit {
namespace {

// Independent vectors, enough to hide every latency, and no more than registers hold beside their operands.
constexpr int kReadStreams = 8;
constexpr int kCountStreams = HWY_TARGET == HWY_SSE4 || HWY_TARGET == HWY_AVX2 ? 4 : 8;

template <int kStreams, class V>
HWY_INLINE uint64_t Combine(V (&vectors)[kStreams]) {
  for (int half = kStreams / 2; half > 0; half /= 2) {
    for (int i = 0; i < half; ++i) vectors[i] = hn::Or(vectors[i], vectors[i + half]);
  }
  uint64_t lanes[kRows];
  hn::StoreU(hn::BitCast(kWords, vectors[0]), kWords, lanes);
  uint64_t all = 0;
  for (const uint64_t lane : lanes) all |= lane;
  return all;
}

uint64_t ReadWords(const uint64_t* words, int64_t count) {
  hn::Vec<WordTag> seen[kReadStreams];
  for (auto& stream : seen) stream = hn::Zero(kWords);
  int64_t i = 0;
  for (; i + kReadStreams * kRows <= count; i += kReadStreams * kRows) {
#pragma GCC unroll 8
    for (int s = 0; s < kReadStreams; ++s) seen[s] = hn::Or(seen[s], hn::LoadU(kWords, words + i + s * kRows));
  }
  uint64_t all = Combine(seen);
  for (; i < count; ++i) all |= words[i];
  return all;
}

uint64_t CountBits(int64_t words) {
#if HWY_TARGET == HWY_AVX3_DL
  const WordTag d;
#else
  const hn::Repartition<uint8_t, WordTag> d;  // the products of this tier count the bits of bytes
#endif
  using V = hn::Vec<decltype(d)>;
  constexpr int64_t kStep = kCountStreams * kRows;
  alignas(64) uint64_t weights[16 * kRows];
  for (uint64_t& word : weights) word = static_cast<uint64_t>(words);
  V counts[kCountStreams], activations[kCountStreams];
  for (int s = 0; s < kCountStreams; ++s) {
    counts[s] = hn::Zero(d);
    activations[s] = hn::BitCast(d, hn::Set(kWords, static_cast<uint64_t>(words) << s));
  }
  for (int64_t i = 0; i < words; i += kStep) {
    const V w = hn::BitCast(d, hn::LoadU(kWords, weights + i / kStep % 16 * kRows));
#pragma GCC unroll 8
    for (int s = 0; s < kCountStreams; ++s) {
      counts[s] = hn::Add(counts[s], hn::PopulationCount(hn::Xor(w, activations[s])));
    }
  }
  return Combine(counts);
}

}  // namespace

namespace MULTIBIT_TIER_SPACE {

extern const Roofline kRoofline;
const Roofline kRoofline = {.isa = MULTIBIT_TIER, .ReadWords = ReadWords, .CountBits = CountBits};

}  // namespace MULTIBIT_TIER_SPACE
}  // namespace multibit

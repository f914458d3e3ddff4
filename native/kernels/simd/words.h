// Vectors of 64-bit words, one of each row side by side, and the counting of their bits.
#pragma once

#include "simd/vectors.h"

namespace multibit {
namespace {

using WordTag = hn::CappedTag<uint64_t, 8>;
using WordVector = hn::Vec<WordTag>;
constexpr WordTag kWords;
constexpr int kRows = hn::MaxLanes(WordTag());  // rows of a block of 8 side by side in one vector

// Sums of the bits in each 64-bit lane.
class BitCounter {
 public:
#if HWY_TARGET == HWY_AVX3_DL
  static constexpr int64_t kMostAdded = INT64_MAX;

  HWY_INLINE void Add(WordVector bits) { sum_ = hn::Add(sum_, hn::PopulationCount(bits)); }
  HWY_INLINE void Flush() {}
#else
  // Without a popcount of 64 bits, the counts of bytes are summed up, and widened before they overflow.
  static constexpr int64_t kMostAdded = 255 / 8;

  HWY_INLINE void Add(WordVector bits) { bytes_ = hn::Add(bytes_, hn::PopulationCount(hn::BitCast(kBytes, bits))); }
  // To be called after at most kMostAdded additions.
  HWY_INLINE void Flush() {
    sum_ = hn::Add(sum_, hn::SumsOf8(bytes_));
    bytes_ = hn::Zero(kBytes);
  }
#endif
  HWY_INLINE WordVector Sum() const { return sum_; }
  HWY_INLINE void Double() { sum_ = hn::Add(sum_, sum_); }

 private:
  WordVector sum_ = hn::Zero(kWords);
#if HWY_TARGET != HWY_AVX3_DL
  static constexpr hn::Repartition<uint8_t, WordTag> kBytes{};
  hn::Vec<hn::Repartition<uint8_t, WordTag>> bytes_ = hn::Zero(kBytes);
#endif
};

}  // namespace
}  // namespace multibit

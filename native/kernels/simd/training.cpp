// The element-wise arithmetic of a training step, besides that of cells.
#include "simd/vectors.h"

namespace multibit {
namespace {

// SplitMix64's finalizer.
HWY_INLINE uint64_t Mix(uint64_t z) {
  z += 0x9E3779B97F4A7C15;
  z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9;
  z = (z ^ z >> 27) * 0x94D049BB133111EB;
  return z ^ z >> 31;
}

}  // namespace

namespace MULTIBIT_TIER_SPACE {

void DropoutMasks(uint64_t key, uint64_t threshold, int64_t first_row, int64_t last_row, int64_t cols,
                  uint64_t* masks) {
  for (int64_t r = first_row; r < last_row; ++r) {
    for (int64_t word = 0; word < Words(cols); ++word) {
      const int64_t left = cols - word * 64;
      const int count = left < 64 ? static_cast<int>(left) : 64;
      const uint64_t position = static_cast<uint64_t>(r * cols + word * 64);
      uint64_t retained = 0;
      for (int bit = 0; bit < count; ++bit) {
        const uint64_t random = Mix(key + (position + bit) * 0x9E3779B97F4A7C15) >> 1;
        retained |= static_cast<uint64_t>(random < threshold) << bit;
      }
      masks[r * Words(cols) + word] = retained;
    }
  }
}

void Drop(const uint64_t* masks, float factor, int64_t first_row, int64_t last_row, int64_t cols, float* x) {
  const Floats f = hn::Set(kFloats, factor);
  for (int64_t r = first_row; r < last_row; ++r) {
    const uint64_t* mask = masks + r * Words(cols);
    float* row = x + r * cols;
    ForEachPlace(cols, [&](int64_t j, int64_t left) ALWAYS_INLINE {
      const FloatMask retained = MaskOf(mask[j / 64] >> (j % 64));
      StoreUpTo(hn::IfThenElseZero(retained, hn::Mul(LoadUpTo(row + j, left, 0), f)), row + j, left);
    });
  }
}

bool Add(const float* x, int64_t n, float* into) {
  const Floats largest = hn::Set(kFloats, 0x1.fffffep127f);
  FloatMask finite = hn::Le(hn::Zero(kFloats), largest);
  ForEachPlace(n, [&](int64_t j, int64_t left) ALWAYS_INLINE {
    const Floats sum = hn::Add(LoadUpTo(into + j, left, 0), LoadUpTo(x + j, left, 0));
    finite = hn::And(finite, hn::Le(hn::Abs(sum), largest));
    StoreUpTo(sum, into + j, left);
  });
  return hn::AllTrue(kFloats, finite);
}

// Leaves zeros alone: much of an embedding's gradient is zeros, and is not written for nothing.
void Scale(float factor, int64_t n, float* x) {
  const Floats f = hn::Set(kFloats, factor);
  ForEachPlace(n, [&](int64_t j, int64_t left) ALWAYS_INLINE {
    const Floats v = LoadUpTo(x + j, left, 0);
    if (!hn::AllTrue(kFloats, hn::Eq(v, hn::Zero(kFloats)))) StoreUpTo(hn::Mul(v, f), x + j, left);
  });
}

void Clip(float bound, int64_t n, float* x) {
  const Floats high = hn::Set(kFloats, bound);
  const Floats low = hn::Set(kFloats, -bound);
  ForEachPlace(n, [&](int64_t j, int64_t left) ALWAYS_INLINE {
    const Floats v = LoadUpTo(x + j, left, 0);
    if (hn::AllFalse(kFloats, hn::Gt(hn::Abs(v), high))) return;
    // NaN stays NaN.
    const Floats clipped = hn::IfThenElse(hn::Gt(v, high), high, hn::IfThenElse(hn::Lt(v, low), low, v));
    StoreUpTo(clipped, x + j, left);
  });
}

double SumOfSquares(const float* x, int64_t n) {
  // Floats add up to a few at a time, so that neither the error grows with n nor small squares vanish.
  constexpr int64_t kChunk = 16 * kFloatLanes;
  double total = 0;
  for (int64_t start = 0; start < n; start += kChunk) {
    const int64_t end = n - start < kChunk ? n : start + kChunk;
    Floats sums[2] = {hn::Zero(kFloats), hn::Zero(kFloats)};
    int s = 0;
    for (int64_t j = start; j < end; j += kFloatLanes, s ^= 1) {
      const Floats v = LoadUpTo(x + j, end - j, 0);
      sums[s] = hn::MulAdd(v, v, sums[s]);
    }
    total += SumTree(kFloats, hn::Add(sums[0], sums[1]));
  }
  return total;
}

void RoundToBfloat16(const float* x, int64_t n, uint16_t* out) {
  // Integers alone, without a branch: the compiler makes vectors of it.
  for (int64_t j = 0; j < n; ++j) {
    uint32_t bits;
    std::memcpy(&bits, x + j, sizeof(bits));
    const uint32_t rounded = (bits + 0x7FFF + (bits >> 16 & 1)) >> 16;
    const bool nan = (bits & 0x7FFFFFFF) > 0x7F800000;
    out[j] = static_cast<uint16_t>(nan ? bits >> 16 | 0x40 : rounded);
  }
}

}  // namespace MULTIBIT_TIER_SPACE
}  // namespace multibit

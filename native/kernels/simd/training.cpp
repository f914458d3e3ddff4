// The element-wise arithmetic of a training step.
#include "simd/exponential.h"

namespace multibit {
namespace {

// SplitMix64's finalizer.
HWY_INLINE uint64_t Mix(uint64_t z) {
  z += 0x9E3779B97F4A7C15;
  z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9;
  z = (z ^ z >> 27) * 0x94D049BB133111EB;
  return z ^ z >> 31;
}

// Calls f with the vectors of n floats: with their place and how many floats are left from there on.
template <typename Function>
HWY_INLINE void ForEachPlace(int64_t n, const Function& f) {
  for (int64_t j = 0; j < n; j += kFloatLanes) f(j, n - j);
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

void Add(const float* x, int64_t n, float* into) {
  ForEachPlace(n, [&](int64_t j, int64_t left) ALWAYS_INLINE {
    StoreUpTo(hn::Add(LoadUpTo(into + j, left, 0), LoadUpTo(x + j, left, 0)), into + j, left);
  });
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

void LstmForward(int64_t first_row, int64_t last_row, int64_t hidden, float* gates, const float* before, float* cells,
                 float* cell_tanh, float* out) {
  for (int64_t r = first_row; r < last_row; ++r) {
    float* z = gates + r * 4 * hidden;
    const int64_t at = r * hidden;
    ForEachPlace(hidden, [&](int64_t j, int64_t left) ALWAYS_INLINE {
      const Floats candidate = Tanh(LoadUpTo(z + j, left, 0));
      const Floats forget = Sigmoid(LoadUpTo(z + hidden + j, left, 0));
      const Floats output = Sigmoid(LoadUpTo(z + 2 * hidden + j, left, 0));
      const Floats input = Sigmoid(LoadUpTo(z + 3 * hidden + j, left, 0));
      const Floats cell = hn::MulAdd(forget, LoadUpTo(before + at + j, left, 0), hn::Mul(input, candidate));
      const Floats tanh = Tanh(cell);
      StoreUpTo(candidate, z + j, left);
      StoreUpTo(forget, z + hidden + j, left);
      StoreUpTo(output, z + 2 * hidden + j, left);
      StoreUpTo(input, z + 3 * hidden + j, left);
      StoreUpTo(cell, cells + at + j, left);
      StoreUpTo(tanh, cell_tanh + at + j, left);
      StoreUpTo(hn::Mul(output, tanh), out + at + j, left);
    });
  }
}

void LstmBackward(int64_t first_row, int64_t last_row, int64_t hidden, const float* gates, const float* before,
                  const float* cell_tanh, const float* hidden_gradient, float* cell_gradient, float* gate_gradients) {
  const Floats one = hn::Set(kFloats, 1);
  for (int64_t r = first_row; r < last_row; ++r) {
    const float* z = gates + r * 4 * hidden;
    float* dz = gate_gradients + r * 4 * hidden;
    const int64_t at = r * hidden;
    ForEachPlace(hidden, [&](int64_t j, int64_t left) ALWAYS_INLINE {
      const Floats candidate = LoadUpTo(z + j, left, 0);
      const Floats forget = LoadUpTo(z + hidden + j, left, 0);
      const Floats output = LoadUpTo(z + 2 * hidden + j, left, 0);
      const Floats input = LoadUpTo(z + 3 * hidden + j, left, 0);
      const Floats tanh = LoadUpTo(cell_tanh + at + j, left, 0);
      const Floats dh = LoadUpTo(hidden_gradient + at + j, left, 0);
      const Floats dc =
          hn::MulAdd(hn::Mul(dh, output), hn::NegMulAdd(tanh, tanh, one), LoadUpTo(cell_gradient + at + j, left, 0));
      const Floats c = LoadUpTo(before + at + j, left, 0);
      StoreUpTo(hn::Mul(hn::Mul(dc, input), hn::NegMulAdd(candidate, candidate, one)), dz + j, left);
      StoreUpTo(hn::Mul(hn::Mul(dc, c), hn::Mul(forget, hn::Sub(one, forget))), dz + hidden + j, left);
      StoreUpTo(hn::Mul(hn::Mul(dh, tanh), hn::Mul(output, hn::Sub(one, output))), dz + 2 * hidden + j, left);
      StoreUpTo(hn::Mul(hn::Mul(dc, candidate), hn::Mul(input, hn::Sub(one, input))), dz + 3 * hidden + j, left);
      StoreUpTo(hn::Mul(dc, forget), cell_gradient + at + j, left);
    });
  }
}

}  // namespace MULTIBIT_TIER_SPACE
}  // namespace multibit

// Values of quantized rows, and products with full-precision activations or weights.
#include "simd/vectors.h"

namespace multibit {
namespace {

// The values of the elements from `bit` of a word on: the sum of +-a.
template <int kBits>
HWY_INLINE Floats ValuesOf(const uint64_t* planes, const float* a, int bit) {
  Floats value = Signed(MaskOf(planes[0] >> bit), hn::Set(kFloats, a[0]));
  for (int i = 1; i < kBits; ++i) value = hn::Add(value, Signed(MaskOf(planes[i] >> bit), hn::Set(kFloats, a[i])));
  return value;
}

// One row, interleaved by lanes.
template <int kBits>
struct PackedRow {
  const uint64_t* planes;
  int lanes;
  float a[kBits];

  PackedRow(const uint64_t* matrix_planes, const float* coefficients, int64_t row, int64_t cols, int lanes)
      : planes(matrix_planes + row / lanes * Words(cols) * kBits * lanes + row % lanes), lanes(lanes) {
    for (int i = 0; i < kBits; ++i) a[i] = coefficients[(row / lanes * kBits + i) * lanes + row % lanes];
  }
  HWY_INLINE void Load(int64_t word, uint64_t* out) const {
    for (int i = 0; i < kBits; ++i) out[i] = planes[(word * kBits + i) * lanes];
  }
};

template <int kBits>
void DequantizeRows(const uint64_t* planes, const float* coefficients, int64_t first_row, int64_t last_row,
                    int64_t cols, int lanes, float* out) {
  for (int64_t r = first_row; r < last_row; ++r) {
    const PackedRow<kBits> row(planes, coefficients, r, cols, lanes);
    for (int64_t word = 0; word < Words(cols); ++word) {
      uint64_t bits[kBits];
      row.Load(word, bits);
      float* target = out + r * cols + word * 64;
      const int64_t count = cols - word * 64;
      for (int bit = 0; bit < 64 && bit < count; bit += kFloatLanes) {
        StoreUpTo(ValuesOf<kBits>(bits, row.a, bit), target + bit, count - bit);
      }
    }
  }
}

}  // namespace

namespace MULTIBIT_TIER_SPACE {

void Dequantize(const uint64_t* planes, const float* coefficients, int64_t first_row, int64_t last_row, int64_t cols,
                int bits, int lanes, float* out) {
  constexpr decltype(&DequantizeRows<1>) kRows[] = {DequantizeRows<1>, DequantizeRows<2>, DequantizeRows<3>,
                                                    DequantizeRows<4>, DequantizeRows<5>, DequantizeRows<6>,
                                                    DequantizeRows<7>, DequantizeRows<8>};
  kRows[bits - 1](planes, coefficients, first_row, last_row, cols, lanes, out);
}

}  // namespace MULTIBIT_TIER_SPACE

namespace {

template <int kBits>
void GemvFloatRows(const uint64_t* planes, const float* coefficients, int64_t first_row, int64_t last_row, int64_t cols,
                   const float* x, float* out) {
  float last[64] = {};  // the elements of the last word, filled up
  const int64_t full = cols / 64;
  std::memcpy(last, x + full * 64, cols % 64 * sizeof(float));
  for (int64_t r = first_row; r < last_row; ++r) {
    const PackedRow<kBits> row(planes, coefficients, r, cols, 8);
    Floats sums[4] = {hn::Zero(kFloats), hn::Zero(kFloats), hn::Zero(kFloats), hn::Zero(kFloats)};
    for (int64_t word = 0; word < Words(cols); ++word) {
      uint64_t bits[kBits];
      row.Load(word, bits);
      const float* elements = word < full ? x + word * 64 : last;
      for (int bit = 0; bit < 64; bit += 4 * kFloatLanes) {
#pragma GCC unroll 4
        for (int s = 0; s < 4; ++s) {
          const int at = bit + s * kFloatLanes;
          sums[s] = hn::MulAdd(ValuesOf<kBits>(bits, row.a, at), hn::LoadU(kFloats, elements + at), sums[s]);
        }
      }
    }
    out[r] = SumTree(kFloats, hn::Add(hn::Add(sums[0], sums[1]), hn::Add(sums[2], sums[3])));
  }
}

}  // namespace

namespace MULTIBIT_TIER_SPACE {

void GemvFloat(const uint64_t* weight_planes, const float* weight_coefficients, int64_t first_row, int64_t last_row,
               int64_t cols, int weight_bits, const float* x, float* out) {
  constexpr decltype(&GemvFloatRows<1>) kRows[] = {GemvFloatRows<1>, GemvFloatRows<2>, GemvFloatRows<3>,
                                                   GemvFloatRows<4>, GemvFloatRows<5>, GemvFloatRows<6>,
                                                   GemvFloatRows<7>, GemvFloatRows<8>};
  kRows[weight_bits - 1](weight_planes, weight_coefficients, first_row, last_row, cols, x, out);
}

void GemvDense(const float* weights, int64_t first_row, int64_t last_row, int64_t cols, const float* x, float* out) {
  constexpr int64_t kStep = 4 * kFloatLanes;
  for (int64_t r = first_row; r < last_row; ++r) {
    const float* row = weights + r * cols;
    Floats sums[4] = {hn::Zero(kFloats), hn::Zero(kFloats), hn::Zero(kFloats), hn::Zero(kFloats)};
    int64_t j = 0;
    for (; j + kStep <= cols; j += kStep) {
#pragma GCC unroll 4
      for (int s = 0; s < 4; ++s) {
        const int64_t at = j + s * kFloatLanes;
        sums[s] = hn::MulAdd(hn::LoadU(kFloats, row + at), hn::LoadU(kFloats, x + at), sums[s]);
      }
    }
    for (; j < cols; j += kFloatLanes) {
      sums[0] = hn::MulAdd(LoadUpTo(row + j, cols - j, 0), LoadUpTo(x + j, cols - j, 0), sums[0]);
    }
    out[r] = SumTree(kFloats, hn::Add(hn::Add(sums[0], sums[1]), hn::Add(sums[2], sums[3])));
  }
}

}  // namespace MULTIBIT_TIER_SPACE
}  // namespace multibit

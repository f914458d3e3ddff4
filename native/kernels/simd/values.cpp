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

// Where a vector can be a table of all sums of a few elements, signed in every way, the words of many rows look up in
// it what these elements add to each row: bits are indices. Elsewhere rows are multiplied one after the other.
#if HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_AVX3_DL
constexpr int kTableElements = kFloatLanes == 16 ? 4 : 3;  // 2^kTableElements lanes
constexpr int kTablesPerHalf = (32 + kTableElements - 1) / kTableElements;
constexpr int64_t kTabledWords = 16;  // of a row: their tables stay in the L1 cache

using Words32Tag = hn::RebindToUnsigned<FloatTag>;
constexpr Words32Tag kWords32;

// The tables of 32 elements from `first` on; past the last they are 0.
HWY_INLINE void MakeTables(const float* x, int64_t cols, int64_t first, float* tables) {
  const auto index = hn::Iota(kWords32, 0);
  for (int t = 0; t < kTablesPerHalf; ++t) {
    Floats table = hn::Zero(kFloats);
    for (int e = 0; e < kTableElements; ++e) {
      const int at = t * kTableElements + e;
      const Floats element = hn::Set(kFloats, at < 32 && first + at < cols ? x[first + at] : 0);
      const auto bit = hn::Set(kWords32, uint32_t{1} << e);
      table = hn::Add(table, Signed(hn::RebindMask(kFloats, hn::TestBit(index, bit)), element));
    }
    hn::StoreU(table, kFloats, tables + t * kFloatLanes);
  }
}

// What 32 elements add to each row. An index has its upper bits ignored.
HWY_INLINE Floats LookUp(const float* tables, hn::Vec<Words32Tag> bits, Floats sum) {
#pragma GCC unroll 16
  for (int t = 0; t < kTablesPerHalf; ++t) {
#if HWY_TARGET == HWY_AVX2
    const Floats found{_mm256_permutevar8x32_ps(_mm256_loadu_ps(tables + t * kFloatLanes), bits.raw)};
#else
    const Floats found{_mm512_permutexvar_ps(bits.raw, _mm512_loadu_ps(tables + t * kFloatLanes))};
#endif
    sum = hn::Add(sum, found);
    bits = hn::ShiftRight<kTableElements>(bits);
  }
  return sum;
}

template <int kBits>
void GemvFloatRows(const uint64_t* planes, const float* coefficients, int64_t first_row, int64_t last_row, int64_t cols,
                   const float* x, float* out) {
  alignas(64) float tables[kTabledWords * 2 * kTablesPerHalf * kFloatLanes];
  const hn::Half<FloatTag> half;
  const hn::Repartition<uint64_t, FloatTag> words64;
  constexpr int kHalfLanes = kFloatLanes / 2;  // 64-bit words in a vector
  const int64_t words = Words(cols);
  const int64_t block = words * kBits * 8;
  for (int64_t start = 0; start < words; start += kTabledWords) {
    const int64_t end = start + kTabledWords < words ? start + kTabledWords : words;
    for (int64_t h = 2 * start; h < 2 * end; ++h) {
      MakeTables(x, cols, h * 32, tables + (h - 2 * start) * kTablesPerHalf * kFloatLanes);
    }
    for (int64_t r = first_row; r < last_row; r += kFloatLanes) {
      // The second half of the rows lies in the next block, where a block is no more than half a vector of floats.
      const bool whole = kFloatLanes == 8 || r + 8 < last_row;
      const int64_t other = kFloatLanes == 8 ? kHalfLanes : whole ? block : 0;
      const uint64_t* rows = planes + r / 8 * block;
      Floats sums[kBits][2];
      for (auto& sum : sums) sum[0] = sum[1] = hn::Zero(kFloats);
      for (int64_t word = start; word < end; ++word) {
        const float* t = tables + (word - start) * 2 * kTablesPerHalf * kFloatLanes;
        for (int i = 0; i < kBits; ++i) {
          const uint64_t* w = rows + (word * kBits + i) * 8;
          const auto one = hn::BitCast(kWords32, hn::LoadU(words64, w));
          const auto two = hn::BitCast(kWords32, hn::LoadU(words64, w + other));
          sums[i][0] = LookUp(t, hn::ConcatEven(kWords32, two, one), sums[i][0]);
          sums[i][1] = LookUp(t + kTablesPerHalf * kFloatLanes, hn::ConcatOdd(kWords32, two, one), sums[i][1]);
        }
      }
      const int64_t count = last_row - r < kFloatLanes ? last_row - r : kFloatLanes;
      Floats y = start == 0 ? hn::Zero(kFloats) : LoadUpTo(out + r, count, 0);
      for (int i = 0; i < kBits; ++i) {
        const float* a = coefficients + (r / 8 * kBits + i) * 8;
        const Floats ai = kFloatLanes == 8
                              ? hn::LoadU(kFloats, a)
                              : hn::Combine(kFloats, hn::LoadU(half, whole ? a + kBits * 8 : a), hn::LoadU(half, a));
        y = hn::MulAdd(ai, hn::Add(sums[i][0], sums[i][1]), y);
      }
      StoreUpTo(y, out + r, count);
    }
  }
}
#else
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
#endif

using FourFloats = hn::Vec<hn::FixedTag<float, 4>>;

HWY_INLINE FourFloats SumOfBlocks(FourFloats x) { return x; }

template <class V>
HWY_INLINE FourFloats SumOfBlocks(V x) {
  const hn::Half<hn::DFromV<V>> half;
  return SumOfBlocks(hn::Add(hn::LowerHalf(half, x), hn::UpperHalf(half, x)));
}

// The sums of the elements of each of four vectors.
HWY_INLINE FourFloats FourSums(Floats a, Floats b, Floats c, Floats d) {
  const auto even = hn::Add(hn::InterleaveLower(kFloats, a, c), hn::InterleaveUpper(kFloats, a, c));
  const auto odd = hn::Add(hn::InterleaveLower(kFloats, b, d), hn::InterleaveUpper(kFloats, b, d));
  return SumOfBlocks(hn::Add(hn::InterleaveLower(kFloats, even, odd), hn::InterleaveUpper(kFloats, even, odd)));
}

// Each sum is made in one order, whatever the tile, so that a vector gets the same bits in any batch.
template <int kRows, int kVectors>
HWY_INLINE void RowTile(const float* weights, int64_t cols, const float* x, float* out, int64_t out_stride) {
  Floats sums[kRows][kVectors];
  for (auto& row : sums) {
    for (Floats& sum : row) sum = hn::Zero(kFloats);
  }
  const auto add = [&](const auto& load) ALWAYS_INLINE {
    Floats of_x[kVectors];
    for (int v = 0; v < kVectors; ++v) of_x[v] = load(x + v * cols);
    for (int r = 0; r < kRows; ++r) {
      const Floats w = load(weights + r * cols);
      for (int v = 0; v < kVectors; ++v) sums[r][v] = hn::MulAdd(w, of_x[v], sums[r][v]);
    }
  };
  int64_t j = 0;
  for (; j + kFloatLanes <= cols; j += kFloatLanes) {
    add([&](const float* row) ALWAYS_INLINE { return hn::LoadU(kFloats, row + j); });
  }
  if (j < cols) add([&](const float* row) ALWAYS_INLINE { return LoadUpTo(row + j, cols - j, 0); });
  const hn::FixedTag<float, 4> four;
  for (int v = 0; v < kVectors; ++v) {
    float* to = out + v * out_stride;
    if constexpr (kRows == 1) {
      const Floats sum = sums[0][v];
      to[0] = hn::GetLane(FourSums(sum, sum, sum, sum));
    } else {
      static_assert(kRows % 4 == 0);
      for (int r = 0; r < kRows; r += 4) {
        hn::StoreU(FourSums(sums[r][v], sums[r + 1][v], sums[r + 2][v], sums[r + 3][v]), four, to + r);
      }
    }
  }
}

}  // namespace

namespace MULTIBIT_TIER_SPACE {

void PackedGemvFloat(const uint64_t* weight_planes, const float* weight_coefficients, int64_t first_row,
                     int64_t last_row, int64_t cols, int weight_bits, const float* x, float* out) {
  constexpr decltype(&GemvFloatRows<1>) kRows[] = {GemvFloatRows<1>, GemvFloatRows<2>, GemvFloatRows<3>,
                                                   GemvFloatRows<4>, GemvFloatRows<5>, GemvFloatRows<6>,
                                                   GemvFloatRows<7>, GemvFloatRows<8>};
  kRows[weight_bits - 1](weight_planes, weight_coefficients, first_row, last_row, cols, x, out);
}

void GemmRows(const float* weights, int64_t first_row, int64_t last_row, int64_t cols, const float* x, int64_t batch,
              float* out, int64_t out_stride) {
  constexpr int kRows = 4;
  constexpr int kVectors = kFloatLanes == 16 ? 4 : 2;  // as many as leave all sums in registers
  int64_t b = 0;
  if (batch >= kVectors) {
    b = batch / kVectors * kVectors;
    int64_t r = first_row;
    for (; r + kRows <= last_row; r += kRows) {
      for (int64_t v = 0; v < b; v += kVectors) {
        RowTile<kRows, kVectors>(weights + r * cols, cols, x + v * cols, out + v * out_stride + r, out_stride);
      }
    }
    for (; r < last_row; ++r) {
      for (int64_t v = 0; v < b; v += kVectors) {
        RowTile<1, kVectors>(weights + r * cols, cols, x + v * cols, out + v * out_stride + r, out_stride);
      }
    }
  }
  for (; b < batch; ++b) {
    int64_t r = first_row;
    for (; r + 2 * kRows <= last_row; r += 2 * kRows) {
      RowTile<2 * kRows, 1>(weights + r * cols, cols, x + b * cols, out + b * out_stride + r, out_stride);
    }
    for (; r < last_row; ++r) {
      RowTile<1, 1>(weights + r * cols, cols, x + b * cols, out + b * out_stride + r, out_stride);
    }
  }
}

}  // namespace MULTIBIT_TIER_SPACE
}  // namespace multibit

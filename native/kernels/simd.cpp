// The kernels on Google Highway, written once. CMakeLists.txt compiles this file once per tier, with the tier's flags
// and
//   MULTIBIT_KERNELS       the table to define, for example kAvx2Kernels
//   MULTIBIT_TIER          its name, for example "avx2"
//   HWY_BASELINE_TARGETS   the Highway target that the flags are for
// Everything lives in the unnamed namespace and no std:: template is used: a function that two tiers share would be
// linked once, perhaps with instructions that the CPU lacks.
#include <hwy/base.h>

#include <cmath>
#include <cstring>

#include "row_math.h"
#include "tiers.h"
// The flags say what the CPU has. Highway's pragmas would add to that (1.0.3: AVX-VNNI to HWY_AVX3_DL).
#undef HWY_PUSH_ATTRIBUTES
#undef HWY_POP_ATTRIBUTES
#define HWY_PUSH_ATTRIBUTES(targets)
#define HWY_POP_ATTRIBUTES
#include <hwy/contrib/math/math-inl.h>
#include <hwy/highway.h>

// For lambdas that work on vectors; left alone, the compiler calls some.
#define ALWAYS_INLINE __attribute__((always_inline))

namespace multibit {
namespace {

namespace hn = hwy::HWY_NAMESPACE;

// ---------------------------------------------------------------------------------------------------------------------
// Vectors of floats and the bits that belong to them

using FloatTag = hn::CappedTag<float, 16>;
using Floats = hn::Vec<FloatTag>;
using FloatMask = hn::Mask<FloatTag>;
constexpr FloatTag kFloats;
constexpr int kFloatLanes = hn::MaxLanes(FloatTag());
constexpr int kParts = 16 / kFloatLanes;  // vectors that hold 16 floats

int64_t Words(int64_t cols) { return (cols + 63) / 64; }

HWY_INLINE FloatMask MaskOf(uint64_t bits) {
  uint8_t bytes[8];
  std::memcpy(bytes, &bits, 8);
  return hn::LoadMaskBits(kFloats, bytes);
}

HWY_INLINE uint64_t BitsOf(FloatMask mask) {
  uint8_t bytes[8];
  hn::StoreMaskBits(kFloats, mask, bytes);
  if constexpr (kFloatLanes <= 8) return bytes[0];
  uint16_t bits;
  std::memcpy(&bits, bytes, 2);
  return bits;
}

// +1 or -1 times x.
HWY_INLINE Floats Signed(FloatMask positive, Floats x) { return hn::IfThenElse(positive, x, hn::Neg(x)); }

// Calls f(part, bit, elements bit...) for the vectors of 64 floats; part counts the vectors of each 16.
template <typename Function>
HWY_INLINE void ForEachVector(const float* elements, const Function& f) {
  for (int bit = 0; bit < 64; bit += 16) {
#pragma GCC unroll 4
    for (int part = 0; part < kParts; ++part) {
      const int at = bit + part * kFloatLanes;
      f(part, at, hn::LoadU(kFloats, elements + at));
    }
  }
}

template <class D>
HWY_INLINE float SumTree(D d, hn::Vec<D> v) {
  if constexpr (hn::MaxLanes(D()) == 4) {
    float s[4];
    hn::StoreU(v, d, s);
    return (s[0] + s[2]) + (s[1] + s[3]);
  } else {
    const hn::Half<D> half;
    return SumTree(half, hn::Add(hn::LowerHalf(half, v), hn::UpperHalf(half, v)));
  }
}

// A sum in the one order that every tier keeps: 16 partial sums and a tree.
class FixedOrderSum {
 public:
  HWY_INLINE FixedOrderSum() {
    for (Floats& part : parts_) part = hn::Zero(kFloats);
  }
  HWY_INLINE void Add(int part, Floats x) { parts_[part] = hn::Add(parts_[part], x); }
  HWY_INLINE float Total() {
    for (int half = kParts / 2; half > 0; half /= 2) {
      for (int part = 0; part < half; ++part) Add(part, parts_[part + half]);
    }
    return SumTree(kFloats, parts_[0]);
  }

 private:
  Floats parts_[kParts];
};

// The first `count` floats at p, then `fill`; never reads past them.
HWY_INLINE Floats LoadUpTo(const float* p, int64_t count, float fill) {
  if (count >= kFloatLanes) return hn::LoadU(kFloats, p);
  float buffer[kFloatLanes];
  for (float& x : buffer) x = fill;
  std::memcpy(buffer, p, count * sizeof(float));
  return hn::LoadU(kFloats, buffer);
}

HWY_INLINE void StoreUpTo(Floats v, float* p, int64_t count) {
  if (count >= kFloatLanes) return hn::StoreU(v, kFloats, p);
  float buffer[kFloatLanes];
  hn::StoreU(v, kFloats, buffer);
  std::memcpy(p, buffer, count * sizeof(float));
}

// ---------------------------------------------------------------------------------------------------------------------
// Quantizing a row

// One row on its way to planes and coefficients.
struct Row {
  const float* w;  // zeros up to the end of the last word
  int64_t n;
  int64_t words;
  int bits;
  int lanes;
  uint64_t* planes;
  float* work;  // n floats
  float a[kMaxBits];

  HWY_INLINE uint64_t& Plane(int i, int64_t word) const { return planes[(word * bits + i) * lanes]; }
  // The bits of a word that stand for elements.
  HWY_INLINE uint64_t Valid(int64_t word) const {
    return word + 1 < words || n % 64 == 0 ? ~uint64_t{0} : (uint64_t{1} << n % 64) - 1;
  }
};

float MaxMagnitude(const Row& row) {
  Floats max = hn::Zero(kFloats);
  for (int64_t j = 0; j < row.words * 64; j += kFloatLanes) {
    max = hn::Max(max, hn::Abs(hn::LoadU(kFloats, row.w + j)));
  }
  return hn::GetLane(hn::MaxOfLanes(kFloats, max));
}

bool AllFinite(const Row& row) {
  // Of the bits without sign, those of infinities and NaNs are the largest.
  const hn::RebindToSigned<FloatTag> ints;
  auto max = hn::Zero(ints);
  for (int64_t j = 0; j < row.words * 64; j += kFloatLanes) {
    max = hn::Max(max, hn::BitCast(ints, hn::Abs(hn::LoadU(kFloats, row.w + j))));
  }
  return hn::AllTrue(ints, hn::Lt(max, hn::Set(ints, 0x7F800000)));
}

// The normal equations' row of plane i, from where it differs from the planes before.
HWY_INLINE void SetGram(int i, int64_t n, const int64_t* differ, NormalEquations* equations) {
  for (int j = 0; j < i; ++j) equations->gram[i][j] = static_cast<double>(n - 2 * differ[j]);
  equations->gram[i][i] = static_cast<double>(n);
}

// b = sign(r) becomes plane kPlanes, with r = w - sum of the planes before, times their coefficients. Returns sum |r|.
template <int kPlanes>
float NextPlane(Row* row, NormalEquations* equations) {
  FixedOrderSum magnitudes, projection;
  int64_t differ[kPlanes + 1] = {};
  for (int64_t word = 0; word < row->words; ++word) {
    uint64_t before[kPlanes + 1];
    for (int i = 0; i < kPlanes; ++i) before[i] = row->Plane(i, word);
    const uint64_t valid = row->Valid(word);
    uint64_t signs = 0;
    ForEachVector(row->w + word * 64, [&](int part, int bit, Floats w) ALWAYS_INLINE {
      Floats r = w;
      for (int i = 0; i < kPlanes; ++i) {
        r = hn::Sub(r, Signed(MaskOf(before[i] >> bit), hn::Set(kFloats, row->a[i])));
      }
      const FloatMask positive = hn::Ge(r, hn::Zero(kFloats));
      signs |= BitsOf(positive) << bit;
      magnitudes.Add(part, hn::IfThenElseZero(MaskOf(valid >> bit), hn::Abs(r)));
      projection.Add(part, Signed(positive, w));
    });
    signs &= valid;
    row->Plane(kPlanes, word) = signs;
    for (int i = 0; i < kPlanes; ++i) differ[i] += __builtin_popcountll(signs ^ before[i]);
  }
  equations->projection[kPlanes] = projection.Total();
  SetGram(kPlanes, row->n, differ, equations);
  return magnitudes.Total();
}

constexpr float (*kNextPlane[])(Row*, NormalEquations*) = {NextPlane<0>, NextPlane<1>, NextPlane<2>, NextPlane<3>,
                                                           NextPlane<4>, NextPlane<5>, NextPlane<6>, NextPlane<7>};

// The normal equations of the planes 0..kPlanes-1.
template <int kPlanes>
void FillEquations(const Row& row, NormalEquations* equations) {
  FixedOrderSum projections[kPlanes];
  int64_t differ[kPlanes][kPlanes] = {};
  for (int64_t word = 0; word < row.words; ++word) {
    uint64_t planes[kPlanes];
    for (int i = 0; i < kPlanes; ++i) planes[i] = row.Plane(i, word);
    ForEachVector(row.w + word * 64, [&](int part, int bit, Floats w) ALWAYS_INLINE {
      for (int i = 0; i < kPlanes; ++i) projections[i].Add(part, Signed(MaskOf(planes[i] >> bit), w));
    });
    for (int i = 0; i < kPlanes; ++i) {
      for (int j = 0; j < i; ++j) differ[i][j] += __builtin_popcountll(planes[i] ^ planes[j]);
    }
  }
  for (int i = 0; i < kPlanes; ++i) {
    equations->projection[i] = projections[i].Total();
    SetGram(i, row.n, differ[i], equations);
  }
}

constexpr void (*kFillEquations[])(const Row&, NormalEquations*) = {
    FillEquations<1>, FillEquations<2>, FillEquations<3>, FillEquations<4>,
    FillEquations<5>, FillEquations<6>, FillEquations<7>, FillEquations<8>};

void EncodeTwoBits(Row* row) {
  const Floats zero = hn::Zero(kFloats);
  const Floats a = hn::Set(kFloats, row->a[0]);
  for (int64_t word = 0; word < row->words; ++word) {
    uint64_t first = 0, second = 0;
    ForEachVector(row->w + word * 64, [&](int, int bit, Floats w) ALWAYS_INLINE {
      const FloatMask positive = hn::Ge(w, zero);
      first |= BitsOf(positive) << bit;
      second |= BitsOf(hn::Ge(hn::Sub(w, Signed(positive, a)), zero)) << bit;
    });
    row->Plane(0, word) = first & row->Valid(word);
    row->Plane(1, word) = second & row->Valid(word);
  }
}

// Counts thresholds by turning bits: a plane's bit flips at each threshold between codes that differ in it.
void Encode(const CodeTable& table, Row* row) {
  for (int64_t word = 0; word < row->words; ++word) {
    uint64_t planes[kMaxBits];
    for (int i = 0; i < row->bits; ++i) planes[i] = table.code[0] >> i & 1 ? ~uint64_t{0} : 0;
    for (int t = 0; t < table.thresholds; ++t) {
      const Floats threshold = hn::Set(kFloats, table.threshold[t]);
      uint64_t reached = 0;
      ForEachVector(row->w + word * 64,
                    [&](int, int bit, Floats w) ALWAYS_INLINE { reached |= BitsOf(hn::Ge(w, threshold)) << bit; });
      for (unsigned flips = table.code[t] ^ table.code[t + 1]; flips != 0; flips &= flips - 1) {
        planes[__builtin_ctz(flips)] ^= reached;
      }
    }
    for (int i = 0; i < row->bits; ++i) row->Plane(i, word) = planes[i] & row->Valid(word);
  }
}

void Uniform(Row* row) {
  const float max = MaxMagnitude(*row);
  const Floats divisor = hn::Set(kFloats, max == 0 ? 1 : max);
  const Floats top = hn::Set(kFloats, static_cast<float>((1 << row->bits) - 1));
  const Floats half = hn::Set(kFloats, 0.5f);
  const hn::RebindToSigned<FloatTag> ints;
  for (int64_t word = 0; word < row->words; ++word) {
    uint64_t planes[kMaxBits] = {};
    ForEachVector(row->w + word * 64, [&](int, int bit, Floats w) ALWAYS_INLINE {
      const Floats y = hn::Mul(hn::Mul(hn::Add(hn::Div(w, divisor), hn::Set(kFloats, 1)), half), top);
      const auto level = hn::ConvertTo(ints, hn::Add(y, half));  // in [0, top], as |w| <= max
      for (int i = 0; i < row->bits; ++i) {
        const auto digit = hn::TestBit(level, hn::Set(ints, 1 << (row->bits - 1 - i)));
        planes[i] |= BitsOf(hn::RebindMask(kFloats, digit)) << bit;
      }
    });
    for (int i = 0; i < row->bits; ++i) row->Plane(i, word) = planes[i] & row->Valid(word);
  }
  UniformCoefficients(max, row->bits, row->a);
}

void Balanced(Row* row) {
  std::memcpy(row->work, row->w, row->n * sizeof(float));
  SortAscending(row->work, row->n);
  CodeTable table;
  BalancedCodes(row->work, row->n, row->bits, &table);
  Encode(table, row);
  UniformCoefficients(MaxMagnitude(*row), row->bits, row->a);
}

// Also gives the normal equations of its planes.
void Greedy(Row* row, NormalEquations* equations) {
  for (int i = 0; i < row->bits; ++i) {
    row->a[i] = kNextPlane[i](row, equations) / static_cast<float>(row->n);
  }
}

void Refined(Row* row) {
  NormalEquations equations;
  for (int i = 0; i < row->bits; ++i) {
    kNextPlane[i](row, &equations);
    SolveLeastSquares(equations, i + 1, row->n, row->a);
  }
  const PlaneOrder order = Normalize(row->a, row->bits);
  for (int64_t word = 0; word < row->words; ++word) {
    uint64_t planes[kMaxBits];
    for (int i = 0; i < row->bits; ++i) {
      planes[i] = row->Plane(order.from[i], word) ^ (order.flipped[i] ? row->Valid(word) : 0);
    }
    for (int i = 0; i < row->bits; ++i) row->Plane(i, word) = planes[i];
  }
}

// With one bit, greedy is the optimum already.
void Alternating(int cycles, float scale, Row* row) {
  NormalEquations equations;
  Greedy(row, &equations);
  for (int cycle = 0; cycle < cycles && row->bits > 1; ++cycle) {
    if (cycle > 0) kFillEquations[row->bits - 1](*row, &equations);
    SolveLeastSquares(equations, row->bits, row->n, row->a);
    Normalize(row->a, row->bits);
    if (row->bits == 2) {
      EncodeTwoBits(row);
    } else {
      CodeTable table;
      NearestCodes(row->a, row->bits, &table);
      Encode(table, row);
    }
  }
  if (scale != 1) {
    for (int i = 0; i < row->bits; ++i) row->a[i] *= scale;
  }
}

void Optimal(Row* row) {
  if (row->bits == 1) {
    NormalEquations unused;
    Greedy(row, &unused);
    return;
  }
  for (int64_t j = 0; j < row->n; j += kFloatLanes) {
    StoreUpTo(hn::Abs(hn::LoadU(kFloats, row->w + j)), row->work + j, row->n - j);
  }
  OptimalCoefficients(row->work, row->n, row->a);
  EncodeTwoBits(row);
}

void QuantizeRow(const Quantizer& quantizer, Row* row) {
  NormalEquations unused;
  switch (quantizer.method) {
    case kUniform:
      return Uniform(row);
    case kBalanced:
      return Balanced(row);
    case kGreedy:
      return Greedy(row, &unused);
    case kRefined:
      return Refined(row);
    case kAlternating:
      return Alternating(quantizer.cycles, quantizer.scale, row);
    case kOptimal:
      return Optimal(row);
  }
}

// A copy of the row, filled up to whole words, and the work of a method.
size_t QuantizeScratch(int64_t cols, int) { return (Words(cols) * 64 + cols) * sizeof(float); }

int64_t Quantize(const Quantizer& quantizer, const float* w, int64_t rows, int64_t cols, int64_t first_row,
                 int64_t last_row, int bits, int lanes, uint64_t* planes, float* coefficients, void* scratch) {
  float* copy = static_cast<float*>(scratch);
  const int64_t padded = Words(cols) * 64;
  std::memset(copy + cols, 0, (padded - cols) * sizeof(float));
  for (int64_t r = first_row; r < last_row; ++r) {
    const float* source = w + r * cols;
    uint64_t* row_planes = planes + r / lanes * Words(cols) * bits * lanes + r % lanes;
    float* row_coefficients = coefficients + r / lanes * bits * lanes + r % lanes;
    Row row = {copy, cols, Words(cols), bits, lanes, row_planes, copy + padded, {}};
    std::memcpy(copy, source, cols * sizeof(float));
    if (!AllFinite(row)) return r * cols + FirstNonFinite(source, cols);
    const RowScale scale = ScaleFor(MaxMagnitude(row));
    for (int64_t j = 0; scale.needed && j < cols; ++j) copy[j] = copy[j] * scale.down[0] * scale.down[1];
    QuantizeRow(quantizer, &row);
    if (scale.needed) ScaleBack(scale, bits, row.a);
    for (int i = 0; i < bits; ++i) row_coefficients[i * lanes] = row.a[i];
  }
  for (int64_t r = last_row; last_row == rows && r % lanes != 0; ++r) {
    uint64_t* row_planes = planes + r / lanes * Words(cols) * bits * lanes + r % lanes;
    float* row_coefficients = coefficients + r / lanes * bits * lanes + r % lanes;
    for (int64_t i = 0; i < Words(cols) * bits; ++i) row_planes[i * lanes] = 0;
    for (int i = 0; i < bits; ++i) row_coefficients[i * lanes] = 0;
  }
  return -1;
}

// ---------------------------------------------------------------------------------------------------------------------
// Values of quantized rows

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

void Dequantize(const uint64_t* planes, const float* coefficients, int64_t first_row, int64_t last_row, int64_t cols,
                int bits, int lanes, float* out) {
  constexpr decltype(&DequantizeRows<1>) kRows[] = {DequantizeRows<1>, DequantizeRows<2>, DequantizeRows<3>,
                                                    DequantizeRows<4>, DequantizeRows<5>, DequantizeRows<6>,
                                                    DequantizeRows<7>, DequantizeRows<8>};
  kRows[bits - 1](planes, coefficients, first_row, last_row, cols, lanes, out);
}

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

// ---------------------------------------------------------------------------------------------------------------------
// Products of quantized weights and quantized activations

using WordTag = hn::CappedTag<uint64_t, 8>;
using WordVector = hn::Vec<WordTag>;
constexpr WordTag kWords;
constexpr int kRows = hn::MaxLanes(WordTag());  // rows of a block of 8 side by side in one vector

// differ[i * kA + j]: in how many places plane i of each of kRows weight rows and plane j of the activations differ.
template <int kW, int kA>
HWY_INLINE void CountDifferences(const uint64_t* weights, int64_t weight_stride, const uint64_t* activations,
                                 int64_t activation_stride, int64_t words, WordVector (&differ)[kW * kA]) {
  for (WordVector& count : differ) count = hn::Zero(kWords);
#if HWY_TARGET == HWY_AVX3_DL
  for (int64_t word = 0; word < words; ++word) {
    for (int i = 0; i < kW; ++i) {
      const WordVector w = hn::LoadU(kWords, weights + word * weight_stride + i * 8);
      for (int j = 0; j < kA; ++j) {
        const WordVector d = hn::Set(kWords, activations[word * activation_stride + j]);
        differ[i * kA + j] = hn::Add(differ[i * kA + j], hn::PopulationCount(hn::Xor(w, d)));
      }
    }
  }
#else
  // Counts of bytes, at most 8 per word, are summed up before they overflow.
  constexpr int64_t kWordsPerByte = 255 / 8;
  const hn::Repartition<uint8_t, WordTag> bytes;
  for (int64_t start = 0; start < words; start += kWordsPerByte) {
    const int64_t end = words - start < kWordsPerByte ? words : start + kWordsPerByte;
    hn::Vec<decltype(bytes)> counts[kW * kA];
    for (auto& count : counts) count = hn::Zero(bytes);
    for (int64_t word = start; word < end; ++word) {
      for (int i = 0; i < kW; ++i) {
        const WordVector w = hn::LoadU(kWords, weights + word * weight_stride + i * 8);
        for (int j = 0; j < kA; ++j) {
          const WordVector d = hn::Set(kWords, activations[word * activation_stride + j]);
          counts[i * kA + j] = hn::Add(counts[i * kA + j], hn::PopulationCount(hn::BitCast(bytes, hn::Xor(w, d))));
        }
      }
    }
    for (int p = 0; p < kW * kA; ++p) differ[p] = hn::Add(differ[p], hn::SumsOf8(counts[p]));
  }
#endif
}

using ProductTag = hn::Rebind<float, WordTag>;

// (float)(cols - 2 differ)
HWY_INLINE hn::Vec<ProductTag> DotProduct(WordVector differ, int64_t cols) {
  const hn::Rebind<uint32_t, WordTag> unsigned_ints;
  const hn::Rebind<int32_t, WordTag> ints;
  const auto count = hn::BitCast(ints, hn::TruncateTo(unsigned_ints, differ));
  return hn::ConvertTo(ProductTag(), hn::Sub(hn::Set(ints, static_cast<int32_t>(cols)), hn::Add(count, count)));
}

// A block of 8 weight rows times one activation vector. kW x kA planes are counted at a time: all of them, if these are
// the weights' and activations' bits, or pair by pair.
template <int kW, int kA>
HWY_INLINE void BlockProduct(const uint64_t* weights, const float* a, int weight_bits, const uint64_t* activations,
                             const float* c, int activation_bits, int64_t cols, float* y) {
  for (int row = 0; row < 8; row += kRows) {
    hn::Vec<ProductTag> sum = hn::Zero(ProductTag());
    for (int i = 0; i < weight_bits; i += kW) {
      for (int j = 0; j < activation_bits; j += kA) {
        WordVector differ[kW * kA];
        CountDifferences<kW, kA>(weights + i * 8 + row, weight_bits * 8, activations + j, activation_bits, Words(cols),
                                 differ);
        for (int p = 0; p < kW; ++p) {
          const auto ai = hn::LoadU(ProductTag(), a + (i + p) * 8 + row);
          for (int q = 0; q < kA; ++q) {
            const auto coefficient = hn::Mul(ai, hn::Set(ProductTag(), c[j + q]));
            sum = hn::Add(sum, hn::Mul(coefficient, DotProduct(differ[p * kA + q], cols)));
          }
        }
      }
    }
    hn::StoreU(sum, ProductTag(), y + row);
  }
}

struct Product {
  const uint64_t* weight_planes;
  const float* weight_coefficients;
  int64_t first_row, last_row, cols;
  int weight_bits;
  const uint64_t* activation_planes;
  const float* activation_coefficients;
  int activation_bits;
  int64_t batch;
  float* out;
  int64_t out_stride;
};

template <int kW, int kA, bool kAll>
void Multiply(const Product& p) {
  const int weight_bits = kAll ? kW : p.weight_bits;
  const int activation_bits = kAll ? kA : p.activation_bits;
  const int64_t words = Words(p.cols);
  for (int64_t r = p.first_row; r < p.last_row; r += 8) {
    const uint64_t* weights = p.weight_planes + r * words * weight_bits;
    const float* a = p.weight_coefficients + r * weight_bits;
    const int64_t rows = p.last_row - r;
    for (int64_t b = 0; b < p.batch; ++b) {
      float y[8];
      BlockProduct<kW, kA>(weights, a, weight_bits, p.activation_planes + b * words * activation_bits,
                           p.activation_coefficients + b * activation_bits, activation_bits, p.cols, y);
      float* target = p.out + b * p.out_stride + r;
      if (rows >= 8) {
        std::memcpy(target, y, sizeof(y));
      } else {
        std::memcpy(target, y, rows * sizeof(float));
      }
    }
  }
}

void Gemm(const uint64_t* weight_planes, const float* weight_coefficients, int64_t first_row, int64_t last_row,
          int64_t cols, int weight_bits, const uint64_t* activation_planes, const float* activation_coefficients,
          int activation_bits, int64_t batch, float* out, int64_t out_stride) {
  constexpr void (*kMultiply[4][4])(const Product&) = {
      {Multiply<1, 1, true>, Multiply<1, 2, true>, Multiply<1, 3, true>, Multiply<1, 4, true>},
      {Multiply<2, 1, true>, Multiply<2, 2, true>, Multiply<2, 3, true>, Multiply<2, 4, true>},
      {Multiply<3, 1, true>, Multiply<3, 2, true>, Multiply<3, 3, true>, Multiply<3, 4, true>},
      {Multiply<4, 1, true>, Multiply<4, 2, true>, Multiply<4, 3, true>, Multiply<4, 4, true>}};
  const Product product = {weight_planes,     weight_coefficients,     first_row,       last_row, cols, weight_bits,
                           activation_planes, activation_coefficients, activation_bits, batch,    out,  out_stride};
  if (weight_bits <= 4 && activation_bits <= 4) {
    kMultiply[weight_bits - 1][activation_bits - 1](product);
  } else {
    Multiply<1, 1, false>(product);
  }
}

void Gemv(const uint64_t* weight_planes, const float* weight_coefficients, int64_t first_row, int64_t last_row,
          int64_t cols, int weight_bits, const uint64_t* activation_planes, const float* activation_coefficients,
          int activation_bits, float* out) {
  Gemm(weight_planes, weight_coefficients, first_row, last_row, cols, weight_bits, activation_planes,
       activation_coefficients, activation_bits, 1, out, 0);
}

// ---------------------------------------------------------------------------------------------------------------------
// The cell and the softmax

// e^x; infinity above 88.7, and NaN of NaN, which Highway's would make 0.
HWY_INLINE Floats Exp(Floats x) {
  const Floats bounded = hn::Min(x, hn::Set(kFloats, 90));
  return hn::IfThenElse(hn::IsNaN(x), x, hn::Exp(kFloats, bounded));
}

HWY_INLINE Floats Sigmoid(Floats x) {
  const Floats one = hn::Set(kFloats, 1);
  return hn::Div(one, hn::Add(one, Exp(hn::Neg(x))));
}

// 1 - 2 / (e^2x + 1): near 0 the absolute error is small, not the relative one.
HWY_INLINE Floats Tanh(Floats x) {
  const Floats one = hn::Set(kFloats, 1);
  return hn::Sub(one, hn::Div(hn::Set(kFloats, 2), hn::Add(Exp(hn::Add(x, x)), one)));
}

void LstmCell(const float* z, int64_t hidden, float* c, float* h) {
  for (int64_t j = 0; j < hidden; j += kFloatLanes) {
    const int64_t left = hidden - j;
    const Floats input = Sigmoid(LoadUpTo(z + j, left, 0));
    const Floats forget = Sigmoid(LoadUpTo(z + hidden + j, left, 0));
    const Floats candidate = Tanh(LoadUpTo(z + 2 * hidden + j, left, 0));
    const Floats output = Sigmoid(LoadUpTo(z + 3 * hidden + j, left, 0));
    const Floats cell = hn::MulAdd(forget, LoadUpTo(c + j, left, 0), hn::Mul(input, candidate));
    StoreUpTo(cell, c + j, left);
    StoreUpTo(hn::Mul(output, Tanh(cell)), h + j, left);
  }
}

float Max(const float* x, int64_t n) {
  Floats max = hn::Set(kFloats, -INFINITY);
  for (int64_t j = 0; j < n; j += kFloatLanes) max = hn::Max(max, LoadUpTo(x + j, n - j, -INFINITY));
  return hn::GetLane(hn::MaxOfLanes(kFloats, max));
}

// The sum of e^(x - max), each also written to `out` unless that is null. Floats add up to at most 1024 elements, so
// that the error does not grow with n.
double SumExp(const float* x, int64_t n, float max, float* out) {
  constexpr int64_t kChunk = 1024;
  double total = 0;
  for (int64_t start = 0; start < n; start += kChunk) {
    const int64_t end = n - start < kChunk ? n : start + kChunk;
    Floats sum = hn::Zero(kFloats);
    for (int64_t j = start; j < end; j += kFloatLanes) {
      const Floats e = Exp(hn::Sub(LoadUpTo(x + j, end - j, -INFINITY), hn::Set(kFloats, max)));
      sum = hn::Add(sum, e);
      if (out != nullptr) StoreUpTo(e, out + j, end - j);
    }
    total += SumTree(kFloats, sum);
  }
  return total;
}

double LogSumExp(const float* logits, int64_t n) {
  const float max = Max(logits, n);
  return max + std::log(SumExp(logits, n, max, nullptr));
}

void Softmax(float* logits, int64_t rows, int64_t classes, const int32_t* labels, float* losses) {
  for (int64_t r = 0; r < rows; ++r) {
    float* row = logits + r * classes;
    const float max = Max(row, classes);
    const float right = labels ? row[labels[r]] : 0;
    const double sum = SumExp(row, classes, max, row);
    const float inverse = static_cast<float>(1 / sum);
    for (int64_t j = 0; j < classes; j += kFloatLanes) {
      StoreUpTo(hn::Mul(LoadUpTo(row + j, classes - j, 0), hn::Set(kFloats, inverse)), row + j, classes - j);
    }
    if (labels) {
      losses[r] = static_cast<float>(max + std::log(sum) - right);
      row[labels[r]] -= 1;
    }
  }
}

}  // namespace

const Kernels MULTIBIT_KERNELS = {MULTIBIT_TIER, QuantizeScratch, Quantize, Dequantize, Gemv,   Gemm,
                                  GemvFloat,     GemvDense,       LstmCell, LogSumExp,  Softmax};

}  // namespace multibit

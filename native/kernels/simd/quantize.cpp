// Quantizing rows: docs/numerics.md.
#include "row_math.h"
#include "simd/vectors.h"

namespace multibit {
namespace {

// One row on its way to planes and coefficients.
struct Row {
  const float* w;     // n floats
  const float* tail;  // those of an incomplete last word, and zeros up to its end
  int64_t n;
  int64_t words;
  int bits;
  uint64_t* planes;
  int64_t plane_step;  // words from a plane to the next, and from a word to the next
  int64_t word_step;
  uint64_t* spare;  // words * kMaxBits, for a method to compare with
  float* work;      // n floats
  float a[kMaxBits];

  // The 64 floats of a word.
  HWY_INLINE const float* Word(int64_t word) const { return word < n / 64 ? w + word * 64 : tail; }
  HWY_INLINE uint64_t& Plane(int i, int64_t word) const { return planes[word * word_step + i * plane_step]; }
  // The bits of a word that stand for elements.
  HWY_INLINE uint64_t Valid(int64_t word) const {
    return word + 1 < words || n % 64 == 0 ? ~uint64_t{0} : (uint64_t{1} << n % 64) - 1;
  }
};

// The sum of magnitudes, and the largest.
struct Magnitudes {
  float sum;
  float max;    // unless there is a NaN or infinity
  bool finite;  // all of them
};

Magnitudes MagnitudesOf(const Row& row) {
  // Of the bits without sign, those of infinities and NaNs are the largest.
  const hn::RebindToSigned<FloatTag> ints;
  constexpr int32_t kInfinity = 0x7F800000;
  auto max = hn::Zero(ints);
  FixedOrderSum sum;
  for (int64_t word = 0; word < row.words; ++word) {
    ForEachVector(row.Word(word), [&](int part, int, Floats w) ALWAYS_INLINE {
      const Floats magnitude = hn::Abs(w);
      sum.Add(part, magnitude);
      max = hn::Max(max, hn::BitCast(ints, magnitude));
    });
  }
  const int32_t bits = hn::GetLane(hn::MaxOfLanes(ints, max));
  Magnitudes magnitudes = {sum.Total(), 0, bits < kInfinity};
  std::memcpy(&magnitudes.max, &bits, sizeof(bits));
  return magnitudes;
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
    ForEachVector(row->Word(word), [&](int part, int bit, Floats w) ALWAYS_INLINE {
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
    ForEachVector(row.Word(word), [&](int part, int bit, Floats w) ALWAYS_INLINE {
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

// Two bits in closed form: b_0 = sign(w), b_1 = sign(w - a b_0).
HWY_INLINE FloatMask SecondSign(Floats w, FloatMask positive, Floats a) { return hn::Ge(w, Signed(positive, a)); }

void EncodeTwoBits(Row* row) {
  const Floats a = hn::Set(kFloats, row->a[0]);
  for (int64_t word = 0; word < row->words; ++word) {
    uint64_t first = 0, second = 0;
    ForEachVector(row->Word(word), [&](int, int bit, Floats w) ALWAYS_INLINE {
      const FloatMask positive = hn::Ge(w, hn::Zero(kFloats));
      first |= BitsOf(positive) << bit;
      second |= BitsOf(SecondSign(w, positive, a)) << bit;
    });
    row->Plane(0, word) = first & row->Valid(word);
    row->Plane(1, word) = second & row->Valid(word);
  }
}

// The best coefficients of the two planes that come of the present first one. The planes are not written: b_0 . w is
// the sum of magnitudes, b_1 . w and where they differ is all that they are needed for.
void RefineTwoBits(float magnitudes, Row* row) {
  const Floats a = hn::Set(kFloats, row->a[0]);
  FixedOrderSum projection;
  int64_t differ = 0;
  for (int64_t word = 0; word < row->words; ++word) {
    uint64_t differing = 0;
    ForEachVector(row->Word(word), [&](int part, int bit, Floats w) ALWAYS_INLINE {
      const FloatMask positive = hn::Ge(w, hn::Zero(kFloats));
      const FloatMask second = SecondSign(w, positive, a);
      differing |= BitsOf(hn::Xor(positive, second)) << bit;
      projection.Add(part, Signed(second, w));
    });
    differ += __builtin_popcountll(differing & row->Valid(word));
  }
  NormalEquations equations;
  SetGram(0, row->n, nullptr, &equations);
  SetGram(1, row->n, &differ, &equations);
  equations.projection[0] = magnitudes;
  equations.projection[1] = projection.Total();
  SolveLeastSquares(equations, 2, row->n, row->a);
  Normalize(row->a, 2);
}

// Counts thresholds by turning bits: a plane's bit flips at each threshold between codes that differ in it.
void Encode(const CodeTable& table, Row* row) {
  for (int64_t word = 0; word < row->words; ++word) {
    uint64_t planes[kMaxBits];
    for (int i = 0; i < row->bits; ++i) planes[i] = table.code[0] >> i & 1 ? ~uint64_t{0} : 0;
    for (int t = 0; t < table.thresholds; ++t) {
      const Floats threshold = hn::Set(kFloats, table.threshold[t]);
      uint64_t reached = 0;
      ForEachVector(row->Word(word),
                    [&](int, int bit, Floats w) ALWAYS_INLINE { reached |= BitsOf(hn::Ge(w, threshold)) << bit; });
      for (unsigned flips = table.code[t] ^ table.code[t + 1]; flips != 0; flips &= flips - 1) {
        planes[__builtin_ctz(flips)] ^= reached;
      }
    }
    for (int i = 0; i < row->bits; ++i) row->Plane(i, word) = planes[i] & row->Valid(word);
  }
}

void Uniform(float max, Row* row) {
  const Floats divisor = hn::Set(kFloats, max == 0 ? 1 : max);
  const Floats top = hn::Set(kFloats, static_cast<float>((1 << row->bits) - 1));
  const Floats half = hn::Set(kFloats, 0.5f);
  const hn::RebindToSigned<FloatTag> ints;
  for (int64_t word = 0; word < row->words; ++word) {
    uint64_t planes[kMaxBits] = {};
    ForEachVector(row->Word(word), [&](int, int bit, Floats w) ALWAYS_INLINE {
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

void Balanced(float max, Row* row) {
  std::memcpy(row->work, row->w, row->n * sizeof(float));
  SortAscending(row->work, row->n);
  CodeTable table;
  BalancedCodes(row->work, row->n, row->bits, &table);
  Encode(table, row);
  UniformCoefficients(max, row->bits, row->a);
}

// Also gives the normal equations of its planes.
void Greedy(Row* row, NormalEquations* equations) {
  for (int i = 0; i < row->bits; ++i) {
    row->a[i] = kNextPlane[i](row, equations) / static_cast<float>(row->n);
  }
}

// Normalizes planes and coefficients.
void NormalizePlanes(Row* row) {
  const PlaneOrder order = Normalize(row->a, row->bits);
  for (int64_t word = 0; word < row->words; ++word) {
    uint64_t planes[kMaxBits];
    for (int i = 0; i < row->bits; ++i) {
      planes[i] = row->Plane(order.from[i], word) ^ (order.flipped[i] ? row->Valid(word) : 0);
    }
    for (int i = 0; i < row->bits; ++i) row->Plane(i, word) = planes[i];
  }
}

void Refined(Row* row) {
  NormalEquations equations;
  for (int i = 0; i < row->bits; ++i) {
    kNextPlane[i](row, &equations);
    SolveLeastSquares(equations, i + 1, row->n, row->a);
  }
  NormalizePlanes(row);
}

// With one bit, greedy is the optimum already.
void AlternatingFromGreedy(int cycles, float magnitudes, Row* row) {
  if (row->bits == 2 && cycles > 0) {
    row->a[0] = magnitudes / static_cast<float>(row->n);
    for (int cycle = 0; cycle < cycles; ++cycle) RefineTwoBits(magnitudes, row);
    EncodeTwoBits(row);
  } else {
    NormalEquations equations;
    Greedy(row, &equations);
    for (int cycle = 0; cycle < cycles && row->bits > 1; ++cycle) {
      if (cycle > 0) kFillEquations[row->bits - 1](*row, &equations);
      SolveLeastSquares(equations, row->bits, row->n, row->a);
      Normalize(row->a, row->bits);
      CodeTable table;
      NearestCodes(row->a, row->bits, &table);
      Encode(table, row);
    }
  }
}

template <int kPlanes>
float SquaredError(float unit, const Row& row) {
  FixedOrderSum squares;
  for (int64_t word = 0; word < row.words; ++word) {
    uint64_t planes[kPlanes];
    for (int i = 0; i < kPlanes; ++i) planes[i] = row.Plane(i, word);
    const uint64_t valid = row.Valid(word);
    ForEachVector(row.Word(word), [&](int part, int bit, Floats w) ALWAYS_INLINE {
      Floats value = Signed(MaskOf(planes[0] >> bit), hn::Set(kFloats, row.a[0]));
      for (int i = 1; i < kPlanes; ++i) {
        value = hn::Add(value, Signed(MaskOf(planes[i] >> bit), hn::Set(kFloats, row.a[i])));
      }
      const Floats r = hn::Mul(hn::Sub(w, value), hn::Set(kFloats, unit));
      squares.Add(part, hn::IfThenElseZero(MaskOf(valid >> bit), hn::Mul(r, r)));
    });
  }
  return squares.Total();
}

constexpr float (*kSquaredError[])(float, const Row&) = {SquaredError<4>, SquaredError<5>, SquaredError<6>,
                                                         SquaredError<7>, SquaredError<8>};
static_assert(kGreedyStart == 3, "the first width of kSquaredError is the one after");

float SquaredErrorOf(const Row& row, float unit) { return kSquaredError[row.bits - kGreedyStart - 1](unit, row); }

// Takes the planes and coefficients of `other` if their error is lower.
bool TakeIfLower(const Row& other, float unit, float* error, Row* row) {
  const float other_error = SquaredErrorOf(other, unit);
  if (!(other_error < *error)) return false;
  *error = other_error;
  std::memcpy(row->a, other.a, sizeof(row->a));
  for (int64_t word = 0; word < row->words; ++word) {
    for (int i = 0; i < row->bits; ++i) row->Plane(i, word) = other.Plane(i, word);
  }
  return true;
}

void AlternatingFromBestStart(int cycles, const Magnitudes& magnitudes, Row* row) {
  const int bits = row->bits;
  const float unit = SquaresUnit(magnitudes.max);
  NormalEquations equations;
  row->bits = kGreedyStart;
  AlternatingFromGreedy(cycles, magnitudes.sum, row);
  Row other = *row;
  other.planes = row->spare;
  other.plane_step = 1;
  other.word_step = kMaxBits;
  while (row->bits < bits) {
    row->a[row->bits] = kNextPlane[row->bits](row, &equations) / static_cast<float>(row->n);
    ++row->bits;
    float error = SquaredErrorOf(*row, unit);
    other.bits = row->bits;
    Greedy(&other, &equations);
    TakeIfLower(other, unit, &error, row);
    Uniform(magnitudes.max, &other);
    TakeIfLower(other, unit, &error, row);
    bool lower = true;
    for (int cycle = 0; cycle < cycles && lower; ++cycle) {
      kFillEquations[row->bits - 1](*row, &equations);
      SolveLeastSquares(equations, row->bits, row->n, other.a);
      Normalize(other.a, row->bits);
      CodeTable table;
      NearestCodes(other.a, row->bits, &table);
      Encode(table, &other);
      lower = TakeIfLower(other, unit, &error, row);
    }
  }
  NormalizePlanes(row);
}

void Alternating(int cycles, float scale, const Magnitudes& magnitudes, Row* row) {
  if (row->bits <= kGreedyStart || cycles == 0) {
    AlternatingFromGreedy(cycles, magnitudes.sum, row);
  } else {
    AlternatingFromBestStart(cycles, magnitudes, row);
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
    StoreUpTo(hn::Abs(LoadUpTo(row->w + j, row->n - j, 0)), row->work + j, row->n - j);
  }
  OptimalCoefficients(row->work, row->n, row->a);
  EncodeTwoBits(row);
}

void QuantizeRow(const Quantizer& quantizer, const Magnitudes& magnitudes, Row* row) {
  NormalEquations unused;
  switch (quantizer.method) {
    case kUniform:
      return Uniform(magnitudes.max, row);
    case kBalanced:
      return Balanced(magnitudes.max, row);
    case kGreedy:
      return Greedy(row, &unused);
    case kRefined:
      return Refined(row);
    case kAlternating:
      return Alternating(quantizer.cycles, quantizer.scale, magnitudes, row);
    case kOptimal:
      return Optimal(row);
  }
}

}  // namespace

namespace MULTIBIT_TIER_SPACE {

// A row's last word, a copy of the row if it is scaled, the work of a method, and spare planes.
size_t QuantizeScratch(int64_t cols, int) {
  return Words(cols) * kMaxBits * sizeof(uint64_t) + (64 + 2 * cols) * sizeof(float);
}

int64_t Quantize(const Quantizer& quantizer, const float* w, int64_t rows, int64_t cols, int64_t first_row,
                 int64_t last_row, int bits, int lanes, uint64_t* planes, float* coefficients, void* scratch) {
  uint64_t* spare = static_cast<uint64_t*>(scratch);
  float* tail = reinterpret_cast<float*>(spare + Words(cols) * kMaxBits);
  float* copy = tail + 64;
  const int64_t in_tail = cols % 64;
  std::memset(tail, 0, 64 * sizeof(float));
  for (int64_t r = first_row; r < last_row; ++r) {
    const float* source = w + r * cols;
    uint64_t* row_planes = planes + r / lanes * Words(cols) * bits * lanes + r % lanes;
    float* row_coefficients = coefficients + r / lanes * bits * lanes + r % lanes;
    Row row = {source, tail, cols, Words(cols), bits, row_planes, lanes, bits * lanes, spare, copy + cols, {}};
    std::memcpy(tail, source + cols - in_tail, in_tail * sizeof(float));
    Magnitudes magnitudes = MagnitudesOf(row);
    if (!magnitudes.finite) return r * cols + FirstNonFinite(source, cols);
    const RowScale scale = ScaleFor(magnitudes.max);
    if (scale.needed) {
      for (int64_t j = 0; j < cols; ++j) copy[j] = source[j] * scale.down[0] * scale.down[1];
      std::memcpy(tail, copy + cols - in_tail, in_tail * sizeof(float));
      row.w = copy;
      magnitudes = MagnitudesOf(row);
    }
    QuantizeRow(quantizer, magnitudes, &row);
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

}  // namespace MULTIBIT_TIER_SPACE
}  // namespace multibit

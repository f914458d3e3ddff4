// Products of quantized weights with quantized activations of which some are dropped: what training's forward pass adds
// up.
#include "simd/vectors.h"

namespace multibit {
namespace {

using WordTag = hn::CappedTag<uint64_t, 8>;
using WordVector = hn::Vec<WordTag>;
constexpr WordTag kWords;
constexpr int kRows = hn::MaxLanes(WordTag());  // rows of a block of 8 side by side in one vector

using ProductTag = hn::Rebind<float, WordTag>;
using SumTag = hn::Rebind<double, WordTag>;
using Sums = hn::Vec<SumTag>;
constexpr SumTag kSums;

// Activation vectors that a block of weights is multiplied with while it is in the first-level cache.
constexpr int kGroup = 32;

struct Product {
  const uint64_t* weight_planes;
  const float* weight_coefficients;
  int64_t first_row, last_row, cols;
  int weight_bits;
  const uint64_t* activation_planes;
  const float* activation_coefficients;
  int activation_bits;
  const uint64_t* masks;
  int64_t batch;
  const float* start;
  float* out;
  int64_t out_stride;
};

// Where the activations differ from the weights and are not dropped.
template <bool kMasked>
HWY_INLINE WordVector Differ(WordVector w, WordVector x, WordVector mask) {
  if constexpr (!kMasked) return hn::Xor(w, x);
#if HWY_TARGET == HWY_AVX3_DL || HWY_TARGET == HWY_AVX3
  return WordVector{_mm512_ternarylogic_epi64(w.raw, x.raw, mask.raw, 0x28)};
#else
  return hn::And(hn::Xor(w, x), mask);
#endif
}

// differ[i * kA + j]: in how many places that are not dropped plane i of each of kRows weight rows and plane j of the
// activations differ.
template <int kW, int kA, bool kMasked>
HWY_INLINE void CountDifferences(const uint64_t* weights, int64_t weight_stride, const uint64_t* activations,
                                 int64_t activation_stride, const uint64_t* mask, int64_t words,
                                 WordVector (&differ)[kW * kA]) {
  for (WordVector& count : differ) count = hn::Zero(kWords);
#if HWY_TARGET == HWY_AVX3_DL
  for (int64_t word = 0; word < words; ++word) {
    const WordVector m = kMasked ? hn::Set(kWords, mask[word]) : hn::Zero(kWords);
    for (int i = 0; i < kW; ++i) {
      const WordVector w = hn::LoadU(kWords, weights + word * weight_stride + i * 8);
      for (int j = 0; j < kA; ++j) {
        const WordVector x = hn::Set(kWords, activations[word * activation_stride + j]);
        differ[i * kA + j] = hn::Add(differ[i * kA + j], hn::PopulationCount(Differ<kMasked>(w, x, m)));
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
      const WordVector m = kMasked ? hn::Set(kWords, mask[word]) : hn::Zero(kWords);
      for (int i = 0; i < kW; ++i) {
        const WordVector w = hn::LoadU(kWords, weights + word * weight_stride + i * 8);
        for (int j = 0; j < kA; ++j) {
          const WordVector x = hn::Set(kWords, activations[word * activation_stride + j]);
          counts[i * kA + j] =
              hn::Add(counts[i * kA + j], hn::PopulationCount(hn::BitCast(bytes, Differ<kMasked>(w, x, m))));
        }
      }
    }
    for (int p = 0; p < kW * kA; ++p) differ[p] = hn::Add(differ[p], hn::SumsOf8(counts[p]));
  }
#endif
}

HWY_INLINE Sums ToSums(WordVector counts) {
  return hn::ConvertTo(kSums, hn::BitCast(hn::RebindToSigned<WordTag>(), counts));
}

HWY_INLINE Sums Coefficients(const float* a) { return hn::PromoteTo(kSums, hn::LoadU(ProductTag(), a)); }

// A block of 8 weight rows times one activation vector, with n elements that are not dropped: sum a_i c_j (n - 2
// differ).
template <int kW, int kA, bool kMasked, bool kAll>
HWY_INLINE void BlockProduct(const Product& p, const uint64_t* weights, const float* a, const uint64_t* activations,
                             const float* c, const uint64_t* mask, double n, float* y) {
  const int weight_bits = kAll ? kW : p.weight_bits;
  const int activation_bits = kAll ? kA : p.activation_bits;
  for (int row = 0; row < 8; row += kRows) {
    Sums sum = hn::Zero(kSums);
    for (int i = 0; i < weight_bits; i += kW) {
      for (int j = 0; j < activation_bits; j += kA) {
        WordVector differ[kW * kA];
        CountDifferences<kW, kA, kMasked>(weights + i * 8 + row, weight_bits * 8, activations + j, activation_bits,
                                          mask, Words(p.cols), differ);
        double c_sum = 0;
        for (int q = 0; q < kA; ++q) c_sum += c[j + q];
        for (int r = 0; r < kW; ++r) {
          Sums of_plane = hn::Set(kSums, n * c_sum);
          for (int q = 0; q < kA; ++q) {
            of_plane = hn::MulAdd(hn::Set(kSums, -2.0 * c[j + q]), ToSums(differ[r * kA + q]), of_plane);
          }
          sum = hn::MulAdd(Coefficients(a + (i + r) * 8 + row), of_plane, sum);
        }
      }
    }
    hn::StoreU(hn::DemoteTo(ProductTag(), sum), ProductTag(), y + row);
  }
}

HWY_INLINE int64_t Retained(const uint64_t* mask, int64_t words) {
  int64_t count = 0;
  for (int64_t word = 0; word < words; ++word) count += __builtin_popcountll(mask[word]);
  return count;
}

template <int kW, int kA, bool kMasked, bool kAll>
void Multiply(const Product& p) {
  const int weight_bits = kAll ? kW : p.weight_bits;
  const int activation_bits = kAll ? kA : p.activation_bits;
  const int64_t words = Words(p.cols);
  for (int64_t from = 0; from < p.batch; from += kGroup) {
    const int64_t to = p.batch - from < kGroup ? p.batch : from + kGroup;
    double n[kGroup];
    for (int64_t b = from; b < to; ++b) {
      n[b - from] = static_cast<double>(kMasked ? Retained(p.masks + b * words, words) : p.cols);
    }
    for (int64_t r = p.first_row; r < p.last_row; r += 8) {
      const uint64_t* weights = p.weight_planes + r * words * weight_bits;
      const float* a = p.weight_coefficients + r * weight_bits;
      const int64_t rows = p.last_row - r < 8 ? p.last_row - r : 8;
      for (int64_t b = from; b < to; ++b) {
        float y[8];
        BlockProduct<kW, kA, kMasked, kAll>(p, weights, a, p.activation_planes + b * words * activation_bits,
                                            p.activation_coefficients + b * activation_bits,
                                            kMasked ? p.masks + b * words : nullptr, n[b - from], y);
        float* target = p.out + b * p.out_stride + r;
        const float* start = p.start ? p.start + r : target;
        if (rows == 8) {
          for (int64_t j = 0; j < 8; ++j) target[j] = start[j] + y[j];
        } else {
          for (int64_t j = 0; j < rows; ++j) target[j] = start[j] + y[j];
        }
      }
    }
  }
}

template <bool kMasked>
void Dispatch(const Product& p) {
  constexpr void (*kMultiply[4][4])(const Product&) = {{Multiply<1, 1, kMasked, true>, Multiply<1, 2, kMasked, true>,
                                                        Multiply<1, 3, kMasked, true>, Multiply<1, 4, kMasked, true>},
                                                       {Multiply<2, 1, kMasked, true>, Multiply<2, 2, kMasked, true>,
                                                        Multiply<2, 3, kMasked, true>, Multiply<2, 4, kMasked, true>},
                                                       {Multiply<3, 1, kMasked, true>, Multiply<3, 2, kMasked, true>,
                                                        Multiply<3, 3, kMasked, true>, Multiply<3, 4, kMasked, true>},
                                                       {Multiply<4, 1, kMasked, true>, Multiply<4, 2, kMasked, true>,
                                                        Multiply<4, 3, kMasked, true>, Multiply<4, 4, kMasked, true>}};
  if (p.weight_bits <= 4 && p.activation_bits <= 4) {
    kMultiply[p.weight_bits - 1][p.activation_bits - 1](p);
  } else {
    Multiply<1, 1, kMasked, false>(p);
  }
}

}  // namespace

namespace MULTIBIT_TIER_SPACE {

void GemmMasked(const uint64_t* weight_planes, const float* weight_coefficients, int64_t first_row, int64_t last_row,
                int64_t cols, int weight_bits, const uint64_t* activation_planes, const float* activation_coefficients,
                int activation_bits, const uint64_t* masks, int64_t batch, const float* start, float* out,
                int64_t out_stride) {
  const Product product = {
      weight_planes,           weight_coefficients, first_row, last_row, cols,  weight_bits, activation_planes,
      activation_coefficients, activation_bits,     masks,     batch,    start, out,         out_stride};
  if (masks) {
    Dispatch<true>(product);
  } else {
    Dispatch<false>(product);
  }
}

}  // namespace MULTIBIT_TIER_SPACE
}  // namespace multibit

// Products of quantized weights with quantized activations of which some are dropped: what training's forward pass adds
// up.
#include "simd/sums.h"

namespace multibit {
namespace {

// Vectors of rows whose sums fill a vector of floats: with AVX-512 those of two blocks of 8.
constexpr int kBlocks = kRows == 8 ? 2 : 1;
constexpr int kSumRows = kBlocks * kRows;
using SumTag = RowTag<kBlocks>;
using Sums = hn::Vec<SumTag>;
constexpr SumTag kSums;

// Activation vectors that a block of weights is multiplied with while it is in the first-level cache.
constexpr int kGroup = 32;

// Activation vectors that share a load of weights; as many as have their counts in registers.
constexpr int VectorsAtOnce(int pairs) { return HWY_TARGET == HWY_AVX3_DL && pairs <= 4 ? 2 : 1; }

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

// One or two activation vectors, of which planes j.. and masks are multiplied with a weight vector while it is at hand.
template <int kVectors>
struct Activations {
  const uint64_t* planes[kVectors];
  const uint64_t* masks[kVectors];
  int64_t stride;  // from word to word of a plane

  template <bool kMasked>
  HWY_INLINE WordVector Mask(int v, int64_t word) const {
    return kMasked ? hn::Set(kWords, masks[v][word]) : hn::Zero(kWords);
  }
  HWY_INLINE WordVector Plane(int v, int j, int64_t word) const {
    return hn::Set(kWords, planes[v][word * stride + j]);
  }
};

// differ[v][i * kA + j][k]: in how many places that are not dropped plane i of each of kRows weight rows of vector k of
// rows and plane j of activation vector v differ. The vectors of rows lie `block` words apart.
template <int kW, int kA, int kVectors, bool kMasked>
HWY_INLINE void CountDifferences(const uint64_t* weights, int64_t weight_stride, int64_t block,
                                 const Activations<kVectors>& x, int64_t words,
                                 WordVector (&differ)[kVectors][kW * kA][kBlocks]) {
  BitCounter counters[kVectors][kW * kA][kBlocks];
  for (int64_t start = 0; start < words;) {
    const int64_t end = words - start < BitCounter::kMostAdded ? words : start + BitCounter::kMostAdded;
    for (int64_t word = start; word < end; ++word) {
      WordVector w[kW][kBlocks];
      for (int i = 0; i < kW; ++i) {
        for (int k = 0; k < kBlocks; ++k) {
          w[i][k] = hn::LoadU(kWords, weights + word * weight_stride + k * block + i * 8);
        }
      }
      for (int v = 0; v < kVectors; ++v) {
        const WordVector mask = x.template Mask<kMasked>(v, word);
        for (int j = 0; j < kA; ++j) {
          const WordVector plane = x.Plane(v, j, word);
          for (int i = 0; i < kW; ++i) {
            for (int k = 0; k < kBlocks; ++k) counters[v][i * kA + j][k].Add(Differ<kMasked>(w[i][k], plane, mask));
          }
        }
      }
    }
    for (auto& of_vector : counters) {
      for (auto& of_pair : of_vector) {
        for (BitCounter& counter : of_pair) counter.Flush();
      }
    }
    start = end;
  }
  for (int v = 0; v < kVectors; ++v) {
    for (int p = 0; p < kW * kA; ++p) {
      for (int k = 0; k < kBlocks; ++k) differ[v][p][k] = counters[v][p][k].Sum();
    }
  }
}

// Rows r.. of up to 16, in whole blocks of 8, times kVectors activation vectors from b on:
// out = start + sum a_i c_j (n - 2 differ), with n = elements[v] that are not dropped.
template <int kW, int kA, int kVectors, bool kMasked, bool kAll>
HWY_INLINE void BlockProduct(const Product& p, int64_t r, int64_t b, const int64_t* elements) {
  const int weight_bits = kAll ? kW : p.weight_bits;
  const int activation_bits = kAll ? kA : p.activation_bits;
  const int64_t words = Words(p.cols);
  const uint64_t* weights = p.weight_planes + r * words * weight_bits;
  const float* a = p.weight_coefficients + r * weight_bits;
  // Where there is no second block the first stands for it, and what it gives is left out.
  const bool whole = p.last_row - r > 8;
  const int64_t block = whole ? words * weight_bits * 8 : 0;
  Activations<kVectors> x;
  x.stride = activation_bits;
  for (int row = 0; row < 8; row += kRows) {
    Sums sums[kVectors];
    for (Sums& sum : sums) sum = hn::Zero(kSums);
    for (int i = 0; i < weight_bits; i += kW) {
      for (int j = 0; j < activation_bits; j += kA) {
        for (int v = 0; v < kVectors; ++v) {
          x.planes[v] = p.activation_planes + (b + v) * words * activation_bits + j;
          x.masks[v] = kMasked ? p.masks + (b + v) * words : nullptr;
        }
        WordVector differ[kVectors][kW * kA][kBlocks];
        CountDifferences<kW, kA, kVectors, kMasked>(weights + i * 8 + row, weight_bits * 8, block, x, words, differ);
        for (int s = 0; s < kW; ++s) {
          const Sums coefficients = RowCoefficients<kBlocks>(a + (i + s) * 8 + row, whole ? weight_bits * 8 : 0);
          for (int v = 0; v < kVectors; ++v) {
            const float* c = p.activation_coefficients + (b + v) * activation_bits + j;
            for (int q = 0; q < kA; ++q) {
              AddPlanes<kBlocks>(coefficients, c[q], differ[v][s * kA + q], elements[v], &sums[v]);
            }
          }
        }
      }
    }
    for (int v = 0; v < kVectors; ++v) {
      float* target = p.out + (b + v) * p.out_stride + r + row;
      const float* start = p.start ? p.start + r + row : target;
      const int64_t left = p.last_row - r - row;
      if (left >= kSumRows) {
        hn::StoreU(hn::Add(hn::LoadU(kSums, start), sums[v]), kSums, target);
      } else {
        float y[kSumRows];
        hn::StoreU(sums[v], kSums, y);
        for (int64_t k = 0; k < left; ++k) target[k] = start[k] + y[k];
      }
    }
  }
}

HWY_INLINE int64_t Retained(const uint64_t* mask, int64_t words) {
  int64_t count = 0;
  for (int64_t word = 0; word < words; ++word) count += __builtin_popcountll(mask[word]);
  return count;
}

template <int kW, int kA, bool kMasked, bool kAll>
void Multiply(const Product& p) {
  const int64_t words = Words(p.cols);
  for (int64_t from = 0; from < p.batch; from += kGroup) {
    const int64_t to = p.batch - from < kGroup ? p.batch : from + kGroup;
    int64_t elements[kGroup];
    for (int64_t b = from; b < to; ++b) elements[b - from] = kMasked ? Retained(p.masks + b * words, words) : p.cols;
    constexpr int kVectors = VectorsAtOnce(kW * kA);
    for (int64_t r = p.first_row; r < p.last_row; r += 8 * kBlocks) {
      int64_t b = from;
      for (; b + kVectors <= to; b += kVectors) {
        BlockProduct<kW, kA, kVectors, kMasked, kAll>(p, r, b, elements + (b - from));
      }
      for (; b < to; ++b) BlockProduct<kW, kA, 1, kMasked, kAll>(p, r, b, elements + (b - from));
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

void PackedGemmMasked(const uint64_t* weight_planes, const float* weight_coefficients, int64_t first_row,
                      int64_t last_row, int64_t cols, int weight_bits, const uint64_t* activation_planes,
                      const float* activation_coefficients, int activation_bits, const uint64_t* masks, int64_t batch,
                      const float* start, float* out, int64_t out_stride) {
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

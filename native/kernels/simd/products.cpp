// Products of quantized weights and quantized activations.
#include "simd/vectors.h"

namespace multibit {
namespace {

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

}  // namespace

namespace MULTIBIT_TIER_SPACE {

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

}  // namespace MULTIBIT_TIER_SPACE
}  // namespace multibit

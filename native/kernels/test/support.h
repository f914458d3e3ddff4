// What the tests of the kernels share: the tier under test, random rows, packed rows read by their definition, memory
// between pages that cannot be touched. The sizes, and what each is for (vectors hold 4, 8 or 16 floats, words 64
// bits):
//
//      1         a row of one element; least squares are singular from the second plane on
//      2, 3      fewer elements than 4 bits have values; thresholds of `balanced` past the end
//      7, 8, 9   below, at and above a vector of 8
//     15, 16, 17 below, at and above a vector of 16, which is also the number of partial sums
//     63, 64, 65 below, at and above one word: the last word's padding, and a second word of one bit
//    300         the paper's hidden size: a last word of 44 bits
//    511 - 513   the same around 8 words, the paper's other hidden size
//   1024         whole words only
//   1985, 2049   31 and 32 words and one bit: byte counters are emptied every 31 words
#pragma once

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <random>
#include <vector>

#include "kernels.h"

namespace multibit {

constexpr int64_t kSizes[] = {1, 2, 3, 7, 8, 9, 15, 16, 17, 63, 64, 65, 300, 511, 512, 513, 1024, 1985, 2049};
constexpr int64_t kShortSizes[] = {1, 7, 16, 17, 64, 65, 300};

// The tier that MULTIBIT_ISA names.
inline const Kernels& Tier() {
  static const Kernels* const tier = SelectKernels(nullptr);
  return *tier;
}

inline const Kernels& Scalar() {
  const Kernels* scalar = nullptr;
  SupportedKernels(&scalar, 1);
  return *scalar;
}

inline Quantizer Method(int method, int cycles = 2, float scale = 1) { return {method, cycles, scale}; }

inline std::vector<Quantizer> AllQuantizers() {
  std::vector<Quantizer> all;
  for (int method = kUniform; method <= kOptimal; ++method) all.push_back(Method(method));
  all.push_back(Method(kAlternating, 0, 1));
  all.push_back(Method(kAlternating, 1, 0.3f));
  all.push_back(Method(kAlternating, 7, 1));
  return all;
}

enum class Side { kEnd, kStart };
constexpr Side kSides[] = {Side::kEnd, Side::kStart};

// An array that ends (or starts) at a page that cannot be touched. Filled with garbage, or with a copy.
template <typename T>
class Guarded {
 public:
  Guarded(size_t count, Side side) {
    const size_t bytes = count * sizeof(T);
    const size_t page = sysconf(_SC_PAGESIZE);
    const size_t inner = (bytes + page) / page * page;
    size_ = inner + 2 * page;
    map_ = static_cast<char*>(mmap(nullptr, size_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    if (map_ == MAP_FAILED || mprotect(map_ + page, inner, PROT_READ | PROT_WRITE) != 0) std::abort();
    data_ = reinterpret_cast<T*>(side == Side::kEnd ? map_ + page + inner - bytes : map_ + page);
    std::memset(map_ + page, 0xA5, inner);
  }
  Guarded(const std::vector<T>& from, Side side) : Guarded(from.size(), side) {
    std::memcpy(data_, from.data(), from.size() * sizeof(T));
  }
  Guarded(const Guarded&) = delete;
  ~Guarded() { munmap(map_, size_); }

  T* data() { return data_; }

 private:
  char* map_;
  T* data_;
  size_t size_;
};

// Whether two arrays hold the same bits, NaN and the sign of zero included.
template <typename T>
bool SameBits(const std::vector<T>& a, const std::vector<T>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0;
}

struct Packed {
  int64_t rows, cols;
  int bits, lanes;
  std::vector<uint64_t> planes;
  std::vector<float> coefficients;

  // Filled with garbage: kernels must write all of it.
  Packed(int64_t rows, int64_t cols, int bits, int lanes)
      : rows(rows),
        cols(cols),
        bits(bits),
        lanes(lanes),
        planes((rows + lanes - 1) / lanes * Words() * bits * lanes, 0x5A5A5A5A5A5A5A5A),
        coefficients((rows + lanes - 1) / lanes * bits * lanes, -7e30f) {}

  int64_t Words() const { return (cols + 63) / 64; }
  uint64_t Word(int64_t r, int i, int64_t w) const {
    return planes[((r / lanes * Words() + w) * bits + i) * lanes + r % lanes];
  }
  int Sign(int64_t r, int i, int64_t c) const { return Word(r, i, c / 64) >> (c % 64) & 1 ? 1 : -1; }
  float A(int64_t r, int i) const { return coefficients[(r / lanes * bits + i) * lanes + r % lanes]; }
  double Value(int64_t r, int64_t c) const {
    double value = 0;
    for (int i = 0; i < bits; ++i) value += static_cast<double>(A(r, i)) * Sign(r, i, c);
    return value;
  }
  double Error(int64_t r, const float* w) const {
    double error = 0;
    for (int64_t c = 0; c < cols; ++c) error += (w[c] - Value(r, c)) * (w[c] - Value(r, c));
    return error;
  }
  bool SameBits(const Packed& other) const {
    return multibit::SameBits(planes, other.planes) && multibit::SameBits(coefficients, other.coefficients);
  }
};

inline Packed Quantize(const Kernels& kernels, const Quantizer& quantizer, const std::vector<float>& w, int64_t cols,
                       int bits, int lanes = kWeightLanes) {
  const int64_t rows = w.size() / cols;
  Packed packed(rows, cols, bits, lanes);
  std::vector<char> scratch(kernels.QuantizeScratch(cols, bits) + 1);
  EXPECT_EQ(-1, kernels.Quantize(quantizer, w.data(), rows, cols, 0, rows, bits, lanes, packed.planes.data(),
                                 packed.coefficients.data(), scratch.data()));
  return packed;
}

using Random = std::mt19937_64;

inline float Gaussian(Random* random) { return std::normal_distribution<float>()(*random); }

inline std::vector<float> GaussianRows(int64_t count, uint64_t seed) {
  Random random(seed);
  std::vector<float> w(count);
  for (float& x : w) x = Gaussian(&random);
  return w;
}

// Random bits of rows of so many elements, none past the last.
inline std::vector<uint64_t> RandomMasks(int64_t rows, int64_t cols, uint64_t seed) {
  Random random(seed);
  std::vector<uint64_t> masks;
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < cols; c += 64) {
      const uint64_t valid = cols - c < 64 ? (uint64_t{1} << (cols - c)) - 1 : ~uint64_t{0};
      masks.push_back(random() & valid);
    }
  }
  return masks;
}

// Whether bit c of a row of masks is 1.
inline bool IsRetained(const std::vector<uint64_t>& masks, int64_t r, int64_t c, int64_t cols) {
  return masks[r * ((cols + 63) / 64) + c / 64] >> (c % 64) & 1;
}

inline double Sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

}  // namespace multibit

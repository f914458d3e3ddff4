// Run once per tier; MULTIBIT_ISA names it. Each tier is held against definitions written down here a second time, and
// against the scalar tier bit by bit. The sizes, and what each is for (vectors hold 4, 8 or 16 floats, words 64 bits):
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
#include "kernels.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <utility>
#include <vector>

namespace multibit {
namespace {

const int64_t kSizes[] = {1, 2, 3, 7, 8, 9, 15, 16, 17, 63, 64, 65, 300, 511, 512, 513, 1024, 1985, 2049};
const int64_t kShortSizes[] = {1, 7, 16, 17, 64, 65, 300};

const char* const kMethodNames[] = {"uniform", "balanced", "greedy", "refined", "alternating", "optimal"};

const Kernels& Tier() {
  static const Kernels* const tier = SelectKernels(nullptr);
  return *tier;
}

const Kernels& Scalar() {
  const Kernels* scalar = nullptr;
  SupportedKernels(&scalar, 1);
  return *scalar;
}

Quantizer Method(int method, int cycles = 2, float scale = 1) { return {method, cycles, scale}; }

std::vector<Quantizer> AllQuantizers() {
  std::vector<Quantizer> all;
  for (int method = kUniform; method <= kOptimal; ++method) all.push_back(Method(method));
  all.push_back(Method(kAlternating, 0, 1));
  all.push_back(Method(kAlternating, 1, 0.3f));
  all.push_back(Method(kAlternating, 7, 1));
  return all;
}

// Memory that ends (or starts) at a page that cannot be touched.
class Guarded {
 public:
  enum Side { kEnd, kStart };

  Guarded(size_t bytes, Side side) {
    const size_t page = sysconf(_SC_PAGESIZE);
    const size_t inner = (bytes + page) / page * page;
    size_ = inner + 2 * page;
    map_ = static_cast<char*>(mmap(nullptr, size_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    if (map_ == MAP_FAILED || mprotect(map_ + page, inner, PROT_READ | PROT_WRITE) != 0) std::abort();
    data_ = side == kEnd ? map_ + page + inner - bytes : map_ + page;
    std::memset(map_ + page, 0xA5, inner);
  }
  Guarded(const Guarded&) = delete;
  ~Guarded() { munmap(map_, size_); }

  template <typename T>
  T* as() {
    return reinterpret_cast<T*>(data_);
  }

 private:
  char* map_;
  char* data_;
  size_t size_;
};

template <typename T>
T* Copy(Guarded* to, const std::vector<T>& from) {
  std::memcpy(to->as<T>(), from.data(), from.size() * sizeof(T));
  return to->as<T>();
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
  int Code(int64_t r, int64_t c) const {
    int code = 0;
    for (int i = 0; i < bits; ++i) code |= (Sign(r, i, c) > 0) << i;
    return code;
  }
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
    return planes == other.planes && coefficients.size() == other.coefficients.size() &&
           std::memcmp(coefficients.data(), other.coefficients.data(), coefficients.size() * sizeof(float)) == 0;
  }
};

Packed Quantize(const Kernels& kernels, const Quantizer& quantizer, const std::vector<float>& w, int64_t cols, int bits,
                int lanes = 8) {
  const int64_t rows = w.size() / cols;
  Packed packed(rows, cols, bits, lanes);
  std::vector<char> scratch(kernels.QuantizeScratch(cols, bits) + 1);
  EXPECT_EQ(-1, kernels.Quantize(quantizer, w.data(), rows, cols, 0, rows, bits, lanes, packed.planes.data(),
                                 packed.coefficients.data(), scratch.data()));
  return packed;
}

using Random = std::mt19937_64;

float Gaussian(Random* random) { return std::normal_distribution<float>()(*random); }

float Laplacian(Random* random) {
  const float magnitude = std::exponential_distribution<float>()(*random);
  return (*random)() & 1 ? magnitude : -magnitude;
}

std::vector<float> GaussianRows(int64_t count, uint64_t seed) {
  Random random(seed);
  std::vector<float> w(count);
  for (float& x : w) x = Gaussian(&random);
  return w;
}

// One row of each kind that quantizers may stumble over, row-major.
std::vector<float> AwkwardRows(int64_t cols) {
  Random random(cols);
  std::vector<float> w;
  const auto add = [&](auto element) {
    for (int64_t c = 0; c < cols; ++c) w.push_back(element(c));
  };
  add([&](int64_t) { return Gaussian(&random); });
  add([&](int64_t) { return 0.05f * Laplacian(&random); });
  add([&](int64_t) { return std::uniform_real_distribution<float>(-1, 1)(random); });
  add([&](int64_t) { return 0.25f; });
  add([&](int64_t c) { return c % 2 ? 0.0f : -0.0f; });
  add([&](int64_t c) { return c == cols / 2 ? -3.0f : 0.0f; });                          // one-hot
  add([&](int64_t c) { return c % 3 ? 1.0f : -1.0f; });                                  // one plane is enough
  add([&](int64_t) { return static_cast<float>(static_cast<int>(random() % 7) - 3); });  // ties
  add([&](int64_t) { return Gaussian(&random) * std::numeric_limits<float>::denorm_min() * 50; });
  add([&](int64_t) { return Gaussian(&random) * 1e-37f; });  // into the denormals
  add([&](int64_t) { return 3.4e38f * std::uniform_real_distribution<float>(-1, 1)(random); });
  add([&](int64_t c) { return std::ldexp(Gaussian(&random), static_cast<int>(c % 200) - 100); });  // all magnitudes
  add([&](int64_t c) { return c == 0 ? 0x1p60f : Gaussian(&random); });                            // largest unscaled
  add([&](int64_t c) { return c == 0 ? 0x1.8p60f : Gaussian(&random); });  // smallest scaled down
  return w;
}

std::string Label(const Quantizer& q, int bits, int64_t cols) {
  return std::string(kMethodNames[q.method]) + " cycles " + std::to_string(q.cycles) + " bits " + std::to_string(bits) +
         " cols " + std::to_string(cols);
}

// ---------------------------------------------------------------------------------------------------------------------
// The same bits as the scalar tier

TEST(SameBits, QuantizeAndDequantize) {
  for (int64_t cols : kSizes) {
    const std::vector<float> w = AwkwardRows(cols);
    for (const Quantizer& q : AllQuantizers()) {
      for (int bits = 1; bits <= MaxBits(q.method); ++bits) {
        if (bits > 4 && cols > 513) continue;
        for (int lanes : {1, 8}) {
          SCOPED_TRACE(Label(q, bits, cols));
          const Packed expected = Quantize(Scalar(), q, w, cols, bits, lanes);
          const Packed actual = Quantize(Tier(), q, w, cols, bits, lanes);
          ASSERT_TRUE(actual.SameBits(expected));

          std::vector<float> expected_values(w.size()), values(w.size());
          Scalar().Dequantize(expected.planes.data(), expected.coefficients.data(), 0, expected.rows, cols, bits, lanes,
                              expected_values.data());
          Tier().Dequantize(expected.planes.data(), expected.coefficients.data(), 0, expected.rows, cols, bits, lanes,
                            values.data());
          ASSERT_EQ(0, std::memcmp(values.data(), expected_values.data(), values.size() * sizeof(float)));
        }
      }
    }
  }
}

TEST(SameBits, Products) {
  const int64_t rows = 19, batch = 3;  // two blocks and three rows
  for (int64_t cols : kSizes) {
    for (int weight_bits = 1; weight_bits <= 8; ++weight_bits) {
      const Packed weights =
          Quantize(Scalar(), Method(kGreedy), GaussianRows(rows * cols, cols + weight_bits), cols, weight_bits, 8);
      for (int activation_bits = 1; activation_bits <= 8; ++activation_bits) {
        if ((weight_bits > 5 || activation_bits > 5) && cols % 64 != 1) continue;
        const Packed x =
            Quantize(Scalar(), Method(kGreedy), GaussianRows(batch * cols, cols + 99), cols, activation_bits, 1);
        std::vector<float> expected(batch * rows), gemm(batch * rows), gemv(rows);
        Scalar().PackedGemm(weights.planes.data(), weights.coefficients.data(), 0, rows, cols, weight_bits, x.planes.data(),
                      x.coefficients.data(), activation_bits, batch, expected.data(), rows);
        Tier().PackedGemm(weights.planes.data(), weights.coefficients.data(), 0, rows, cols, weight_bits, x.planes.data(),
                    x.coefficients.data(), activation_bits, batch, gemm.data(), rows);
        Tier().PackedGemm(weights.planes.data(), weights.coefficients.data(), 0, rows, cols, weight_bits, x.planes.data(),
                    x.coefficients.data(), activation_bits, 1, gemv.data(), rows);
        ASSERT_EQ(0, std::memcmp(gemm.data(), expected.data(), expected.size() * sizeof(float)))
            << weight_bits << "/" << activation_bits << " cols " << cols;
        ASSERT_EQ(0, std::memcmp(gemv.data(), expected.data(), rows * sizeof(float)))
            << weight_bits << "/" << activation_bits << " cols " << cols;
      }
    }
  }
}

TEST(SameBits, AddAndFinite) {
  const float max = std::numeric_limits<float>::max();
  for (int64_t n : kSizes) {
    const std::vector<float> bias = GaussianRows(n, n);
    const std::vector<float> x = GaussianRows(n, n + 1);
    std::vector<float> expected = x;
    ASSERT_TRUE(Scalar().Add(bias.data(), n, expected.data()));
    Guarded memory(n * sizeof(float), Guarded::kEnd);
    ASSERT_TRUE(Tier().Add(bias.data(), n, Copy(&memory, x)));
    ASSERT_EQ(0, std::memcmp(memory.as<float>(), expected.data(), n * sizeof(float))) << n;
    for (int64_t at : {int64_t{0}, n / 2, n - 1}) {
      for (float bad : {std::numeric_limits<float>::quiet_NaN(), -std::numeric_limits<float>::infinity()}) {
        std::vector<float> with = x;
        with[at] = bad;
        EXPECT_FALSE(Tier().Add(bias.data(), n, with.data())) << n;
      }
      std::vector<float> large(n, 0), sum(n, 0);
      large[at] = sum[at] = max;
      EXPECT_FALSE(Tier().Add(large.data(), n, sum.data())) << n;
    }
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// Against the definitions

TEST(Quantize, KnownRows) {
  // Zeros count as positive, whatever their sign.
  Packed zeros = Quantize(Tier(), Method(kAlternating), {0.0f, -0.0f, 0.0f}, 3, 2);
  EXPECT_EQ(0b111u, zeros.Word(0, 0, 0));
  EXPECT_EQ(0b111u, zeros.Word(0, 1, 0));
  EXPECT_EQ(0, zeros.A(0, 0));
  EXPECT_EQ(0, zeros.A(0, 1));

  // +-2 +-1 reach it exactly.
  for (int method : {kUniform, kGreedy, kRefined, kAlternating, kOptimal}) {
    Packed exact = Quantize(Tier(), Method(method), {3, -1, 1, -3}, 4, 2);
    EXPECT_EQ(0b0101u, exact.Word(0, 0, 0)) << kMethodNames[method];
    EXPECT_EQ(0b0011u, exact.Word(0, 1, 0)) << kMethodNames[method];
    EXPECT_EQ(2, exact.A(0, 0)) << kMethodNames[method];
    EXPECT_EQ(1, exact.A(0, 1)) << kMethodNames[method];
  }

  Packed scaled = Quantize(Tier(), Method(kAlternating, 2, 0.25f), {3, -1, 1, -3}, 4, 2);
  EXPECT_EQ(0.5f, scaled.A(0, 0));
  EXPECT_EQ(0.25f, scaled.A(0, 1));

  // Planes without weight tie; the highest pattern of a tie is taken, and +-1 are values of their own.
  Packed ties = Quantize(Tier(), Method(kAlternating), {1, -1, -1}, 3, 3);
  EXPECT_EQ(0b001u, ties.Word(0, 0, 0));
  EXPECT_EQ(0b111u, ties.Word(0, 1, 0));
  EXPECT_EQ(0b111u, ties.Word(0, 2, 0));
  EXPECT_EQ(1, ties.A(0, 0));

  // A constant row is one coefficient; the second plane depends on the first and gets none.
  Packed constant = Quantize(Tier(), Method(kRefined), {-5, -5, -5, -5, -5}, 5, 3);
  EXPECT_EQ(5, constant.A(0, 0));
  EXPECT_EQ(0, constant.A(0, 1));
  EXPECT_EQ(0, constant.A(0, 2));
  EXPECT_EQ(0, constant.Word(0, 0, 0));
}

TEST(Quantize, FirstBadElementIsReported) {
  for (int64_t cols : kShortSizes) {
    for (float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(),
                      -std::numeric_limits<float>::infinity()}) {
      for (int64_t at : {int64_t{0}, cols - 1, cols, 2 * cols + cols / 2}) {
        std::vector<float> w = GaussianRows(4 * cols, 1);
        w[at] = bad;
        w[4 * cols - 1] = bad;  // later: not the first
        Packed packed(4, cols, 2, 8);
        std::vector<char> scratch(Tier().QuantizeScratch(cols, 2) + 1);
        EXPECT_EQ(at, Tier().Quantize(Method(kAlternating), w.data(), 4, cols, 0, 4, 2, 8, packed.planes.data(),
                                      packed.coefficients.data(), scratch.data()));
      }
    }
  }
}

TEST(Quantize, PaddingIsZero) {
  for (int64_t cols : kShortSizes) {
    for (const Quantizer& q : AllQuantizers()) {
      const int bits = MaxBits(q.method);
      const Packed packed = Quantize(Tier(), q, AwkwardRows(cols), cols, bits);
      for (int64_t r = 0; r < (packed.rows + 7) / 8 * 8; ++r) {
        for (int i = 0; i < bits; ++i) {
          const uint64_t last = packed.Word(r, i, packed.Words() - 1);
          if (cols % 64 != 0) {
            ASSERT_EQ(0u, last >> cols % 64) << Label(q, bits, cols);
          }
          if (r < packed.rows) continue;
          ASSERT_EQ(0, packed.A(r, i));
          for (int64_t w = 0; w < packed.Words(); ++w) ASSERT_EQ(0u, packed.Word(r, i, w));
        }
      }
    }
  }
}

TEST(Quantize, BlocksOfRowsAreIndependent) {
  const int64_t cols = 65, rows = 21;
  const std::vector<float> w = GaussianRows(rows * cols, 5);
  const Packed whole = Quantize(Tier(), Method(kAlternating), w, cols, 3);
  Packed parts(rows, cols, 3, 8);
  std::vector<char> scratch(Tier().QuantizeScratch(cols, 3) + 1);
  for (int64_t first : {16, 0, 8}) {
    ASSERT_EQ(-1, Tier().Quantize(Method(kAlternating), w.data(), rows, cols, first, std::min(first + 8, rows), 3, 8,
                                  parts.planes.data(), parts.coefficients.data(), scratch.data()));
  }
  EXPECT_TRUE(parts.SameBits(whole));
}

// A power of two changes no rounding, so it must change nothing but the coefficients, out to where rows are scaled.
TEST(Quantize, PowersOfTwoCommute) {
  for (int64_t cols : {17, 300}) {
    const std::vector<float> w = GaussianRows(cols, 3);
    for (const Quantizer& q : AllQuantizers()) {
      const int bits = std::min(4, MaxBits(q.method));
      const Packed plain = Quantize(Tier(), q, w, cols, bits);
      for (int exponent : {-100, -62, -1, 1, 59, 62, 120}) {
        std::vector<float> scaled = w;
        for (float& x : scaled) x = std::ldexp(x, exponent);
        const Packed packed = Quantize(Tier(), q, scaled, cols, bits);
        ASSERT_EQ(plain.planes, packed.planes) << Label(q, bits, cols) << " exponent " << exponent;
        for (int i = 0; i < bits; ++i) ASSERT_EQ(std::ldexp(plain.A(0, i), exponent), packed.A(0, i));
      }
    }
  }
}

TEST(Quantize, ValuesAreFinite) {
  for (int64_t cols : kSizes) {
    std::vector<float> w = AwkwardRows(cols);
    const float max = std::numeric_limits<float>::max();
    for (int64_t c = 0; c < cols; ++c) w.push_back(c % 5 ? max : -max);
    for (const Quantizer& q : AllQuantizers()) {
      for (int bits = 1; bits <= std::min(4, MaxBits(q.method)); ++bits) {
        const Packed packed = Quantize(Tier(), q, w, cols, bits);
        for (int64_t r = 0; r < packed.rows; ++r) {
          float sum = 0;
          for (int i = 0; i < bits; ++i) {
            ASSERT_GE(packed.A(r, i), 0) << Label(q, bits, cols) << " row " << r;
            sum += packed.A(r, i);
          }
          ASSERT_TRUE(std::isfinite(sum)) << Label(q, bits, cols) << " row " << r;
        }
      }
    }
  }
}

// Uniform: the nearest of 2^k evenly spaced levels from -max|w| to max|w|.
TEST(Quantize, UniformIsTheNearestLevel) {
  for (int64_t cols : kShortSizes) {
    const std::vector<float> w = GaussianRows(cols, cols);
    double max = 0;
    for (float x : w) max = std::max(max, std::fabs(static_cast<double>(x)));
    for (int bits = 1; bits <= 8; ++bits) {
      const Packed packed = Quantize(Tier(), Method(kUniform), w, cols, bits);
      const double step = 2 * max / ((1 << bits) - 1);
      for (int64_t c = 0; c < cols; ++c) {
        const double level = (packed.Value(0, c) + max) / step;
        ASSERT_NEAR(std::round(level), level, 1e-4);
        ASSERT_LE(std::fabs(packed.Value(0, c) - w[c]), step / 2 + 1e-5 * max) << "bits " << bits << " column " << c;
      }
    }
  }
}

// Balanced: levels rise with the elements, and hold equal shares of them.
TEST(Quantize, BalancedSharesAreEqual) {
  for (int64_t cols : {16, 300, 1024}) {
    const std::vector<float> w = GaussianRows(cols, cols);  // all different
    std::vector<float> sorted = w;
    std::sort(sorted.begin(), sorted.end());
    for (int bits = 1; bits <= 4; ++bits) {
      const Packed packed = Quantize(Tier(), Method(kBalanced), w, cols, bits);
      const double max = std::max(-sorted.front(), sorted.back());
      for (int64_t c = 0; c < cols; ++c) {
        const int64_t rank = std::lower_bound(sorted.begin(), sorted.end(), w[c]) - sorted.begin();
        const int64_t level = (rank << bits) / cols;
        ASSERT_NEAR(max * (2.0 * level / ((1 << bits) - 1) - 1), packed.Value(0, c), 1e-5 * max);
      }
    }
  }
}

// Greedy: each coefficient is the mean magnitude of what the planes before left over, each plane its sign.
TEST(Quantize, GreedyTakesTheBestOfEachResidual) {
  for (int64_t cols : kShortSizes) {
    const std::vector<float> w = GaussianRows(cols, cols);
    const Packed packed = Quantize(Tier(), Method(kGreedy), w, cols, 6);
    std::vector<double> residual(w.begin(), w.end());
    for (int i = 0; i < 6; ++i) {
      double mean = 0;
      for (double r : residual) mean += std::fabs(r) / cols;
      ASSERT_NEAR(mean, packed.A(0, i), 1e-5);
      for (int64_t c = 0; c < cols; ++c) {
        if (std::fabs(residual[c]) > 1e-5) {
          ASSERT_EQ(residual[c] > 0 ? 1 : -1, packed.Sign(0, i, c));
        }
        residual[c] -= static_cast<double>(packed.A(0, i)) * packed.Sign(0, i, c);
      }
    }
  }
}

// Refined: what remains of the row is orthogonal to every plane (the normal equations).
TEST(Quantize, RefinedSolvesTheNormalEquations) {
  for (int64_t cols : {17, 64, 300, 1024}) {
    const std::vector<float> w = GaussianRows(cols, cols);
    for (int bits = 1; bits <= 8; ++bits) {
      const Packed packed = Quantize(Tier(), Method(kRefined), w, cols, bits);
      for (int i = 0; i < bits; ++i) {
        double product = 0;
        for (int64_t c = 0; c < cols; ++c) product += packed.Sign(0, i, c) * (w[c] - packed.Value(0, c));
        ASSERT_NEAR(0, product, 1e-5 * cols) << "bits " << bits << " cols " << cols;
        if (i > 0) {
          ASSERT_GE(packed.A(0, i - 1), packed.A(0, i));
        }
      }
    }
  }
}

// Alternating ends with codes: each element has the nearest of the values that the coefficients allow.
TEST(Quantize, AlternatingCodesAreNearest) {
  for (int64_t cols : kShortSizes) {
    const std::vector<float> w = AwkwardRows(cols);
    for (int bits = 2; bits <= 8; ++bits) {
      const Packed packed = Quantize(Tier(), Method(kAlternating), w, cols, bits);
      for (int64_t r = 0; r < packed.rows; ++r) {
        double scale = 0;
        for (int64_t c = 0; c < cols; ++c) scale = std::max(scale, std::fabs(static_cast<double>(w[r * cols + c])));
        if (scale > 1e38) continue;  // coefficients may have been capped after the codes were taken
        std::vector<double> values(1 << bits);
        for (int code = 0; code < 1 << bits; ++code) {
          for (int i = 0; i < bits; ++i) values[code] += code >> i & 1 ? packed.A(r, i) : -packed.A(r, i);
        }
        for (int64_t c = 0; c < cols; ++c) {
          const double x = w[r * cols + c];
          double nearest = INFINITY;
          for (double value : values) nearest = std::min(nearest, std::fabs(x - value));
          ASSERT_LE(std::fabs(x - packed.Value(r, c)), nearest + 1e-6 * scale + 1e-44)
              << "bits " << bits << " cols " << cols << " row " << r;
        }
      }
    }
  }
}

// The least error that any two planes can have, by trying all of them with their best coefficients.
double ExhaustiveError(const float* w, int n) {
  double best = INFINITY;
  for (int first = 0; first < 1 << n; ++first) {
    for (int second = 0; second <= first; ++second) {
      double p = 0, q = 0, cross = 0, norm = 0;
      for (int c = 0; c < n; ++c) {
        const int b = first >> c & 1 ? 1 : -1, d = second >> c & 1 ? 1 : -1;
        p += b * w[c];
        q += d * w[c];
        cross += b * d;
        norm += static_cast<double>(w[c]) * w[c];
      }
      const double determinant = static_cast<double>(n) * n - cross * cross;
      // Of two equal or opposite planes, one is enough.
      const double gain = determinant == 0 ? p * p / n : (n * p * p - 2 * cross * p * q + n * q * q) / determinant;
      best = std::min(best, norm - gain);
    }
  }
  return best;
}

TEST(Quantize, OptimalIsTheLeastErrorOfAll) {
  Random random(7);
  for (int n = 1; n <= 8; ++n) {
    for (int trial = 0; trial < 12; ++trial) {
      std::vector<float> w(n);
      for (float& x : w)
        x = trial % 3 == 0 ? Gaussian(&random) : trial % 3 == 1 ? Laplacian(&random) : random() % 5 - 2.f;
      double norm = 0;
      for (float x : w) norm += static_cast<double>(x) * x;
      const Packed packed = Quantize(Tier(), Method(kOptimal), w, n, 2);
      ASSERT_NEAR(ExhaustiveError(w.data(), n), packed.Error(0, w.data()), 1e-6 * norm) << "n " << n;
    }
  }
}

TEST(Quantize, BetterMethodsHaveLessError) {
  const double slack = 1e-6;
  Random random(11);
  for (int64_t cols : {3, 17, 64, 300, 513}) {
    std::vector<float> w(64 * cols);
    for (size_t k = 0; k < w.size(); ++k) w[k] = k / cols % 2 ? Gaussian(&random) : Laplacian(&random);
    const auto quantize = [&](int method, int bits) { return Quantize(Tier(), Method(method), w, cols, bits); };
    const Packed greedy = quantize(kGreedy, 2), refined = quantize(kRefined, 2),
                 alternating = quantize(kAlternating, 2), optimal = quantize(kOptimal, 2);
    const Packed greedy3 = quantize(kGreedy, 3), alternating3 = quantize(kAlternating, 3),
                 refined3 = quantize(kRefined, 3);
    for (int64_t r = 0; r < 64; ++r) {
      const float* row = w.data() + r * cols;
      double norm = 0;
      for (int64_t c = 0; c < cols; ++c) norm += static_cast<double>(row[c]) * row[c];
      const auto error = [&](const Packed& packed) { return packed.Error(r, row) / norm; };
      ASSERT_LE(error(optimal), error(alternating) + slack) << cols;
      ASSERT_LE(error(alternating), error(refined) + slack) << cols;
      ASSERT_LE(error(refined), error(greedy) + slack) << cols;
      ASSERT_LE(error(alternating3), error(greedy3) + slack) << cols;
      ASSERT_LE(error(greedy3), error(greedy) + slack) << cols;
      ASSERT_LE(error(refined3), error(refined) + slack) << cols;
    }
    for (int bits = 4; bits <= 8; ++bits) {
      const Packed fewer = quantize(kAlternating, bits - 1), more = quantize(kAlternating, bits),
                   uniform = quantize(kUniform, bits), start = quantize(kGreedy, bits);
      for (int64_t r = 0; r < 64; ++r) {
        const float* row = w.data() + r * cols;
        const double least = std::min({fewer.Error(r, row), uniform.Error(r, row), start.Error(r, row)});
        ASSERT_LE(more.Error(r, row), least * (1 + 1e-6) + 1e-12) << bits << " bits, cols " << cols;
      }
    }
  }
}

TEST(Products, AreSumsOfSignedCoefficients) {
  const int64_t rows = 11;
  for (int64_t cols : kSizes) {
    for (const auto& [weight_bits, activation_bits] :
         {std::pair(1, 1), {2, 2}, {2, 3}, {3, 3}, {4, 4}, {5, 2}, {1, 8}}) {
      const Packed weights = Quantize(Tier(), Method(kUniform), GaussianRows(rows * cols, 1), cols, weight_bits);
      const Packed x = Quantize(Tier(), Method(kUniform), GaussianRows(cols, 2), cols, activation_bits, 1);
      std::vector<float> y(rows);
      Tier().PackedGemm(weights.planes.data(), weights.coefficients.data(), 0, rows, cols, weight_bits, x.planes.data(),
                  x.coefficients.data(), activation_bits, 1, y.data(), rows);
      for (int64_t r = 0; r < rows; ++r) {
        float expected = 0;
        for (int i = 0; i < weight_bits; ++i) {
          for (int j = 0; j < activation_bits; ++j) {
            int product = 0;
            for (int64_t c = 0; c < cols; ++c) product += weights.Sign(r, i, c) * x.Sign(0, j, c);
            expected += (weights.A(r, i) * x.A(0, j)) * static_cast<float>(product);
          }
        }
        ASSERT_EQ(expected, y[r]) << weight_bits << "/" << activation_bits << " cols " << cols << " row " << r;
      }
    }
  }
}

// The largest counts: every bit of every word differs, or none.
TEST(Products, OppositePlanes) {
  for (int64_t cols : kSizes) {
    const Packed weights = Quantize(Tier(), Method(kGreedy), std::vector<float>(8 * cols, 0.5f), cols, 1);
    for (float sign : {1.0f, -1.0f}) {
      const Packed x = Quantize(Tier(), Method(kGreedy), std::vector<float>(cols, sign), cols, 1, 1);
      std::vector<float> y(8);
      Tier().PackedGemm(weights.planes.data(), weights.coefficients.data(), 0, 8, cols, 1, x.planes.data(),
                  x.coefficients.data(), 1, 1, y.data(), 8);
      for (float value : y) ASSERT_EQ(0.5f * sign * cols, value) << cols;
    }
  }
}

TEST(Products, RowRangesAndStrides) {
  const int64_t rows = 21, cols = 70, batch = 2, stride = 30;
  const Packed weights = Quantize(Tier(), Method(kGreedy), GaussianRows(rows * cols, 1), cols, 2);
  const Packed x = Quantize(Tier(), Method(kGreedy), GaussianRows(batch * cols, 2), cols, 2, 1);
  std::vector<float> whole(batch * rows), parts(batch * stride, -1);
  Tier().PackedGemm(weights.planes.data(), weights.coefficients.data(), 0, rows, cols, 2, x.planes.data(),
              x.coefficients.data(), 2, batch, whole.data(), rows);
  Tier().PackedGemm(weights.planes.data(), weights.coefficients.data(), 8, 13, cols, 2, x.planes.data(),
              x.coefficients.data(), 2, batch, parts.data(), stride);
  for (int64_t b = 0; b < batch; ++b) {
    for (int64_t r = 0; r < stride; ++r) {
      ASSERT_EQ(r >= 8 && r < 13 ? whole[b * rows + r] : -1, parts[b * stride + r]);
    }
  }
}

TEST(Products, WithFullPrecisionActivations) {
  const int64_t rows = 11;
  for (int64_t cols : kSizes) {
    const std::vector<float> w = GaussianRows(rows * cols, 1), x = GaussianRows(cols, 2);
    std::vector<float> y(rows);
    for (int bits = 1; bits <= 8; ++bits) {
      const Packed weights = Quantize(Tier(), Method(kGreedy), w, cols, bits);
      Tier().PackedGemvFloat(weights.planes.data(), weights.coefficients.data(), 0, rows, cols, bits, x.data(), y.data());
      for (int64_t r = 0; r < rows; ++r) {
        double expected = 0, magnitude = 0;
        for (int64_t c = 0; c < cols; ++c) {
          expected += weights.Value(r, c) * x[c];
          magnitude += std::fabs(weights.Value(r, c) * x[c]);
        }
        ASSERT_NEAR(expected, y[r], 1e-5 * magnitude) << "bits " << bits << " cols " << cols;
      }
    }
    const int64_t batch = 7, stride = rows + 3;
    const std::vector<float> vectors = GaussianRows(batch * cols, 3);
    std::vector<float> of_batch(batch * rows), of_part(batch * stride, -1), of_part_alone(rows, -1);
    Tier().GemmRows(w.data(), 0, rows, cols, vectors.data(), batch, of_batch.data(), rows);
    Tier().GemmRows(w.data(), 1, 10, cols, vectors.data(), batch, of_part.data(), stride);
    Tier().GemmRows(w.data(), 1, 10, cols, vectors.data(), 1, of_part_alone.data(), rows);
    for (int64_t b = 0; b < batch; ++b) {
      const float* vector = vectors.data() + b * cols;
      Tier().GemmRows(w.data(), 0, rows, cols, vector, 1, y.data(), rows);
      for (int64_t r = 0; r < rows; ++r) {
        double expected = 0, magnitude = 0;
        for (int64_t c = 0; c < cols; ++c) {
          expected += static_cast<double>(w[r * cols + c]) * vector[c];
          magnitude += std::fabs(static_cast<double>(w[r * cols + c]) * vector[c]);
        }
        ASSERT_NEAR(expected, y[r], 1e-5 * magnitude) << "cols " << cols;
        ASSERT_EQ(y[r], of_batch[b * rows + r]) << "cols " << cols;
      }
      for (int64_t r = 0; r < stride; ++r) {
        ASSERT_EQ(r >= 1 && r < 10 ? y[r] : -1, of_part[b * stride + r]) << "cols " << cols;
        if (b == 0 && r < rows) {
          ASSERT_EQ(r >= 1 && r < 10 ? y[r] : -1, of_part_alone[r]) << "cols " << cols;
        }
      }
    }
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// Training

// Random bits of rows of so many elements, none past the last.
std::vector<uint64_t> RandomMasks(int64_t rows, int64_t cols, uint64_t seed) {
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

TEST(MaskedProducts, AreThoseOfRetainedElements) {
  const int64_t rows = 19, batch = 35;
  for (int64_t cols : kSizes) {
    const std::vector<uint64_t> masks = RandomMasks(batch, cols, cols);
    const std::vector<float> start = GaussianRows(rows, 5);
    for (int weight_bits : {1, 2, 3, 4, 5}) {
      const Packed w = Quantize(Tier(), Method(kGreedy), GaussianRows(rows * cols, 1), cols, weight_bits);
      for (int bits : {1, 2, 3, 4, 8}) {
        const Packed x = Quantize(Tier(), Method(kGreedy), GaussianRows(batch * cols, 2), cols, bits, 1);
        for (const uint64_t* mask : {static_cast<const uint64_t*>(nullptr), masks.data()}) {
          std::vector<float> out(batch * rows, 7), added(batch * rows, 7);
          Tier().PackedGemmMasked(w.planes.data(), w.coefficients.data(), 0, rows, cols, weight_bits, x.planes.data(),
                             x.coefficients.data(), bits, mask, batch, start.data(), out.data(), rows);
          Tier().PackedGemmMasked(w.planes.data(), w.coefficients.data(), 0, rows, cols, weight_bits, x.planes.data(),
                             x.coefficients.data(), bits, mask, batch, nullptr, added.data(), rows);
          for (int64_t b : {int64_t{0}, int64_t{1}, batch - 1}) {
            for (int64_t r = 0; r < rows; ++r) {
              double sum = 0, magnitude = 1;
              for (int64_t c = 0; c < cols; ++c) {
                if (mask && !(mask[b * w.Words() + c / 64] >> (c % 64) & 1)) continue;
                const double term = w.Value(r, c) * x.Value(b, c);
                sum += term;
                magnitude += std::fabs(term);
              }
              ASSERT_NEAR(start[r] + sum, out[b * rows + r], 1e-6 * (magnitude + std::fabs(start[r]))) << cols;
              ASSERT_NEAR(7 + sum, added[b * rows + r], 1e-6 * (magnitude + 7)) << cols;
            }
          }
        }
      }
    }
  }
}

TEST(MaskedProducts, RowRangesAndStrides) {
  const int64_t rows = 24, cols = 300, batch = 3, stride = 40;
  const Packed w = Quantize(Tier(), Method(kGreedy), GaussianRows(rows * cols, 1), cols, 2);
  const Packed x = Quantize(Tier(), Method(kGreedy), GaussianRows(batch * cols, 2), cols, 2, 1);
  const std::vector<float> start(rows, 0);
  std::vector<float> all(batch * stride, -9), part(batch * stride, -9);
  Tier().PackedGemmMasked(w.planes.data(), w.coefficients.data(), 0, rows, cols, 2, x.planes.data(), x.coefficients.data(),
                     2, nullptr, batch, start.data(), all.data(), stride);
  Tier().PackedGemmMasked(w.planes.data(), w.coefficients.data(), 8, 19, cols, 2, x.planes.data(), x.coefficients.data(), 2,
                     nullptr, batch, start.data(), part.data(), stride);
  for (int64_t b = 0; b < batch; ++b) {
    for (int64_t r = 0; r < stride; ++r) {
      EXPECT_EQ(r >= 8 && r < 19 ? all[b * stride + r] : -9, part[b * stride + r]);
      if (r >= rows) {
        EXPECT_EQ(-9, all[b * stride + r]);
      }
    }
  }
}

TEST(Dropout, MasksAreThoseOfTheScalarTier) {
  for (int64_t cols : kSizes) {
    const int64_t rows = 5, words = (cols + 63) / 64;
    std::vector<uint64_t> expected(rows * words, ~uint64_t{0}), actual(rows * words, ~uint64_t{0});
    for (uint64_t threshold : {uint64_t{0}, uint64_t{1} << 61, uint64_t{1} << 62, (uint64_t{1} << 63) - 1}) {
      Scalar().DropoutMasks(0x123456789ABCDEF0, threshold, 0, rows, cols, expected.data());
      Tier().DropoutMasks(0x123456789ABCDEF0, threshold, 0, 2, cols, actual.data());
      Tier().DropoutMasks(0x123456789ABCDEF0, threshold, 2, rows, cols, actual.data());
      ASSERT_EQ(expected, actual) << cols;
    }
  }
}

TEST(Dropout, DroppedElementsAreZero) {
  for (int64_t cols : kSizes) {
    const int64_t rows = 3;
    const std::vector<uint64_t> masks = RandomMasks(rows, cols, 1);
    const std::vector<float> before = GaussianRows(rows * cols, 2);
    std::vector<float> x = before;
    Tier().Drop(masks.data(), 1.5f, 0, rows, cols, x.data());
    for (int64_t i = 0; i < rows * cols; ++i) {
      const bool retained = masks[i / cols * ((cols + 63) / 64) + i % cols / 64] >> (i % cols % 64) & 1;
      ASSERT_EQ(retained ? before[i] * 1.5f : 0, x[i]);
    }
  }
}

TEST(Update, ElementWise) {
  for (int64_t n : kSizes) {
    std::vector<float> x = GaussianRows(n, 1), y = GaussianRows(n, 2);
    x[n / 2] = 0;
    std::vector<float> scaled = x, clipped = x, sum = y;
    Tier().Scale(-0.3f, n, scaled.data());
    Tier().Clip(0.5f, n, clipped.data());
    Tier().Add(x.data(), n, sum.data());
    double squares = 0;
    for (int64_t i = 0; i < n; ++i) {
      ASSERT_EQ(x[i] * -0.3f, scaled[i]);
      ASSERT_EQ(std::min(std::max(x[i], -0.5f), 0.5f), clipped[i]);
      ASSERT_EQ(y[i] + x[i], sum[i]);
      squares += static_cast<double>(x[i]) * x[i];
    }
    ASSERT_NEAR(squares, Tier().SumOfSquares(x.data(), n), 1e-6 * squares);
  }
}

TEST(Update, NanStaysNan) {
  for (int64_t n : {1, 17, 64}) {
    std::vector<float> x(n, 0.25f);
    x[n / 2] = std::numeric_limits<float>::quiet_NaN();
    EXPECT_TRUE(std::isnan(Tier().SumOfSquares(x.data(), n)));
    Tier().Clip(0.1f, n, x.data());
    EXPECT_TRUE(std::isnan(x[n / 2]));
    if (n > 1) {
      EXPECT_EQ(0.1f, x[0]);
    }
    Tier().Scale(2, n, x.data());
    EXPECT_TRUE(std::isnan(x[n / 2]));
  }
}

TEST(Gru, StepAndGradientMatchDouble) {
  const auto sigmoid = [](double x) { return 1 / (1 + std::exp(-x)); };
  for (int64_t hidden : {1, 7, 16, 17, 300}) {
    const int64_t rows = 3;
    const std::vector<float> sums = GaussianRows(rows * 3 * hidden, 1), u = GaussianRows(rows * 3 * hidden, 2);
    const std::vector<float> before = GaussianRows(rows * hidden, 3), dh = GaussianRows(rows * hidden, 4);
    const std::vector<float> flows_back = GaussianRows(rows * hidden, 5);
    std::vector<float> gates = sums, out(rows * hidden);
    std::vector<float> carried = flows_back, dz(rows * 3 * hidden), du(rows * 3 * hidden);
    Tier().GruForward(0, 1, hidden, gates.data(), u.data(), before.data(), out.data());
    Tier().GruForward(1, rows, hidden, gates.data(), u.data(), before.data(), out.data());
    Tier().GruBackward(0, rows, hidden, gates.data(), u.data(), before.data(), dh.data(), carried.data(), dz.data(),
                        du.data());
    for (int64_t i = 0; i < rows * hidden; ++i) {
      const int64_t at = i / hidden * 3 * hidden + i % hidden;
      // The sums of the input's product, those of the recurrent one, the hidden state before.
      std::array<double, 7> x;
      for (int gate = 0; gate < 3; ++gate) {
        x[gate] = sums[at + gate * hidden];
        x[3 + gate] = u[at + gate * hidden];
      }
      x[6] = before[i];
      const auto next = [&](const std::array<double, 7>& v) {
        const double z = sigmoid(v[1] + v[4]);
        return (1 - z) * std::tanh(v[2] + sigmoid(v[0] + v[3]) * v[5]) + z * v[6];
      };
      ASSERT_NEAR(next(x), out[i], 1e-5);
      for (int v = 0; v < 7; ++v) {
        const double step = 1e-6;
        std::array<double, 7> high = x, low = x;
        high[v] += step;
        low[v] -= step;
        const double expected = (next(high) - next(low)) / (2 * step) * (static_cast<double>(dh[i]) + flows_back[i]);
        const float actual = v < 3 ? dz[at + v * hidden] : v < 6 ? du[at + (v - 3) * hidden] : carried[i];
        ASSERT_NEAR(expected, actual, 2e-5 * std::max(1.0, std::fabs(expected))) << v;
      }
    }
  }
}

// Against double and, for the gradient, finite differences of double.
TEST(Lstm, StepAndGradientMatchDouble) {
  const auto sigmoid = [](double x) { return 1 / (1 + std::exp(-x)); };
  for (int64_t hidden : {1, 7, 16, 17, 300}) {
    const int64_t rows = 3;
    const std::vector<float> sums = GaussianRows(rows * 4 * hidden, 1), before = GaussianRows(rows * hidden, 2);
    const std::vector<float> dh = GaussianRows(rows * hidden, 3), flows_back = GaussianRows(rows * hidden, 4);
    std::vector<float> gates = sums, cells(rows * hidden), tanhs(rows * hidden), out(rows * hidden);
    std::vector<float> dc = flows_back, dz(rows * 4 * hidden);
    Tier().LstmForward(0, 1, hidden, gates.data(), before.data(), cells.data(), tanhs.data(), out.data());
    Tier().LstmForward(1, rows, hidden, gates.data(), before.data(), cells.data(), tanhs.data(), out.data());
    Tier().LstmBackward(0, rows, hidden, gates.data(), before.data(), tanhs.data(), dh.data(), dc.data(), dz.data());
    for (int64_t i = 0; i < rows * hidden; ++i) {
      const int64_t at = i / hidden * 4 * hidden + i % hidden;
      const auto loss = [&](const double* z, double c0) {
        const double c = sigmoid(z[1]) * c0 + sigmoid(z[3]) * std::tanh(z[0]);
        return dh[i] * sigmoid(z[2]) * std::tanh(c) + flows_back[i] * c;
      };
      double z[4];
      for (int gate = 0; gate < 4; ++gate) z[gate] = sums[at + gate * hidden];
      const double c = sigmoid(z[1]) * before[i] + sigmoid(z[3]) * std::tanh(z[0]);
      ASSERT_NEAR(c, cells[i], 1e-5);
      ASSERT_NEAR(std::tanh(c), tanhs[i], 1e-5);
      ASSERT_NEAR(sigmoid(z[2]) * std::tanh(c), out[i], 1e-5);
      const double step = 1e-6;
      for (int gate = 0; gate < 4; ++gate) {
        double high[4], low[4];
        std::copy(z, z + 4, high);
        std::copy(z, z + 4, low);
        high[gate] += step;
        low[gate] -= step;
        const double slope = (loss(high, before[i]) - loss(low, before[i])) / (2 * step);
        ASSERT_NEAR(slope, dz[at + gate * hidden], 1e-5 * (1 + std::fabs(slope)));
      }
      const double slope = (loss(z, before[i] + step) - loss(z, before[i] - step)) / (2 * step);
      ASSERT_NEAR(slope, dc[i], 1e-5 * (1 + std::fabs(slope)));
    }
  }
}

// Block by block, in an order in which the maximum grows late, falls and grows again; NaN stays NaN.
TEST(Softmax, OfBlocksMatchesDouble) {
  const int64_t rows = 3;
  for (int64_t cols : {1, 7, 16, 17, 192}) {
    std::vector<std::vector<float>> blocks;
    for (float offset : {-50.0f, 0.0f, -3.0f, 60.0f}) {
      blocks.push_back(GaussianRows(rows * cols, blocks.size() + 1));
      for (float& x : blocks.back()) x += offset;
    }
    std::vector<float> max(rows, -INFINITY), rescale(rows), exponentials, out(rows * cols), scaled(rows, 0);
    std::vector<double> sums(rows, 0);
    for (const std::vector<float>& block : blocks) {
      exponentials = block;
      Tier().SoftmaxBlock(exponentials.data(), rows, cols, max.data(), sums.data(), rescale.data());
      for (int64_t r = 0; r < rows; ++r) {
        scaled[r] *= rescale[r];
        for (int64_t j = 0; j < cols; ++j) scaled[r] += exponentials[r * cols + j];
      }
    }
    std::vector<float> factors(rows);
    for (int64_t r = 0; r < rows; ++r) {
      double expected = 0;
      for (const std::vector<float>& block : blocks) {
        for (int64_t j = 0; j < cols; ++j) expected += std::exp(static_cast<double>(block[r * cols + j]) - max[r]);
      }
      ASSERT_EQ(*std::max_element(&blocks[3][r * cols], &blocks[3][r * cols] + cols), max[r]);
      ASSERT_NEAR(expected, sums[r], 1e-5 * expected);
      ASSERT_NEAR(expected, scaled[r], 1e-4 * expected);
      factors[r] = static_cast<float>(0.5 / sums[r]);
    }
    std::vector<float> columns(cols);
    Tier().SoftmaxColumns(exponentials.data(), rows, cols, factors.data(), out.data(), columns.data());
    for (int64_t j = 0; j < cols; ++j) {
      double expected = 0;
      for (int64_t r = 0; r < rows; ++r) {
        const double p = factors[r] * std::exp(static_cast<double>(blocks[3][r * cols + j]) - max[r]);
        ASSERT_NEAR(p, out[r * cols + j], 1e-6);
        expected += p;
      }
      ASSERT_NEAR(expected, columns[j], 3e-6);
    }
    blocks[0][0] = NAN;
    Tier().SoftmaxBlock(blocks[0].data(), rows, cols, max.data(), sums.data(), rescale.data());
    ASSERT_TRUE(std::isnan(sums[0]));
    ASSERT_FALSE(std::isnan(sums[1]));
  }
}

// Sizes around those of tiles, blocks of the inner dimension (320), chunks of rows (96) and of columns (512).
TEST(GemmArgss, AreMatrixProducts) {
  struct Size {
    int64_t rows, inner, cols;
  };
  for (const Size& size :
       {Size{1, 1, 1}, {5, 17, 16}, {12, 320, 31}, {13, 321, 33}, {23, 700, 48}, {97, 40, 300}, {100, 330, 513}}) {
    const auto [rows, inner, cols] = size;
    const int64_t panels = (cols + kPanelColumns - 1) / kPanelColumns;
    const std::vector<float> a = GaussianRows(rows * inner, 1), b = GaussianRows(inner * cols, 2);
    const std::vector<float> start = GaussianRows(cols, 3), before = GaussianRows(rows * cols, 4);
    std::vector<float> transposed(a.size()), laid_out(panels * inner * kPanelColumns, 0);
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t k = 0; k < inner; ++k) transposed[k * rows + r] = a[r * inner + k];
    }
    for (int64_t k = 0; k < inner; ++k) {
      for (int64_t c = 0; c < cols; ++c) {
        laid_out[(c / kPanelColumns * inner + k) * kPanelColumns + c % kPanelColumns] = b[k * cols + c];
      }
    }
    std::vector<double> sums(rows * cols, 0), magnitudes(rows * cols, 0);
    for (int64_t i = 0; i < rows * cols; ++i) {
      for (int64_t k = 0; k < inner; ++k) {
        const double term = static_cast<double>(a[i / cols * inner + k]) * b[k * cols + i % cols];
        sums[i] += term;
        magnitudes[i] += std::fabs(term);
      }
    }
    for (bool by_columns : {false, true}) {
      for (bool in_panels : {false, true}) {
        for (int begin = 0; begin < 3; ++begin) {  // nothing, `start`, or what is there
          std::vector<float> c = before;
          const GemmArgs product = {by_columns ? transposed.data() : a.data(),
                                        by_columns ? 1 : inner,
                                        by_columns ? rows : 1,
                                        in_panels ? laid_out.data() : b.data(),
                                        in_panels ? kPanelColumns : cols,
                                        in_panels ? inner * kPanelColumns : kPanelColumns,
                                        inner,
                                        cols,
                                        -0.5f,
                                        begin == 2,
                                        begin == 1 ? start.data() : nullptr,
                                        c.data(),
                                        cols};
          const int64_t split = rows / 3;
          Tier().Gemm(product, split, rows);
          for (int64_t i = 0; i < split * cols; ++i) ASSERT_EQ(before[i], c[i]);
          Tier().Gemm(product, 0, split);
          for (int64_t i = 0; i < rows * cols; ++i) {
            const double from = begin == 0 ? 0 : begin == 1 ? start[i % cols] : before[i];
            ASSERT_NEAR(from - 0.5 * sums[i], c[i], 1e-5 * (magnitudes[i] + std::fabs(from)));
          }
          std::vector<float> whole = before;
          GemmArgs again = product;
          again.c = whole.data();
          Tier().Gemm(again, 0, rows);
          ASSERT_EQ(whole, c) << "depends on the split";
        }
      }
    }
  }
}

TEST(Memory, TrainingTouchesNothingOutside) {
  const int64_t rows = 11, batch = 3;
  for (Guarded::Side side : {Guarded::kEnd, Guarded::kStart}) {
    for (int64_t cols : kSizes) {
      Guarded masks(batch * ((cols + 63) / 64) * 8, side), x(batch * cols * 4, side), start(rows * 4, side);
      Copy(&x, GaussianRows(batch * cols, 1));
      Copy(&start, GaussianRows(rows, 1));
      Tier().DropoutMasks(1, uint64_t{1} << 62, 0, batch, cols, masks.as<uint64_t>());
      Tier().Drop(masks.as<uint64_t>(), 2, 0, batch, cols, x.as<float>());
      Guarded out(batch * rows * 4, side);
      for (int bits : {1, 2, 3, 5}) {
        const Packed w = Quantize(Tier(), Method(kGreedy), GaussianRows(rows * cols, 2), cols, bits);
        const Packed a = Quantize(Tier(), Method(kGreedy), GaussianRows(batch * cols, 3), cols, bits, 1);
        Guarded w_planes(w.planes.size() * 8, side), w_coefficients(w.coefficients.size() * 4, side);
        Guarded a_planes(a.planes.size() * 8, side), a_coefficients(a.coefficients.size() * 4, side);
        Copy(&w_planes, w.planes);
        Copy(&w_coefficients, w.coefficients);
        Copy(&a_planes, a.planes);
        Copy(&a_coefficients, a.coefficients);
        Tier().PackedGemmMasked(w_planes.as<uint64_t>(), w_coefficients.as<float>(), 0, rows, cols, bits,
                           a_planes.as<uint64_t>(), a_coefficients.as<float>(), bits, masks.as<uint64_t>(), batch,
                           start.as<float>(), out.as<float>(), rows);
      }
      Guarded gates(batch * 4 * cols * 4, side), gradients(batch * 4 * cols * 4, side), c(batch * cols * 4, side),
          tanh(batch * cols * 4, side), h(batch * cols * 4, side);
      Copy(&gates, GaussianRows(batch * 4 * cols, 4));
      Tier().LstmForward(0, batch, cols, gates.as<float>(), x.as<float>(), c.as<float>(), tanh.as<float>(),
                          h.as<float>());
      Tier().LstmBackward(0, batch, cols, gates.as<float>(), x.as<float>(), tanh.as<float>(), h.as<float>(),
                           c.as<float>(), gradients.as<float>());
      Guarded three(batch * 3 * cols * 4, side), sums(batch * 3 * cols * 4, side), d_three(batch * 3 * cols * 4, side),
          d_sums(batch * 3 * cols * 4, side);
      Copy(&three, GaussianRows(batch * 3 * cols, 5));
      Copy(&sums, GaussianRows(batch * 3 * cols, 6));
      Tier().GruForward(0, batch, cols, three.as<float>(), sums.as<float>(), x.as<float>(), h.as<float>());
      Tier().GruBackward(0, batch, cols, three.as<float>(), sums.as<float>(), x.as<float>(), h.as<float>(),
                          c.as<float>(), d_three.as<float>(), d_sums.as<float>());
      Tier().Scale(2, batch * cols, x.as<float>());
      Tier().Clip(0.1f, batch * cols, x.as<float>());
      Tier().Add(x.as<float>(), batch * cols, h.as<float>());
      Tier().SumOfSquares(x.as<float>(), batch * cols);
      const int64_t panels = (cols + kPanelColumns - 1) / kPanelColumns;
      Guarded w(panels * kPanelColumns * 5 * 4, side), five(batch * 5 * 4, side);
      Copy(&w, GaussianRows(panels * kPanelColumns * 5, 5));
      Copy(&five, GaussianRows(batch * 5, 6));
      Tier().Gemm({five.as<float>(), 5, 1, w.as<float>(), kPanelColumns, 5 * kPanelColumns, 5, cols, 1, true,
                         nullptr, x.as<float>(), cols},
                        0, batch);
      // By columns, and not in panels.
      Guarded b(5 * cols * 4, side);
      Copy(&b, GaussianRows(5 * cols, 7));
      Tier().Gemm({five.as<float>(), 1, batch, b.as<float>(), cols, kPanelColumns, 5, cols, 1, false, nullptr,
                         x.as<float>(), cols},
                        0, batch);
    }
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// Memory: everything flush against pages that cannot be touched, and only what belongs to the range is written

TEST(Memory, NothingIsTouchedOutside) {
  const int64_t rows = 11, batch = 2;
  for (Guarded::Side side : {Guarded::kEnd, Guarded::kStart}) {
    for (int64_t cols : kSizes) {
      const std::vector<float> w = GaussianRows(rows * cols, 1), x = GaussianRows(cols, 2);
      Guarded guarded_w(w.size() * 4, side), guarded_x(x.size() * 4, side), values(w.size() * 4, side);
      Guarded out(batch * rows * 4, side);
      Copy(&guarded_w, w);
      Copy(&guarded_x, x);
      for (int bits : {1, 2, 3, 5}) {
        const Packed activations = Quantize(Tier(), Method(kGreedy), GaussianRows(batch * cols, 3), cols, bits, 1);
        Guarded activation_planes(activations.planes.size() * 8, side);
        Guarded activation_coefficients(activations.coefficients.size() * 4, side);
        Copy(&activation_planes, activations.planes);
        Copy(&activation_coefficients, activations.coefficients);
        for (int lanes : {8, 1}) {
          const Packed shape(rows, cols, bits, lanes);
          Guarded planes(shape.planes.size() * 8, side), coefficients(shape.coefficients.size() * 4, side);
          Guarded scratch((Tier().QuantizeScratch(cols, bits) + 3) / 4 * 4, side);
          for (const Quantizer& q : AllQuantizers()) {
            if (bits > MaxBits(q.method)) continue;
            ASSERT_EQ(-1, Tier().Quantize(q, guarded_w.as<float>(), rows, cols, 0, rows, bits, lanes,
                                          planes.as<uint64_t>(), coefficients.as<float>(), scratch.as<void>()));
          }
          Tier().Dequantize(planes.as<uint64_t>(), coefficients.as<float>(), 0, rows, cols, bits, lanes,
                            values.as<float>());
          if (lanes == 1) continue;
          Tier().PackedGemm(planes.as<uint64_t>(), coefficients.as<float>(), 0, rows, cols, bits,
                      activation_planes.as<uint64_t>(), activation_coefficients.as<float>(), bits, 1, out.as<float>(),
                      rows);
          Tier().PackedGemm(planes.as<uint64_t>(), coefficients.as<float>(), 0, rows, cols, bits,
                      activation_planes.as<uint64_t>(), activation_coefficients.as<float>(), bits, batch,
                      out.as<float>(), rows);
          Tier().PackedGemvFloat(planes.as<uint64_t>(), coefficients.as<float>(), 0, rows, cols, bits, guarded_x.as<float>(),
                            out.as<float>());
        }
      }
      const int64_t vectors = 5;
      Guarded guarded_vectors(vectors * cols * 4, side), products(vectors * rows * 4, side);
      Copy(&guarded_vectors, GaussianRows(vectors * cols, 7));
      Tier().GemmRows(guarded_w.as<float>(), 0, rows, cols, guarded_vectors.as<float>(), vectors, products.as<float>(),
                       rows);

      Guarded z(4 * cols * 4, side), c(cols * 4, side), h(cols * 4, side), labels(rows * 4, side),
          losses(rows * 4, side);
      Copy(&z, GaussianRows(4 * cols, 4));
      Copy(&c, x);
      Tier().LstmCell(z.as<float>(), cols, c.as<float>(), h.as<float>());
      Guarded of_input(3 * cols * 4, side), of_state(3 * cols * 4, side);
      Copy(&of_input, GaussianRows(3 * cols, 5));
      Copy(&of_state, GaussianRows(3 * cols, 6));
      Tier().GruCell(of_input.as<float>(), of_state.as<float>(), cols, h.as<float>());
      Tier().LogSumExp(guarded_x.as<float>(), cols);
      Copy(&labels, std::vector<int32_t>(rows, static_cast<int32_t>(cols - 1)));
      Tier().Softmax(guarded_w.as<float>(), rows, cols, labels.as<int32_t>(), losses.as<float>());
      Guarded teacher(rows * cols * 4, side);
      Copy(&teacher, GaussianRows(rows * cols, 7));
      Tier().Distill(guarded_w.as<float>(), teacher.as<float>(), rows, cols, labels.as<int32_t>(), 0.5f, 2,
                     losses.as<float>());
    }
  }
}

TEST(Memory, RowsOutsideTheRangeAreLeftAlone) {
  const int64_t rows = 24, cols = 65;
  const std::vector<float> w = GaussianRows(rows * cols, 1);
  Packed packed(rows, cols, 2, 8);
  const Packed before = packed;
  std::vector<char> scratch(Tier().QuantizeScratch(cols, 2) + 1);
  Tier().Quantize(Method(kGreedy), w.data(), rows, cols, 8, 16, 2, 8, packed.planes.data(), packed.coefficients.data(),
                  scratch.data());
  for (int64_t r : {0, 7, 16, 23}) {
    for (int i = 0; i < 2; ++i) {
      ASSERT_EQ(before.A(r, i), packed.A(r, i));
      for (int64_t word = 0; word < 2; ++word) ASSERT_EQ(before.Word(r, i, word), packed.Word(r, i, word));
    }
  }
  std::vector<float> values(rows * cols, -9);
  Tier().Dequantize(packed.planes.data(), packed.coefficients.data(), 8, 16, cols, 2, 8, values.data());
  EXPECT_EQ(-9, values[8 * cols - 1]);
  EXPECT_NE(-9, values[8 * cols]);
  EXPECT_NE(-9, values[16 * cols - 1]);
  EXPECT_EQ(-9, values[16 * cols]);
}

// ---------------------------------------------------------------------------------------------------------------------
// Elementary functions

double Sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

TEST(Cell, MatchesDouble) {
  for (int64_t hidden : {1, 15, 16, 17, 300, 4001}) {
    // From far below to far above saturation, finely around zero.
    std::vector<float> z(4 * hidden), c(hidden), h(hidden);
    for (int64_t j = 0; j < hidden; ++j) {
      const double t = hidden == 1 ? 0.3 : 2.0 * j / (hidden - 1) - 1;
      z[j] = static_cast<float>(t * 20);
      z[hidden + j] = static_cast<float>(-t * 200);
      z[2 * hidden + j] = static_cast<float>(t * t * t * 120);
      z[3 * hidden + j] = static_cast<float>(std::sin(9 * t) * 10);
      c[j] = static_cast<float>(std::cos(7 * t));
    }
    const std::vector<float> before = c;
    Tier().LstmCell(z.data(), hidden, c.data(), h.data());
    for (int64_t j = 0; j < hidden; ++j) {
      const double cell =
          Sigmoid(z[hidden + j]) * before[j] + Sigmoid(z[j]) * std::tanh(static_cast<double>(z[2 * hidden + j]));
      ASSERT_NEAR(cell, c[j], 2e-6) << j;
      ASSERT_NEAR(Sigmoid(z[3 * hidden + j]) * std::tanh(cell), h[j], 3e-6) << j;
    }
  }
}

// With the other gates at their ends, one function at a time.
TEST(Cell, GatesAreWithinOneMillionth) {
  const int64_t hidden = 20000;
  const float open = 100, shut = -100;
  std::vector<float> z(4 * hidden), c(hidden), h(hidden);
  for (int64_t j = 0; j < hidden; ++j) {
    z[j] = open;
    z[hidden + j] = shut;
    z[2 * hidden + j] = static_cast<float>((j - hidden / 2) * 1e-3);
    z[3 * hidden + j] = z[2 * hidden + j];
  }
  Tier().LstmCell(z.data(), hidden, c.data(), h.data());
  for (int64_t j = 0; j < hidden; ++j) {
    ASSERT_NEAR(std::tanh(static_cast<double>(z[2 * hidden + j])), c[j], 1e-6) << z[2 * hidden + j];
  }
  for (int64_t j = 0; j < hidden; ++j) {
    z[2 * hidden + j] = open;
    c[j] = 0;
  }
  Tier().LstmCell(z.data(), hidden, c.data(), h.data());
  for (int64_t j = 0; j < hidden; ++j) {
    ASSERT_NEAR(Sigmoid(z[3 * hidden + j]) * std::tanh(1.0), h[j], 1.5e-6) << z[3 * hidden + j];
  }
}

// Products with denormals are slow.
TEST(Cell, ShutGatesMakeNoDenormals) {
  const int64_t hidden = 1000;
  std::vector<float> z(4 * hidden, 100), c(hidden, 1e-6f), h(hidden);
  for (int64_t j = 0; j < hidden; ++j) {
    z[j] = -1000;
    z[3 * hidden + j] = static_cast<float>(-0.11 * j);
  }
  Tier().LstmCell(z.data(), hidden, c.data(), h.data());
  for (int64_t j = 0; j < hidden; ++j) ASSERT_TRUE(std::isnormal(h[j]) || h[j] == 0) << z[3 * hidden + j];
}

TEST(Cell, NanStaysNan) {
  const int64_t hidden = 17;
  for (int gate = 0; gate < 4; ++gate) {
    std::vector<float> z(4 * hidden, 0.5f), c(hidden, 0.5f), h(hidden);
    z[gate * hidden + 16] = NAN;
    Tier().LstmCell(z.data(), hidden, c.data(), h.data());
    EXPECT_TRUE(std::isnan(h[16]));
    EXPECT_FALSE(std::isnan(h[15]));
  }
}

TEST(Cell, GruMatchesDouble) {
  for (int64_t hidden : {1, 15, 16, 17, 300, 4001}) {
    std::vector<float> z(3 * hidden), u(3 * hidden), h(hidden);
    for (int64_t j = 0; j < hidden; ++j) {
      const double t = hidden == 1 ? 0.3 : 2.0 * j / (hidden - 1) - 1;
      z[j] = static_cast<float>(t * 20);
      z[hidden + j] = static_cast<float>(-t * 200);
      z[2 * hidden + j] = static_cast<float>(t * t * t * 120);
      for (int gate = 0; gate < 3; ++gate) u[gate * hidden + j] = static_cast<float>(std::sin(9 * t + gate) * 3);
      h[j] = static_cast<float>(std::cos(7 * t));
    }
    const std::vector<float> before = h;
    Tier().GruCell(z.data(), u.data(), hidden, h.data());
    for (int64_t j = 0; j < hidden; ++j) {
      const double reset = Sigmoid(static_cast<double>(z[j]) + u[j]);
      const double update = Sigmoid(static_cast<double>(z[hidden + j]) + u[hidden + j]);
      const double candidate = std::tanh(z[2 * hidden + j] + reset * u[2 * hidden + j]);
      ASSERT_NEAR((1 - update) * candidate + update * before[j], h[j], 1e-5) << j;
    }
  }
}

TEST(Cell, NanStaysNanInAGru) {
  const int64_t hidden = 17;
  for (int sum = 0; sum < 6; ++sum) {
    std::vector<float> sums(6 * hidden, 0.5f), h(hidden, 0.25f);
    sums[sum * hidden + 16] = NAN;
    Tier().GruCell(sums.data(), sums.data() + 3 * hidden, hidden, h.data());
    EXPECT_TRUE(std::isnan(h[16]));
    EXPECT_FALSE(std::isnan(h[15]));
  }
}

double LogSumExp(const float* x, int64_t n) {
  const double max = *std::max_element(x, x + n);
  double sum = 0;
  for (int64_t j = 0; j < n; ++j) sum += std::exp(x[j] - max);
  return max + std::log(sum);
}

TEST(Softmax, MatchesDouble) {
  for (int64_t classes : {1, 2, 15, 16, 17, 1000, 33278}) {
    for (float spread : {0.1f, 5.0f, 60.0f, 1e4f}) {
      const int64_t rows = 3;
      std::vector<float> logits = GaussianRows(rows * classes, classes);
      for (float& x : logits) x = x * spread + 3;
      if (classes > 2) logits[1] = -INFINITY;  // a class ruled out
      std::vector<int32_t> labels = {static_cast<int32_t>(classes - 1), 0, static_cast<int32_t>(classes / 2)};
      std::vector<float> softmax = logits, gradient = logits, losses(rows);
      Tier().Softmax(softmax.data(), rows, classes, nullptr, nullptr);
      Tier().Softmax(gradient.data(), rows, classes, labels.data(), losses.data());
      for (int64_t r = 0; r < rows; ++r) {
        const float* row = logits.data() + r * classes;
        const double log_sum = LogSumExp(row, classes);
        ASSERT_NEAR(log_sum, Tier().LogSumExp(row, classes), 1e-6 * std::max(1.0, std::fabs(log_sum)));
        const double loss = log_sum - row[labels[r]];
        ASSERT_NEAR(loss, losses[r], 2e-6 * std::max(1.0, std::fabs(loss)) + 1e-6 * std::fabs(log_sum));
        for (int64_t j = 0; j < classes; ++j) {
          const double expected = std::exp(row[j] - log_sum);
          ASSERT_NEAR(expected, softmax[r * classes + j], 1e-5 * expected + 1e-37);
          ASSERT_NEAR(expected - (j == labels[r]), gradient[r * classes + j], 1e-6);
        }
      }
    }
  }
}

TEST(Distillation, MatchesDouble) {
  for (int64_t classes : {1, 2, 15, 16, 17, 1000, 33278}) {
    for (float temperature : {0.5f, 1.0f, 4.0f}) {
      const int64_t rows = 2;
      const float weight = 0.3f;
      std::vector<float> z = GaussianRows(rows * classes, classes), y = GaussianRows(rows * classes, classes + 1);
      for (float& x : y) x *= 5;
      if (classes > 2) y[1] = -INFINITY;
      const std::vector<int32_t> labels = {static_cast<int32_t>(classes - 1), 0};
      std::vector<float> gradient = z, teacher = y, losses(rows);
      Tier().Distill(gradient.data(), teacher.data(), rows, classes, labels.data(), weight, temperature, losses.data());
      for (int64_t r = 0; r < rows; ++r) {
        const float* row = z.data() + r * classes;
        std::vector<float> of_z(row, row + classes), of_y(y.begin() + r * classes, y.begin() + (r + 1) * classes);
        for (float& x : of_z) x /= temperature;
        for (float& x : of_y) x /= temperature;
        const double hard = LogSumExp(row, classes);
        const double student = LogSumExp(of_z.data(), classes), soft = LogSumExp(of_y.data(), classes);
        double divergence = 0;
        for (int64_t j = 0; j < classes; ++j) {
          const double p = std::exp(of_y[j] - soft), q = std::exp(of_z[j] - student);
          if (p > 0) divergence += p * (of_y[j] - soft - of_z[j] + student);
          const double of_label = std::exp(row[j] - hard) - (j == labels[r]);
          ASSERT_NEAR((1 - weight) * of_label + weight * temperature * (p - q) * -1, gradient[r * classes + j], 4e-6);
        }
        const double loss = (1 - weight) * (hard - row[labels[r]]) + weight * temperature * temperature * divergence;
        ASSERT_NEAR(loss, losses[r], 1e-5 * std::max(1.0, loss));
      }
    }
  }
}

TEST(Distillation, NanStaysNan) {
  for (int of_teacher : {0, 1}) {
    std::vector<float> z(40, 1.0f), y(40, 1.0f), loss(1);
    (of_teacher ? y : z)[33] = NAN;
    const int32_t label = 0;
    Tier().Distill(z.data(), y.data(), 1, 40, &label, 0.5f, 2, loss.data());
    EXPECT_TRUE(std::isnan(loss[0]));
  }
}

TEST(Softmax, NanStaysNan) {
  std::vector<float> logits(40, 1.0f);
  logits[33] = NAN;
  EXPECT_TRUE(std::isnan(Tier().LogSumExp(logits.data(), 40)));
  Tier().Softmax(logits.data(), 1, 40, nullptr, nullptr);
  EXPECT_TRUE(std::isnan(logits[0]));
}

// ---------------------------------------------------------------------------------------------------------------------
// Choosing a tier

TEST(Tiers, TheNamedOneIsUsed) {
  const char* const named = std::getenv("MULTIBIT_ISA");
  const Kernels* supported[16];
  const int count = SupportedKernels(supported, 16);
  ASSERT_GE(count, 1);
  EXPECT_STREQ("scalar", supported[0]->name);
  EXPECT_STREQ(named && *named ? named : supported[count - 1]->name, Tier().name);
}

TEST(Tiers, AnUnknownNameIsAnError) {
  const char* const named = std::getenv("MULTIBIT_ISA");
  const std::string before = named ? named : "";
  setenv("MULTIBIT_ISA", "avx9", 1);
  const char* error = nullptr;
  EXPECT_EQ(nullptr, SelectKernels(&error));
  ASSERT_NE(nullptr, error);
  const std::string message = error;
  EXPECT_NE(std::string::npos, message.find("MULTIBIT_ISA=avx9 ")) << message;
  EXPECT_NE(std::string::npos, message.find(" scalar")) << message;
  EXPECT_NE(std::string::npos, message.find(Tier().name)) << message;
  EXPECT_EQ(std::string::npos, message.find('\n')) << message;
  EXPECT_EQ(nullptr, SelectKernels(nullptr));
  setenv("MULTIBIT_ISA", std::string(10000, 'x').c_str(), 1);
  EXPECT_EQ(nullptr, SelectKernels(&error));
  EXPECT_LT(std::strlen(error), 256u);
  setenv("MULTIBIT_ISA", before.c_str(), 1);
  EXPECT_EQ(&Tier(), SelectKernels(nullptr));
}

TEST(Tiers, MethodsAllowTheirBits) {
  EXPECT_EQ(8, MaxBits(kAlternating));
  EXPECT_EQ(2, MaxBits(kOptimal));
  EXPECT_EQ(0, MaxBits(-1));
  EXPECT_EQ(0, MaxBits(kOptimal + 1));
}

}  // namespace
}  // namespace multibit

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  const char* error = nullptr;
  if (multibit::SelectKernels(&error) == nullptr) {
    std::fprintf(stderr, "SKIPPED: %s\n", error);
    return 77;
  }
  return RUN_ALL_TESTS();
}

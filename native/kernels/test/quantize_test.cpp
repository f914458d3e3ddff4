#include <algorithm>
#include <limits>
#include <string>

#include "support.h"

namespace multibit {
namespace {

const char* const kMethodNames[] = {"uniform", "balanced", "greedy", "refined", "alternating", "optimal"};

float Laplacian(Random* random) {
  const float magnitude = std::exponential_distribution<float>()(*random);
  return (*random)() & 1 ? magnitude : -magnitude;
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

TEST(Quantize, SameBitsAsTheScalarTier) {
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
          ASSERT_TRUE(SameBits(expected_values, values));
        }
      }
    }
  }
}

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

TEST(Quantize, RowsOutsideTheRangeAreLeftAlone) {
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

TEST(Quantize, TouchesNothingOutside) {
  const int64_t rows = 11;
  for (Side side : kSides) {
    for (int64_t cols : kSizes) {
      Guarded<float> w(GaussianRows(rows * cols, 1), side), values(rows * cols, side);
      for (int bits : {1, 2, 3, 5}) {
        for (int lanes : {kWeightLanes, 1}) {
          const Packed shape(rows, cols, bits, lanes);
          Guarded<uint64_t> planes(shape.planes.size(), side);
          Guarded<float> coefficients(shape.coefficients.size(), side);
          Guarded<float> scratch((Tier().QuantizeScratch(cols, bits) + 3) / 4, side);
          for (const Quantizer& q : AllQuantizers()) {
            if (bits > MaxBits(q.method)) continue;
            ASSERT_EQ(-1, Tier().Quantize(q, w.data(), rows, cols, 0, rows, bits, lanes, planes.data(),
                                          coefficients.data(), scratch.data()));
          }
          Tier().Dequantize(planes.data(), coefficients.data(), 0, rows, cols, bits, lanes, values.data());
        }
      }
    }
  }
}

}  // namespace
}  // namespace multibit

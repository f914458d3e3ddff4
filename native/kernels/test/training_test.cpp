#include <algorithm>
#include <limits>

#include "support.h"

namespace multibit {
namespace {

// Every upper half of a float, below, at and above the middle to the next one: as the scalar tier rounds it.
TEST(Bfloat16, RoundsToNearestEven) {
  std::vector<float> x;
  for (uint32_t upper = 0; upper < 1 << 16; ++upper) {
    for (const uint32_t below : {0u, 1u, 0x7FFFu, 0x8000u, 0x8001u, 0xFFFFu}) {
      const uint32_t bits = upper << 16 | below;
      x.emplace_back();
      std::memcpy(&x.back(), &bits, sizeof(bits));
    }
  }
  const auto n = static_cast<int64_t>(x.size());
  std::vector<uint16_t> expected(n), actual(n);
  Scalar().RoundToBfloat16(x.data(), n, expected.data());
  Tier().RoundToBfloat16(x.data(), n, actual.data());
  ASSERT_EQ(expected, actual);
  const float ties[] = {1 + 0x1p-8f, 1 + 0x3p-8f, -0x1p-133f};  // to even: down, up; a denormal as it is
  Tier().RoundToBfloat16(ties, 3, actual.data());
  EXPECT_EQ(0x3F80, actual[0]);
  EXPECT_EQ(0x3F82, actual[1]);
  EXPECT_EQ(0x8001, actual[2]);
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
      const bool retained = IsRetained(masks, i / cols, i % cols, cols);
      ASSERT_EQ(retained ? before[i] * 1.5f : 0, x[i]);
    }
  }
}

TEST(Elementwise, AddTellsWhetherSumsAreFinite) {
  const float max = std::numeric_limits<float>::max();
  for (int64_t n : kSizes) {
    const std::vector<float> bias = GaussianRows(n, n);
    const std::vector<float> x = GaussianRows(n, n + 1);
    std::vector<float> expected = x;
    ASSERT_TRUE(Scalar().Add(bias.data(), n, expected.data()));
    std::vector<float> sums = x;
    ASSERT_TRUE(Tier().Add(bias.data(), n, sums.data()));
    ASSERT_TRUE(SameBits(expected, sums)) << n;
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

TEST(Elementwise, MatchesTheDefinitions) {
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

TEST(Elementwise, NanStaysNan) {
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

TEST(Elementwise, TouchesNothingOutside) {
  const int64_t rows = 3;
  for (Side side : kSides) {
    for (int64_t cols : kSizes) {
      Guarded<uint64_t> masks(rows * ((cols + 63) / 64), side);
      Guarded<float> x(GaussianRows(rows * cols, 1), side), sums(GaussianRows(rows * cols, 2), side);
      Tier().DropoutMasks(1, uint64_t{1} << 62, 0, rows, cols, masks.data());
      Tier().Drop(masks.data(), 2, 0, rows, cols, x.data());
      Tier().Scale(2, rows * cols, x.data());
      Tier().Clip(0.1f, rows * cols, x.data());
      Tier().Add(x.data(), rows * cols, sums.data());
      Tier().SumOfSquares(x.data(), rows * cols);
    }
  }
}

}  // namespace
}  // namespace multibit

#include <utility>

#include "support.h"

namespace multibit {
namespace {

TEST(Products, SameBitsAsTheScalarTier) {
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
        Scalar().PackedGemm(weights.planes.data(), weights.coefficients.data(), 0, rows, cols, weight_bits,
                            x.planes.data(), x.coefficients.data(), activation_bits, batch, expected.data(), rows);
        Tier().PackedGemm(weights.planes.data(), weights.coefficients.data(), 0, rows, cols, weight_bits,
                          x.planes.data(), x.coefficients.data(), activation_bits, batch, gemm.data(), rows);
        Tier().PackedGemm(weights.planes.data(), weights.coefficients.data(), 0, rows, cols, weight_bits,
                          x.planes.data(), x.coefficients.data(), activation_bits, 1, gemv.data(), rows);
        ASSERT_TRUE(SameBits(expected, gemm)) << weight_bits << "/" << activation_bits << " cols " << cols;
        ASSERT_EQ(0, std::memcmp(gemv.data(), expected.data(), rows * sizeof(float)))
            << weight_bits << "/" << activation_bits << " cols " << cols;
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

TEST(Products, TouchNothingOutside) {
  const int64_t rows = 11, batch = 2;
  for (Side side : kSides) {
    for (int64_t cols : kSizes) {
      Guarded<float> out(batch * rows, side);
      for (int bits : {1, 2, 3, 5}) {
        const Packed w = Quantize(Tier(), Method(kGreedy), GaussianRows(rows * cols, 1), cols, bits);
        const Packed x = Quantize(Tier(), Method(kGreedy), GaussianRows(batch * cols, 3), cols, bits, 1);
        Guarded<uint64_t> w_planes(w.planes, side), x_planes(x.planes, side);
        Guarded<float> w_coefficients(w.coefficients, side), x_coefficients(x.coefficients, side);
        for (int64_t vectors : {int64_t{1}, batch}) {
          Tier().PackedGemm(w_planes.data(), w_coefficients.data(), 0, rows, cols, bits, x_planes.data(),
                            x_coefficients.data(), bits, vectors, out.data(), rows);
        }
      }
    }
  }
}

}  // namespace
}  // namespace multibit

#include "support.h"

namespace multibit {
namespace {

TEST(MaskedProducts, AreThoseOfRetainedElements) {
  const int64_t rows = 19, batch = 35;
  for (int64_t cols : kSizes) {
    const std::vector<uint64_t> masks = RandomMasks(batch, cols, cols);
    const std::vector<float> bias = GaussianRows(rows, 5);
    for (int weight_bits : {1, 2, 3, 4, 5}) {
      const Packed w = Quantize(Tier(), Method(kGreedy), GaussianRows(rows * cols, 1), cols, weight_bits);
      for (int bits : {1, 2, 3, 4, 8}) {
        const Packed x = Quantize(Tier(), Method(kGreedy), GaussianRows(batch * cols, 2), cols, bits, 1);
        for (const uint64_t* mask : {static_cast<const uint64_t*>(nullptr), masks.data()}) {
          std::vector<float> out(batch * rows, 7), added(batch * rows, 7);
          Tier().PackedGemmMasked(w.planes.data(), w.coefficients.data(), 0, rows, cols, weight_bits, x.planes.data(),
                                  x.coefficients.data(), bits, mask, batch, bias.data(), out.data(), rows);
          Tier().PackedGemmMasked(w.planes.data(), w.coefficients.data(), 0, rows, cols, weight_bits, x.planes.data(),
                                  x.coefficients.data(), bits, mask, batch, nullptr, added.data(), rows);
          for (int64_t b : {int64_t{0}, int64_t{1}, batch - 1}) {
            for (int64_t r = 0; r < rows; ++r) {
              double sum = 0, magnitude = 1;
              for (int64_t c = 0; c < cols; ++c) {
                if (mask && !IsRetained(masks, b, c, cols)) continue;
                const double term = w.Value(r, c) * x.Value(b, c);
                sum += term;
                magnitude += std::fabs(term);
              }
              ASSERT_NEAR(bias[r] + sum, out[b * rows + r], 1e-6 * (magnitude + std::fabs(bias[r]))) << cols;
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
  const std::vector<float> bias(rows, 0);
  std::vector<float> all(batch * stride, -9), part(batch * stride, -9);
  Tier().PackedGemmMasked(w.planes.data(), w.coefficients.data(), 0, rows, cols, 2, x.planes.data(),
                          x.coefficients.data(), 2, nullptr, batch, bias.data(), all.data(), stride);
  Tier().PackedGemmMasked(w.planes.data(), w.coefficients.data(), 8, 19, cols, 2, x.planes.data(),
                          x.coefficients.data(), 2, nullptr, batch, bias.data(), part.data(), stride);
  for (int64_t b = 0; b < batch; ++b) {
    for (int64_t r = 0; r < stride; ++r) {
      EXPECT_EQ(r >= 8 && r < 19 ? all[b * stride + r] : -9, part[b * stride + r]);
      if (r >= rows) {
        EXPECT_EQ(-9, all[b * stride + r]);
      }
    }
  }
}

TEST(MaskedProducts, TouchNothingOutside) {
  const int64_t rows = 11, batch = 3;
  for (Side side : kSides) {
    for (int64_t cols : kSizes) {
      Guarded<uint64_t> masks(RandomMasks(batch, cols, 1), side);
      Guarded<float> bias(GaussianRows(rows, 1), side), out(batch * rows, side);
      for (int bits : {1, 2, 3, 5}) {
        const Packed w = Quantize(Tier(), Method(kGreedy), GaussianRows(rows * cols, 2), cols, bits);
        const Packed x = Quantize(Tier(), Method(kGreedy), GaussianRows(batch * cols, 3), cols, bits, 1);
        Guarded<uint64_t> w_planes(w.planes, side), x_planes(x.planes, side);
        Guarded<float> w_coefficients(w.coefficients, side), x_coefficients(x.coefficients, side);
        Tier().PackedGemmMasked(w_planes.data(), w_coefficients.data(), 0, rows, cols, bits, x_planes.data(),
                                x_coefficients.data(), bits, masks.data(), batch, bias.data(), out.data(), rows);
      }
    }
  }
}

}  // namespace
}  // namespace multibit

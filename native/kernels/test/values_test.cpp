#include "support.h"

namespace multibit {
namespace {

TEST(FloatProducts, MatchDouble) {
  const int64_t rows = 11;
  for (int64_t cols : kSizes) {
    const std::vector<float> w = GaussianRows(rows * cols, 1), x = GaussianRows(cols, 2);
    std::vector<float> y(rows);
    for (int bits = 1; bits <= 8; ++bits) {
      const Packed weights = Quantize(Tier(), Method(kGreedy), w, cols, bits);
      Tier().PackedGemvFloat(weights.planes.data(), weights.coefficients.data(), 0, rows, cols, bits, x.data(),
                             y.data());
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

TEST(FloatProducts, TouchNothingOutside) {
  const int64_t rows = 11, batch = 5;
  for (Side side : kSides) {
    for (int64_t cols : kSizes) {
      const std::vector<float> values = GaussianRows(rows * cols, 1);
      Guarded<float> weights(values, side), x(GaussianRows(cols, 2), side), out(rows, side);
      for (int bits : {1, 2, 3, 5}) {
        const Packed packed = Quantize(Tier(), Method(kGreedy), values, cols, bits);
        Guarded<uint64_t> planes(packed.planes, side);
        Guarded<float> coefficients(packed.coefficients, side);
        Tier().PackedGemvFloat(planes.data(), coefficients.data(), 0, rows, cols, bits, x.data(), out.data());
      }
      Guarded<float> vectors(GaussianRows(batch * cols, 7), side), products(batch * rows, side);
      Tier().GemmRows(weights.data(), 0, rows, cols, vectors.data(), batch, products.data(), rows);
    }
  }
}

}  // namespace
}  // namespace multibit

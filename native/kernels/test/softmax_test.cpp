#include <algorithm>

#include "support.h"

namespace multibit {
namespace {

// The oracle.
double LogSumExp(const float* x, int64_t n) {
  const double max = *std::max_element(x, x + n);
  double sum = 0;
  for (int64_t j = 0; j < n; ++j) sum += std::exp(x[j] - max);
  return max + std::log(sum);
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
    std::vector<float> scales(rows);
    for (int64_t r = 0; r < rows; ++r) {
      double expected = 0;
      for (const std::vector<float>& block : blocks) {
        for (int64_t j = 0; j < cols; ++j) expected += std::exp(static_cast<double>(block[r * cols + j]) - max[r]);
      }
      ASSERT_EQ(*std::max_element(&blocks[3][r * cols], &blocks[3][r * cols] + cols), max[r]);
      ASSERT_NEAR(expected, sums[r], 1e-5 * expected);
      ASSERT_NEAR(expected, scaled[r], 1e-4 * expected);
      scales[r] = static_cast<float>(0.5 / sums[r]);
    }
    std::vector<float> columns(cols);
    Tier().SoftmaxColumns(exponentials.data(), rows, cols, scales.data(), out.data(), columns.data());
    for (int64_t j = 0; j < cols; ++j) {
      double expected = 0;
      for (int64_t r = 0; r < rows; ++r) {
        const double p = scales[r] * std::exp(static_cast<double>(blocks[3][r * cols + j]) - max[r]);
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

TEST(Softmax, MatchesDouble) {
  for (int64_t classes : {1, 2, 15, 16, 17, 1000, 33278}) {
    for (float spread : {0.1f, 5.0f, 60.0f, 1e4f}) {
      const int64_t rows = 3;
      std::vector<float> logits = GaussianRows(rows * classes, classes);
      for (float& x : logits) x = x * spread + 3;
      if (classes > 2) logits[1] = -INFINITY;  // a class ruled out
      std::vector<int32_t> labels = {static_cast<int32_t>(classes - 1), 0, static_cast<int32_t>(classes / 2)};
      std::vector<float> softmax = logits, gradient = logits, losses(rows);
      Tier().Softmax(softmax.data(), 0, rows, classes, nullptr, nullptr);
      Tier().Softmax(gradient.data(), 0, 1, classes, labels.data(), losses.data());
      Tier().Softmax(gradient.data(), 1, rows, classes, labels.data(), losses.data());
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

TEST(Softmax, NanStaysNan) {
  std::vector<float> logits(40, 1.0f);
  logits[33] = NAN;
  EXPECT_TRUE(std::isnan(Tier().LogSumExp(logits.data(), 40)));
  Tier().Softmax(logits.data(), 0, 1, 40, nullptr, nullptr);
  EXPECT_TRUE(std::isnan(logits[0]));
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
      for (int64_t r = 0; r < rows; ++r) {
        Tier().Distill(gradient.data(), teacher.data(), r, r + 1, classes, labels.data(), weight, temperature,
                       losses.data());
      }
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
    Tier().Distill(z.data(), y.data(), 0, 1, 40, &label, 0.5f, 2, loss.data());
    EXPECT_TRUE(std::isnan(loss[0]));
  }
}

TEST(Softmax, TouchesNothingOutside) {
  const int64_t rows = 11;
  for (Side side : kSides) {
    for (int64_t classes : kSizes) {
      Guarded<float> logits(GaussianRows(rows * classes, 1), side), teacher(GaussianRows(rows * classes, 7), side);
      Guarded<int32_t> labels(std::vector<int32_t>(rows, static_cast<int32_t>(classes - 1)), side);
      Guarded<float> losses(rows, side), max(std::vector<float>(rows, -INFINITY), side), rescale(rows, side);
      Guarded<double> sums(std::vector<double>(rows, 0), side);
      Guarded<float> columns(classes, side), out(rows * classes, side);
      Tier().LogSumExp(logits.data(), classes);
      Tier().Distill(logits.data(), teacher.data(), 0, rows, classes, labels.data(), 0.5f, 2, losses.data());
      Tier().Softmax(logits.data(), 0, rows, classes, labels.data(), losses.data());
      Tier().SoftmaxBlock(logits.data(), rows, classes, max.data(), sums.data(), rescale.data());
      Tier().SoftmaxColumns(logits.data(), rows, classes, rescale.data(), out.data(), columns.data());
    }
  }
}

}  // namespace
}  // namespace multibit

#include "rows.h"

#include "support.h"

namespace multibit {
namespace {

TEST(Rows, BiasIsAddedToTheRange) {
  const int64_t rows = 5;
  for (int64_t cols : kShortSizes) {
    const std::vector<float> bias = GaussianRows(cols, 1), before = GaussianRows(rows * cols, 2);
    std::vector<float> sums = before;
    AddBias(&Tier(), bias.data(), 1, 4, cols, sums.data());
    for (int64_t i = 0; i < rows * cols; ++i) {
      const bool in_range = i / cols >= 1 && i / cols < 4;
      ASSERT_EQ(in_range ? before[i] + bias[i % cols] : before[i], sums[i]) << cols;
    }
  }
}

// In the order of the rows: of 1, -2^60, 2^60 and 1, added to 0 in this order, the last alone is left.
TEST(Rows, ScatterAddKeepsTheOrder) {
  const std::vector<float> values = {1, -0x1p60f, 0x1p60f, 1};
  const std::vector<int32_t> index = {2, 2, 2, 2, 0};
  for (int64_t cols : kShortSizes) {
    std::vector<float> x;
    for (float value : values) x.insert(x.end(), cols, value);
    x.insert(x.end(), cols, 7);
    std::vector<float> sums(4 * cols, 0);
    ScatterAdd(&Tier(), x.data(), index.data(), index.size(), cols, sums.data());
    for (int64_t i = 0; i < 4 * cols; ++i) {
      ASSERT_EQ(i / cols == 2 ? 1 : i / cols == 0 ? 7 : 0, sums[i]) << cols;
    }
  }
}

TEST(Rows, ColumnSumsOfTheRange) {
  const int64_t rows = 9;
  for (int64_t cols : kShortSizes) {
    const std::vector<float> x = GaussianRows(rows * cols, 1);
    const int64_t first = cols / 3, last = cols - cols / 4;
    std::vector<float> sums(cols, -9);
    ColumnSums(&Tier(), x.data(), rows, cols, first, last, sums.data());
    for (int64_t j = 0; j < cols; ++j) {
      float expected = 0;
      for (int64_t r = 0; r < rows; ++r) expected += x[r * cols + j];
      ASSERT_EQ(j >= first && j < last ? expected : -9, sums[j]) << cols;
    }
  }
}

TEST(Rows, TouchNothingOutside) {
  const int64_t rows = 3;
  for (Side side : kSides) {
    for (int64_t cols : kSizes) {
      Guarded<float> x(GaussianRows(rows * cols, 1), side), bias(GaussianRows(cols, 2), side);
      Guarded<float> sums(cols, side), table(2 * cols, side);
      Guarded<int32_t> index({1, 0, 1}, side);
      AddBias(&Tier(), bias.data(), 0, rows, cols, x.data());
      ScatterAdd(&Tier(), x.data(), index.data(), rows, cols, table.data());
      ColumnSums(&Tier(), x.data(), rows, cols, 0, cols, sums.data());
    }
  }
}

}  // namespace
}  // namespace multibit

#include "support.h"

namespace multibit {
namespace {

// Sizes around those of tiles, blocks of the inner dimension (320), chunks of rows (96) and of columns (512).
TEST(Gemm, IsTheMatrixProduct) {
  struct Size {
    int64_t rows, inner, cols;
  };
  for (const Size& size :
       {Size{1, 1, 1}, {5, 17, 16}, {12, 320, 31}, {13, 321, 33}, {23, 700, 48}, {97, 40, 300}, {100, 330, 513}}) {
    const auto [rows, inner, cols] = size;
    const int64_t panels = (cols + kPanelColumns - 1) / kPanelColumns;
    const std::vector<float> a = GaussianRows(rows * inner, 1), b = GaussianRows(inner * cols, 2);
    const std::vector<float> bias = GaussianRows(cols, 3), before = GaussianRows(rows * cols, 4);
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
        for (int begin = 0; begin < 3; ++begin) {  // nothing, the bias, or what is there
          std::vector<float> c = before;
          const GemmArgs product = {.a = by_columns ? transposed.data() : a.data(),
                                    .a_row = by_columns ? 1 : inner,
                                    .a_inner = by_columns ? rows : 1,
                                    .b = in_panels ? laid_out.data() : b.data(),
                                    .b_inner = in_panels ? kPanelColumns : cols,
                                    .b_panel = in_panels ? inner * kPanelColumns : kPanelColumns,
                                    .inner = inner,
                                    .cols = cols,
                                    .alpha = -0.5f,
                                    .add = begin == 2,
                                    .bias = begin == 1 ? bias.data() : nullptr,
                                    .c = c.data(),
                                    .c_row = cols};
          const int64_t split = rows / 3;
          Tier().Gemm(product, split, rows);
          for (int64_t i = 0; i < split * cols; ++i) ASSERT_EQ(before[i], c[i]);
          Tier().Gemm(product, 0, split);
          for (int64_t i = 0; i < rows * cols; ++i) {
            const double from = begin == 0 ? 0 : begin == 1 ? bias[i % cols] : before[i];
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

TEST(Gemm, TouchesNothingOutside) {
  const int64_t rows = 3, inner = 5;
  for (Side side : kSides) {
    for (int64_t cols : kSizes) {
      const int64_t panels = (cols + kPanelColumns - 1) / kPanelColumns;
      Guarded<float> a(GaussianRows(rows * inner, 6), side), c(GaussianRows(rows * cols, 1), side);
      Guarded<float> by_rows(GaussianRows(inner * cols, 7), side), bias(GaussianRows(cols, 8), side);
      Guarded<float> in_panels(GaussianRows(panels * kPanelColumns * inner, 5), side);
      Tier().Gemm({.a = a.data(),
                   .a_row = inner,
                   .a_inner = 1,
                   .b = in_panels.data(),
                   .b_inner = kPanelColumns,
                   .b_panel = inner * kPanelColumns,
                   .inner = inner,
                   .cols = cols,
                   .alpha = 1,
                   .add = true,
                   .bias = nullptr,
                   .c = c.data(),
                   .c_row = cols},
                  0, rows);
      Tier().Gemm({.a = a.data(),
                   .a_row = 1,
                   .a_inner = rows,
                   .b = by_rows.data(),
                   .b_inner = cols,
                   .b_panel = kPanelColumns,
                   .inner = inner,
                   .cols = cols,
                   .alpha = 1,
                   .add = false,
                   .bias = bias.data(),
                   .c = c.data(),
                   .c_row = cols},
                  0, rows);
    }
  }
}

}  // namespace
}  // namespace multibit

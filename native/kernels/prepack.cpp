#include "prepack.h"

#include <cstring>

namespace multibit {

void PrepackWeights(const float* w, int64_t inner, int64_t cols, bool transposed, int64_t first, int64_t last,
                    float* panels) {
  constexpr int64_t kColumns = kPanelColumns;
  std::memset(panels + first * inner * kColumns, 0, (last - first) * inner * kColumns * sizeof(float));
  for (int64_t j = first * kColumns; j < last * kColumns && j < cols; ++j) {
    float* column = panels + j / kColumns * inner * kColumns + j % kColumns;
    const float* source = transposed ? w + j * inner : w + j;
    const int64_t step = transposed ? 1 : cols;
    for (int64_t k = 0; k < inner; ++k) column[k * kColumns] = source[k * step];
  }
}

void GemmPrepacked(const Kernels* kernels, const float* x, int64_t inner, const float* panels, int64_t cols,
                   const float* bias, int64_t first_row, int64_t last_row, float* out) {
  kernels->Gemm({.a = x,
                 .a_row = inner,
                 .a_inner = 1,
                 .b = panels,
                 .b_inner = kPanelColumns,
                 .b_panel = inner * kPanelColumns,
                 .inner = inner,
                 .cols = cols,
                 .alpha = 1,
                 .add = bias == nullptr,
                 .bias = bias,
                 .c = out,
                 .c_row = cols},
                first_row, last_row);
}

}  // namespace multibit

#include "rows.h"

#include <cstring>

namespace multibit {

void AddBias(const Kernels* kernels, const float* bias, int64_t first_row, int64_t last_row, int64_t cols,
             float* into) {
  for (int64_t r = first_row; r < last_row; ++r) kernels->Add(bias, cols, into + r * cols);
}

void ScatterAdd(const Kernels* kernels, const float* x, const int32_t* index, int64_t rows, int64_t cols, float* into) {
  for (int64_t r = 0; r < rows; ++r) kernels->Add(x + r * cols, cols, into + index[r] * cols);
}

void ColumnSums(const Kernels* kernels, const float* x, int64_t rows, int64_t cols, int64_t first, int64_t last,
                float* sums) {
  std::memset(sums + first, 0, (last - first) * sizeof(float));
  for (int64_t r = 0; r < rows; ++r) kernels->Add(x + r * cols + first, last - first, sums + first);
}

}  // namespace multibit

// Sums of rows, made from the element-wise kernels. Matrices are [rows, cols], row-major.
#pragma once

#include "kernels.h"

namespace multibit {

// Adds bias [cols] to rows [first_row, last_row).
void AddBias(const Kernels* kernels, const float* bias, int64_t first_row, int64_t last_row, int64_t cols, float* into);

// into[index[r]] += x[r] for each row r, in rising order.
void ScatterAdd(const Kernels* kernels, const float* x, const int32_t* index, int64_t rows, int64_t cols, float* into);

// sums[j] = the sum of column j, for columns [first, last).
void ColumnSums(const Kernels* kernels, const float* x, int64_t rows, int64_t cols, int64_t first, int64_t last,
                float* sums);

}  // namespace multibit

// Full-precision weights laid out for products that use them often: in panels of kPanelColumns columns, row after row,
// the last panel filled up with zeros.
#pragma once

#include "kernels.h"

namespace multibit {

inline int64_t Panels(int64_t cols) { return (cols + kPanelColumns - 1) / kPanelColumns; }

// Lays out panels [first, last) of w [inner, cols], or [cols, inner] if transposed.
void PrepackWeights(const float* w, int64_t inner, int64_t cols, bool transposed, int64_t first, int64_t last,
                    float* panels);

// Rows [first_row, last_row) of out = bias + x w, or without bias (null) of out += x w, with w prepacked.
void GemmPrepacked(const Kernels* kernels, const float* x, int64_t inner, const float* panels, int64_t cols,
                   const float* bias, int64_t first_row, int64_t last_row, float* out);

}  // namespace multibit

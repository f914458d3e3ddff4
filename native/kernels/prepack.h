// Prepacked weights: full-precision weights in a layout for repeated products. Each panel holds kPanelColumns columns,
// row after row; zeros fill up the last panel.
#pragma once

#include "kernels.h"

namespace multibit {

inline int64_t Panels(int64_t cols) { return (cols + kPanelColumns - 1) / kPanelColumns; }

// Writes panels [first, last) of w, which is [inner, cols], or [cols, inner] if transposed.
void PrepackWeights(const float* w, int64_t inner, int64_t cols, bool transposed, int64_t first, int64_t last,
                    float* panels);

// Computes rows [first_row, last_row) of out = bias + x w with prepacked w; without bias (null), of out += x w.
void GemmPrepacked(const Kernels* kernels, const float* x, int64_t inner, const float* panels, int64_t cols,
                   const float* bias, int64_t first_row, int64_t last_row, float* out);

}  // namespace multibit

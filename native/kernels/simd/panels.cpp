// Products of full-precision activations of few rows with weights that are multiplied again and again: the recurrent
// products of a sequence. General BLAS would lay out the weights anew for each time step.
#include "simd/vectors.h"

namespace multibit {
namespace {

constexpr int kVectors = kPanelColumns / kFloatLanes;  // vectors of a panel's row
// Rows of activations at once: as many as have their sums in registers.
constexpr int kRows = kFloatLanes == 16 ? 10 : kFloatLanes == 8 ? 3 : 1;

// out[0..kCount) += x * panel, for `cols` columns.
template <int kCount>
HWY_INLINE void MultiplyRows(const float* x, int64_t inner, const float* panel, int64_t cols, float* out,
                             int64_t out_stride) {
  Floats sums[kCount][kVectors];
  for (int r = 0; r < kCount; ++r) {
    for (int v = 0; v < kVectors; ++v) {
      const int64_t left = cols - v * kFloatLanes;
      sums[r][v] = left > 0 ? LoadUpTo(out + r * out_stride + v * kFloatLanes, left, 0) : hn::Zero(kFloats);
    }
  }
  for (int64_t k = 0; k < inner; ++k) {
    Floats w[kVectors];
    for (int v = 0; v < kVectors; ++v) w[v] = hn::LoadU(kFloats, panel + k * kPanelColumns + v * kFloatLanes);
    for (int r = 0; r < kCount; ++r) {
      const Floats xk = hn::Set(kFloats, x[r * inner + k]);
      for (int v = 0; v < kVectors; ++v) sums[r][v] = hn::MulAdd(xk, w[v], sums[r][v]);
    }
  }
  for (int r = 0; r < kCount; ++r) {
    for (int v = 0; v < kVectors; ++v) {
      const int64_t left = cols - v * kFloatLanes;
      if (left > 0) StoreUpTo(sums[r][v], out + r * out_stride + v * kFloatLanes, left);
    }
  }
}

}  // namespace

namespace MULTIBIT_TIER_SPACE {

void GemmPanels(const float* x, int64_t batch, int64_t inner, const float* panels, int64_t first_panel,
                int64_t last_panel, int64_t cols, float* out) {
  for (int64_t p = first_panel; p < last_panel; ++p) {
    const float* panel = panels + p * inner * kPanelColumns;
    const int64_t left = cols - p * kPanelColumns;
    float* target = out + p * kPanelColumns;
    int64_t b = 0;
    for (; b + kRows <= batch; b += kRows) {
      MultiplyRows<kRows>(x + b * inner, inner, panel, left, target + b * cols, cols);
    }
    for (; b < batch; ++b) MultiplyRows<1>(x + b * inner, inner, panel, left, target + b * cols, cols);
  }
}

}  // namespace MULTIBIT_TIER_SPACE
}  // namespace multibit

// What the Java binding calls besides the C API: the kernels of a tier, by handle.
#pragma once

#include <cstdint>
#include <cstring>
#include <new>
#include <vector>

#include "kernels.h"
#include "multibit.h"

namespace multibit {
namespace java {

inline const Kernels& Of(int64_t handle) { return *reinterpret_cast<const Kernels*>(handle); }

// The kernels that this process uses; 0 if MULTIBIT_ISA names none, then KernelsError says why.
inline int64_t SelectedKernels() {
  const char* error = nullptr;
  return reinterpret_cast<int64_t>(SelectKernels(&error));
}

inline const char* KernelsError() {
  const char* error = nullptr;
  SelectKernels(&error);
  return error ? error : "";
}

// The i-th tier that this CPU supports; 0 past the last.
inline int64_t SupportedTier(int i) {
  const Kernels* tiers[16];
  const int count = SupportedKernels(tiers, 16);
  return i < count ? reinterpret_cast<int64_t>(tiers[i]) : 0;
}

inline const char* KernelsName(int64_t kernels) { return Of(kernels).name; }

// As Kernels::quantize; -2 if memory runs out.
inline int64_t Quantize(int64_t kernels, int method, int cycles, float scale, const float* w, int64_t rows,
                        int64_t cols, int64_t first_row, int64_t last_row, int bits, int lanes, uint64_t* planes,
                        float* coefficients) {
  try {
    std::vector<double> scratch(Of(kernels).quantize_scratch(cols, bits) / sizeof(double) + 1);
    return Of(kernels).quantize({method, cycles, scale}, w, rows, cols, first_row, last_row, bits, lanes, planes,
                                coefficients, scratch.data());
  } catch (const std::bad_alloc&) {
    return -2;
  }
}

inline void Dequantize(int64_t kernels, const uint64_t* planes, const float* coefficients, int64_t first_row,
                       int64_t last_row, int64_t cols, int bits, int lanes, float* out) {
  Of(kernels).dequantize(planes, coefficients, first_row, last_row, cols, bits, lanes, out);
}

inline void Gemm(int64_t kernels, const uint64_t* weight_planes, const float* weight_coefficients, int64_t first_row,
                 int64_t last_row, int64_t cols, int weight_bits, const uint64_t* activation_planes,
                 const float* activation_coefficients, int activation_bits, int64_t batch, float* out,
                 int64_t out_stride) {
  Of(kernels).gemm(weight_planes, weight_coefficients, first_row, last_row, cols, weight_bits, activation_planes,
                   activation_coefficients, activation_bits, batch, out, out_stride);
}

inline void GemvFloat(int64_t kernels, const uint64_t* weight_planes, const float* weight_coefficients,
                      int64_t first_row, int64_t last_row, int64_t cols, int weight_bits, const float* x, float* out) {
  Of(kernels).gemv_float(weight_planes, weight_coefficients, first_row, last_row, cols, weight_bits, x, out);
}

inline void Softmax(int64_t kernels, float* logits, int64_t rows, int64_t classes, const int32_t* labels,
                    float* losses) {
  Of(kernels).softmax(logits, rows, classes, labels, losses);
}

}  // namespace java
}  // namespace multibit

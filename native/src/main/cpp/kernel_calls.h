// What the Java binding calls for the kernels: a tier's functions by the address of its table.
#pragma once

#include <cstdint>
#include <cstring>
#include <memory>
#include <new>

#include "kernels.h"

namespace multibit {

// The tiers that this CPU supports, plainest first; null past the last.
inline const Kernels* SupportedTier(int index) {
  const Kernels* tiers[16];
  return index >= 0 && index < SupportedKernels(tiers, 16) ? tiers[index] : nullptr;
}

inline const char* TierName(const Kernels* kernels) { return kernels->name; }

// As Kernels::quantize; -2 if memory is exhausted.
inline int64_t Quantize(const Kernels* kernels, int method, int cycles, float scale, const float* w, int64_t rows,
                        int64_t cols, int64_t first_row, int64_t last_row, int bits, int lanes, uint64_t* planes,
                        float* coefficients) {
  const size_t bytes = kernels->quantize_scratch(cols, bits);
  const std::unique_ptr<float[]> scratch(new (std::nothrow) float[bytes / sizeof(float) + 1]);
  if (scratch == nullptr) return -2;
  return kernels->quantize({method, cycles, scale}, w, rows, cols, first_row, last_row, bits, lanes, planes,
                           coefficients, scratch.get());
}

inline void Dequantize(const Kernels* kernels, const uint64_t* planes, const float* coefficients, int64_t first_row,
                       int64_t last_row, int64_t cols, int bits, int lanes, float* out) {
  kernels->dequantize(planes, coefficients, first_row, last_row, cols, bits, lanes, out);
}

inline void Multiply(const Kernels* kernels, const uint64_t* weight_planes, const float* weight_coefficients,
                     int64_t rows, int64_t first_row, int64_t last_row, int64_t cols, int weight_bits,
                     const uint64_t* activation_planes, const float* activation_coefficients, int activation_bits,
                     int64_t batch, float* out) {
  kernels->gemm(weight_planes, weight_coefficients, first_row, last_row, cols, weight_bits, activation_planes,
                activation_coefficients, activation_bits, batch, out, rows);
}

inline void MultiplyFloat(const Kernels* kernels, const uint64_t* weight_planes, const float* weight_coefficients,
                          int64_t rows, int64_t first_row, int64_t last_row, int64_t cols, int weight_bits,
                          const float* activations, int64_t batch, float* out) {
  for (int64_t b = 0; b < batch; ++b) {
    kernels->gemv_float(weight_planes, weight_coefficients, first_row, last_row, cols, weight_bits,
                        activations + b * cols, out + b * rows);
  }
}

inline uint64_t ReadWords(const Kernels* kernels, const uint64_t* words, int64_t count) {
  return kernels->read_words(words, count);
}

inline uint64_t CountBits(const Kernels* kernels, int64_t words) { return kernels->count_bits(words); }

// Rows [first_row, last_row); labels and losses may be null.
inline void Softmax(const Kernels* kernels, float* logits, int64_t first_row, int64_t last_row, int64_t classes,
                    const int32_t* labels, float* losses) {
  kernels->softmax(logits + first_row * classes, last_row - first_row, classes, labels ? labels + first_row : nullptr,
                   losses ? losses + first_row : nullptr);
}

}  // namespace multibit

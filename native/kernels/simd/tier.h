// The functions of one tier, one source each; kernels.h says what they do.
#pragma once

#include <cstddef>
#include <cstdint>

#include "tiers.h"

namespace multibit {
namespace MULTIBIT_TIER_SPACE {

// quantize.cpp
size_t QuantizeScratch(int64_t cols, int bits);
int64_t Quantize(const Quantizer& quantizer, const float* w, int64_t rows, int64_t cols, int64_t first_row,
                 int64_t last_row, int bits, int lanes, uint64_t* planes, float* coefficients, void* scratch);

// products.cpp
void Gemv(const uint64_t* weight_planes, const float* weight_coefficients, int64_t first_row, int64_t last_row,
          int64_t cols, int weight_bits, const uint64_t* activation_planes, const float* activation_coefficients,
          int activation_bits, float* out);
void Gemm(const uint64_t* weight_planes, const float* weight_coefficients, int64_t first_row, int64_t last_row,
          int64_t cols, int weight_bits, const uint64_t* activation_planes, const float* activation_coefficients,
          int activation_bits, int64_t batch, float* out, int64_t out_stride);

// values.cpp
void Dequantize(const uint64_t* planes, const float* coefficients, int64_t first_row, int64_t last_row, int64_t cols,
                int bits, int lanes, float* out);
void GemvFloat(const uint64_t* weight_planes, const float* weight_coefficients, int64_t first_row, int64_t last_row,
               int64_t cols, int weight_bits, const float* x, float* out);
void GemvDense(const float* weights, int64_t first_row, int64_t last_row, int64_t cols, const float* x, float* out);

// cell.cpp
void LstmCell(const float* z, int64_t hidden, float* c, float* h);

// softmax.cpp
double LogSumExp(const float* logits, int64_t n);
void Softmax(float* logits, int64_t rows, int64_t classes, const int32_t* labels, float* losses);

// roofline.cpp
uint64_t ReadWords(const uint64_t* words, int64_t count);
uint64_t CountBits(int64_t words);

}  // namespace MULTIBIT_TIER_SPACE
}  // namespace multibit

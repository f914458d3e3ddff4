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
void Gemm(const uint64_t* weight_planes, const float* weight_coefficients, int64_t first_row, int64_t last_row,
          int64_t cols, int weight_bits, const uint64_t* activation_planes, const float* activation_coefficients,
          int activation_bits, int64_t batch, float* out, int64_t out_stride);

// values.cpp
void Dequantize(const uint64_t* planes, const float* coefficients, int64_t first_row, int64_t last_row, int64_t cols,
                int bits, int lanes, float* out);
void GemvFloat(const uint64_t* weight_planes, const float* weight_coefficients, int64_t first_row, int64_t last_row,
               int64_t cols, int weight_bits, const float* x, float* out);
void GemmRows(const float* weights, int64_t first_row, int64_t last_row, int64_t cols, const float* x, int64_t batch,
              float* out, int64_t out_stride);

// cell.cpp
void LstmForward(int64_t first_row, int64_t last_row, int64_t hidden, float* gates, const float* before, float* cells,
                 float* cell_tanh, float* out);
void LstmBackward(int64_t first_row, int64_t last_row, int64_t hidden, const float* gates, const float* before,
                  const float* cell_tanh, const float* hidden_gradient, float* cell_gradient, float* gate_gradients);
void LstmCell(const float* z, int64_t hidden, float* c, float* h);
void GruForward(int64_t first_row, int64_t last_row, int64_t hidden, float* gates, const float* recurrent,
                const float* before, float* out);
void GruBackward(int64_t first_row, int64_t last_row, int64_t hidden, const float* gates, const float* recurrent,
                 const float* before, const float* hidden_gradient, float* carried_gradient, float* gate_gradients,
                 float* recurrent_gradients);
void GruCell(const float* input, const float* recurrent, int64_t hidden, float* h);

// softmax.cpp
double LogSumExp(const float* logits, int64_t n);
void Softmax(float* logits, int64_t rows, int64_t classes, const int32_t* labels, float* losses);
void SoftmaxBlock(float* logits, int64_t rows, int64_t classes, float* max, double* sums, float* rescale);
void SoftmaxColumns(const float* exponentials, int64_t rows, int64_t classes, const float* factors, float* out,
                    float* sums);
void Distill(float* logits, float* teacher, int64_t rows, int64_t classes, const int32_t* labels, float weight,
             float temperature, float* losses);

// roofline.cpp
uint64_t ReadWords(const uint64_t* words, int64_t count);
uint64_t CountBits(int64_t words);

// masked_products.cpp
void GemmMasked(const uint64_t* weight_planes, const float* weight_coefficients, int64_t first_row, int64_t last_row,
                int64_t cols, int weight_bits, const uint64_t* activation_planes, const float* activation_coefficients,
                int activation_bits, const uint64_t* masks, int64_t batch, const float* start, float* out,
                int64_t out_stride);

// dense.cpp
void GemmDense(const DenseProduct& product, int64_t first_row, int64_t last_row);

// training.cpp
void DropoutMasks(uint64_t key, uint64_t threshold, int64_t first_row, int64_t last_row, int64_t cols, uint64_t* masks);
void Drop(const uint64_t* masks, float factor, int64_t first_row, int64_t last_row, int64_t cols, float* x);
bool Add(const float* x, int64_t n, float* into);
void Scale(float factor, int64_t n, float* x);
void Clip(float bound, int64_t n, float* x);
double SumOfSquares(const float* x, int64_t n);

}  // namespace MULTIBIT_TIER_SPACE
}  // namespace multibit

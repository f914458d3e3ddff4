// What the Java binding calls for the kernels: a tier's functions by the address of its table.
#pragma once

#include <cmath>
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

// Rows [first_row, last_row).
inline void Distill(const Kernels* kernels, float* logits, float* teacher, int64_t first_row, int64_t last_row,
                    int64_t classes, const int32_t* labels, float weight, float temperature, float* losses) {
  kernels->distill(logits + first_row * classes, teacher + first_row * classes, last_row - first_row, classes,
                   labels + first_row, weight, temperature, losses + first_row);
}

inline void MultiplyMasked(const Kernels* kernels, const uint64_t* weight_planes, const float* weight_coefficients,
                           int64_t rows, int64_t first_row, int64_t last_row, int64_t cols, int weight_bits,
                           const uint64_t* activation_planes, const float* activation_coefficients, int activation_bits,
                           const uint64_t* masks, int64_t batch, const float* start, float* out) {
  kernels->gemm_masked(weight_planes, weight_coefficients, first_row, last_row, cols, weight_bits, activation_planes,
                       activation_coefficients, activation_bits, masks, batch, start, out, rows);
}

// The gradient of a softmax output layer in two passes (docs/kernels.md): the first leaves e^(logit - largest so far),
// in blocks of classes, [batch, kSoftmaxClasses] each but for the last.
constexpr int64_t kSoftmaxClasses = 192;
constexpr int64_t kSoftmaxRows = 320;  // whose input's gradients are summed over the classes at once

inline int64_t SoftmaxBlocks(int64_t classes) { return (classes + kSoftmaxClasses - 1) / kSoftmaxClasses; }

// Floats that a call of either function below works in.
inline int64_t SoftmaxBackwardFloats(int64_t batch, int64_t cols) {
  return kSoftmaxClasses * (cols > batch ? cols : batch + 1);
}

// The operands of the output layer's product, both packed.
struct PackedOperands {
  const Kernels* kernels;
  const uint64_t* weight_planes;
  const float* weight_coefficients;
  int64_t cols;
  int weight_bits;
  const uint64_t* activation_planes;
  const float* activation_coefficients;
  int activation_bits;
  const uint64_t* masks;

  // Logits of `rows` rows from `from` on and `count` classes from c on, a multiple of 8, into a block [rows, count].
  void Multiply(int64_t from, int64_t rows, int64_t c, int64_t count, const float* start, float* block) const {
    const int64_t words = (cols + 63) / 64;
    kernels->gemm_masked(weight_planes + c * words * weight_bits, weight_coefficients + c * weight_bits, 0, count, cols,
                         weight_bits, activation_planes + from * words * activation_bits,
                         activation_coefficients + from * activation_bits, activation_bits,
                         masks ? masks + from * words : nullptr, rows, start + c, block, count);
  }
  // Weights of the classes from c on, a multiple of 8; in memory for [count, cols].
  const float* Rows(int64_t c, int64_t count, float* memory) const {
    Unpack(c, 0, count, memory);
    return memory;
  }
  // Those of class c alone; in memory for [8, cols].
  const float* Row(int64_t c, float* memory) const {
    Unpack(c / 8 * 8, c % 8, c % 8 + 1, memory);
    return memory + c % 8 * cols;
  }

 private:
  void Unpack(int64_t c, int64_t first, int64_t last, float* memory) const {
    const int64_t words = (cols + 63) / 64;
    kernels->dequantize(weight_planes + c * words * weight_bits, weight_coefficients + c * weight_bits, first, last,
                        cols, weight_bits, 8, memory);
  }
};

// In full precision: w [classes, cols], the same transposed in panels, x [batch, cols].
struct DenseOperands {
  const Kernels* kernels;
  const float* w;
  const float* panels;
  const float* x;
  int64_t cols;

  // c is a multiple of kPanelColumns.
  void Multiply(int64_t from, int64_t rows, int64_t c, int64_t count, const float* start, float* block) const {
    kernels->gemm_dense({x + from * cols, cols, 1, panels + c * cols, kPanelColumns, cols * kPanelColumns, cols, count,
                         1, false, start + c, block, count},
                        0, rows);
  }
  const float* Rows(int64_t c, int64_t, float*) const { return w + c * cols; }
  const float* Row(int64_t c, float*) const { return w + c * cols; }
};

// Of rows [first, last), with logits = start + product: losses; dx, the gradient of sum_r factors[r] losses[r]; and
// what SoftmaxBackwardWeights needs, blocks of exponentials and scales [SoftmaxBlocks, batch], which make of them
// factors[r] softmax.
template <typename Operands>
void SoftmaxBackwardInput(const Operands& operands, int64_t classes, int64_t batch, const float* start,
                          const int32_t* labels, const float* factors, int64_t first, int64_t last, float* memory,
                          float* exponentials, float* scales, float* losses, float* dx) {
  const Kernels* kernels = operands.kernels;
  const int64_t cols = operands.cols;
  const int64_t chunks = (last - first + kSoftmaxRows - 1) / kSoftmaxRows;
  for (int64_t chunk = 0; chunk < chunks; ++chunk) {
    const int64_t from = first + chunk * (last - first) / chunks;
    const int64_t rows = first + (chunk + 1) * (last - first) / chunks - from;
    double sums[kSoftmaxRows];
    float max[kSoftmaxRows], rescale[kSoftmaxRows], right[kSoftmaxRows];
    for (int64_t r = 0; r < rows; ++r) {
      max[r] = -INFINITY;
      sums[r] = 0;
    }
    for (int64_t c = 0; c < classes; c += kSoftmaxClasses) {
      const int64_t count = classes - c < kSoftmaxClasses ? classes - c : kSoftmaxClasses;
      float* block = exponentials + c * batch + from * count;
      operands.Multiply(from, rows, c, count, start, block);
      for (int64_t r = 0; r < rows; ++r) {
        const int64_t label = labels[from + r] - c;
        if (label >= 0 && label < count) right[r] = block[r * count + label];
      }
      kernels->softmax_block(block, rows, count, max, sums, rescale);
      std::memcpy(scales + c / kSoftmaxClasses * batch + from, max, rows * sizeof(float));
      for (int64_t r = 0; r < rows && c > 0; ++r) {
        if (rescale[r] != 1) kernels->scale(rescale[r], cols, dx + (from + r) * cols);
      }
      kernels->gemm_dense({block, count, 1, operands.Rows(c, count, memory), cols, kPanelColumns, count, cols, 1, c > 0,
                           nullptr, dx + from * cols, cols},
                          0, rows);
    }
    for (int64_t r = 0; r < rows; ++r) {
      const int64_t row = from + r;
      losses[row] = static_cast<float>(max[r] + std::log(sums[r]) - right[r]);
      const float scale = static_cast<float>(factors[row] / sums[r]);
      for (int64_t i = 0; i < SoftmaxBlocks(classes); ++i) {
        float& of_block = scales[i * batch + row];
        of_block = of_block == max[r] ? scale : scale * std::exp(of_block - max[r]);
      }
      kernels->scale(scale, cols, dx + row * cols);
      const float* label = operands.Row(labels[row], memory);
      for (int64_t j = 0; j < cols; ++j) dx[row * cols + j] -= factors[row] * label[j];
    }
  }
}

inline void SoftmaxBackwardInput(const Kernels* kernels, const uint64_t* weight_planes,
                                 const float* weight_coefficients, int64_t classes, int64_t cols, int weight_bits,
                                 const uint64_t* activation_planes, const float* activation_coefficients,
                                 int activation_bits, const uint64_t* masks, int64_t batch, const float* start,
                                 const int32_t* labels, const float* factors, int64_t first, int64_t last,
                                 float* memory, float* exponentials, float* scales, float* losses, float* dx) {
  const PackedOperands operands = {kernels,           weight_planes,           weight_coefficients, cols, weight_bits,
                                   activation_planes, activation_coefficients, activation_bits,     masks};
  SoftmaxBackwardInput(operands, classes, batch, start, labels, factors, first, last, memory, exponentials, scales,
                       losses, dx);
}

inline void SoftmaxBackwardInput(const Kernels* kernels, const float* w, const float* panels, int64_t classes,
                                 const float* x, int64_t cols, int64_t batch, const float* start, const int32_t* labels,
                                 const float* factors, int64_t first, int64_t last, float* memory, float* exponentials,
                                 float* scales, float* losses, float* dx) {
  SoftmaxBackwardInput(DenseOperands{kernels, w, panels, x, cols}, classes, batch, start, labels, factors, first, last,
                       memory, exponentials, scales, losses, dx);
}

// Of blocks [first, last) of the classes: dw [classes, cols] and db [classes] (null = none), or what is added to them;
// x [batch, cols], the values of the activations, 0 where they are dropped.
inline void SoftmaxBackwardWeights(const Kernels* kernels, const float* exponentials, int64_t batch, int64_t classes,
                                   int64_t cols, const int32_t* labels, const float* factors, const float* x,
                                   const float* scales, int64_t first, int64_t last, float* memory, bool add, float* dw,
                                   float* db) {
  float* sums = memory;
  float* delta = memory + kSoftmaxClasses;
  for (int64_t c = first * kSoftmaxClasses; c < last * kSoftmaxClasses && c < classes; c += kSoftmaxClasses) {
    const int64_t count = classes - c < kSoftmaxClasses ? classes - c : kSoftmaxClasses;
    kernels->softmax_columns(exponentials + c * batch, batch, count, scales + c / kSoftmaxClasses * batch, delta, sums);
    for (int64_t r = 0; r < batch; ++r) {
      const int64_t label = labels[r] - c;
      if (label < 0 || label >= count) continue;
      delta[r * count + label] -= factors[r];
      sums[label] -= factors[r];
    }
    kernels->gemm_dense({delta, 1, count, x, cols, kPanelColumns, batch, cols, 1, add, nullptr, dw + c * cols, cols}, 0,
                        count);
    if (db == nullptr) continue;
    if (!add) std::memset(db + c, 0, count * sizeof(float));
    kernels->add(sums, count, db + c);
  }
}

// w [inner, cols], or [cols, inner] if transposed, as panels [first, last) of a DenseProduct.
inline void MakePanels(const float* w, int64_t inner, int64_t cols, bool transposed, int64_t first, int64_t last,
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

// Rows [first, last) of c = alpha op(a) b, or of c += it.
inline void MultiplyDense(const Kernels* kernels, const float* a, bool transposed, const float* b, int64_t rows,
                          int64_t inner, int64_t cols, float alpha, bool add, int64_t first, int64_t last, float* c) {
  kernels->gemm_dense({a, transposed ? 1 : inner, transposed ? rows : 1, b, cols, kPanelColumns, inner, cols, alpha,
                       add, nullptr, c, cols},
                      first, last);
}

// Rows [first, last) of out = start + x w, or without start (null) of out += x w, w in panels.
inline void MultiplyPanels(const Kernels* kernels, const float* x, int64_t inner, const float* panels, int64_t cols,
                           const float* start, int64_t first, int64_t last, float* out) {
  kernels->gemm_dense(
      {x, inner, 1, panels, kPanelColumns, inner * kPanelColumns, inner, cols, 1, start == nullptr, start, out, cols},
      first, last);
}

inline void DropoutMasks(const Kernels* kernels, uint64_t key, uint64_t threshold, int64_t first_row, int64_t last_row,
                         int64_t cols, uint64_t* masks) {
  kernels->dropout_masks(key, threshold, first_row, last_row, cols, masks);
}

inline void Drop(const Kernels* kernels, const uint64_t* masks, float factor, int64_t first_row, int64_t last_row,
                 int64_t cols, float* x) {
  kernels->drop(masks, factor, first_row, last_row, cols, x);
}

inline void AddToRows(const Kernels* kernels, const float* row, int64_t first_row, int64_t last_row, int64_t cols,
                      float* into) {
  for (int64_t r = first_row; r < last_row; ++r) kernels->add(row, cols, into + r * cols);
}

inline void AddRows(const Kernels* kernels, const float* x, const int32_t* index, int64_t rows, int64_t cols,
                    float* into) {
  for (int64_t r = 0; r < rows; ++r) kernels->add(x + r * cols, cols, into + index[r] * cols);
}

// Columns [first, last) of the sum.
inline void SumRows(const Kernels* kernels, const float* x, int64_t rows, int64_t cols, int64_t first, int64_t last,
                    float* sums) {
  std::memset(sums + first, 0, (last - first) * sizeof(float));
  for (int64_t r = 0; r < rows; ++r) kernels->add(x + r * cols + first, last - first, sums + first);
}

// One sum for each of the chunks [first, last) of n elements.
inline void SumsOfSquares(const Kernels* kernels, const float* x, int64_t n, int64_t chunk, int64_t first, int64_t last,
                          double* sums) {
  for (int64_t i = first; i < last; ++i) {
    const int64_t left = n - i * chunk;
    sums[i] = kernels->sum_of_squares(x + i * chunk, left < chunk ? left : chunk);
  }
}

// Elements [first, last), for Clip too.
inline void Scale(const Kernels* kernels, float* x, int64_t first, int64_t last, float factor) {
  kernels->scale(factor, last - first, x + first);
}

inline void Clip(const Kernels* kernels, float* x, int64_t first, int64_t last, float bound) {
  kernels->clip(bound, last - first, x + first);
}

inline void LstmForward(const Kernels* kernels, int64_t first_row, int64_t last_row, int64_t units, float* gates,
                        const float* before, float* cell, float* cell_tanh, float* hidden) {
  kernels->lstm_forward(first_row, last_row, units, gates, before, cell, cell_tanh, hidden);
}

inline void LstmBackward(const Kernels* kernels, int64_t first_row, int64_t last_row, int64_t units, const float* gates,
                         const float* before, const float* cell_tanh, const float* hidden_gradient,
                         float* cell_gradient, float* gate_gradients) {
  kernels->lstm_backward(first_row, last_row, units, gates, before, cell_tanh, hidden_gradient, cell_gradient,
                         gate_gradients);
}

inline void GruForward(const Kernels* kernels, int64_t first_row, int64_t last_row, int64_t units, float* gates,
                       const float* recurrent, const float* before, float* hidden) {
  kernels->gru_forward(first_row, last_row, units, gates, recurrent, before, hidden);
}

inline void GruBackward(const Kernels* kernels, int64_t first_row, int64_t last_row, int64_t units, const float* gates,
                        const float* recurrent, const float* before, const float* hidden_gradient,
                        float* carried_gradient, float* gate_gradients, float* recurrent_gradients) {
  kernels->gru_backward(first_row, last_row, units, gates, recurrent, before, hidden_gradient, carried_gradient,
                        gate_gradients, recurrent_gradients);
}

// A sequence, for sequences [first, last) of the batch: they need nothing of each other, so that no time step waits for
// another thread. Matrices are [steps * batch, .], hidden and cells have one step more.
inline void LstmForwardSteps(const Kernels* kernels, int64_t steps, int64_t batch, int64_t first, int64_t last,
                             int64_t units, const float* panels, float* gates, float* hidden, float* cells,
                             float* cell_tanh) {
  for (int64_t t = 0; t < steps; ++t) {
    const int64_t at = t * batch;
    MultiplyPanels(kernels, hidden, units, panels, 4 * units, nullptr, at + first, at + last, gates);
    kernels->lstm_forward(at + first, at + last, units, gates, cells, cells + batch * units, cell_tanh,
                          hidden + batch * units);
  }
}

// Quantizes the hidden state before each step, multiplies it with packed weights [cols, units], adds the product to
// sums [steps * batch, cols], and has the cell compute rows [from, to) of the step. Results as Quantize.
template <typename Cell>
int64_t QuantizedSteps(const Kernels* kernels, const Quantizer& quantizer, const uint64_t* weight_planes,
                       const float* weight_coefficients, int weight_bits, uint64_t* planes, float* coefficients,
                       int bits, int64_t steps, int64_t batch, int64_t first, int64_t last, int64_t units, int64_t cols,
                       const float* hidden, float* sums, const Cell& cell) {
  const size_t bytes = kernels->quantize_scratch(units, bits);
  const std::unique_ptr<float[]> scratch(new (std::nothrow) float[bytes / sizeof(float) + 1]);
  if (scratch == nullptr) return -2;
  const int64_t words = (units + 63) / 64;
  for (int64_t t = 0; t < steps; ++t) {
    const int64_t from = t * batch + first, to = t * batch + last;
    const int64_t bad = kernels->quantize(quantizer, hidden, (steps + 1) * batch, units, from, to, bits, 1, planes,
                                          coefficients, scratch.get());
    if (bad != -1) return bad;
    kernels->gemm_masked(weight_planes, weight_coefficients, 0, cols, units, weight_bits, planes + from * words * bits,
                         coefficients + from * bits, bits, nullptr, to - from, nullptr, sums + from * cols, cols);
    cell(from, to);
  }
  return -1;
}

inline int64_t LstmForwardSteps(const Kernels* kernels, int method, int cycles, float scale,
                                const uint64_t* weight_planes, const float* weight_coefficients, int weight_bits,
                                uint64_t* planes, float* coefficients, int bits, int64_t steps, int64_t batch,
                                int64_t first, int64_t last, int64_t units, float* gates, float* hidden, float* cells,
                                float* cell_tanh) {
  return QuantizedSteps(
      kernels, {method, cycles, scale}, weight_planes, weight_coefficients, weight_bits, planes, coefficients, bits,
      steps, batch, first, last, units, 4 * units, hidden, gates, [&](int64_t from, int64_t to) {
        kernels->lstm_forward(from, to, units, gates, cells, cells + batch * units, cell_tanh, hidden + batch * units);
      });
}

// The gradient, from the last step back to first_step.
inline void LstmBackwardSteps(const Kernels* kernels, int64_t first_step, int64_t steps, int64_t batch, int64_t first,
                              int64_t last, int64_t units, const float* panels, const float* gates, const float* cells,
                              const float* cell_tanh, float* hidden_gradients, float* cell_gradient,
                              float* gate_gradients) {
  for (int64_t t = steps - 1; t >= first_step; --t) {
    const int64_t at = t * batch;
    float* of_hidden = hidden_gradients + at * units;
    float* of_gates = gate_gradients + at * 4 * units;
    if (t < steps - 1) {
      MultiplyPanels(kernels, of_gates + batch * 4 * units, 4 * units, panels, units, nullptr, first, last, of_hidden);
    }
    kernels->lstm_backward(first, last, units, gates + at * 4 * units, cells + at * units, cell_tanh + at * units,
                           of_hidden, cell_gradient, of_gates);
  }
}

// Sequences of a GRU, as those of an LSTM. recurrent [steps * batch, 3 units]: the bias, to which products are added.
inline void GruForwardSteps(const Kernels* kernels, int64_t steps, int64_t batch, int64_t first, int64_t last,
                            int64_t units, const float* panels, float* gates, float* recurrent, float* hidden) {
  for (int64_t t = 0; t < steps; ++t) {
    const int64_t from = t * batch + first, to = t * batch + last;
    MultiplyPanels(kernels, hidden, units, panels, 3 * units, nullptr, from, to, recurrent);
    kernels->gru_forward(from, to, units, gates, recurrent, hidden, hidden + batch * units);
  }
}

inline int64_t GruForwardSteps(const Kernels* kernels, int method, int cycles, float scale,
                               const uint64_t* weight_planes, const float* weight_coefficients, int weight_bits,
                               uint64_t* planes, float* coefficients, int bits, int64_t steps, int64_t batch,
                               int64_t first, int64_t last, int64_t units, float* gates, float* recurrent,
                               float* hidden) {
  return QuantizedSteps(kernels, {method, cycles, scale}, weight_planes, weight_coefficients, weight_bits, planes,
                        coefficients, bits, steps, batch, first, last, units, 3 * units, hidden, recurrent,
                        [&](int64_t from, int64_t to) {
                          kernels->gru_forward(from, to, units, gates, recurrent, hidden, hidden + batch * units);
                        });
}

inline void GruBackwardSteps(const Kernels* kernels, int64_t first_step, int64_t steps, int64_t batch, int64_t first,
                             int64_t last, int64_t units, const float* panels, const float* gates,
                             const float* recurrent, const float* hidden, float* hidden_gradients,
                             float* carried_gradient, float* gate_gradients, float* recurrent_gradients) {
  for (int64_t t = steps - 1; t >= first_step; --t) {
    const int64_t at = t * batch;
    float* of_hidden = hidden_gradients + at * units;
    float* of_recurrent = recurrent_gradients + at * 3 * units;
    if (t < steps - 1) {
      MultiplyPanels(kernels, of_recurrent + batch * 3 * units, 3 * units, panels, units, nullptr, first, last,
                     of_hidden);
    }
    kernels->gru_backward(first, last, units, gates + at * 3 * units, recurrent + at * 3 * units, hidden + at * units,
                          of_hidden, carried_gradient, gate_gradients + at * 3 * units, of_recurrent);
  }
}

// Calls a function of another library, whose address the caller found by its name.
inline const char* CallForText(const void* function) {
  const char* (*call)();
  std::memcpy(&call, &function, sizeof(call));
  return call();
}

inline int CallForNumber(const void* function) {
  int (*call)();
  std::memcpy(&call, &function, sizeof(call));
  return call();
}

}  // namespace multibit

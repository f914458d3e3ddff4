// The inner loops of multi-bit quantization: one table of functions per instruction set (tier), chosen once.
//
// Codes, coefficients and products are the same bits on every tier and in Java; docs/numerics.md says how. Matrices are
// interleaved as in docs/format.md: with words = ceil(cols / 64), the word of (row r, plane i, word w) is
// planes[((r / lanes * words + w) * bits + i) * lanes + r % lanes], the coefficient of (row r, plane i) is
// coefficients[(r / lanes * bits + i) * lanes + r % lanes]. lanes is 8 for weights, 1 for activations.
// No pointer needs more alignment than its element; no function allocates, prints or throws. cols is below 2^31.
#pragma once

#include <cstddef>
#include <cstdint>

namespace multibit {

enum Method : int { kUniform = 0, kBalanced = 1, kGreedy = 2, kRefined = 3, kAlternating = 4, kOptimal = 5 };

// Columns of a panel of full-precision weights, see DenseProduct.
constexpr int kPanelColumns = 32;

// A product of full-precision matrices, c = alpha a b, or c += alpha a b with `add`. a [rows, inner] lies by rows
// (a_inner 1) or by columns (a_row 1). b [inner, cols] lies by rows (b_panel = kPanelColumns), or in panels of
// kPanelColumns columns (b_inner = kPanelColumns), row after row, the last filled up. Strides are in floats.
struct DenseProduct {
  const float* a;
  int64_t a_row, a_inner;
  const float* b;
  int64_t b_inner, b_panel;
  int64_t inner, cols;
  float alpha;
  bool add;
  const float* start;  // [cols], added to each row of c unless `add`; null = zeros
  float* c;
  int64_t c_row;
};

struct Quantizer {
  int method;   // Method
  int cycles;   // alternating only
  float scale;  // alternating only
};

// The most bits that a method allows (8, or 2 for kOptimal); 0 for an unknown method.
int MaxBits(int method);

struct Kernels {
  const char* name;  // "scalar", "sse4", "avx2", "avx512", "avx512-vpopcntdq", "neon"

  // Bytes of scratch, aligned for 64-bit words, that quantize needs for rows of this length.
  size_t (*quantize_scratch)(int64_t cols, int bits);

  // Quantizes rows [first_row, last_row) of w (row-major, cols floats each); writes all of their planes and
  // coefficients. first_row is a multiple of lanes; when last_row == rows, the padding rows of the last block are
  // zeroed too. Returns -1, or the index (row * cols + column) of the first NaN or infinity met; then the output is
  // unspecified.
  int64_t (*quantize)(const Quantizer& quantizer, const float* w, int64_t rows, int64_t cols, int64_t first_row,
                      int64_t last_row, int bits, int lanes, uint64_t* planes, float* coefficients, void* scratch);

  // out: row-major, rows * cols floats.
  void (*dequantize)(const uint64_t* planes, const float* coefficients, int64_t first_row, int64_t last_row,
                     int64_t cols, int bits, int lanes, float* out);

  // `batch` activation vectors (lanes 1, words * activation_bits words each, one after the other) times weight rows
  // [first_row, last_row) (lanes 8; first_row a multiple of 8). Writes out[b * out_stride + r].
  void (*gemm)(const uint64_t* weight_planes, const float* weight_coefficients, int64_t first_row, int64_t last_row,
               int64_t cols, int weight_bits, const uint64_t* activation_planes, const float* activation_coefficients,
               int activation_bits, int64_t batch, float* out, int64_t out_stride);

  // Full-precision activations x (cols floats) times rows [first_row, last_row) of quantized weights; first_row is a
  // multiple of 8. Equal to the dequantized product to rounding (relative 1e-5 of sum |w x|).
  void (*gemv_float)(const uint64_t* weight_planes, const float* weight_coefficients, int64_t first_row,
                     int64_t last_row, int64_t cols, int weight_bits, const float* x, float* out);

  // Rows [first_row, last_row) of full-precision weights (row-major) times `batch` full-precision vectors (cols floats
  // each, one after the other). Writes out[b * out_stride + r]: the same bits whatever the batch and the rows; from
  // tier to tier equal to rounding (relative 1e-5 of sum |w x|).
  void (*gemm_rows)(const float* weights, int64_t first_row, int64_t last_row, int64_t cols, const float* x,
                    int64_t batch, float* out, int64_t out_stride);

  // z: 4H floats, gates input, forget, candidate, output (bias already added); c and h: H floats, updated.
  // c = sigmoid(f)*c + sigmoid(i)*tanh(g); h = sigmoid(o)*tanh(c). Absolute error of each sigmoid/tanh below 1e-6.
  // A shut gate leaves 4e-18, so that no hidden state becomes a denormal, which would slow the products that follow.
  void (*lstm_cell)(const float* z, int64_t hidden, float* c, float* h);

  // input, recurrent: 3H floats each, gates reset, update, candidate, of the two products (biases already added); h: H
  // floats, updated. r = sigmoid, z = sigmoid of their sums, n = tanh(input_n + r * recurrent_n), h = (1 - z)*n + z*h.
  // Errors as lstm_cell.
  void (*gru_cell)(const float* input, const float* recurrent, int64_t hidden, float* h);

  // ln(sum exp(logits)), with the maximum taken out. Error below 1e-6 * max(1, |result|).
  double (*log_sum_exp)(const float* logits, int64_t n);

  // Each row of logits [rows, classes] becomes softmax(row); if labels is not null, label is subtracted as one-hot and
  // losses[row] = -ln softmax(row)[label].
  void (*softmax)(float* logits, int64_t rows, int64_t classes, const int32_t* labels, float* losses);

  // A softmax whose classes come block by block. Each row of a block of logits [rows, classes] becomes e^(row -
  // max[r]), with max[r] the largest logit of the row so far, and its sum is added to sums[r]; sums of blocks before
  // are multiplied by rescale[r] = e^(max before - max[r]) first. Before the first block: -infinity and 0.
  void (*softmax_block)(float* logits, int64_t rows, int64_t classes, float* max, double* sums, float* rescale);
  // What that left of a block, once all are known: out = factors[r] row, and the sum of each column of it.
  void (*softmax_columns)(const float* exponentials, int64_t rows, int64_t classes, const float* factors, float* out,
                          float* sums);

  // For distillation (Hinton et al. 2015, section 2), w the weight, T the temperature: each row of logits becomes the
  // gradient (1-w) (softmax(z) - onehot(label)) + w T (softmax(z/T) - softmax(y/T)) of
  // losses[row] = -(1-w) ln softmax(z)[label] + w T^2 KL(softmax(y/T) || softmax(z/T)), with z the row of logits and y
  // the row of teacher, which is overwritten.
  void (*distill)(float* logits, float* teacher, int64_t rows, int64_t classes, const int32_t* labels, float weight,
                  float temperature, float* losses);

  // For benchmarks, what the machine can do at best. Reads `count` words and returns their disjunction.
  uint64_t (*read_words)(const uint64_t* words, int64_t count);
  // What a product does with a pair of words, xor, popcount and addition, for so many 64-bit words (rounded up to whole
  // vectors), on the same few words. The result has no meaning; it keeps the work from being left out.
  uint64_t (*count_bits)(int64_t words);

  // For training. Rows are row-major; a mask has `words` words per row, bit j of a row standing for its element j.

  // As gemm, with the elements dropped whose bit in masks [batch, words] is 0; null drops none. Bits past the last
  // column are 0. out[b * out_stride + r] = start[r] + sum; without start (null), out += sum. The sum is gemm's to the
  // bit, of the elements that are left.
  void (*gemm_masked)(const uint64_t* weight_planes, const float* weight_coefficients, int64_t first_row,
                      int64_t last_row, int64_t cols, int weight_bits, const uint64_t* activation_planes,
                      const float* activation_coefficients, int activation_bits, const uint64_t* masks, int64_t batch,
                      const float* start, float* out, int64_t out_stride);

  // The element at position p = row * cols + column is retained if mix(key + p * golden) >> 1 < threshold, with golden
  // = 0x9E3779B97F4A7C15 and mix(z) SplitMix64's next() from state z.
  void (*dropout_masks)(uint64_t key, uint64_t threshold, int64_t first_row, int64_t last_row, int64_t cols,
                        uint64_t* masks);
  // Retained elements are multiplied by factor, the others become 0.
  void (*drop)(const uint64_t* masks, float factor, int64_t first_row, int64_t last_row, int64_t cols, float* x);

  // into += x. Returns whether all sums are finite.
  bool (*add)(const float* x, int64_t n, float* into);
  // x *= factor
  void (*scale)(float factor, int64_t n, float* x);
  // x = min(max(x, -bound), bound); NaN stays NaN.
  void (*clip)(float bound, int64_t n, float* x);
  double (*sum_of_squares)(const float* x, int64_t n);

  // One time step of an LSTM for rows of a batch. gates [rows, 4H], candidate, forget, output, input: sums with bias
  // become what their non-linearities make of them. before: the cell of the step before, [rows, H]. Writes
  // cells = forget * before + input * candidate, cell_tanh = tanh(cells), out = output * cell_tanh, all [rows, H].
  // Errors as lstm_cell.
  void (*lstm_forward)(int64_t first_row, int64_t last_row, int64_t hidden, float* gates, const float* before,
                       float* cells, float* cell_tanh, float* out);
  // Its gradient, from what lstm_forward left. hidden_gradient: dL/dout; cell_gradient: what of dL/dcells flows back
  // from the step after, becomes what flows back to the step before. Writes gate_gradients: dL/d(sums) [rows, 4H].
  void (*lstm_backward)(int64_t first_row, int64_t last_row, int64_t hidden, const float* gates, const float* before,
                        const float* cell_tanh, const float* hidden_gradient, float* cell_gradient,
                        float* gate_gradients);

  // The same of a GRU. gates [rows, 3H], reset, update, candidate: sums of the input's product with its bias become
  // what gru_cell makes of them. recurrent [rows, 3H]: the recurrent product with its bias. before: the hidden state of
  // the step before, [rows, H]. Writes out, [rows, H].
  void (*gru_forward)(int64_t first_row, int64_t last_row, int64_t hidden, float* gates, const float* recurrent,
                      const float* before, float* out);
  // Its gradient. carried_gradient [rows, H]: what of dL/dout comes from the step after other than by its products;
  // becomes what goes to the step before so. Writes dL/d(sums) of both products, [rows, 3H] each.
  void (*gru_backward)(int64_t first_row, int64_t last_row, int64_t hidden, const float* gates, const float* recurrent,
                       const float* before, const float* hidden_gradient, float* carried_gradient,
                       float* gate_gradients, float* recurrent_gradients);

  // Rows [first_row, last_row). Each is computed in the same way whatever the range.
  void (*gemm_dense)(const DenseProduct& product, int64_t first_row, int64_t last_row);
};

// The best tier that the CPU supports, or the one that the environment's MULTIBIT_ISA names (empty counts as unset).
// Null if it names an unknown tier or one that the CPU lacks; then *error (if given) points to a message, valid until
// this thread's next call, that says what was named and which tiers there are. Looks anew each time.
const Kernels* SelectKernels(const char** error);

// All tiers that this CPU supports, plainest first (for tests and benchmarks). Returns their number.
int SupportedKernels(const Kernels** out, int capacity);

}  // namespace multibit

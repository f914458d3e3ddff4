// The list of kernels declares each kernel once: KERNEL(result, Name, parameters...). Define KERNEL before you include
// it. The struct Kernels, each tier's functions and table, and the Java binding are generated from this list.
//
// A kernel allocates nothing, prints nothing and throws nothing. It needs no pointer aligned more than its element. The
// result of a row does not depend on the range [first_row, last_row) that it is computed in. Full-precision matrices
// are row-major; cols is below 2^31.
//
// Packed matrices are interleaved as in docs/format.md. With words = ceil(cols / 64), word w of plane i of row r is
// planes[((r / lanes * words + w) * bits + i) * lanes + r % lanes], and the coefficient of plane i of row r is
// coefficients[(r / lanes * bits + i) * lanes + r % lanes]. lanes is kWeightLanes for weights and 1 for activations.
// Codes, coefficients and products of codes are the same bits on every tier and in Java (docs/numerics.md).
#ifndef KERNEL
#define KERNEL(...)
#endif

// ---------------------------------------------------------------------------------------------------------------------
// Quantizing

// The bytes of scratch that Quantize needs for rows of this length. The scratch must be aligned for 64-bit words.
KERNEL(size_t, QuantizeScratch, int64_t cols, int bits)

// Quantizes rows of w [rows, cols] and writes all of their planes and coefficients. first_row is a multiple of lanes.
// If last_row == rows, the padding rows of the last block are zeroed too. Returns -1, or the index
// (row * cols + column) of the first NaN or infinity that it meets; then the output is unspecified.
KERNEL(int64_t, Quantize, const Quantizer& quantizer, const float* w, int64_t rows, int64_t cols, int64_t first_row,
       int64_t last_row, int bits, int lanes, uint64_t* planes, float* coefficients, void* scratch)

// Writes the values of the codes to out [rows, cols].
KERNEL(void, Dequantize, const uint64_t* planes, const float* coefficients, int64_t first_row, int64_t last_row,
       int64_t cols, int bits, int lanes, float* out)

// ---------------------------------------------------------------------------------------------------------------------
// Products with packed weights. first_row is a multiple of kWeightLanes.

// Multiplies weight rows by `batch` packed activation vectors: out[b * out_stride + r] is vector b times row r.
KERNEL(void, PackedGemm, const uint64_t* weight_planes, const float* weight_coefficients, int64_t first_row,
       int64_t last_row, int64_t cols, int weight_bits, const uint64_t* activation_planes,
       const float* activation_coefficients, int activation_bits, int64_t batch, float* out, int64_t out_stride)

// For training: PackedGemm with dropout. Elements whose bit in masks [batch, words] is 0 are dropped; null drops none.
// Bits past the last column must be 0. out[b * out_stride + r] = bias[r] + sum; without bias (null), out += sum. The
// sum is, to the bit, that of PackedGemm over the retained elements.
KERNEL(void, PackedGemmMasked, const uint64_t* weight_planes, const float* weight_coefficients, int64_t first_row,
       int64_t last_row, int64_t cols, int weight_bits, const uint64_t* activation_planes,
       const float* activation_coefficients, int activation_bits, const uint64_t* masks, int64_t batch,
       const float* bias, float* out, int64_t out_stride)

// Multiplies weight rows by full-precision activations x [cols]. The result equals the dequantized product up to
// rounding (relative 1e-5 of sum |w x|).
KERNEL(void, PackedGemvFloat, const uint64_t* weight_planes, const float* weight_coefficients, int64_t first_row,
       int64_t last_row, int64_t cols, int weight_bits, const float* x, float* out)

// ---------------------------------------------------------------------------------------------------------------------
// Products in full precision

// Multiplies weight rows by `batch` vectors x [batch, cols] and writes out[b * out_stride + r]. The bits of a result do
// not depend on the batch and the range of rows. Tiers agree up to rounding (relative 1e-5 of sum |w x|).
KERNEL(void, GemmRows, const float* weights, int64_t first_row, int64_t last_row, int64_t cols, const float* x,
       int64_t batch, float* out, int64_t out_stride)

// For training: the product that GemmArgs describes.
KERNEL(void, Gemm, const GemmArgs& args, int64_t first_row, int64_t last_row)

// ---------------------------------------------------------------------------------------------------------------------
// Recurrent cells. The absolute error of each sigmoid and tanh is below 1e-6. A closed gate leaves 4e-18, so that no
// hidden state becomes a denormal, which would slow the products that follow.

// NameStep, for inference, computes one time step of one stream. input and recurrent [G units] are the two products
// with their biases, in the file's order of gates (docs/format.md). A cell without separate sums adds them first. state
// [units] (an LSTM's c; otherwise unused) and hidden [units] are updated.
//   LSTM: c = sigmoid(f)*c + sigmoid(i)*tanh(g); h = sigmoid(o)*tanh(c).
//   GRU:  r, z = sigmoid of their sums; n = tanh(input_n + r * recurrent_n); h = (1 - z)*n + z*h.
// NameForward and NameBackward, for training, compute one time step for rows of a batch. CellStates and CellGradients
// describe what they read and write.
#define CELL(Name, ...)                                                                                            \
  KERNEL(void, Name##Step, const float* input, const float* recurrent, int64_t units, float* state, float* hidden) \
  KERNEL(void, Name##Forward, const CellStates& states, int64_t first_row, int64_t last_row)                       \
  KERNEL(void, Name##Backward, const CellStates& states, const CellGradients& gradients, int64_t first_row,        \
         int64_t last_row)
MULTIBIT_CELLS(CELL)
#undef CELL

// ---------------------------------------------------------------------------------------------------------------------
// Softmax

// ln(sum exp(logits)), computed relative to the maximum. The error is below 1e-6 * max(1, |result|).
KERNEL(double, LogSumExp, const float* logits, int64_t n)

// Replaces each row of logits [rows, classes] by softmax(row). If labels is not null, also subtracts the one-hot label
// and writes losses[row] = -ln softmax(row)[label].
KERNEL(void, Softmax, float* logits, int64_t first_row, int64_t last_row, int64_t classes, const int32_t* labels,
       float* losses)

// A softmax over classes that come block by block. Replaces row r of a block of logits [rows, classes] by
// e^(row - max[r]), with max[r] the largest logit of the row so far. Then sums[r] = sums[r] * rescale[r] + the sum of
// the new row, with rescale[r] = e^(previous max[r] - max[r]). Before the first block, max[r] is -infinity and sums[r]
// is 0.
KERNEL(void, SoftmaxBlock, float* logits, int64_t rows, int64_t classes, float* max, double* sums, float* rescale)

// Scales a block that SoftmaxBlock has exponentiated: row r of out is scales[r] times row r of exponentials. sums
// receives the sum of each column of out.
KERNEL(void, SoftmaxColumns, const float* exponentials, int64_t rows, int64_t classes, const float* scales, float* out,
       float* sums)

// Distillation (Hinton et al. 2015, section 2) with weight w and temperature T. Let z be a row of logits and y the same
// row of teacher. Writes losses[row] = -(1-w) ln softmax(z)[label] + w T^2 KL(softmax(y/T) || softmax(z/T)) and
// replaces z by the gradient (1-w) (softmax(z) - onehot(label)) + w T (softmax(z/T) - softmax(y/T)). Overwrites y.
KERNEL(void, Distill, float* logits, float* teacher, int64_t first_row, int64_t last_row, int64_t classes,
       const int32_t* labels, float weight, float temperature, float* losses)

// ---------------------------------------------------------------------------------------------------------------------
// Dropout. A mask has `words` words per row. Bit j of a row belongs to element j.

// The element at position p = row * cols + column is retained if mix(key + p * golden) >> 1 < threshold, with golden =
// 0x9E3779B97F4A7C15 and mix(z) SplitMix64's next() from state z.
KERNEL(void, DropoutMasks, uint64_t key, uint64_t threshold, int64_t first_row, int64_t last_row, int64_t cols,
       uint64_t* masks)

// Multiplies retained elements by factor and sets the others to 0.
KERNEL(void, Drop, const uint64_t* masks, float factor, int64_t first_row, int64_t last_row, int64_t cols, float* x)

// ---------------------------------------------------------------------------------------------------------------------
// Element by element

// into += x. Returns whether all sums are finite.
KERNEL(bool, Add, const float* x, int64_t n, float* into)
// x *= factor
KERNEL(void, Scale, float factor, int64_t n, float* x)
// x = min(max(x, -bound), bound); NaN stays NaN.
KERNEL(void, Clip, float bound, int64_t n, float* x)
KERNEL(double, SumOfSquares, const float* x, int64_t n)
// out = x in bfloat16, the upper half of a float: rounded to nearest, ties to even; NaN becomes a quiet NaN.
KERNEL(void, RoundToBfloat16, const float* x, int64_t n, uint16_t* out)

#undef KERNEL

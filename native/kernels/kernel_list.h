// The kernels, each declared once: KERNEL(result, Name, parameters...). Whoever includes this defines KERNEL first;
// from the list are made the struct Kernels, each tier's functions and its table, and the Java binding.
//
// A kernel allocates, prints and throws nothing, and needs no pointer aligned more than its element. Rows
// [first_row, last_row) are computed in the same way whatever the range. Full-precision matrices are row-major; cols is
// below 2^31. Packed matrices are interleaved as in docs/format.md: with words = ceil(cols / 64), the word of (row r,
// plane i, word w) is planes[((r / lanes * words + w) * bits + i) * lanes + r % lanes], the coefficient of (row r,
// plane i) is coefficients[(r / lanes * bits + i) * lanes + r % lanes]. lanes is kWeightLanes for weights, 1 for
// activations. Codes, coefficients and products of codes are the same bits on every tier and in Java
// (docs/numerics.md).
#ifndef KERNEL
#define KERNEL(...)
#endif

// ---------------------------------------------------------------------------------------------------------------------
// Quantizing

// Bytes of scratch, aligned for 64-bit words, that Quantize needs for rows of this length.
KERNEL(size_t, QuantizeScratch, int64_t cols, int bits)

// Quantizes rows of w [rows, cols]; writes all of their planes and coefficients. first_row is a multiple of lanes; when
// last_row == rows, the padding rows of the last block are zeroed too. Returns -1, or the index (row * cols + column)
// of the first NaN or infinity met; then the output is unspecified.
KERNEL(int64_t, Quantize, const Quantizer& quantizer, const float* w, int64_t rows, int64_t cols, int64_t first_row,
       int64_t last_row, int bits, int lanes, uint64_t* planes, float* coefficients, void* scratch)

// out [rows, cols]: the values.
KERNEL(void, Dequantize, const uint64_t* planes, const float* coefficients, int64_t first_row, int64_t last_row,
       int64_t cols, int bits, int lanes, float* out)

// ---------------------------------------------------------------------------------------------------------------------
// Products with packed weights. first_row is a multiple of kWeightLanes.

// out[b * out_stride + r]: `batch` packed activation vectors times weight rows.
KERNEL(void, PackedGemm, const uint64_t* weight_planes, const float* weight_coefficients, int64_t first_row,
       int64_t last_row, int64_t cols, int weight_bits, const uint64_t* activation_planes,
       const float* activation_coefficients, int activation_bits, int64_t batch, float* out, int64_t out_stride)

// For training: as PackedGemm, with the elements dropped whose bit in masks [batch, words] is 0; null drops none. Bits
// past the last column are 0. out[b * out_stride + r] = bias[r] + sum; without bias (null), out += sum. The sum is
// PackedGemm's to the bit, of the elements that are left.
KERNEL(void, PackedGemmMasked, const uint64_t* weight_planes, const float* weight_coefficients, int64_t first_row,
       int64_t last_row, int64_t cols, int weight_bits, const uint64_t* activation_planes,
       const float* activation_coefficients, int activation_bits, const uint64_t* masks, int64_t batch,
       const float* bias, float* out, int64_t out_stride)

// Full-precision activations x [cols] times weight rows. Equal to the dequantized product to rounding (relative 1e-5 of
// sum |w x|).
KERNEL(void, PackedGemvFloat, const uint64_t* weight_planes, const float* weight_coefficients, int64_t first_row,
       int64_t last_row, int64_t cols, int weight_bits, const float* x, float* out)

// ---------------------------------------------------------------------------------------------------------------------
// Products in full precision

// Weight rows times `batch` vectors x [batch, cols]. Writes out[b * out_stride + r]: the same bits whatever the batch
// and the rows; from tier to tier equal to rounding (relative 1e-5 of sum |w x|).
KERNEL(void, GemmRows, const float* weights, int64_t first_row, int64_t last_row, int64_t cols, const float* x,
       int64_t batch, float* out, int64_t out_stride)

// For training, see GemmArgs.
KERNEL(void, Gemm, const GemmArgs& args, int64_t first_row, int64_t last_row)

// ---------------------------------------------------------------------------------------------------------------------
// Recurrent cells. Absolute error of each sigmoid and tanh below 1e-6. A shut gate leaves 4e-18, so that no hidden
// state becomes a denormal, which would slow the products that follow.

// NameStep, for inference: one time step of one stream. input, recurrent [G units]: the two products, in the file's
// order of gates (docs/format.md), biases already added; where the sums are not kept apart they are added here. state
// (of an LSTM its c; else not used), hidden [units], updated.
//   LSTM: c = sigmoid(f)*c + sigmoid(i)*tanh(g); h = sigmoid(o)*tanh(c).
//   GRU:  r = sigmoid, z = sigmoid of the sums, n = tanh(input_n + r * recurrent_n); h = (1 - z)*n + z*h.
// NameForward and NameBackward, for training: one time step for rows of a batch; CellStates and CellGradients say what
// is read and written.
#define CELL(Name, ...)                                                                                            \
  KERNEL(void, Name##Step, const float* input, const float* recurrent, int64_t units, float* state, float* hidden) \
  KERNEL(void, Name##Forward, const CellStates& states, int64_t first_row, int64_t last_row)                       \
  KERNEL(void, Name##Backward, const CellStates& states, const CellGradients& gradients, int64_t first_row,        \
         int64_t last_row)
MULTIBIT_CELLS(CELL)
#undef CELL

// ---------------------------------------------------------------------------------------------------------------------
// Softmax

// ln(sum exp(logits)), with the maximum taken out. Error below 1e-6 * max(1, |result|).
KERNEL(double, LogSumExp, const float* logits, int64_t n)

// Each row of logits [rows, classes] becomes softmax(row); if labels is not null, label is subtracted as one-hot and
// losses[row] = -ln softmax(row)[label].
KERNEL(void, Softmax, float* logits, int64_t first_row, int64_t last_row, int64_t classes, const int32_t* labels,
       float* losses)

// A softmax whose classes come block by block. Each row of a block of logits [rows, classes] becomes e^(row - max[r]),
// with max[r] the largest logit of the row so far, and its sum is added to sums[r]; sums of blocks before are
// multiplied by rescale[r] = e^(max before - max[r]) first. Before the first block: -infinity and 0.
KERNEL(void, SoftmaxBlock, float* logits, int64_t rows, int64_t classes, float* max, double* sums, float* rescale)

// What SoftmaxBlock left of a block, once all are known: out = scales[r] row, and the sum of each column of it.
KERNEL(void, SoftmaxColumns, const float* exponentials, int64_t rows, int64_t classes, const float* scales, float* out,
       float* sums)

// Distillation (Hinton et al. 2015, section 2), w the weight, T the temperature: each row of logits becomes the
// gradient (1-w) (softmax(z) - onehot(label)) + w T (softmax(z/T) - softmax(y/T)) of losses[row] = -(1-w) ln
// softmax(z)[label] + w T^2 KL(softmax(y/T) || softmax(z/T)), with z the row of logits and y the row of teacher, which
// is overwritten.
KERNEL(void, Distill, float* logits, float* teacher, int64_t first_row, int64_t last_row, int64_t classes,
       const int32_t* labels, float weight, float temperature, float* losses)

// ---------------------------------------------------------------------------------------------------------------------
// Dropout. A mask has `words` words per row, bit j of a row standing for its element j.

// The element at position p = row * cols + column is retained if mix(key + p * golden) >> 1 < threshold, with golden =
// 0x9E3779B97F4A7C15 and mix(z) SplitMix64's next() from state z.
KERNEL(void, DropoutMasks, uint64_t key, uint64_t threshold, int64_t first_row, int64_t last_row, int64_t cols,
       uint64_t* masks)

// Retained elements are multiplied by factor, the others become 0.
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

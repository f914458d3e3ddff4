// Fused linear cross-entropy: the losses of a softmax output layer and their gradients, computed together with the
// layer's product, so that memory never holds the logits of a whole batch. There are two passes (docs/kernels.md). The
// first, over rows of the batch, leaves e^(logit - largest so far) in blocks of classes. The second, over blocks,
// computes the gradient of the weights from them.
#pragma once

#include "kernels.h"

namespace multibit {

// Classes per block. The last block may have fewer.
constexpr int64_t kClassBlock = 192;

inline int64_t ClassBlocks(int64_t classes) { return (classes + kClassBlock - 1) / kClassBlock; }

// Floats of scratch that a call of either pass needs.
int64_t CrossEntropyScratch(int64_t batch, int64_t cols);

// The layer's operands, x [batch, cols] and weights [classes, cols]: both packed, or both in full precision.
struct PackedLinear {
  const uint64_t* weight_planes;
  const float* weight_coefficients;
  int weight_bits;
  const uint64_t* activation_planes;
  const float* activation_coefficients;
  int activation_bits;
  const uint64_t* masks;  // null drops none
};
struct FloatLinear {
  const float* weights;
  const float* panels;  // the weights transposed, [cols, classes], and prepacked
};

// Rows of a batch with their labels, the results, and what the first pass leaves for the second. Logits are
// bias + product.
struct CrossEntropyArgs {
  int64_t classes, cols, batch;
  const float* bias;          // [classes]
  const int32_t* labels;      // [batch]
  const float* loss_weights;  // [batch]: the gradients are those of sum_r loss_weights[r] losses[r]
  const float* x;             // [batch, cols]: the values of the activations, 0 where dropped
  float* exponentials;        // [batch, classes] floats, in blocks of classes
  float* scales;              // [ClassBlocks(classes), batch]: scale * exponential = loss_weights[r] * softmax
  float* losses;              // [batch]: result
  float* input_gradient;      // [batch, cols]: result, as if no activation were dropped
};

// The first pass for rows [first, last): writes losses, exponentials, scales and input_gradient.
void CrossEntropyInputPass(const Kernels* kernels, const PackedLinear& linear, const CrossEntropyArgs& args,
                           int64_t first, int64_t last, float* scratch);
void CrossEntropyInputPass(const Kernels* kernels, const FloatLinear& linear, const CrossEntropyArgs& args,
                           int64_t first, int64_t last, float* scratch);

// The second pass for blocks [first, last): writes weight_gradient [classes, cols] and bias_gradient [classes] (null =
// not wanted), or adds to them.
void CrossEntropyWeightPass(const Kernels* kernels, const CrossEntropyArgs& args, int64_t first, int64_t last,
                            float* scratch, bool add, float* weight_gradient, float* bias_gradient);

}  // namespace multibit

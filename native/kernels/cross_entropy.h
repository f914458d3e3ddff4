// The losses of a softmax output layer and their gradient, fused with the layer's product, so that no logits of a whole
// batch lie in memory. Two passes (docs/kernels.md): the first, over rows of the batch, leaves e^(logit - largest so
// far) in blocks of classes; the second, over blocks, makes the weights' gradient of them.
#pragma once

#include "kernels.h"

namespace multibit {

// Classes of a block, and of all but the last.
constexpr int64_t kClassBlock = 192;

inline int64_t ClassBlocks(int64_t classes) { return (classes + kClassBlock - 1) / kClassBlock; }

// Floats of scratch that a call of either pass works in.
int64_t CrossEntropyScratch(int64_t batch, int64_t cols);

// The layer's operands, x [batch, cols] and weights [classes, cols]: both packed, or both in full precision.
struct PackedLinear {
  const uint64_t* weight_planes;
  const float* weight_coefficients;
  int weight_bits;
  const uint64_t* activation_planes;
  const float* activation_coefficients;
  int activation_bits;
  const uint64_t* masks;  // null = none is dropped
};
struct FloatLinear {
  const float* weights;
  const float* panels;  // the same prepacked, transposed: [cols, classes]
};

// Rows of a batch with their labels, and what the passes leave to each other. Logits are bias + product.
struct CrossEntropyArgs {
  int64_t classes, cols, batch;
  const float* bias;          // [classes]
  const int32_t* labels;      // [batch]
  const float* loss_weights;  // [batch]: the gradients are those of sum_r loss_weights[r] losses[r]
  const float* x;             // [batch, cols], the values of the activations, 0 where they are dropped
  float* exponentials;        // [batch, classes] floats, in blocks of classes
  float* scales;              // [ClassBlocks(classes), batch]: make loss_weights[r] softmax of exponentials
  float* losses;              // [batch], received
  float* input_gradient;      // [batch, cols], received: for activations that are all retained
};

// Rows [first, last) of the first pass: losses, exponentials, scales and input_gradient.
void CrossEntropyInputPass(const Kernels* kernels, const PackedLinear& linear, const CrossEntropyArgs& args,
                           int64_t first, int64_t last, float* scratch);
void CrossEntropyInputPass(const Kernels* kernels, const FloatLinear& linear, const CrossEntropyArgs& args,
                           int64_t first, int64_t last, float* scratch);

// Blocks [first, last) of the second: weight_gradient [classes, cols] and bias_gradient [classes] (null = not wanted),
// or what is added to them.
void CrossEntropyWeightPass(const Kernels* kernels, const CrossEntropyArgs& args, int64_t first, int64_t last,
                            float* scratch, bool add, float* weight_gradient, float* bias_gradient);

}  // namespace multibit

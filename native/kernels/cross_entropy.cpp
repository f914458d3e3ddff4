#include "cross_entropy.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace multibit {
namespace {

// Rows whose gradients are summed over the classes at once.
constexpr int64_t kRows = 320;

// Weights of classes from c on, a multiple of kWeightLanes, and products with them.
class PackedOperands {
 public:
  PackedOperands(const Kernels* kernels, const PackedLinear& linear, const CrossEntropyArgs& args)
      : kernels_(*kernels), linear_(linear), args_(args), words_((args.cols + 63) / 64) {}

  // Logits of `rows` rows from `from` on and `count` classes into a block [rows, count].
  void Multiply(int64_t from, int64_t rows, int64_t c, int64_t count, float* block) const {
    const PackedLinear& l = linear_;
    kernels_.PackedGemmMasked(l.weight_planes + c * words_ * l.weight_bits, l.weight_coefficients + c * l.weight_bits,
                              0, count, args_.cols, l.weight_bits,
                              l.activation_planes + from * words_ * l.activation_bits,
                              l.activation_coefficients + from * l.activation_bits, l.activation_bits,
                              l.masks ? l.masks + from * words_ : nullptr, rows, args_.bias + c, block, count);
  }
  // [count, cols]; in memory for as many.
  const float* Weights(int64_t c, int64_t count, float* memory) const {
    Unpack(c, 0, count, memory);
    return memory;
  }
  // Those of one class, which is any; in memory for [kWeightLanes, cols].
  const float* Row(int64_t c, float* memory) const {
    const int64_t lane = c % kWeightLanes;
    Unpack(c - lane, lane, lane + 1, memory);
    return memory + lane * args_.cols;
  }

 private:
  void Unpack(int64_t c, int64_t first, int64_t last, float* memory) const {
    kernels_.Dequantize(linear_.weight_planes + c * words_ * linear_.weight_bits,
                        linear_.weight_coefficients + c * linear_.weight_bits, first, last, args_.cols,
                        linear_.weight_bits, kWeightLanes, memory);
  }

  const Kernels& kernels_;
  const PackedLinear& linear_;
  const CrossEntropyArgs& args_;
  const int64_t words_;
};

// The same in full precision; c is a multiple of kPanelColumns.
class FloatOperands {
 public:
  FloatOperands(const Kernels* kernels, const FloatLinear& linear, const CrossEntropyArgs& args)
      : kernels_(*kernels), linear_(linear), args_(args) {}

  void Multiply(int64_t from, int64_t rows, int64_t c, int64_t count, float* block) const {
    const int64_t cols = args_.cols;
    kernels_.Gemm({.a = args_.x + from * cols,
                   .a_row = cols,
                   .a_inner = 1,
                   .b = linear_.panels + c * cols,
                   .b_inner = kPanelColumns,
                   .b_panel = cols * kPanelColumns,
                   .inner = cols,
                   .cols = count,
                   .alpha = 1,
                   .add = false,
                   .bias = args_.bias + c,
                   .c = block,
                   .c_row = count},
                  0, rows);
  }
  const float* Weights(int64_t c, int64_t, float*) const { return linear_.weights + c * args_.cols; }
  const float* Row(int64_t c, float*) const { return linear_.weights + c * args_.cols; }

 private:
  const Kernels& kernels_;
  const FloatLinear& linear_;
  const CrossEntropyArgs& args_;
};

// c [rows, cols] = a b, or c += a b. a [rows, inner] lies by rows, or transposed by columns; b [inner, cols] by rows.
void Multiply(const Kernels* kernels, const float* a, bool transposed, const float* b, int64_t rows, int64_t inner,
              int64_t cols, bool add, float* c) {
  kernels->Gemm({.a = a,
                 .a_row = transposed ? 1 : inner,
                 .a_inner = transposed ? rows : 1,
                 .b = b,
                 .b_inner = cols,
                 .b_panel = kPanelColumns,
                 .inner = inner,
                 .cols = cols,
                 .alpha = 1,
                 .add = add,
                 .bias = nullptr,
                 .c = c,
                 .c_row = cols},
                0, rows);
}

template <typename Operands>
void InputPass(const Kernels* kernels, const Operands& operands, const CrossEntropyArgs& args, int64_t first,
               int64_t last, float* scratch) {
  const int64_t cols = args.cols, classes = args.classes, batch = args.batch;
  float* dx = args.input_gradient;
  const int64_t chunks = (last - first + kRows - 1) / kRows;
  for (int64_t chunk = 0; chunk < chunks; ++chunk) {
    const int64_t from = first + chunk * (last - first) / chunks;
    const int64_t rows = first + (chunk + 1) * (last - first) / chunks - from;
    double sums[kRows];
    float max[kRows], rescale[kRows], label_logits[kRows];
    for (int64_t r = 0; r < rows; ++r) {
      max[r] = -INFINITY;
      sums[r] = 0;
    }
    for (int64_t c = 0; c < classes; c += kClassBlock) {
      const int64_t count = std::min(classes - c, kClassBlock);
      float* block = args.exponentials + c * batch + from * count;
      operands.Multiply(from, rows, c, count, block);
      for (int64_t r = 0; r < rows; ++r) {
        const int64_t label = args.labels[from + r] - c;
        if (label >= 0 && label < count) label_logits[r] = block[r * count + label];
      }
      kernels->SoftmaxBlock(block, rows, count, max, sums, rescale);
      std::memcpy(args.scales + c / kClassBlock * batch + from, max, rows * sizeof(float));
      for (int64_t r = 0; r < rows && c > 0; ++r) {
        if (rescale[r] != 1) kernels->Scale(rescale[r], cols, dx + (from + r) * cols);
      }
      Multiply(kernels, block, false, operands.Weights(c, count, scratch), rows, count, cols, c > 0, dx + from * cols);
    }
    for (int64_t r = 0; r < rows; ++r) {
      const int64_t row = from + r;
      args.losses[row] = static_cast<float>(max[r] + std::log(sums[r]) - label_logits[r]);
      const float scale = static_cast<float>(args.loss_weights[row] / sums[r]);
      for (int64_t i = 0; i < ClassBlocks(classes); ++i) {
        float& of_block = args.scales[i * batch + row];
        of_block = of_block == max[r] ? scale : scale * std::exp(of_block - max[r]);
      }
      kernels->Scale(scale, cols, dx + row * cols);
      const float* label = operands.Row(args.labels[row], scratch);
      for (int64_t j = 0; j < cols; ++j) dx[row * cols + j] -= args.loss_weights[row] * label[j];
    }
  }
}

}  // namespace

int64_t CrossEntropyScratch(int64_t batch, int64_t cols) { return kClassBlock * std::max(cols, batch + 1); }

void CrossEntropyInputPass(const Kernels* kernels, const PackedLinear& linear, const CrossEntropyArgs& args,
                           int64_t first, int64_t last, float* scratch) {
  InputPass(kernels, PackedOperands(kernels, linear, args), args, first, last, scratch);
}

void CrossEntropyInputPass(const Kernels* kernels, const FloatLinear& linear, const CrossEntropyArgs& args,
                           int64_t first, int64_t last, float* scratch) {
  InputPass(kernels, FloatOperands(kernels, linear, args), args, first, last, scratch);
}

void CrossEntropyWeightPass(const Kernels* kernels, const CrossEntropyArgs& args, int64_t first, int64_t last,
                            float* scratch, bool add, float* weight_gradient, float* bias_gradient) {
  const int64_t batch = args.batch;
  float* sums = scratch;
  float* delta = scratch + kClassBlock;
  for (int64_t c = first * kClassBlock; c < last * kClassBlock && c < args.classes; c += kClassBlock) {
    const int64_t count = std::min(args.classes - c, kClassBlock);
    kernels->SoftmaxColumns(args.exponentials + c * batch, batch, count, args.scales + c / kClassBlock * batch, delta,
                            sums);
    for (int64_t r = 0; r < batch; ++r) {
      const int64_t label = args.labels[r] - c;
      if (label < 0 || label >= count) continue;
      delta[r * count + label] -= args.loss_weights[r];
      sums[label] -= args.loss_weights[r];
    }
    Multiply(kernels, delta, true, args.x, count, batch, args.cols, add, weight_gradient + c * args.cols);
    if (bias_gradient == nullptr) continue;
    if (!add) std::memset(bias_gradient + c, 0, count * sizeof(float));
    kernels->Add(sums, count, bias_gradient + c);
  }
}

}  // namespace multibit

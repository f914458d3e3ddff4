// One stream of tokens through a model.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "model.h"

namespace multibit {

// A vector that products read: its floats, and its codes at each number of bits that a product asks for. Codes are made
// when first asked for after the floats changed, so that products with equal bits share them.
class Activation {
 public:
  explicit Activation(int64_t size) : values_(size) {}

  // Makes room for what a product with this matrix needs.
  void Reserve(const Matrix& matrix);

  // The floats, to be written: codes are no longer current.
  float* Change();
  // Becomes a row of the embedding: its floats, or its codes as they lie there.
  void Embed(const Kernels& kernels, const Matrix& embedding, int32_t token);
  // out = matrix * this. Throws an Error if the floats cannot be quantized. Needs scratch for quantize.
  void Multiply(const Model& model, const Matrix& matrix, void* scratch, float* out);

 private:
  struct Codes {
    int bits;
    bool current;
    std::vector<uint64_t> planes;
    std::vector<float> coefficients;
    std::vector<float> values;  // for full-precision matrices, else empty
  };

  Codes& At(int bits);

  std::vector<float> values_;
  std::vector<Codes> codes_;
};

class Session {
 public:
  explicit Session(const Model& model);

  void Reset();
  void Step(int32_t token);
  // V floats, valid until the next call. Throws an Error if nothing was fed.
  const float* Logits();
  // See multibit.h. The sum of the losses.
  double Evaluate(int32_t first, const int32_t* tokens, size_t count);
  void Generate(float temperature, int32_t top_k, uint64_t seed, int32_t* tokens, size_t count);

 private:
  void CheckToken(int32_t token) const;

  const Model& model_;
  Activation input_;
  std::vector<Activation> hidden_;        // h of each layer
  std::vector<std::vector<float>> cell_;  // c of each layer
  std::vector<float> input_product_;      // 4H
  std::vector<float> z_;                  // 4H
  std::vector<float> logits_;
  std::vector<float> scratch_;
  bool fed_ = false;
  bool logits_current_ = false;
};

}  // namespace multibit

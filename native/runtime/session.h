// One stream of tokens through a model: state, and the scratch memory of a step, allocated once.
#pragma once

#include <cstdint>
#include <vector>

#include "model.h"

namespace multibit {

class Session {
 public:
  explicit Session(const Model& model);

  void Reset();
  void Step(int32_t token);
  // V floats; after a step, until the next call.
  const float* Logits();
  // Feeds `first`, then each token but the last; the sum of -ln p over all tokens.
  double Evaluate(int32_t first, const int32_t* tokens, size_t count);
  void Generate(float temperature, int32_t top_k, uint64_t seed, int32_t* tokens, size_t count);
  bool stepped() const { return stepped_; }
  const Model& model() const { return model_; }

 private:
  // A vector that products read: floats, or codes at some number of bits; codes are computed once per bits.
  struct Activation {
    std::vector<float> values;  // (cols)
    struct Codes {
      std::vector<uint64_t> planes;     // (words, bits)
      std::vector<float> coefficients;  // (bits)
      bool ready = false;
    };
    std::vector<Codes> codes;  // by bits, 0..8; empty where no product needs them
    bool values_ready = false;
  };

  void Prepare(Activation& activation, int64_t cols, const std::vector<int>& bits);
  static void Changed(Activation& activation);
  void Lookup(int32_t token);
  const float* Values(Activation& activation, int bits);
  const Activation::Codes& CodesOf(Activation& activation, int bits);
  void Multiply(const Matrix& matrix, Activation& activation, float* out);
  int32_t Draw(float temperature, int32_t top_k, uint64_t& random);

  const Model& model_;
  Activation embedded_;
  std::vector<Activation> hidden_;  // h of each layer
  std::vector<std::vector<float>> cell_;
  std::vector<float> gates_;      // (4H) the input product, then the sum
  std::vector<float> recurrent_;  // (4H)
  std::vector<float> dequantized_;
  std::vector<float> logits_;
  std::vector<int32_t> order_;
  std::vector<double> weights_;
  std::vector<unsigned char> scratch_;
  bool stepped_ = false;
  bool logits_ready_ = false;
};

}  // namespace multibit

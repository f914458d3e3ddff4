// A packed language model: what docs/format.md says, checked whole when it is opened, and used where it is mapped.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "gguf.h"
#include "kernels.h"

namespace multibit {

// A weight matrix: multi-bit (bits > 0: planes and coefficients) or full precision (bits == 0: dense).
struct Matrix {
  int64_t rows;
  int64_t cols;
  int bits;
  const uint64_t* planes;     // (blocks, words, bits, 8)
  const float* coefficients;  // (blocks, bits, 8)
  const float* dense;         // (rows, cols)
  int activation_bits;        // of the vector that it is multiplied with; 0: full precision

  int64_t words() const { return (cols + 63) / 64; }
};

struct Layer {
  Matrix input;       // (4H, E or H)
  Matrix recurrent;   // (4H, H)
  const float* bias;  // (4H)
};

struct Model {
  explicit Model(const std::string& path);  // throws Error

  Gguf file;
  const Kernels* kernels;
  int32_t vocabulary_size;  // V
  int32_t embedding_size;   // E
  int32_t hidden_size;      // H
  int32_t eos;
  int32_t unknown;  // -1: none
  Quantizer activations;
  Matrix embedding;  // (V, E)
  std::vector<Layer> layers;
  Matrix softmax;             // (V, H)
  const float* softmax_bias;  // (V)
  std::vector<std::string_view> words;
  std::unordered_map<std::string_view, int32_t> tokens;
  std::unordered_map<std::string_view, std::string> metadata_text;  // each value as text

 private:
  Matrix LoadMatrix(const std::string& name, int64_t rows, int64_t cols, bool has_activations) const;
  const float* LoadFloats(const std::string& name, const std::vector<uint64_t>& dims) const;
  void LoadVocabulary();
  void LoadActivations();
};

}  // namespace multibit

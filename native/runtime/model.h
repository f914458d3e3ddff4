// A packed language model: the file's tensors in place, all of docs/format.md checked.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "gguf.h"
#include "kernels.h"

namespace multibit {

struct Matrix {
  int64_t rows;
  int64_t cols;
  int weight_bits;         // 0: full precision
  int activation_bits;     // of what it is multiplied with; 0: full precision
  const uint64_t* planes;  // multi-bit only, as is the next
  const float* coefficients;
  const float* weights;  // full precision only: rows x cols, row-major
};

struct Layer {
  Matrix input;       // 4H x E or H
  Matrix recurrent;   // 4H x H
  const float* bias;  // 4H
};

// Not changed after it is loaded, so threads may share it.
struct Model {
  explicit Model(const char* path) : file(path) {}

  GgufFile file;
  const Kernels* kernels;
  int32_t vocabulary_size;
  int32_t embedding_size;
  int32_t hidden_size;
  int32_t eos;
  int32_t unknown;  // -1: none
  std::vector<std::string_view> words;
  std::unordered_map<std::string_view, int32_t> tokens;
  std::map<std::string, std::string, std::less<>> metadata;  // values as text
  Quantizer quantizer;                                       // of activations; used only where a product quantizes them
  Matrix embedding;                                          // V x E
  std::vector<Layer> layers;
  Matrix softmax;             // V x H
  const float* softmax_bias;  // V

  // The token of a word, the unknown token if there is one, or -1.
  int32_t Token(std::string_view word) const {
    const auto found = tokens.find(word);
    return found == tokens.end() ? -1 : found->second;
  }
};

// Throws an Error if the file cannot be read or is not a model.
std::unique_ptr<const Model> LoadModel(const char* path, const Kernels& kernels);

// The kernels of this process. Throws an Error if MULTIBIT_ISA does not name a tier.
const Kernels& ChosenKernels();

}  // namespace multibit

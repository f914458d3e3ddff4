// A packed model: the file's tensors in place, all of docs/format.md checked.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "gguf.h"
#include "kernels.h"
#include "thread_pool.h"

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

// The words of a model, as they lie in the file; position = token.
class Vocabulary {
 public:
  Vocabulary() = default;
  explicit Vocabulary(std::vector<std::string_view> words);

  int32_t size() const { return static_cast<int32_t>(words_.size()); }
  std::string_view operator[](int32_t token) const { return words_[token]; }
  // The token of a word, or -1.
  int32_t Find(std::string_view word) const;
  // A token whose word another token has too, or -1.
  int32_t FindRepeated() const;

 private:
  std::vector<std::string_view> words_;
  std::vector<int32_t> sorted_;  // tokens by their word
};

// What a model is fed and what its classes are: tokens, and the words that come next; or vectors of floats, and the
// classes of their sequence.
enum class Head { kLanguageModel, kClassifier };

// G gates of H units each.
struct Layer {
  Matrix input;                 // GH x input size or H
  Matrix recurrent;             // GH x H
  const float* bias;            // GH
  const float* recurrent_bias;  // GH; of cells with separate sums only
};

// Not changed after it is loaded, so threads may share it.
struct Model {
  Model(FileBytes bytes, const char* name) : file(std::move(bytes), name) {}

  GgufFile file;
  const Kernels* kernels;
  Head head;
  int32_t input_size;  // of the first layer: the embedding's, or floats that a classifier is fed in a step
  int32_t hidden_size;
  int32_t classes;  // logits: one for each word, or for each class
  Cell cell;
  // Of a language model; a classifier has no words.
  int32_t eos;      // -1: none
  int32_t unknown;  // -1: none
  Vocabulary words;
  Matrix embedding;                                          // V x E
  std::map<std::string, std::string, std::less<>> metadata;  // values as text
  Quantizer quantizer;                                       // of activations; used only where a product quantizes them
  std::vector<Layer> layers;
  Matrix softmax;             // classes x H; where weights are tied, the embedding's
  const float* softmax_bias;  // classes
  mutable ThreadPool pool;    // helps whoever runs the model

  const CellKind& Kind() const { return kCells[cell]; }
  const char* HeadName() const { return head == Head::kClassifier ? "classifier" : "language-model"; }
  // Throws an Error that says what the model is, if it is another.
  void Require(Head needed) const;
  // Throws an Error if there is no such token, or the model is fed none.
  void CheckToken(int32_t token) const;
};

// Throws an Error if the file cannot be read or is not a model.
std::unique_ptr<const Model> LoadModel(const char* path, const Kernels& kernels);
// The same for a file whose bytes are there; messages call it by its name.
std::unique_ptr<const Model> LoadModel(FileBytes bytes, const char* name, const Kernels& kernels);

// The kernels of this process. Throws an Error if MULTIBIT_ISA does not name a tier.
const Kernels& ChosenKernels();

}  // namespace multibit

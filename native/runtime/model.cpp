#include "model.h"

#include <algorithm>
#include <cmath>

#include "error.h"
#include "multibit.h"

namespace multibit {
namespace {

constexpr uint32_t kMaxSize = 1u << 28;
constexpr uint32_t kMaxLayers = 1u << 10;
constexpr int64_t kLanes = 8;

const Kernels* LoadKernels() {
  const char* error = nullptr;
  const Kernels* kernels = SelectKernels(&error);
  if (!kernels) throw Error(MULTIBIT_ERROR_ISA, error ? error : "No kernels for this CPU");
  return kernels;
}

int MethodNumber(std::string_view name) {
  constexpr std::string_view kNames[] = {"uniform", "balanced", "greedy", "refined", "alternating", "optimal"};
  for (int i = 0; i < 6; ++i) {
    if (name == kNames[i]) return i;
  }
  return -1;
}

}  // namespace

Model::Model(const std::string& path) : file(path), kernels(LoadKernels()) {
  file.U32("multibit.version", 1, 1);
  if (file.Text("multibit.head") != "language-model") file.Fail("multibit.head is not \"language-model\"");
  if (file.Text("multibit.cell") != "lstm") file.Fail("multibit.cell is not \"lstm\"");
  const uint32_t layer_count = file.U32("multibit.layers", 1, kMaxLayers);
  vocabulary_size = static_cast<int32_t>(file.U32("multibit.vocabulary_size", 1, kMaxSize));
  embedding_size = static_cast<int32_t>(file.U32("multibit.embedding_size", 1, kMaxSize));
  hidden_size = static_cast<int32_t>(file.U32("multibit.hidden_size", 1, kMaxSize));
  LoadVocabulary();
  const int64_t h = hidden_size;
  embedding = LoadMatrix("embedding", vocabulary_size, embedding_size, false);
  for (uint32_t l = 0; l < layer_count; ++l) {
    const std::string name = "rnn." + std::to_string(l);
    Layer layer;
    layer.input = LoadMatrix(name + ".input", 4 * h, l == 0 ? embedding_size : h, true);
    layer.recurrent = LoadMatrix(name + ".recurrent", 4 * h, h, true);
    layer.bias = LoadFloats(name + ".bias", {static_cast<uint64_t>(4 * h)});
    layers.push_back(layer);
  }
  if (embedding.bits > 0 && layers[0].input.activation_bits != embedding.bits) {
    file.Fail("multibit.rnn.0.input.activation_bits must be the embedding's weight_bits");
  }
  softmax = LoadMatrix("softmax", vocabulary_size, h, true);
  softmax_bias = LoadFloats("softmax.bias", {static_cast<uint64_t>(vocabulary_size)});
  LoadActivations();
  for (const auto& [key, value] : file.metadata()) metadata_text.emplace(key, value.ToText());
}

void Model::LoadVocabulary() {
  if (file.Text("tokenizer.ggml.model") != "words") file.Fail("tokenizer.ggml.model is not \"words\"");
  words = file.Texts("tokenizer.ggml.tokens");
  if (words.size() != static_cast<size_t>(vocabulary_size)) {
    file.Fail("its vocabulary has " + std::to_string(words.size()) + " words, not " + std::to_string(vocabulary_size));
  }
  tokens.reserve(words.size());
  for (size_t i = 0; i < words.size(); ++i) tokens.emplace(words[i], static_cast<int32_t>(i));
  const uint32_t last = static_cast<uint32_t>(vocabulary_size - 1);
  eos = static_cast<int32_t>(file.U32("tokenizer.ggml.eos_token_id", 0, last));
  unknown = file.Find("tokenizer.ggml.unknown_token_id")
                ? static_cast<int32_t>(file.U32("tokenizer.ggml.unknown_token_id", 0, last))
                : -1;
}

const float* Model::LoadFloats(const std::string& name, const std::vector<uint64_t>& dims) const {
  const float* values = file.Floats(name, dims);
  uint64_t count = 1;
  for (uint64_t dim : dims) count *= dim;
  for (uint64_t i = 0; i < count; ++i) {
    if (!std::isfinite(values[i])) file.Fail("tensor " + name + " has a value that is not finite");
  }
  return values;
}

Matrix Model::LoadMatrix(const std::string& name, int64_t rows, int64_t cols, bool has_activations) const {
  Matrix matrix{};
  matrix.rows = rows;
  matrix.cols = cols;
  matrix.bits = static_cast<int>(file.U32("multibit." + name + ".weight_bits", 0, 8));
  matrix.activation_bits =
      has_activations ? static_cast<int>(file.U32("multibit." + name + ".activation_bits", 0, 8)) : 0;
  const uint64_t bits = static_cast<uint64_t>(matrix.bits);
  if (bits == 0) {
    matrix.dense = LoadFloats(name + ".weight", {static_cast<uint64_t>(cols), static_cast<uint64_t>(rows)});
    return matrix;
  }
  const uint64_t blocks = static_cast<uint64_t>((rows + kLanes - 1) / kLanes);
  const uint64_t words = static_cast<uint64_t>(matrix.words());
  matrix.planes = file.Words(name + ".planes", {kLanes, bits, words, blocks});
  matrix.coefficients = LoadFloats(name + ".coefficients", {kLanes, bits, blocks});
  // The products rely on zero bits past the last column.
  const int tail = static_cast<int>(cols % 64);
  if (tail != 0) {
    const uint64_t padding = ~uint64_t{0} << tail;
    for (uint64_t b = 0; b < blocks; ++b) {
      const uint64_t* last = matrix.planes + ((b + 1) * words - 1) * bits * kLanes;
      for (uint64_t i = 0; i < bits * kLanes; ++i) {
        if (last[i] & padding) file.Fail("tensor " + name + ".planes has bits past its last column");
      }
    }
  }
  return matrix;
}

void Model::LoadActivations() {
  int most = softmax.activation_bits;
  for (size_t l = 0; l < layers.size(); ++l) {
    if (l > 0 || embedding.bits == 0) most = std::max(most, layers[l].input.activation_bits);
    most = std::max(most, layers[l].recurrent.activation_bits);
  }
  activations = {kAlternating, 0, 1};
  if (most == 0) return;
  const std::string_view name = file.Text("multibit.activation.method");
  activations.method = MethodNumber(name);
  activations.cycles = static_cast<int>(file.U32("multibit.activation.cycles", 0, 1000));
  activations.scale = file.F32("multibit.activation.scale");
  if (activations.method < 0 || most > MaxBits(activations.method)) {
    file.Fail("activations of " + std::to_string(most) + " bits by an unknown method, or by one that has not so many");
  }
  if (!(activations.scale > 0) || activations.scale > 1e6f) file.Fail("multibit.activation.scale is out of range");
}

}  // namespace multibit

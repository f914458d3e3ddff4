#include "model.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <utility>

#include "error.h"
#include "multibit.h"
#include "text.h"

namespace multibit {
namespace {

constexpr int64_t kLanes = 8;
constexpr int kMaxBits = 8;
constexpr uint32_t kVersion = 3;
constexpr uint32_t kMaxCycles = 1000;
constexpr float kMaxScale = 1e6f;
// Keeps GH and products of two sizes well inside int64.
constexpr uint32_t kMaxSize = 1u << 28;
// What is kept of them stays well inside a small heap.
constexpr uint32_t kMaxWords = 1u << 21;

class Loader {
 public:
  explicit Loader(Model* model) : model_(*model), file_(model->file) {}

  void Load() {
    Expect("general.architecture", "multibit");
    const uint32_t version = file_.U32("multibit.version");
    if (version < 1 || version > kVersion) {
      file_.Damaged("it has format version %u, this program reads versions 1 to %u", version, kVersion);
    }
    model_.head =
        OneOf("multibit.head", {"language-model", "classifier"}) == 0 ? Head::kLanguageModel : Head::kClassifier;
    std::vector<const char*> cells;
    for (const CellKind& kind : kCells) cells.push_back(kind.name);
    model_.cell = static_cast<Cell>(OneOf("multibit.cell", cells));
    model_.hidden_size = Size("multibit.hidden_size");
    model_.eos = model_.unknown = -1;
    model_.embedding = {};
    if (IsLanguageModel()) {
      Expect("tokenizer.ggml.model", "words");
      model_.classes = Size("multibit.vocabulary_size");
      model_.input_size = Size("multibit.embedding_size");
      LoadVocabulary();
    } else {
      model_.classes = Size("multibit.classes");
      model_.input_size = Size("multibit.input_size");
    }
    LoadMatrices();
    LoadQuantizer();
    for (const auto& [key, value] : file_.metadata()) model_.metadata.emplace(key, value.Text());
  }

 private:
  bool IsLanguageModel() const { return model_.head == Head::kLanguageModel; }

  void Expect(const char* key, std::string_view expected) const {
    const std::string_view value = file_.String(key);
    if (value != expected) {
      file_.Damaged("%s is \"%.*s\", expected \"%.*s\"", key, static_cast<int>(std::min<size_t>(value.size(), 80)),
                    value.data(), static_cast<int>(expected.size()), expected.data());
    }
  }

  // Which of the two the value is.
  int OneOf(const char* key, const std::vector<const char*>& names) const {
    const std::string_view value = file_.String(key);
    const auto found = std::find(names.begin(), names.end(), value);
    if (found == names.end()) {
      std::string expected;
      for (const char* name : names) expected += (expected.empty() ? "\"" : " or \"") + std::string(name) + "\"";
      file_.Damaged("%s is \"%.*s\", expected %s", key, static_cast<int>(std::min<size_t>(value.size(), 80)),
                    value.data(), expected.c_str());
    }
    return static_cast<int>(found - names.begin());
  }

  int32_t Size(const std::string& key) const {
    const uint32_t size = file_.U32(key);
    if (size < 1 || size > kMaxSize) file_.Damaged("%s is %u", key.c_str(), size);
    return static_cast<int32_t>(size);
  }

  int Bits(const std::string& key) const {
    const uint32_t bits = file_.U32(key);
    if (bits > kMaxBits) file_.Damaged("%s is %u, outside 0..8", key.c_str(), bits);
    return static_cast<int>(bits);
  }

  // The token of a word that texts need; the file says which it is.
  int32_t Token(const char* key, std::string_view word) const {
    const uint32_t token = file_.U32(key);
    if (token >= static_cast<uint32_t>(model_.classes)) file_.Damaged("%s is outside the vocabulary", key);
    const auto id = static_cast<int32_t>(token);
    if (model_.words[id] != word) {
      file_.Damaged("%s is that of the word \"%s\", not %s", key, Printable(model_.words[id], 80).c_str(),
                    std::string(word).c_str());
    }
    return id;
  }

  bool Tied() const {
    const char* key = "multibit.tied_embedding";
    if (!IsLanguageModel() || !file_.Has(key)) return false;
    const uint32_t tied = file_.U32(key);
    if (tied > 1) file_.Damaged("%s is %u, neither 0 nor 1", key, tied);
    return tied == 1;
  }

  void LoadVocabulary() {
    const char* key = "tokenizer.ggml.tokens";
    const uint64_t count = file_.StringCount(key);
    if (count != static_cast<uint64_t>(model_.classes) || count > kMaxWords) {
      file_.Damaged("its vocabulary has %llu words, not %d (of at most %u)", static_cast<unsigned long long>(count),
                    model_.classes, kMaxWords);
    }
    model_.words = Vocabulary(file_.Strings(key));
    for (int32_t token = 0; token < model_.words.size(); ++token) {
      const std::string_view word = model_.words[token];
      if (word.empty() || std::any_of(word.begin(), word.end(), IsWhiteSpace)) {
        file_.Damaged("word %d of the vocabulary, \"%s\", is empty or holds white space", token,
                      Printable(word, 80).c_str());
      }
    }
    const int32_t repeated = model_.words.FindRepeated();
    if (repeated >= 0) {
      file_.Damaged("the vocabulary holds \"%s\" twice, once as word %d", Printable(model_.words[repeated], 80).c_str(),
                    repeated);
    }
    model_.eos = Token("tokenizer.ggml.eos_token_id", "<eos>");
    const char* unknown = "tokenizer.ggml.unknown_token_id";
    model_.unknown = file_.Has(unknown) ? Token(unknown, "<unk>") : -1;
  }

  void LoadMatrices() {
    const int64_t v = model_.classes;
    const int64_t e = model_.input_size;
    const int64_t h = model_.hidden_size;
    const int64_t gates = model_.Kind().gates * h;
    const int32_t layers = Size("multibit.layers");
    const bool tied = Tied();
    if (tied && e != h) {
      file_.Damaged("tied weights need multibit.embedding_size = multibit.hidden_size, not %lld and %lld",
                    static_cast<long long>(e), static_cast<long long>(h));
    }
    if (IsLanguageModel()) model_.embedding = LoadMatrix("embedding", v, e);
    for (int32_t l = 0; l < layers; ++l) {
      const std::string name = "rnn." + std::to_string(l);
      Layer layer;
      layer.input = LoadProduct(name + ".input", gates, l == 0 ? e : h);
      layer.recurrent = LoadProduct(name + ".recurrent", gates, h);
      layer.bias = Finite(name + ".bias", {gates});
      layer.recurrent_bias = model_.Kind().separate_sums ? Finite(name + ".recurrent_bias", {gates}) : nullptr;
      model_.layers.push_back(layer);
    }
    if (tied) {
      model_.softmax = model_.embedding;
      model_.softmax.activation_bits = ActivationBits("softmax");
    } else {
      model_.softmax = LoadProduct("softmax", v, h);
    }
    model_.softmax_bias = Finite("softmax.bias", {v});
    const int embedded = model_.embedding.weight_bits;
    const int expected = model_.layers[0].input.activation_bits;
    if (embedded > 0 && embedded != expected) {
      file_.Damaged("the embedding has %d bits, but multibit.rnn.0.input.activation_bits is %d", embedded, expected);
    }
  }

  Matrix LoadProduct(const std::string& name, int64_t rows, int64_t cols) const {
    Matrix matrix = LoadMatrix(name, rows, cols);
    matrix.activation_bits = ActivationBits(name);
    return matrix;
  }

  int ActivationBits(const std::string& name) const { return Bits("multibit." + name + ".activation_bits"); }

  Matrix LoadMatrix(const std::string& name, int64_t rows, int64_t cols) const {
    Matrix matrix = {rows, cols, Bits("multibit." + name + ".weight_bits"), 0, nullptr, nullptr, nullptr};
    if (matrix.weight_bits == 0) {
      matrix.weights = Finite(name + ".weight", {cols, rows});
      return matrix;
    }
    const int64_t blocks = (rows + kLanes - 1) / kLanes;
    matrix.planes = file_.Words(name + ".planes", {kLanes, matrix.weight_bits, (cols + 63) / 64, blocks});
    matrix.coefficients = Finite(name + ".coefficients", {kLanes, matrix.weight_bits, blocks});
    CheckPadding(name, matrix);
    return matrix;
  }

  const float* Finite(const std::string& name, std::initializer_list<int64_t> dims) const {
    const float* values = file_.Floats(name, dims);
    int64_t count = 1;
    for (const int64_t dim : dims) count *= dim;
    int not_finite = 0;
    for (int64_t i = 0; i < count; ++i) not_finite |= !(std::fabs(values[i]) <= std::numeric_limits<float>::max());
    if (not_finite) {
      const float* found = std::find_if_not(values, values + count, [](float value) { return std::isfinite(value); });
      file_.Damaged("element %lld of tensor %s is not finite", static_cast<long long>(found - values), name.c_str());
    }
    return values;
  }

  // Kernels count on zeros in padding.
  void CheckPadding(const std::string& name, const Matrix& matrix) const {
    const int64_t words = (matrix.cols + 63) / 64;
    const int64_t blocks = (matrix.rows + kLanes - 1) / kLanes;
    const int64_t per_word = matrix.weight_bits * kLanes;
    const uint64_t past_columns = matrix.cols % 64 == 0 ? 0 : ~uint64_t{0} << (matrix.cols % 64);
    uint64_t set = 0;
    for (int64_t block = 0; past_columns != 0 && block < blocks; ++block) {
      const uint64_t* last = matrix.planes + (block * words + words - 1) * per_word;
      for (int64_t i = 0; i < per_word; ++i) set |= last[i] & past_columns;
    }
    for (int64_t lane = matrix.rows - (blocks - 1) * kLanes; lane < kLanes; ++lane) {
      const uint64_t* planes = matrix.planes + (blocks - 1) * words * per_word + lane;
      for (int64_t i = 0; i < words * matrix.weight_bits; ++i) set |= planes[i * kLanes];
      const float* coefficients = matrix.coefficients + (blocks - 1) * per_word + lane;
      for (int i = 0; i < matrix.weight_bits; ++i) set |= coefficients[i * kLanes] != 0;
    }
    if (set != 0) file_.Damaged("the padding of %s is not zero", name.c_str());
  }

  // The most bits that a product quantizes its activations to while the model runs.
  int OnlineBits() const {
    int bits = model_.softmax.activation_bits;
    for (size_t l = 0; l < model_.layers.size(); ++l) {
      const bool codes_are_there = l == 0 && model_.embedding.weight_bits > 0;
      if (!codes_are_there) bits = std::max(bits, model_.layers[l].input.activation_bits);
      bits = std::max(bits, model_.layers[l].recurrent.activation_bits);
    }
    return bits;
  }

  void LoadQuantizer() {
    model_.quantizer = {kGreedy, 0, 1};
    const int bits = OnlineBits();
    if (bits == 0) return;
    const std::string_view method = file_.String("multibit.activation.method");
    static constexpr std::string_view kMethods[] = {"uniform", "balanced",    "greedy",
                                                    "refined", "alternating", "optimal"};
    const auto found = std::find(std::begin(kMethods), std::end(kMethods), method);
    if (found == std::end(kMethods)) {
      file_.Damaged("there is no activation method \"%.*s\"", static_cast<int>(std::min<size_t>(method.size(), 80)),
                    method.data());
    }
    model_.quantizer.method = static_cast<int>(found - std::begin(kMethods));
    if (bits > MaxBits(model_.quantizer.method)) {
      file_.Damaged("the activation method %s does not take %d bits", std::string(method).c_str(), bits);
    }
    const uint32_t cycles = file_.U32("multibit.activation.cycles");
    const float scale = file_.F32("multibit.activation.scale");
    if (model_.quantizer.method != kAlternating) return;
    if (cycles > kMaxCycles) file_.Damaged("multibit.activation.cycles is %u", cycles);
    if (!(scale > 0) || scale > kMaxScale) file_.Damaged("multibit.activation.scale is %g", static_cast<double>(scale));
    model_.quantizer.cycles = static_cast<int>(cycles);
    model_.quantizer.scale = scale;
  }

  Model& model_;
  const GgufFile& file_;
};

}  // namespace

Vocabulary::Vocabulary(std::vector<std::string_view> words) : words_(std::move(words)), sorted_(words_.size()) {
  std::iota(sorted_.begin(), sorted_.end(), 0);
  std::sort(sorted_.begin(), sorted_.end(), [&](int32_t a, int32_t b) { return words_[a] < words_[b]; });
}

int32_t Vocabulary::FindRepeated() const {
  const auto found =
      std::adjacent_find(sorted_.begin(), sorted_.end(), [&](int32_t a, int32_t b) { return words_[a] == words_[b]; });
  return found == sorted_.end() ? -1 : *found;
}

int32_t Vocabulary::Find(std::string_view word) const {
  const auto found = std::lower_bound(sorted_.begin(), sorted_.end(), word,
                                      [&](int32_t token, std::string_view sought) { return words_[token] < sought; });
  return found == sorted_.end() || words_[*found] != word ? -1 : *found;
}

void Model::Require(Head needed) const {
  if (head == needed) return;
  if (head == Head::kClassifier) {
    Fail(MULTIBIT_ERROR_ARGUMENT, "The model is a classifier: it is fed vectors of %d floats, not tokens", input_size);
  }
  Fail(MULTIBIT_ERROR_ARGUMENT, "The model is a language model: it is fed tokens, not vectors of floats");
}

void Model::CheckToken(int32_t token) const {
  Require(Head::kLanguageModel);
  if (token < 0 || token >= words.size()) {
    Fail(MULTIBIT_ERROR_ARGUMENT, "There is no token %d in a vocabulary of %d", token, words.size());
  }
}

std::unique_ptr<const Model> LoadModel(const char* path, const Kernels& kernels) {
  return LoadModel(FileBytes(path), path, kernels);
}

std::unique_ptr<const Model> LoadModel(FileBytes bytes, const char* name, const Kernels& kernels) {
  auto model = std::make_unique<Model>(std::move(bytes), name);
  model->kernels = &kernels;
  Loader(model.get()).Load();
  return model;
}

const Kernels& ChosenKernels() {
  const char* error = nullptr;
  const Kernels* kernels = SelectKernels(&error);
  if (kernels == nullptr) throw Error(MULTIBIT_ERROR_ISA, error);
  return *kernels;
}

}  // namespace multibit

// Random models for the tests, written by the letter of docs/format.md.
#pragma once

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <iterator>
#include <ostream>
#include <random>
#include <string>
#include <vector>

#include "gguf_writer.h"
#include "kernels.h"

class TemporaryFile {
 public:
  TemporaryFile() {
    const int descriptor = mkstemp(path_);
    if (descriptor < 0) std::abort();
    close(descriptor);
  }
  explicit TemporaryFile(const std::string& bytes) : TemporaryFile() { Write(bytes); }
  ~TemporaryFile() { unlink(path_); }
  const char* path() const { return path_; }
  void Write(const std::string& bytes) const {
    std::FILE* file = std::fopen(path_, "wb");
    if (file == nullptr || std::fwrite(bytes.data(), 1, bytes.size(), file) != bytes.size() || std::fclose(file) != 0) {
      std::abort();
    }
  }

 private:
  char path_[32] = "/tmp/multibit-test-XXXXXX";
};

// A matrix of the test: its values, and its codes where it has them.
struct TestMatrix {
  int rows, cols, bits, activation_bits;
  std::vector<uint64_t> planes;  // as in the file
  std::vector<float> coefficients;
  std::vector<double> values;  // row-major
};

// Of a classifier, vocabulary is its classes and embedding what it is fed in a step.
struct Shape {
  const char* name;
  int vocabulary, embedding, hidden, layers;
  int embedding_bits, weight_bits, activation_bits, softmax_weight_bits, softmax_activation_bits;
  int method, cycles;
  float scale;
  bool gru = false, tied = false, classifier = false;

  int Gates() const { return gru ? 3 : 4; }
};

inline std::ostream& operator<<(std::ostream& out, const Shape& shape) { return out << shape.name; }

inline const char* const kMethods[] = {"uniform", "balanced", "greedy", "refined", "alternating", "optimal"};

// A random model: its file, and a step by the letter of docs/format.md in double.
class TestModel {
 public:
  explicit TestModel(const Shape& s, unsigned seed = 1) : shape(s), random_(seed) {
    file.String("general.architecture", "multibit");
    file.U32("general.alignment", 64);
    file.U32("multibit.version", s.classifier ? 3 : s.gru || s.tied ? 2 : 1);
    file.String("multibit.head", s.classifier ? "classifier" : "language-model");
    file.String("multibit.cell", s.gru ? "gru" : "lstm");
    if (s.tied) file.U32("multibit.tied_embedding", 1);
    file.U32("multibit.layers", s.layers);
    file.U32(s.classifier ? "multibit.classes" : "multibit.vocabulary_size", s.vocabulary);
    file.U32(s.classifier ? "multibit.input_size" : "multibit.embedding_size", s.embedding);
    file.U32("multibit.hidden_size", s.hidden);
    file.String("multibit.activation.method", kMethods[s.method]);
    file.U32("multibit.activation.cycles", s.cycles);
    file.F32("multibit.activation.scale", s.scale);
    if (!s.classifier) AddVocabulary();
    // Keys and tensors that no version knows.
    file.Add("x.nested", 9,
             GgufWriter::Bytes<uint32_t>(9) + GgufWriter::Bytes<uint64_t>(1) + GgufWriter::Bytes<uint32_t>(0) +
                 GgufWriter::Bytes<uint64_t>(2) + "ab");
    file.F64("multibit.provenance.test_perplexity", 12.5);
    file.Add("x.unknown", {3}, std::vector<float>{1, 2, 3});

    if (!s.classifier) embedding_ = AddMatrix("embedding", s.vocabulary, s.embedding, s.embedding_bits, -1);
    for (int l = 0; l < s.layers; ++l) {
      const std::string name = "rnn." + std::to_string(l);
      const bool codes = l == 0 && s.embedding_bits > 0;
      const int rows = s.Gates() * s.hidden;
      inputs_.push_back(AddMatrix(name + ".input", rows, l == 0 ? s.embedding : s.hidden, s.weight_bits,
                                  codes ? s.embedding_bits : s.activation_bits));
      recurrents_.push_back(AddMatrix(name + ".recurrent", rows, s.hidden, s.weight_bits, s.activation_bits));
      biases_.push_back(AddBias(name + ".bias", rows));
      if (s.gru) recurrent_biases_.push_back(AddBias(name + ".recurrent_bias", rows));
    }
    if (s.tied) {
      softmax_ = embedding_;
      softmax_.activation_bits = s.softmax_activation_bits;
      file.U32("multibit.softmax.activation_bits", s.softmax_activation_bits);
    } else {
      softmax_ = AddMatrix("softmax", s.vocabulary, s.hidden, s.softmax_weight_bits, s.softmax_activation_bits);
    }
    softmax_bias_ = AddBias("softmax.bias", s.vocabulary);
    Reset();
  }

  void Reset() {
    c_.assign(shape.layers, std::vector<double>(shape.hidden));
    h_.assign(shape.layers, std::vector<float>(shape.hidden));
  }

  // Returns the logits.
  std::vector<double> Step(int token) {
    std::vector<double> embedded(embedding_.values.begin() + token * shape.embedding,
                                 embedding_.values.begin() + (token + 1) * shape.embedding);
    return Step(embedded, shape.embedding_bits > 0);
  }
  // Of a classifier.
  std::vector<double> Step(const std::vector<float>& x) { return Step(std::vector<double>(x.begin(), x.end()), false); }

  const Shape shape;
  GgufWriter file;

 private:
  static double Sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

  std::vector<double> Step(const std::vector<double>& input, bool are_codes) {
    std::vector<float> x(input.begin(), input.end());
    for (int l = 0; l < shape.layers; ++l) {
      const std::vector<double> from_input =
          Product(inputs_[l], l == 0 && are_codes ? input : Quantized(x, inputs_[l].activation_bits));
      const std::vector<double> from_state = Product(recurrents_[l], Quantized(h_[l], recurrents_[l].activation_bits));
      for (int j = 0; j < shape.hidden; ++j) {
        double z[4], u[4];
        for (int gate = 0; gate < shape.Gates(); ++gate) {
          const int row = gate * shape.hidden + j;
          z[gate] = from_input[row] + biases_[l][row];
          u[gate] = from_state[row] + (shape.gru ? recurrent_biases_[l][row] : 0);
        }
        if (shape.gru) {
          const double update = Sigmoid(z[1] + u[1]);
          const double candidate = std::tanh(z[2] + Sigmoid(z[0] + u[0]) * u[2]);
          h_[l][j] = static_cast<float>((1 - update) * candidate + update * h_[l][j]);
          continue;
        }
        for (int gate = 0; gate < 4; ++gate) z[gate] += u[gate];
        c_[l][j] = Sigmoid(z[1]) * c_[l][j] + Sigmoid(z[0]) * std::tanh(z[2]);
        h_[l][j] = static_cast<float>(Sigmoid(z[3]) * std::tanh(c_[l][j]));
      }
      x = h_[l];
    }
    std::vector<double> logits = Product(softmax_, Quantized(x, softmax_.activation_bits));
    for (int v = 0; v < shape.vocabulary; ++v) logits[v] += softmax_bias_[v];
    return logits;
  }

  std::vector<double> Quantized(const std::vector<float>& x, int bits) const {
    if (bits == 0) return std::vector<double>(x.begin(), x.end());
    const multibit::Kernels* tiers[1];
    multibit::SupportedKernels(tiers, 1);
    const multibit::Kernels& plain = *tiers[0];
    const auto cols = static_cast<int64_t>(x.size());
    std::vector<uint64_t> planes((cols + 63) / 64 * bits);
    std::vector<float> coefficients(bits);
    std::vector<float> scratch(plain.QuantizeScratch(cols, bits) / sizeof(float) + 1);
    if (plain.Quantize({shape.method, shape.cycles, shape.scale}, x.data(), 1, cols, 0, 1, bits, 1, planes.data(),
                       coefficients.data(), scratch.data()) >= 0) {
      std::abort();
    }
    std::vector<double> values(x.size());
    for (int64_t j = 0; j < cols; ++j) {
      for (int i = 0; i < bits; ++i) {
        values[j] += (planes[j / 64 * bits + i] >> (j % 64) & 1) != 0 ? coefficients[i] : -coefficients[i];
      }
    }
    return values;
  }

  static std::vector<double> Product(const TestMatrix& matrix, const std::vector<double>& x) {
    std::vector<double> y(matrix.rows);
    for (int r = 0; r < matrix.rows; ++r) {
      for (int c = 0; c < matrix.cols; ++c) y[r] += matrix.values[static_cast<size_t>(r) * matrix.cols + c] * x[c];
    }
    return y;
  }

  void AddVocabulary() {
    file.String("tokenizer.ggml.model", "words");
    std::vector<std::string> words = {"<eos>", "<unk>"};
    while (static_cast<int>(words.size()) < shape.vocabulary) words.push_back("w" + std::to_string(words.size()));
    file.Strings("tokenizer.ggml.tokens", words);
    file.U32("tokenizer.ggml.eos_token_id", 0);
    file.U32("tokenizer.ggml.unknown_token_id", 1);
  }

  std::vector<float> AddBias(const std::string& name, int size) {
    std::vector<float> bias(size);
    for (float& b : bias) b = normal_(random_);
    file.Add(name, {static_cast<uint64_t>(size)}, bias);
    return bias;
  }

  TestMatrix AddMatrix(const std::string& name, int rows, int cols, int bits, int activation_bits) {
    file.U32("multibit." + name + ".weight_bits", bits);
    if (activation_bits >= 0) file.U32("multibit." + name + ".activation_bits", activation_bits);
    TestMatrix matrix = {
        rows, cols, bits, activation_bits, {}, {}, std::vector<double>(static_cast<size_t>(rows) * cols)};
    if (bits == 0) {
      std::vector<float> weights(matrix.values.size());
      for (float& w : weights) w = normal_(random_) / std::sqrt(static_cast<float>(cols));
      std::copy(weights.begin(), weights.end(), matrix.values.begin());
      file.Add(name + ".weight", {static_cast<uint64_t>(cols), static_cast<uint64_t>(rows)}, weights);
      return matrix;
    }
    const int words = (cols + 63) / 64;
    const int blocks = (rows + 7) / 8;
    matrix.planes.resize(static_cast<size_t>(8) * bits * words * blocks);
    matrix.coefficients.resize(static_cast<size_t>(8) * bits * blocks);
    for (int r = 0; r < rows; ++r) {
      for (int i = 0; i < bits; ++i) {
        const float a = (1 + std::fabs(normal_(random_))) / std::sqrt(static_cast<float>(cols)) / (1 << i);
        matrix.coefficients[(r / 8 * bits + i) * 8 + r % 8] = a;
        for (int c = 0; c < cols; ++c) {
          const bool set = (random_() & 1) != 0;
          if (set) matrix.planes[((r / 8 * words + c / 64) * bits + i) * 8 + r % 8] |= uint64_t{1} << (c % 64);
          matrix.values[static_cast<size_t>(r) * cols + c] += set ? a : -a;
        }
      }
    }
    file.Add(name + ".planes",
             {8, static_cast<uint64_t>(bits), static_cast<uint64_t>(words), static_cast<uint64_t>(blocks)},
             matrix.planes);
    file.Add(name + ".coefficients", {8, static_cast<uint64_t>(bits), static_cast<uint64_t>(blocks)},
             matrix.coefficients);
    return matrix;
  }

  std::mt19937 random_;
  std::normal_distribution<float> normal_;
  TestMatrix embedding_, softmax_;
  std::vector<TestMatrix> inputs_, recurrents_;
  std::vector<std::vector<float>> biases_, recurrent_biases_;
  std::vector<float> softmax_bias_;
  std::vector<std::vector<double>> c_;
  std::vector<std::vector<float>> h_;
};

// Sizes around the lanes (8) and words (64); embedding and hidden sizes differ.
inline const Shape kShapes[] = {
    {"w2a2", 37, 65, 50, 1, 2, 2, 2, 2, 2, multibit::kAlternating, 2, 1},
    {"w3a3_two_layers", 21, 40, 67, 2, 3, 3, 3, 3, 3, multibit::kAlternating, 2, 0.3f},
    {"w1a1", 64, 64, 64, 1, 1, 1, 1, 1, 1, multibit::kGreedy, 0, 1},
    {"w4a4_refined", 9, 70, 33, 2, 4, 4, 4, 4, 4, multibit::kRefined, 0, 1},
    {"w2a3_softmax_w4a1", 30, 30, 90, 1, 2, 2, 3, 4, 1, multibit::kUniform, 0, 1},
    {"w2_fp", 37, 65, 50, 2, 2, 2, 0, 2, 0, multibit::kGreedy, 0, 1},
    {"fp", 37, 66, 50, 2, 0, 0, 0, 0, 0, multibit::kGreedy, 0, 1},
    {"fp_weights_a2", 37, 66, 50, 1, 0, 0, 2, 0, 2, multibit::kOptimal, 0, 1},
    {"codes_into_fp_weights", 37, 66, 50, 1, 2, 0, 0, 3, 2, multibit::kBalanced, 0, 1},
    {"fp_embedding_w2a2", 37, 66, 50, 1, 0, 2, 2, 2, 2, multibit::kAlternating, 2, 1},
    {"one_of_each", 2, 1, 1, 1, 2, 2, 2, 2, 2, multibit::kAlternating, 2, 1},
    {"gru_w2a2", 37, 65, 50, 1, 2, 2, 2, 2, 2, multibit::kAlternating, 2, 1, true},
    {"gru_w3a2_two_layers", 21, 40, 67, 2, 3, 3, 2, 2, 3, multibit::kAlternating, 2, 1, true},
    {"gru_fp_two_layers", 37, 66, 50, 2, 0, 0, 0, 0, 0, multibit::kGreedy, 0, 1, true},
    {"gru_one_of_each", 2, 1, 1, 1, 2, 2, 2, 2, 2, multibit::kAlternating, 2, 1, true},
    {"four_layers", 21, 90, 33, 4, 2, 2, 2, 2, 2, multibit::kAlternating, 2, 1},
    {"tied_w2a3", 37, 70, 70, 1, 2, 2, 3, 2, 3, multibit::kAlternating, 2, 1, false, true},
    {"tied_fp", 37, 50, 50, 1, 0, 2, 2, 0, 0, multibit::kGreedy, 0, 1, false, true},
    {"gru_tied_two_layers", 37, 50, 50, 2, 3, 3, 3, 3, 3, multibit::kAlternating, 2, 1, true, true},
};

// Classifiers of sequences: vectors that are quantized online, and that are not.
inline const Shape kClassifiers[] = {
    {"w2a2", 10, 28, 50, 1, 0, 2, 2, 2, 2, multibit::kAlternating, 2, 1, false, false, true},
    {"gru_w3a2_two_layers", 5, 70, 67, 2, 0, 3, 2, 2, 3, multibit::kAlternating, 2, 1, true, false, true},
    {"w2_fp", 10, 28, 33, 2, 0, 2, 0, 2, 0, multibit::kGreedy, 0, 1, false, false, true},
    {"fp", 3, 65, 50, 1, 0, 0, 0, 0, 0, multibit::kGreedy, 0, 1, false, false, true},
    {"fp_weights_a2", 3, 65, 50, 1, 0, 0, 2, 0, 2, multibit::kOptimal, 0, 1, false, false, true},
    {"one_of_each", 1, 1, 1, 1, 0, 2, 2, 2, 2, multibit::kAlternating, 2, 1, false, false, true},
};

inline Shape FindShape(const std::string& name) {
  return *std::find_if(std::begin(kShapes), std::end(kShapes), [&](const Shape& shape) { return shape.name == name; });
}

// A model of one layer that says little but is large: random planes of 2 or 3 bits everywhere.
inline GgufWriter LargeModel(int vocabulary, int hidden, int bits) {
  std::mt19937_64 random(1);
  GgufWriter file;
  file.String("general.architecture", "multibit");
  file.U32("general.alignment", 64);
  file.U32("multibit.version", 1);
  file.String("multibit.head", "language-model");
  file.String("multibit.cell", "lstm");
  file.U32("multibit.layers", 1);
  file.U32("multibit.vocabulary_size", vocabulary);
  file.U32("multibit.embedding_size", hidden);
  file.U32("multibit.hidden_size", hidden);
  file.String("multibit.activation.method", "alternating");
  file.U32("multibit.activation.cycles", 2);
  file.F32("multibit.activation.scale", 1);
  file.String("tokenizer.ggml.model", "words");
  // Seven letters on average, as in English text.
  std::vector<std::string> words = {"<eos>", "<unk>"};
  while (static_cast<int>(words.size()) < vocabulary) {
    std::string word = std::to_string(words.size());
    word.resize(5 + words.size() % 5, 'w');
    words.push_back(word);
  }
  file.Strings("tokenizer.ggml.tokens", words);
  file.U32("tokenizer.ggml.eos_token_id", 0);
  file.U32("tokenizer.ggml.unknown_token_id", 1);
  const auto matrix = [&](const std::string& name, int rows) {
    const uint64_t plane_words = (hidden + 63) / 64;
    const uint64_t blocks = (rows + 7) / 8;
    const uint64_t k = bits;
    std::vector<uint64_t> planes(8 * k * plane_words * blocks);
    std::vector<float> coefficients(8 * k * blocks);
    for (size_t i = 0; i < planes.size(); ++i) {
      const uint64_t row = i / (8 * k * plane_words) * 8 + i % 8;
      const uint64_t word = i / (8 * k) % plane_words;
      const uint64_t past = hidden % 64 == 0 ? 0 : ~uint64_t{0} << hidden % 64;
      planes[i] = row >= static_cast<uint64_t>(rows) ? 0 : random() & ~(word + 1 == plane_words ? past : 0);
    }
    for (size_t i = 0; i < coefficients.size(); ++i) {
      const uint64_t row = i / (8 * k) * 8 + i % 8;
      const float scale = 1 / (std::sqrt(static_cast<float>(hidden)) * static_cast<float>(1 << (i / 8 % k)));
      coefficients[i] = row >= static_cast<uint64_t>(rows) ? 0 : scale;
    }
    file.U32("multibit." + name + ".weight_bits", bits);
    if (name != "embedding") file.U32("multibit." + name + ".activation_bits", bits);
    file.Add(name + ".planes", {8, k, plane_words, blocks}, planes);
    file.Add(name + ".coefficients", {8, k, blocks}, coefficients);
  };
  const auto bias = [&](const std::string& name, int size) {
    file.Add(name, {static_cast<uint64_t>(size)}, std::vector<float>(size, 0.1f));
  };
  matrix("embedding", vocabulary);
  matrix("rnn.0.input", 4 * hidden);
  matrix("rnn.0.recurrent", 4 * hidden);
  bias("rnn.0.bias", 4 * hidden);
  matrix("softmax", vocabulary);
  bias("softmax.bias", vocabulary);
  return file;
}

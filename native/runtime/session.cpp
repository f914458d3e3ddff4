#include "session.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "error.h"
#include "multibit.h"

namespace multibit {
namespace {

constexpr int64_t kLanes = 8;

int64_t Words(int64_t cols) { return (cols + 63) / 64; }

// Sebastiano Vigna's generator: every seed is a good one.
class SplitMix64 {
 public:
  explicit SplitMix64(uint64_t seed) : state_(seed) {}

  // Uniform in [0, 1).
  double Next() {
    uint64_t z = state_ += 0x9e3779b97f4a7c15;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    z ^= z >> 31;
    return static_cast<double>(z >> 11) * 0x1p-53;
  }

 private:
  uint64_t state_;
};

// Draws tokens from softmax(logits / temperature), of all tokens or of the likeliest.
class Sampler {
 public:
  Sampler(float temperature, int32_t top_k, uint64_t seed, int32_t vocabulary)
      : temperature_(temperature), tokens_(vocabulary), random_(seed) {
    std::iota(tokens_.begin(), tokens_.end(), 0);
    candidates_ = temperature == 0 ? 1 : top_k == 0 ? vocabulary : std::min(top_k, vocabulary);
    weights_.resize(candidates_);
  }

  int32_t Draw(const float* logits) {
    if (candidates_ < static_cast<int32_t>(tokens_.size())) {
      // Ties go to the smaller token, so that the choice is one on every machine.
      std::partial_sort(tokens_.begin(), tokens_.begin() + candidates_, tokens_.end(), [&](int32_t a, int32_t b) {
        return logits[a] > logits[b] || (logits[a] == logits[b] && a < b);
      });
    }
    if (candidates_ == 1) return tokens_[0];
    double max = -INFINITY;
    for (int32_t i = 0; i < candidates_; ++i) max = std::max(max, static_cast<double>(logits[tokens_[i]]));
    double sum = 0;
    for (int32_t i = 0; i < candidates_; ++i) {
      weights_[i] = std::exp((logits[tokens_[i]] - max) / temperature_);
      sum += weights_[i];
    }
    double point = random_.Next() * sum;
    int32_t chosen = 0;
    while (chosen < candidates_ - 1 && (point -= weights_[chosen]) >= 0) ++chosen;
    return tokens_[chosen];
  }

 private:
  double temperature_;
  int32_t candidates_;
  std::vector<int32_t> tokens_;
  std::vector<double> weights_;
  SplitMix64 random_;
};

}  // namespace

void Activation::Reserve(const Matrix& matrix) {
  const int bits = matrix.activation_bits;
  if (bits == 0) return;
  const auto found = std::find_if(codes_.begin(), codes_.end(), [&](const Codes& codes) { return codes.bits == bits; });
  Codes& codes = found != codes_.end() ? *found : codes_.emplace_back(Codes{bits, false, {}, {}, {}});
  codes.planes.resize(Words(matrix.cols) * bits);
  codes.coefficients.resize(bits);
  if (matrix.weight_bits == 0) codes.values.resize(matrix.cols);
}

float* Activation::Change() {
  for (Codes& codes : codes_) codes.current = false;
  return values_.data();
}

Activation::Codes& Activation::At(int bits) {
  return *std::find_if(codes_.begin(), codes_.end(), [&](const Codes& codes) { return codes.bits == bits; });
}

void Activation::Embed(const Kernels& kernels, const Matrix& embedding, int32_t token) {
  float* values = Change();
  const int64_t cols = embedding.cols;
  const int bits = embedding.weight_bits;
  if (bits == 0) {
    std::copy_n(embedding.weights + token * cols, cols, values);
    return;
  }
  const int64_t block = token / kLanes;
  const int64_t lane = token % kLanes;
  Codes& codes = At(bits);
  const uint64_t* planes = embedding.planes + block * Words(cols) * bits * kLanes + lane;
  for (size_t i = 0; i < codes.planes.size(); ++i) codes.planes[i] = planes[i * kLanes];
  const float* coefficients = embedding.coefficients + block * bits * kLanes + lane;
  for (int i = 0; i < bits; ++i) codes.coefficients[i] = coefficients[i * kLanes];
  if (!codes.values.empty()) {
    kernels.dequantize(codes.planes.data(), codes.coefficients.data(), 0, 1, cols, bits, 1, codes.values.data());
  }
  codes.current = true;
}

void Activation::Multiply(const Model& model, const Matrix& matrix, void* scratch, float* out) {
  const Kernels& kernels = *model.kernels;
  const int bits = matrix.activation_bits;
  if (bits == 0) {
    if (matrix.weight_bits == 0) {
      kernels.gemv_dense(matrix.weights, 0, matrix.rows, matrix.cols, values_.data(), out);
    } else {
      kernels.gemv_float(matrix.planes, matrix.coefficients, 0, matrix.rows, matrix.cols, matrix.weight_bits,
                         values_.data(), out);
    }
    return;
  }
  Codes& codes = At(bits);
  if (!codes.current) {
    if (kernels.quantize(model.quantizer, values_.data(), 1, matrix.cols, 0, 1, bits, 1, codes.planes.data(),
                         codes.coefficients.data(), scratch) >= 0) {
      Fail(MULTIBIT_ERROR_FORMAT, "The hidden state is not finite: the model's values are too large");
    }
    if (!codes.values.empty()) {
      kernels.dequantize(codes.planes.data(), codes.coefficients.data(), 0, 1, matrix.cols, bits, 1,
                         codes.values.data());
    }
    codes.current = true;
  }
  if (matrix.weight_bits == 0) {
    kernels.gemv_dense(matrix.weights, 0, matrix.rows, matrix.cols, codes.values.data(), out);
  } else {
    kernels.gemv(matrix.planes, matrix.coefficients, 0, matrix.rows, matrix.cols, matrix.weight_bits,
                 codes.planes.data(), codes.coefficients.data(), bits, out);
  }
}

Session::Session(const Model& model)
    : model_(model),
      input_(model.embedding_size),
      input_product_(4 * static_cast<size_t>(model.hidden_size)),
      z_(input_product_.size()),
      logits_(model.vocabulary_size) {
  size_t scratch = 0;
  const auto reserve = [&](Activation* activation, const Matrix& matrix) {
    activation->Reserve(matrix);
    if (matrix.activation_bits > 0) {
      scratch = std::max(scratch, model.kernels->quantize_scratch(matrix.cols, matrix.activation_bits));
    }
  };
  Activation* x = &input_;
  hidden_.reserve(model.layers.size());
  for (const Layer& layer : model.layers) {
    reserve(x, layer.input);
    x = &hidden_.emplace_back(model.hidden_size);
    reserve(x, layer.recurrent);
    cell_.emplace_back(model.hidden_size);
  }
  reserve(x, model.softmax);
  scratch_.resize((scratch + sizeof(float) - 1) / sizeof(float));
}

void Session::Reset() {
  for (Activation& h : hidden_) std::fill_n(h.Change(), model_.hidden_size, 0.0f);
  for (std::vector<float>& c : cell_) std::fill(c.begin(), c.end(), 0.0f);
  fed_ = false;
  logits_current_ = false;
}

void Session::CheckToken(int32_t token) const {
  if (token < 0 || token >= model_.vocabulary_size) {
    Fail(MULTIBIT_ERROR_ARGUMENT, "There is no token %d in a vocabulary of %d", token, model_.vocabulary_size);
  }
}

void Session::Step(int32_t token) {
  CheckToken(token);
  fed_ = false;
  logits_current_ = false;
  input_.Embed(*model_.kernels, model_.embedding, token);
  Activation* x = &input_;
  for (size_t l = 0; l < model_.layers.size(); ++l) {
    const Layer& layer = model_.layers[l];
    Activation& h = hidden_[l];
    x->Multiply(model_, layer.input, scratch_.data(), input_product_.data());
    h.Multiply(model_, layer.recurrent, scratch_.data(), z_.data());
    for (size_t j = 0; j < z_.size(); ++j) z_[j] = input_product_[j] + z_[j] + layer.bias[j];
    model_.kernels->lstm_cell(z_.data(), model_.hidden_size, cell_[l].data(), h.Change());
    x = &h;
  }
  fed_ = true;
}

const float* Session::Logits() {
  if (!fed_) Fail(MULTIBIT_ERROR_ARGUMENT, "There are no logits yet: feed a token first");
  if (!logits_current_) {
    hidden_.back().Multiply(model_, model_.softmax, scratch_.data(), logits_.data());
    // What no trained model has is refused here, so that neither losses nor draws have to deal with it.
    int not_finite = 0;
    for (size_t v = 0; v < logits_.size(); ++v) {
      logits_[v] += model_.softmax_bias[v];
      not_finite |= !(std::fabs(logits_[v]) <= std::numeric_limits<float>::max());
    }
    if (not_finite) Fail(MULTIBIT_ERROR_FORMAT, "The logits are not finite: the model's values are too large");
    logits_current_ = true;
  }
  return logits_.data();
}

double Session::Evaluate(int32_t first, const int32_t* tokens, size_t count) {
  CheckToken(first);
  std::for_each(tokens, tokens + count, [this](int32_t token) { CheckToken(token); });
  double loss = 0;
  for (size_t i = 0; i < count; ++i) {
    Step(i == 0 ? first : tokens[i - 1]);
    const float* logits = Logits();
    loss += model_.kernels->log_sum_exp(logits, model_.vocabulary_size) - logits[tokens[i]];
  }
  return loss;
}

void Session::Generate(float temperature, int32_t top_k, uint64_t seed, int32_t* tokens, size_t count) {
  if (!(temperature >= 0) || !std::isfinite(temperature)) {
    Fail(MULTIBIT_ERROR_ARGUMENT, "The temperature must be 0 or above and finite, not %g",
         static_cast<double>(temperature));
  }
  if (top_k < 0) Fail(MULTIBIT_ERROR_ARGUMENT, "top_k must be 0 (all) or above, not %d", top_k);
  Sampler sampler(temperature, top_k, seed, model_.vocabulary_size);
  for (size_t i = 0; i < count; ++i) {
    tokens[i] = sampler.Draw(Logits());
    Step(tokens[i]);
  }
}

}  // namespace multibit

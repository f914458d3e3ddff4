#include "session.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "error.h"
#include "multibit.h"

namespace multibit {

Session::Session(const Model& model) : model_(model) {
  const int64_t h = model.hidden_size;
  const int64_t e = model.embedding_size;
  Prepare(embedded_, e, {model.embedding.bits > 0 ? model.embedding.bits : model.layers[0].input.activation_bits});
  hidden_.resize(model.layers.size());
  for (size_t l = 0; l < model.layers.size(); ++l) {
    const Matrix& above = l + 1 < model.layers.size() ? model.layers[l + 1].input : model.softmax;
    Prepare(hidden_[l], h, {model.layers[l].recurrent.activation_bits, above.activation_bits});
    cell_.emplace_back(h);
  }
  gates_.resize(4 * h);
  recurrent_.resize(4 * h);
  dequantized_.resize(std::max(h, e));
  logits_.resize(model.vocabulary_size);
  order_.resize(model.vocabulary_size);
  weights_.resize(model.vocabulary_size);
  size_t bytes = 0;
  for (int bits = 1; bits <= 8; ++bits) {
    bytes = std::max(bytes, model.kernels->quantize_scratch(std::max(h, e), bits));
  }
  scratch_.resize(bytes + 64);
  Reset();
}

void Session::Prepare(Activation& activation, int64_t cols, const std::vector<int>& bits) {
  activation.values.resize(cols);
  activation.codes.resize(9);
  for (int k : bits) {
    if (k == 0) continue;
    activation.codes[k].planes.resize((cols + 63) / 64 * k);
    activation.codes[k].coefficients.resize(k);
  }
}

void Session::Changed(Activation& activation) {
  for (auto& codes : activation.codes) codes.ready = false;
}

void Session::Reset() {
  for (Activation& h : hidden_) {
    std::fill(h.values.begin(), h.values.end(), 0.0f);
    h.values_ready = true;
    Changed(h);
  }
  for (auto& c : cell_) std::fill(c.begin(), c.end(), 0.0f);
  stepped_ = false;
  logits_ready_ = false;
}

// The row of the embedding: its planes are the codes, not quantized again.
void Session::Lookup(int32_t token) {
  const Matrix& m = model_.embedding;
  Changed(embedded_);
  if (m.bits == 0) {
    std::copy_n(m.dense + token * m.cols, m.cols, embedded_.values.begin());
    embedded_.values_ready = true;
    return;
  }
  auto& codes = embedded_.codes[m.bits];
  const int64_t block = token / 8;
  const int64_t lane = token % 8;
  const int64_t count = m.words() * m.bits;
  const uint64_t* planes = m.planes + block * count * 8 + lane;
  for (int64_t i = 0; i < count; ++i) codes.planes[i] = planes[i * 8];
  for (int i = 0; i < m.bits; ++i) codes.coefficients[i] = m.coefficients[(block * m.bits + i) * 8 + lane];
  codes.ready = true;
  embedded_.values_ready = false;
}

const Session::Activation::Codes& Session::CodesOf(Activation& activation, int bits) {
  auto& codes = activation.codes[bits];
  if (!codes.ready) {
    const int64_t cols = static_cast<int64_t>(activation.values.size());
    unsigned char* aligned = scratch_.data() + (64 - reinterpret_cast<uintptr_t>(scratch_.data()) % 64) % 64;
    if (model_.kernels->quantize(model_.activations, activation.values.data(), 1, cols, 0, 1, bits, 1,
                                 codes.planes.data(), codes.coefficients.data(), aligned) >= 0) {
      throw Error(MULTIBIT_ERROR_ARGUMENT, "The hidden state is not finite");
    }
    codes.ready = true;
  }
  return codes;
}

// The vector as floats, through its codes where it has been quantized to some.
const float* Session::Values(Activation& activation, int bits) {
  if (bits == 0 && activation.values_ready) return activation.values.data();
  const auto& codes = CodesOf(activation, bits);
  const int64_t cols = static_cast<int64_t>(activation.values.size());
  model_.kernels->dequantize(codes.planes.data(), codes.coefficients.data(), 0, 1, cols, bits, 1, dequantized_.data());
  return dequantized_.data();
}

void Session::Multiply(const Matrix& m, Activation& activation, float* out) {
  const Kernels& k = *model_.kernels;
  if (m.bits == 0) {
    k.gemv_dense(m.dense, 0, m.rows, m.cols, Values(activation, m.activation_bits), out);
  } else if (m.activation_bits == 0) {
    k.gemv_float(m.planes, m.coefficients, 0, m.rows, m.cols, m.bits, Values(activation, 0), out);
  } else {
    const auto& codes = CodesOf(activation, m.activation_bits);
    k.gemv(m.planes, m.coefficients, 0, m.rows, m.cols, m.bits, codes.planes.data(), codes.coefficients.data(),
           m.activation_bits, out);
  }
}

void Session::Step(int32_t token) {
  if (token < 0 || token >= model_.vocabulary_size) {
    throw Error(MULTIBIT_ERROR_ARGUMENT, "Token " + std::to_string(token) + " is outside the vocabulary of " +
                                             std::to_string(model_.vocabulary_size) + " words");
  }
  const int64_t h = model_.hidden_size;
  Lookup(token);
  Activation* x = &embedded_;
  for (size_t l = 0; l < model_.layers.size(); ++l) {
    const Layer& layer = model_.layers[l];
    Multiply(layer.input, *x, gates_.data());
    Multiply(layer.recurrent, hidden_[l], recurrent_.data());
    for (int64_t i = 0; i < 4 * h; ++i) gates_[i] += recurrent_[i] + layer.bias[i];
    model_.kernels->lstm_cell(gates_.data(), h, cell_[l].data(), hidden_[l].values.data());
    Changed(hidden_[l]);
    x = &hidden_[l];
  }
  stepped_ = true;
  logits_ready_ = false;
}

const float* Session::Logits() {
  if (!stepped_) throw Error(MULTIBIT_ERROR_ARGUMENT, "There are no logits before the first step");
  if (!logits_ready_) {
    Multiply(model_.softmax, hidden_.back(), logits_.data());
    for (int32_t i = 0; i < model_.vocabulary_size; ++i) logits_[i] += model_.softmax_bias[i];
    logits_ready_ = true;
  }
  return logits_.data();
}

double Session::Evaluate(int32_t first, const int32_t* tokens, size_t count) {
  double loss = 0;
  int32_t previous = first;
  for (size_t i = 0; i < count; ++i) {
    if (tokens[i] < 0 || tokens[i] >= model_.vocabulary_size) {
      throw Error(MULTIBIT_ERROR_ARGUMENT, "Token " + std::to_string(tokens[i]) + " at position " + std::to_string(i) +
                                               " is outside the vocabulary");
    }
    Step(previous);
    const float* logits = Logits();
    loss += model_.kernels->log_sum_exp(logits, model_.vocabulary_size) - logits[tokens[i]];
    previous = tokens[i];
  }
  return loss;
}

namespace {

// SplitMix64: the same numbers everywhere.
double Uniform(uint64_t& state) {
  uint64_t z = (state += 0x9E3779B97F4A7C15u);
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  return static_cast<double>((z ^ (z >> 31)) >> 11) * 0x1p-53;
}

}  // namespace

int32_t Session::Draw(float temperature, int32_t top_k, uint64_t& random) {
  const float* logits = Logits();
  const size_t v = static_cast<size_t>(model_.vocabulary_size);
  const auto likelier = [logits](int32_t a, int32_t b) {
    return logits[a] > logits[b] || (logits[a] == logits[b] && a < b);
  };
  std::iota(order_.begin(), order_.end(), 0);
  if (temperature == 0) return *std::min_element(order_.begin(), order_.end(), likelier);
  const size_t k = top_k == 0 ? v : std::min(v, static_cast<size_t>(top_k));
  std::partial_sort(order_.begin(), order_.begin() + static_cast<std::ptrdiff_t>(k), order_.end(), likelier);
  double sum = 0;
  for (size_t i = 0; i < k; ++i) {
    weights_[i] = std::exp((static_cast<double>(logits[order_[i]]) - logits[order_[0]]) / temperature);
    sum += weights_[i];
  }
  double point = Uniform(random) * sum;
  size_t chosen = 0;
  while (chosen + 1 < k && (point -= weights_[chosen]) >= 0) ++chosen;
  return order_[chosen];
}

void Session::Generate(float temperature, int32_t top_k, uint64_t seed, int32_t* tokens, size_t count) {
  if (!(temperature >= 0) || top_k < 0) {
    throw Error(MULTIBIT_ERROR_ARGUMENT, "The temperature and top_k must be 0 or more");
  }
  uint64_t random = seed;
  for (size_t i = 0; i < count; ++i) {
    tokens[i] = Draw(temperature, top_k, random);
    Step(tokens[i]);
  }
}

}  // namespace multibit

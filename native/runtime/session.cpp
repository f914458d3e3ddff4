#include "session.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <numeric>
#include <vector>

#include "error.h"
#include "multibit.h"

namespace multibit {
namespace {

// Steps whose softmax product is one of a matrix with a batch of vectors.
constexpr int64_t kEvaluatedTogether = 16;
// Losses of fewer logits are too little work to share out.
constexpr int64_t kLeastSharedLogits = 50000;

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

void Session::Step(int32_t token) {
  batch_.model().CheckToken(token);
  batch_.Step(&token);
}

void Session::Step(const float* inputs, size_t count) {
  const Model& model = batch_.model();
  model.Require(Head::kClassifier);
  const auto size = static_cast<size_t>(model.input_size);
  if (count == 0 || count % size != 0) {
    Fail(MULTIBIT_ERROR_ARGUMENT, "%zu floats are no steps of %zu each", count, size);
  }
  const float* bad = std::find_if_not(inputs, inputs + count, [](float value) { return std::isfinite(value); });
  if (bad != inputs + count) Fail(MULTIBIT_ERROR_ARGUMENT, "Element %zu of the input is not finite", bad - inputs);
  for (size_t i = 0; i < count; i += size) batch_.Step(inputs + i);
}

double Session::Evaluate(int32_t first, const int32_t* tokens, size_t count) {
  const Model& model = batch_.model();
  model.CheckToken(first);
  std::for_each(tokens, tokens + count, [&](int32_t token) { model.CheckToken(token); });
  const auto most = static_cast<int64_t>(std::min<size_t>(count, kEvaluatedTogether));
  Activations hidden(most, model.hidden_size);
  Workspace work;
  hidden.Reserve(*model.kernels, model.softmax, &work);
  std::vector<float> logits(most * model.classes);
  int32_t all[kEvaluatedTogether];
  std::iota(std::begin(all), std::end(all), 0);
  double losses[kEvaluatedTogether];
  double loss = 0;
  for (size_t begin = 0; begin < count; begin += most) {
    const int32_t* targets = tokens + begin;
    const auto steps = static_cast<int64_t>(std::min<size_t>(count - begin, most));
    for (int64_t i = 0; i < steps; ++i) {
      Step(begin + i == 0 ? first : targets[i - 1]);
      hidden.Copy(i, batch_.hidden(), 0);
    }
    ComputeLogits(model, &hidden, {all, steps}, &work, logits.data());
    const auto compute_loss = [&](int i) {
      const float* row = logits.data() + i * static_cast<int64_t>(model.classes);
      losses[i] = model.kernels->LogSumExp(row, model.classes) - row[targets[i]];
    };
    if (steps * model.classes >= kLeastSharedLogits) {
      model.pool.Run(static_cast<int>(steps), compute_loss);
    } else {
      for (int i = 0; i < steps; ++i) compute_loss(i);
    }
    for (int64_t i = 0; i < steps; ++i) loss += losses[i];
  }
  return loss;
}

void Session::Generate(float temperature, int32_t top_k, uint64_t seed, size_t count,
                       const std::function<void(int32_t token)>& take) {
  if (!(temperature >= 0) || !std::isfinite(temperature)) {
    Fail(MULTIBIT_ERROR_ARGUMENT, "The temperature must be 0 or above and finite, not %g",
         static_cast<double>(temperature));
  }
  batch_.model().Require(Head::kLanguageModel);
  if (top_k < 0) Fail(MULTIBIT_ERROR_ARGUMENT, "top_k must be 0 (all) or above, not %d", top_k);
  Sampler sampler(temperature, top_k, seed, batch_.model().classes);
  for (size_t i = 0; i < count; ++i) {
    const int32_t token = sampler.Draw(Logits());
    take(token);
    Step(token);
  }
}

}  // namespace multibit

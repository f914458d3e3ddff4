// One stream through a model, of tokens or of vectors: a batch of one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>

#include "batch.h"
#include "model.h"

namespace multibit {

class Session {
 public:
  explicit Session(const Model& model) : batch_(model, 1) {}

  void Reset() { batch_.Reset(); }
  void Step(int32_t token);
  // One step after another, of input_size floats each. If an argument is in error, nothing was fed.
  void Step(const float* inputs, size_t count);
  // One for each class, valid until the next call. Throws an Error if nothing was fed.
  const float* Logits() { return batch_.Logits(); }
  // The same, to V floats.
  void WriteLogits(float* out) { batch_.WriteLogits(out); }
  // See multibit.h. The sum of the losses.
  double Evaluate(int32_t first, const int32_t* tokens, size_t count);
  // Hands each token over as soon as it is drawn.
  void Generate(float temperature, int32_t top_k, uint64_t seed, size_t count,
                const std::function<void(int32_t token)>& take);

 private:
  Batch batch_;
};

}  // namespace multibit

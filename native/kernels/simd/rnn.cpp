// The element-wise arithmetic of a plain recurrent unit: of inference, and of training's steps and their gradients.
#include "simd/exponential.h"

namespace multibit {
namespace MULTIBIT_TIER_SPACE {

void RnnStep(const float* input, const float* recurrent, int64_t units, float*, float* hidden) {
  ForEachPlace(units, [&](int64_t j, int64_t left) ALWAYS_INLINE {
    const Floats sum = hn::Add(LoadUpTo(recurrent + j, left, 0), LoadUpTo(input + j, left, 0));
    StoreUpTo(Tanh(sum), hidden + j, left);
  });
}

void RnnForward(const CellStates& states, int64_t first_row, int64_t last_row) {
  const int64_t units = states.units;
  for (int64_t r = first_row; r < last_row; ++r) {
    float* z = states.gates + r * units;
    float* out = states.hidden + (r + states.batch) * units;
    ForEachPlace(units, [&](int64_t j, int64_t left) ALWAYS_INLINE {
      const Floats h = Tanh(LoadUpTo(z + j, left, 0));
      StoreUpTo(h, z + j, left);
      StoreUpTo(h, out + j, left);
    });
  }
}

void RnnBackward(const CellStates& states, const CellGradients& gradients, int64_t first_row, int64_t last_row) {
  const Floats one = hn::Set(kFloats, 1);
  for (int64_t at = first_row * states.units; at < last_row * states.units; at += states.units) {
    ForEachPlace(states.units, [&](int64_t j, int64_t left) ALWAYS_INLINE {
      const Floats h = LoadUpTo(states.gates + at + j, left, 0);
      const Floats dh = LoadUpTo(gradients.hidden + at + j, left, 0);
      StoreUpTo(hn::Mul(dh, hn::NegMulAdd(h, h, one)), gradients.gates + at + j, left);
    });
  }
}

}  // namespace MULTIBIT_TIER_SPACE
}  // namespace multibit

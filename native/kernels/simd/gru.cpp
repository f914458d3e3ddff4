// The element-wise arithmetic of a GRU: of inference, and of training's steps and their gradients.
#include "simd/exponential.h"

namespace multibit {
namespace {

struct Next {
  Floats reset, update, candidate, hidden;
};

// From the sums of the input's and the recurrent product, 3 units each, at place j.
HWY_INLINE Next NextHidden(const float* input, const float* recurrent, int64_t units, int64_t j, int64_t left,
                           Floats previous) {
  const auto both = [&](int64_t at) ALWAYS_INLINE {
    return hn::Add(LoadUpTo(input + at, left, 0), LoadUpTo(recurrent + at, left, 0));
  };
  const Floats reset = Sigmoid(both(j));
  const Floats update = Sigmoid(both(units + j));
  const Floats candidate =
      Tanh(hn::MulAdd(reset, LoadUpTo(recurrent + 2 * units + j, left, 0), LoadUpTo(input + 2 * units + j, left, 0)));
  return {reset, update, candidate, hn::MulAdd(update, hn::Sub(previous, candidate), candidate)};
}

}  // namespace

namespace MULTIBIT_TIER_SPACE {

void GruStep(const float* input, const float* recurrent, int64_t units, float*, float* hidden) {
  ForEachPlace(units, [&](int64_t j, int64_t left) ALWAYS_INLINE {
    const Floats previous = LoadUpTo(hidden + j, left, 0);
    StoreUpTo(NextHidden(input, recurrent, units, j, left, previous).hidden, hidden + j, left);
  });
}

void GruForward(const CellStates& states, int64_t first_row, int64_t last_row) {
  const int64_t units = states.units;
  for (int64_t r = first_row; r < last_row; ++r) {
    float* z = states.gates + r * 3 * units;
    const float* u = states.recurrent + r * 3 * units;
    const float* previous = states.hidden + r * units;
    float* out = states.hidden + (r + states.batch) * units;
    ForEachPlace(units, [&](int64_t j, int64_t left) ALWAYS_INLINE {
      const Next next = NextHidden(z, u, units, j, left, LoadUpTo(previous + j, left, 0));
      StoreUpTo(next.reset, z + j, left);
      StoreUpTo(next.update, z + units + j, left);
      StoreUpTo(next.candidate, z + 2 * units + j, left);
      StoreUpTo(next.hidden, out + j, left);
    });
  }
}

void GruBackward(const CellStates& states, const CellGradients& gradients, int64_t first_row, int64_t last_row) {
  const Floats one = hn::Set(kFloats, 1);
  const int64_t units = states.units;
  for (int64_t r = first_row; r < last_row; ++r) {
    const float* z = states.gates + r * 3 * units;
    const float* u = states.recurrent + r * 3 * units;
    float* dz = gradients.gates + r * 3 * units;
    float* du = gradients.recurrent + r * 3 * units;
    float* carried = gradients.carried + r % states.batch * units;
    const int64_t row = r * units;
    ForEachPlace(units, [&](int64_t j, int64_t left) ALWAYS_INLINE {
      const Floats reset = LoadUpTo(z + j, left, 0);
      const Floats update = LoadUpTo(z + units + j, left, 0);
      const Floats candidate = LoadUpTo(z + 2 * units + j, left, 0);
      const Floats dh = hn::Add(LoadUpTo(gradients.hidden + row + j, left, 0), LoadUpTo(carried + j, left, 0));
      const Floats renewed = hn::Sub(one, update);
      const Floats dn = hn::Mul(hn::Mul(dh, renewed), hn::NegMulAdd(candidate, candidate, one));
      const Floats dr = hn::Mul(hn::Mul(dn, LoadUpTo(u + 2 * units + j, left, 0)), hn::Mul(reset, hn::Sub(one, reset)));
      const Floats change = hn::Sub(LoadUpTo(states.hidden + row + j, left, 0), candidate);
      const Floats dg = hn::Mul(hn::Mul(dh, change), hn::Mul(update, renewed));
      StoreUpTo(dr, dz + j, left);
      StoreUpTo(dg, dz + units + j, left);
      StoreUpTo(dn, dz + 2 * units + j, left);
      StoreUpTo(dr, du + j, left);
      StoreUpTo(dg, du + units + j, left);
      StoreUpTo(hn::Mul(dn, reset), du + 2 * units + j, left);
      StoreUpTo(hn::Mul(dh, update), carried + j, left);
    });
  }
}

}  // namespace MULTIBIT_TIER_SPACE
}  // namespace multibit

// The element-wise arithmetic of recurrent cells: of inference, and of training's steps and their gradients.
#include "simd/exponential.h"

namespace multibit {
namespace {

// What a step makes of an LSTM's gates.
struct Cell {
  Floats cell, tanh, hidden;
};

HWY_INLINE Cell NextCell(Floats input, Floats forget, Floats candidate, Floats output, Floats before) {
  const Floats cell = hn::MulAdd(forget, before, hn::Mul(input, candidate));
  const Floats tanh = Tanh(cell);
  return {cell, tanh, hn::Mul(output, tanh)};
}

}  // namespace

namespace MULTIBIT_TIER_SPACE {

void LstmCell(const float* z, int64_t hidden, float* c, float* h) {
  ForEachPlace(hidden, [&](int64_t j, int64_t left) ALWAYS_INLINE {
    const Floats input = Sigmoid(LoadUpTo(z + j, left, 0));
    const Floats forget = Sigmoid(LoadUpTo(z + hidden + j, left, 0));
    const Floats candidate = Tanh(LoadUpTo(z + 2 * hidden + j, left, 0));
    const Floats output = Sigmoid(LoadUpTo(z + 3 * hidden + j, left, 0));
    const Cell next = NextCell(input, forget, candidate, output, LoadUpTo(c + j, left, 0));
    StoreUpTo(next.cell, c + j, left);
    StoreUpTo(next.hidden, h + j, left);
  });
}

void LstmForward(int64_t first_row, int64_t last_row, int64_t hidden, float* gates, const float* before, float* cells,
                 float* cell_tanh, float* out) {
  for (int64_t r = first_row; r < last_row; ++r) {
    float* z = gates + r * 4 * hidden;
    const int64_t at = r * hidden;
    ForEachPlace(hidden, [&](int64_t j, int64_t left) ALWAYS_INLINE {
      const Floats candidate = Tanh(LoadUpTo(z + j, left, 0));
      const Floats forget = Sigmoid(LoadUpTo(z + hidden + j, left, 0));
      const Floats output = Sigmoid(LoadUpTo(z + 2 * hidden + j, left, 0));
      const Floats input = Sigmoid(LoadUpTo(z + 3 * hidden + j, left, 0));
      const Cell next = NextCell(input, forget, candidate, output, LoadUpTo(before + at + j, left, 0));
      StoreUpTo(candidate, z + j, left);
      StoreUpTo(forget, z + hidden + j, left);
      StoreUpTo(output, z + 2 * hidden + j, left);
      StoreUpTo(input, z + 3 * hidden + j, left);
      StoreUpTo(next.cell, cells + at + j, left);
      StoreUpTo(next.tanh, cell_tanh + at + j, left);
      StoreUpTo(next.hidden, out + at + j, left);
    });
  }
}

void LstmBackward(int64_t first_row, int64_t last_row, int64_t hidden, const float* gates, const float* before,
                  const float* cell_tanh, const float* hidden_gradient, float* cell_gradient, float* gate_gradients) {
  const Floats one = hn::Set(kFloats, 1);
  for (int64_t r = first_row; r < last_row; ++r) {
    const float* z = gates + r * 4 * hidden;
    float* dz = gate_gradients + r * 4 * hidden;
    const int64_t at = r * hidden;
    ForEachPlace(hidden, [&](int64_t j, int64_t left) ALWAYS_INLINE {
      const Floats candidate = LoadUpTo(z + j, left, 0);
      const Floats forget = LoadUpTo(z + hidden + j, left, 0);
      const Floats output = LoadUpTo(z + 2 * hidden + j, left, 0);
      const Floats input = LoadUpTo(z + 3 * hidden + j, left, 0);
      const Floats tanh = LoadUpTo(cell_tanh + at + j, left, 0);
      const Floats dh = LoadUpTo(hidden_gradient + at + j, left, 0);
      const Floats dc =
          hn::MulAdd(hn::Mul(dh, output), hn::NegMulAdd(tanh, tanh, one), LoadUpTo(cell_gradient + at + j, left, 0));
      const Floats c = LoadUpTo(before + at + j, left, 0);
      StoreUpTo(hn::Mul(hn::Mul(dc, input), hn::NegMulAdd(candidate, candidate, one)), dz + j, left);
      StoreUpTo(hn::Mul(hn::Mul(dc, c), hn::Mul(forget, hn::Sub(one, forget))), dz + hidden + j, left);
      StoreUpTo(hn::Mul(hn::Mul(dh, tanh), hn::Mul(output, hn::Sub(one, output))), dz + 2 * hidden + j, left);
      StoreUpTo(hn::Mul(hn::Mul(dc, candidate), hn::Mul(input, hn::Sub(one, input))), dz + 3 * hidden + j, left);
      StoreUpTo(hn::Mul(dc, forget), cell_gradient + at + j, left);
    });
  }
}

}  // namespace MULTIBIT_TIER_SPACE
}  // namespace multibit

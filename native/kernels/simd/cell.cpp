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

// The same of a GRU's sums.
struct Gates {
  Floats reset, update, candidate, hidden;
};

// From the sums of the input's and the recurrent product, 3H each, at place j.
HWY_INLINE Gates NextHidden(const float* input, const float* recurrent, int64_t hidden, int64_t j, int64_t left,
                            Floats before) {
  const auto both = [&](int64_t at) ALWAYS_INLINE {
    return hn::Add(LoadUpTo(input + at, left, 0), LoadUpTo(recurrent + at, left, 0));
  };
  const Floats reset = Sigmoid(both(j));
  const Floats update = Sigmoid(both(hidden + j));
  const Floats candidate =
      Tanh(hn::MulAdd(reset, LoadUpTo(recurrent + 2 * hidden + j, left, 0), LoadUpTo(input + 2 * hidden + j, left, 0)));
  return {reset, update, candidate, hn::MulAdd(update, hn::Sub(before, candidate), candidate)};
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

void GruCell(const float* input, const float* recurrent, int64_t hidden, float* h) {
  ForEachPlace(hidden, [&](int64_t j, int64_t left) ALWAYS_INLINE {
    StoreUpTo(NextHidden(input, recurrent, hidden, j, left, LoadUpTo(h + j, left, 0)).hidden, h + j, left);
  });
}

void GruForward(int64_t first_row, int64_t last_row, int64_t hidden, float* gates, const float* recurrent,
                const float* before, float* out) {
  for (int64_t r = first_row; r < last_row; ++r) {
    float* z = gates + r * 3 * hidden;
    const float* u = recurrent + r * 3 * hidden;
    const int64_t at = r * hidden;
    ForEachPlace(hidden, [&](int64_t j, int64_t left) ALWAYS_INLINE {
      const Gates next = NextHidden(z, u, hidden, j, left, LoadUpTo(before + at + j, left, 0));
      StoreUpTo(next.reset, z + j, left);
      StoreUpTo(next.update, z + hidden + j, left);
      StoreUpTo(next.candidate, z + 2 * hidden + j, left);
      StoreUpTo(next.hidden, out + at + j, left);
    });
  }
}

void GruBackward(int64_t first_row, int64_t last_row, int64_t hidden, const float* gates, const float* recurrent,
                 const float* before, const float* hidden_gradient, float* carried_gradient, float* gate_gradients,
                 float* recurrent_gradients) {
  const Floats one = hn::Set(kFloats, 1);
  for (int64_t r = first_row; r < last_row; ++r) {
    const float* z = gates + r * 3 * hidden;
    const float* u = recurrent + r * 3 * hidden;
    float* dz = gate_gradients + r * 3 * hidden;
    float* du = recurrent_gradients + r * 3 * hidden;
    const int64_t at = r * hidden;
    ForEachPlace(hidden, [&](int64_t j, int64_t left) ALWAYS_INLINE {
      const Floats reset = LoadUpTo(z + j, left, 0);
      const Floats update = LoadUpTo(z + hidden + j, left, 0);
      const Floats candidate = LoadUpTo(z + 2 * hidden + j, left, 0);
      const Floats dh =
          hn::Add(LoadUpTo(hidden_gradient + at + j, left, 0), LoadUpTo(carried_gradient + at + j, left, 0));
      const Floats renewed = hn::Sub(one, update);
      const Floats dn = hn::Mul(hn::Mul(dh, renewed), hn::NegMulAdd(candidate, candidate, one));
      const Floats dr =
          hn::Mul(hn::Mul(dn, LoadUpTo(u + 2 * hidden + j, left, 0)), hn::Mul(reset, hn::Sub(one, reset)));
      const Floats change = hn::Sub(LoadUpTo(before + at + j, left, 0), candidate);
      const Floats dg = hn::Mul(hn::Mul(dh, change), hn::Mul(update, renewed));
      StoreUpTo(dr, dz + j, left);
      StoreUpTo(dg, dz + hidden + j, left);
      StoreUpTo(dn, dz + 2 * hidden + j, left);
      StoreUpTo(dr, du + j, left);
      StoreUpTo(dg, du + hidden + j, left);
      StoreUpTo(hn::Mul(dn, reset), du + 2 * hidden + j, left);
      StoreUpTo(hn::Mul(dh, update), carried_gradient + at + j, left);
    });
  }
}

}  // namespace MULTIBIT_TIER_SPACE
}  // namespace multibit

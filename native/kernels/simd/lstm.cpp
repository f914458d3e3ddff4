// The element-wise arithmetic of an LSTM: of inference, and of training's steps and their gradients.
#include "simd/exponential.h"

namespace multibit {
namespace {

// What a step makes of the gates.
struct Next {
  Floats cell, tanh, hidden;
};

HWY_INLINE Next NextCell(Floats input, Floats forget, Floats candidate, Floats output, Floats previous) {
  const Floats cell = hn::MulAdd(forget, previous, hn::Mul(input, candidate));
  const Floats tanh = Tanh(cell);
  return {cell, tanh, hn::Mul(output, tanh)};
}

}  // namespace

namespace MULTIBIT_TIER_SPACE {

void LstmStep(const float* input, const float* recurrent, int64_t units, float* state, float* hidden) {
  ForEachPlace(units, [&](int64_t j, int64_t left) ALWAYS_INLINE {
    const auto sum = [&](int gate) ALWAYS_INLINE {
      const int64_t at = gate * units + j;
      return hn::Add(LoadUpTo(recurrent + at, left, 0), LoadUpTo(input + at, left, 0));
    };
    const Floats input_gate = Sigmoid(sum(kFileGates.input));
    const Floats forget = Sigmoid(sum(kFileGates.forget));
    const Floats candidate = Tanh(sum(kFileGates.candidate));
    const Floats output = Sigmoid(sum(kFileGates.output));
    const Next next = NextCell(input_gate, forget, candidate, output, LoadUpTo(state + j, left, 0));
    StoreUpTo(next.cell, state + j, left);
    StoreUpTo(next.hidden, hidden + j, left);
  });
}

void LstmForward(const CellStates& states, int64_t first_row, int64_t last_row) {
  const int64_t units = states.units;
  const int64_t next_step = states.batch * units;
  for (int64_t r = first_row; r < last_row; ++r) {
    float* input_gate = states.gates + (r * 4 + kTrainingGates.input) * units;
    float* forget_gate = states.gates + (r * 4 + kTrainingGates.forget) * units;
    float* candidate_gate = states.gates + (r * 4 + kTrainingGates.candidate) * units;
    float* output_gate = states.gates + (r * 4 + kTrainingGates.output) * units;
    const int64_t row = r * units;
    ForEachPlace(units, [&](int64_t j, int64_t left) ALWAYS_INLINE {
      const int64_t at = row + j;
      const Floats candidate = Tanh(LoadUpTo(candidate_gate + j, left, 0));
      const Floats forget = Sigmoid(LoadUpTo(forget_gate + j, left, 0));
      const Floats output = Sigmoid(LoadUpTo(output_gate + j, left, 0));
      const Floats input = Sigmoid(LoadUpTo(input_gate + j, left, 0));
      const Next next = NextCell(input, forget, candidate, output, LoadUpTo(states.cell + at, left, 0));
      StoreUpTo(candidate, candidate_gate + j, left);
      StoreUpTo(forget, forget_gate + j, left);
      StoreUpTo(output, output_gate + j, left);
      StoreUpTo(input, input_gate + j, left);
      StoreUpTo(next.cell, states.cell + next_step + at, left);
      StoreUpTo(next.tanh, states.cell_tanh + at, left);
      StoreUpTo(next.hidden, states.hidden + next_step + at, left);
    });
  }
}

void LstmBackward(const CellStates& states, const CellGradients& gradients, int64_t first_row, int64_t last_row) {
  const Floats one = hn::Set(kFloats, 1);
  const int64_t units = states.units;
  for (int64_t r = first_row; r < last_row; ++r) {
    const float* z = states.gates + r * 4 * units;
    float* dz = gradients.gates + r * 4 * units;
    float* carried = gradients.carried + r % states.batch * units;
    const int64_t row = r * units;
    constexpr LstmGates gate = kTrainingGates;
    ForEachPlace(units, [&](int64_t j, int64_t left) ALWAYS_INLINE {
      const int64_t at = row + j;
      const Floats candidate = LoadUpTo(z + gate.candidate * units + j, left, 0);
      const Floats forget = LoadUpTo(z + gate.forget * units + j, left, 0);
      const Floats output = LoadUpTo(z + gate.output * units + j, left, 0);
      const Floats input = LoadUpTo(z + gate.input * units + j, left, 0);
      const Floats tanh = LoadUpTo(states.cell_tanh + at, left, 0);
      const Floats dh = LoadUpTo(gradients.hidden + at, left, 0);
      const Floats dc = hn::MulAdd(hn::Mul(dh, output), hn::NegMulAdd(tanh, tanh, one), LoadUpTo(carried + j, left, 0));
      const Floats c = LoadUpTo(states.cell + at, left, 0);
      StoreUpTo(hn::Mul(hn::Mul(dc, input), hn::NegMulAdd(candidate, candidate, one)), dz + gate.candidate * units + j,
                left);
      StoreUpTo(hn::Mul(hn::Mul(dc, c), hn::Mul(forget, hn::Sub(one, forget))), dz + gate.forget * units + j, left);
      StoreUpTo(hn::Mul(hn::Mul(dh, tanh), hn::Mul(output, hn::Sub(one, output))), dz + gate.output * units + j, left);
      StoreUpTo(hn::Mul(hn::Mul(dc, candidate), hn::Mul(input, hn::Sub(one, input))), dz + gate.input * units + j,
                left);
      StoreUpTo(hn::Mul(dc, forget), carried + j, left);
    });
  }
}

}  // namespace MULTIBIT_TIER_SPACE
}  // namespace multibit

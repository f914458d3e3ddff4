#include "sequences.h"

#include <memory>
#include <new>

#include "prepack.h"

namespace multibit {
namespace {

// What the recurrent product is added to, and its gradient.
float* RecurrentSums(const CellStates& states) { return states.recurrent ? states.recurrent : states.gates; }
float* RecurrentSums(const CellGradients& gradients) {
  return gradients.recurrent ? gradients.recurrent : gradients.gates;
}

}  // namespace

void ForwardRows(const Kernels* kernels, int cell, const CellStates& states, int64_t first_row, int64_t last_row) {
  KernelsOf(*kernels, cell).forward(states, first_row, last_row);
}

void BackwardRows(const Kernels* kernels, int cell, const CellStates& states, const CellGradients& gradients,
                  int64_t first_row, int64_t last_row) {
  KernelsOf(*kernels, cell).backward(states, gradients, first_row, last_row);
}

void ForwardSequence(const Kernels* kernels, int cell, const CellStates& states, const float* panels, int64_t steps,
                     int64_t first, int64_t last) {
  const CellKernels step = KernelsOf(*kernels, cell);
  for (int64_t t = 0; t < steps; ++t) {
    const int64_t from = t * states.batch + first, to = t * states.batch + last;
    GemmPrepacked(kernels, states.hidden, states.units, panels, kCells[cell].gates * states.units, nullptr, from, to,
                  RecurrentSums(states));
    step.forward(states, from, to);
  }
}

int64_t ForwardQuantizedSequence(const Kernels* kernels, int cell, const CellStates& states,
                                 const QuantizedRecurrence& r, int64_t steps, int64_t first, int64_t last) {
  const CellKernels step = KernelsOf(*kernels, cell);
  const int64_t units = states.units;
  const int64_t sums = kCells[cell].gates * units;
  const int64_t words = (units + 63) / 64;
  const size_t bytes = kernels->QuantizeScratch(units, r.bits);
  const std::unique_ptr<float[]> scratch(new (std::nothrow) float[bytes / sizeof(float) + 1]);
  if (scratch == nullptr) return -2;
  for (int64_t t = 0; t < steps; ++t) {
    const int64_t from = t * states.batch + first, to = t * states.batch + last;
    const int64_t bad = kernels->Quantize(r.quantizer, states.hidden, (steps + 1) * states.batch, units, from, to,
                                          r.bits, 1, r.planes, r.coefficients, scratch.get());
    if (bad != -1) return bad;
    kernels->PackedGemmMasked(r.weight_planes, r.weight_coefficients, 0, sums, units, r.weight_bits,
                              r.planes + from * words * r.bits, r.coefficients + from * r.bits, r.bits, nullptr,
                              to - from, nullptr, RecurrentSums(states) + from * sums, sums);
    step.forward(states, from, to);
  }
  return -1;
}

void BackwardSequence(const Kernels* kernels, int cell, const CellStates& states, const CellGradients& gradients,
                      const float* panels, int64_t first_step, int64_t steps, int64_t first, int64_t last) {
  const CellKernels step = KernelsOf(*kernels, cell);
  const int64_t sums = kCells[cell].gates * states.units;
  for (int64_t t = steps - 1; t >= first_step; --t) {
    const int64_t at = t * states.batch;
    if (t < steps - 1) {
      GemmPrepacked(kernels, RecurrentSums(gradients) + (at + states.batch) * sums, sums, panels, states.units, nullptr,
                    first, last, gradients.hidden + at * states.units);
    }
    step.backward(states, gradients, at + first, at + last);
  }
}

}  // namespace multibit

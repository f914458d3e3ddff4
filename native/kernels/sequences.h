// Steps and whole sequences of a recurrent cell (Cell) in training, time-major. Each of the latter works on sequences
// [first, last) of the batch: they need nothing of each other, so that no time step waits for another thread. The same
// bits as step by step.
#pragma once

#include "kernels.h"

namespace multibit {

// Quantized recurrent weights [G units, units], and what becomes of the hidden states before each step.
struct QuantizedRecurrence {
  const uint64_t* weight_planes;
  const float* weight_coefficients;
  int weight_bits;
  Quantizer quantizer;  // of the hidden states
  int bits;
  uint64_t* planes;  // receives their codes, [steps * batch, units]
  float* coefficients;
};

// One step, without products, for rows of a batch: rows t * batch + [first, last) of the arrays for step t.
void ForwardRows(const Kernels* kernels, int cell, const CellStates& states, int64_t first_row, int64_t last_row);
void BackwardRows(const Kernels* kernels, int cell, const CellStates& states, const CellGradients& gradients,
                  int64_t first_row, int64_t last_row);

// Adds the recurrent product to the sums of each step and computes it. panels: prepacked recurrent weights
// [units, G units].
void ForwardSequence(const Kernels* kernels, int cell, const CellStates& states, const float* panels, int64_t steps,
                     int64_t first, int64_t last);

// The same with quantized weights and a hidden state that is quantized before each step. Returns -1; or the index in
// `hidden` of an element that is NaN or infinite; or -2 if memory is exhausted.
int64_t ForwardQuantizedSequence(const Kernels* kernels, int cell, const CellStates& states,
                                 const QuantizedRecurrence& recurrence, int64_t steps, int64_t first, int64_t last);

// The gradient, from the last step back to first_step. panels: prepacked recurrent weights, transposed: [G units,
// units]. What flows back by products is added to gradients.hidden.
void BackwardSequence(const Kernels* kernels, int cell, const CellStates& states, const CellGradients& gradients,
                      const float* panels, int64_t first_step, int64_t steps, int64_t first, int64_t last);

}  // namespace multibit

// Steps and whole sequences of a recurrent cell (Cell) in training, time-major. A function for whole sequences computes
// sequences [first, last) of the batch. Sequences do not depend on each other, so no time step waits for another
// thread. The results have the same bits as step by step.
#pragma once

#include "kernels.h"

namespace multibit {

// Quantized recurrent weights [G units, units], and how the hidden state is quantized before each step.
struct QuantizedRecurrence {
  const uint64_t* weight_planes;
  const float* weight_coefficients;
  int weight_bits;
  Quantizer quantizer;  // of the hidden states
  int bits;
  uint64_t* planes;  // receives the planes of the hidden states, [steps * batch, units]
  float* coefficients;
};

// One step without its products, for rows of a batch: rows t * batch + [first, last) of the arrays for step t.
void ForwardRows(const Kernels* kernels, int cell, const CellStates& states, int64_t first_row, int64_t last_row);
void BackwardRows(const Kernels* kernels, int cell, const CellStates& states, const CellGradients& gradients,
                  int64_t first_row, int64_t last_row);

// For each step, adds the recurrent product to the sums and computes the step. panels are the prepacked recurrent
// weights [units, G units].
void ForwardSequence(const Kernels* kernels, int cell, const CellStates& states, const float* panels, int64_t steps,
                     int64_t first, int64_t last);

// ForwardSequence with quantized weights and with a hidden state that is quantized before each step. Returns -1 on
// success, -2 if out of memory, or the index in `hidden` of a NaN or an infinity.
int64_t ForwardQuantizedSequence(const Kernels* kernels, int cell, const CellStates& states,
                                 const QuantizedRecurrence& recurrence, int64_t steps, int64_t first, int64_t last);

// Computes the gradients from the last step back to first_step. panels are the transposed recurrent weights
// [G units, units], prepacked. The gradient through the recurrent product is added to gradients.hidden.
void BackwardSequence(const Kernels* kernels, int cell, const CellStates& states, const CellGradients& gradients,
                      const float* panels, int64_t first_step, int64_t steps, int64_t first, int64_t last);

}  // namespace multibit

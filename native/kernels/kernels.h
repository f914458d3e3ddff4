// The inner loops of multi-bit quantization: one table of functions per instruction set (tier), chosen once.
// kernel_list.h says what each function does.
#pragma once

#include <cstddef>
#include <cstdint>

namespace multibit {

// Rows of packed weights that lie side by side.
constexpr int kWeightLanes = 8;

// Columns of a panel of prepacked full-precision weights.
constexpr int kPanelColumns = 32;

// Rows that Gemm computes at once on the widest tiers; parts of a product start at multiples of it.
constexpr int kGemmTileRows = 12;

enum Method : int { kUniform = 0, kBalanced = 1, kGreedy = 2, kRefined = 3, kAlternating = 4, kOptimal = 5 };

struct Quantizer {
  int method;   // Method
  int cycles;   // alternating only
  float scale;  // alternating only
};

// A product of full-precision matrices, c = alpha a b, or c += alpha a b with `add`. a [rows, inner] lies by rows
// (a_inner 1) or by columns (a_row 1). b [inner, cols] lies by rows (b_panel = kPanelColumns), or prepacked in panels
// of kPanelColumns columns (b_inner = kPanelColumns), row after row, the last filled up. Strides are in floats.
struct GemmArgs {
  const float* a;
  int64_t a_row, a_inner;
  const float* b;
  int64_t b_inner, b_panel;
  int64_t inner, cols;
  float alpha;
  bool add;
  const float* bias;  // [cols], added to each row of c unless `add`; null = zeros
  float* c;
  int64_t c_row;
};

// Where an LSTM's gates lie among the 4 units of a row.
struct LstmGates {
  int input, forget, candidate, output;
};
constexpr LstmGates kFileGates = {0, 1, 2, 3};      // docs/format.md
constexpr LstmGates kTrainingGates = {3, 1, 0, 2};  // DL4J's

// The recurrent cells, each declared once: CELL(Name, its name in files, gates, separate sums). From the list are made
// Cell, kCells and the kernels NameStep, NameForward and NameBackward. A cell that keeps its sums apart has one for the
// input's product and one for the recurrent product, each with a bias.
#define MULTIBIT_CELLS(CELL)   \
  CELL(Lstm, "lstm", 4, false) \
  CELL(Gru, "gru", 3, true)

enum Cell : int {
#define CELL(Name, ...) k##Name,
  MULTIBIT_CELLS(CELL)
#undef CELL
};

struct CellKind {
  const char* name;
  int gates;
  bool separate_sums;
};
constexpr CellKind kCells[] = {
#define CELL(Name, name, gates, separate_sums) {name, gates, separate_sums},
    MULTIBIT_CELLS(CELL)
#undef CELL
};

// What a cell's steps read and write in training, time-major: arrays have steps * batch rows; hidden and cell have a
// step more, the first being the state that the sequence starts from. Row r of a step reads the state at row r and
// writes the one at row r + batch. G gates.
struct CellStates {
  int64_t batch, units;
  float* gates;      // [., G units]: sums with bias, of both products (LSTM) or the input's (GRU); become the gates
  float* recurrent;  // [., G units]: the recurrent product with its bias (GRU); null where gates take both
  float* hidden;     // [., units]
  float* cell;       // [., units] (LSTM)
  float* cell_tanh;  // [., units] (LSTM): tanh of the new cell
};

// The gradient of a cell's steps.
struct CellGradients {
  float* hidden;     // [., units]: dL/d(new hidden state), but for what is in `carried` (GRU)
  float* carried;    // [batch, units], of one step: what comes from the step after other than by its products, and
                     // becomes what goes to the step before so: dL/dcell (LSTM), or a part of dL/dhidden (GRU)
  float* gates;      // [., G units]: receives dL/d(sums)
  float* recurrent;  // [., G units]: the same of the recurrent product (GRU); null where it is `gates`
};

// The cell of this name; -1 if there is none.
int FindCell(const char* name);

// The most bits that a method allows (8, or 2 for kOptimal); 0 for an unknown method.
int MaxBits(int method);

struct Kernels {
  const char* name;  // "scalar", "sse4", "avx2", "avx512", "avx512-vpopcntdq", "neon"
#define KERNEL(result, Name, ...) result (*Name)(__VA_ARGS__);
#include "kernel_list.h"
};

// The kernels of a cell; kernel_list.h says what they do.
struct CellKernels {
  decltype(Kernels::LstmStep) step;
  decltype(Kernels::LstmForward) forward;
  decltype(Kernels::LstmBackward) backward;
};
CellKernels KernelsOf(const Kernels& kernels, int cell);

// The best tier that the CPU supports, or the one that the environment's MULTIBIT_ISA names (empty counts as unset).
// Null if it names an unknown tier or one that the CPU lacks; then *error (if given) points to a message, valid until
// this thread's next call, that says what was named and which tiers there are. Looks anew each time.
const Kernels* SelectKernels(const char** error);

// All tiers that this CPU supports, plainest first (for tests and benchmarks). Returns their number.
int SupportedKernels(const Kernels** out, int capacity);

}  // namespace multibit

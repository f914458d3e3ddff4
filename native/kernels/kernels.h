// The inner loops of multi-bit quantization: one table of functions per instruction set (tier), chosen once.
// kernel_list.h describes each function.
#pragma once

#include <cstddef>
#include <cstdint>

namespace multibit {

// Rows of packed weights that are interleaved.
constexpr int kWeightLanes = 8;

// Columns of a panel of prepacked full-precision weights.
constexpr int kPanelColumns = 32;

// Rows that Gemm computes at once on the widest tiers. Parts of a product start at multiples of it.
constexpr int kGemmTileRows = 12;

enum Method : int { kUniform = 0, kBalanced = 1, kGreedy = 2, kRefined = 3, kAlternating = 4, kOptimal = 5 };

struct Quantizer {
  int method;   // Method
  int cycles;   // alternating only
  float scale;  // alternating only
};

// A product of full-precision matrices: c = alpha a b, or c += alpha a b with `add`. Strides are in floats.
// a [rows, inner] is row-major (a_inner = 1) or column-major (a_row = 1). b [inner, cols] is row-major
// (b_panel = kPanelColumns) or prepacked as in prepack.h (b_inner = kPanelColumns).
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

// The place of each of an LSTM's gates in a row of 4 units floats.
struct LstmGates {
  int input, forget, candidate, output;
};
constexpr LstmGates kFileGates = {0, 1, 2, 3};      // docs/format.md
constexpr LstmGates kTrainingGates = {3, 1, 0, 2};  // DL4J's

// The list of recurrent cells declares each cell once: CELL(Name, its name in files, gates, separate sums). Cell,
// kCells and the kernels NameStep, NameForward and NameBackward are generated from it. A cell with separate sums has
// one for the input product and one for the recurrent product, each with a bias.
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

// What the steps of a cell with G gates read and write in training. Arrays are time-major, with steps * batch rows.
// hidden and cell have one step more: their first step is the initial state. Row r of the sums reads the state at row r
// and writes the state at row r + batch.
struct CellStates {
  int64_t batch, units;
  float* gates;      // [., G units]: sums with bias of both products (LSTM) or of the input product (GRU); the step
                     // replaces them by the gates
  float* recurrent;  // [., G units]: the recurrent product with its bias (GRU); null if `gates` has both products
  float* hidden;     // [., units]
  float* cell;       // [., units] (LSTM)
  float* cell_tanh;  // [., units] (LSTM): tanh of the new cell
};

// The gradients of a cell's steps.
struct CellGradients {
  float* hidden;     // [., units]: dL/d(new hidden state), without the part in `carried` (GRU)
  float* carried;    // [batch, units]: the gradient that reaches a step from the next one other than by its products:
                     // dL/dcell (LSTM), or a part of dL/dhidden (GRU). The step replaces it by that for the step before
  float* gates;      // [., G units]: receives dL/d(sums)
  float* recurrent;  // [., G units]: receives dL/d(recurrent sums) (GRU); null if these are in `gates`
};

// The cell of this name, or -1 if there is none.
int FindCell(const char* name);

// The largest number of bits that a method allows (8, or 2 for kOptimal); 0 for an unknown method.
int MaxBits(int method);

struct Kernels {
  const char* name;  // "scalar", "sse4", "avx2", "avx512", "avx512-vpopcntdq", "neon"
#define KERNEL(result, Name, ...) result (*Name)(__VA_ARGS__);
#include "kernel_list.h"
};

// The kernels of a cell; kernel_list.h describes them.
struct CellKernels {
  decltype(Kernels::LstmStep) step;
  decltype(Kernels::LstmForward) forward;
  decltype(Kernels::LstmBackward) backward;
};
CellKernels KernelsOf(const Kernels& kernels, int cell);

// The tier that MULTIBIT_ISA in the environment names or, if that is unset or empty, the best tier that the CPU
// supports. Returns null if MULTIBIT_ISA names an unknown tier or one that the CPU lacks. *error (if given) then points
// to a message with that name and the available tiers, valid until this thread's next call. Each call reads the
// environment again.
const Kernels* SelectKernels(const char** error);

// Writes all tiers that this CPU supports, simplest first, and returns their number. For tests and benchmarks.
int SupportedKernels(const Kernels** out, int capacity);

}  // namespace multibit

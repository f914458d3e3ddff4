// What remains of quantizing a row once the passes over its elements are done: small linear systems, thresholds,
// ranges. Compiled once, with plain flags, and called by every tier, so that tiers differ in passes only. See
// docs/numerics.md.
#pragma once

#include <cstdint>

namespace multibit {

constexpr int kMaxBits = 8;

// The most bits for which alternating is content with a greedy start.
constexpr int kGreedyStart = 3;

// Powers of two, each as two factors whose product may be outside the range of float.
struct RowScale {
  bool needed;
  float down[2];  // row -> scaled row
  float up[2];    // coefficients of the scaled row -> coefficients of the row
};

// Brings the largest magnitude of a row into [1, 2), if it is so large or small that sums could overflow or vanish.
RowScale ScaleFor(float max_magnitude);

// A power of two that brings the largest magnitude of such a row, scaled or not, into [1, 2), for sums of squares.
float SquaresUnit(float max_magnitude);

// The coefficients of a scaled row become those of the row, capped so that their sum is a finite float.
void ScaleBack(const RowScale& scale, int bits, float* coefficients);

// G a = v for the planes 0..count-1 of a row of n elements, the normal equations of equation 5.
struct NormalEquations {
  double gram[kMaxBits][kMaxBits];  // b_i . b_j; the part below the diagonal is read, the diagonal is n
  double projection[kMaxBits];      // b_i . w
};

// A plane that depends on earlier ones gets the coefficient 0.
void SolveLeastSquares(const NormalEquations& equations, int count, int64_t n, float* coefficients);

// Where the planes of normalized coefficients come from.
struct PlaneOrder {
  int from[kMaxBits];
  bool flipped[kMaxBits];  // indexed like from
};

// Makes coefficients non-negative and descending.
PlaneOrder Normalize(float* coefficients, int bits);

// An element's code is codes[number of thresholds <= element]. Bit i of a code is plane i.
struct CodeTable {
  int thresholds;  // 2^bits - 1
  float threshold[(1 << kMaxBits) - 1];
  uint8_t code[1 << kMaxBits];
};

// The nearest of the 2^bits values of normalized coefficients; the paper's binary search tree.
void NearestCodes(const float* coefficients, int bits, CodeTable* table);

// Intervals with equal shares of the elements. `sorted` is the row, ascending.
void BalancedCodes(const float* sorted, int64_t n, int bits, CodeTable* table);

// The coefficients of uniform and balanced codes.
void UniformCoefficients(float max_magnitude, int bits, float* coefficients);

// The two coefficients of the exact 2-bit optimum. `magnitudes` is |w|; it gets sorted.
void OptimalCoefficients(float* magnitudes, int64_t n, float* coefficients);

void SortAscending(float* values, int64_t n);

// The index of the first NaN or infinity, or -1.
int64_t FirstNonFinite(const float* values, int64_t n);

}  // namespace multibit

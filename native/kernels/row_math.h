// The part of quantizing a row that does not pass over its elements: small linear systems, thresholds, ranges. It is
// compiled once, with plain flags, and every tier calls it, so tiers differ only in their passes. See docs/numerics.md.
#pragma once

#include <cstdint>

namespace multibit {

constexpr int kMaxBits = 8;

// Up to this many bits, alternating starts from greedy.
constexpr int kGreedyStart = 3;

// Two powers of two, each as two factors, since their product may be outside the range of float.
struct RowScale {
  bool needed;
  float down[2];  // row -> scaled row
  float up[2];    // coefficients of the scaled row -> coefficients of the row
};

// The scale that brings the largest magnitude of a row into [1, 2), if sums of the row could overflow or vanish.
RowScale ScaleFor(float max_magnitude);

// The power of two that brings the largest magnitude of a row, already scaled if needed, into [1, 2). Sums of squares
// use it.
float SquaresUnit(float max_magnitude);

// Turns the coefficients of a scaled row into those of the row, capped so that their sum is a finite float.
void ScaleBack(const RowScale& scale, int bits, float* coefficients);

// G a = v for the planes 0..count-1 of a row of n elements: the normal equations of the paper's equation 5.
struct NormalEquations {
  double gram[kMaxBits][kMaxBits];  // b_i . b_j; only the part below the diagonal is read, the diagonal is n
  double projection[kMaxBits];      // b_i . w
};

// Solves the equations. A plane that depends on earlier ones gets the coefficient 0.
void SolveLeastSquares(const NormalEquations& equations, int count, int64_t n, float* coefficients);

// How normalizing reorders and flips planes.
struct PlaneOrder {
  int from[kMaxBits];      // the old place of each new plane
  bool flipped[kMaxBits];  // indexed like `from`
};

// Makes coefficients non-negative and descending. Returns what happens to the planes.
PlaneOrder Normalize(float* coefficients, int bits);

// An element's code is codes[number of thresholds <= element]. Bit i of a code is plane i.
struct CodeTable {
  int thresholds;  // 2^bits - 1
  float threshold[(1 << kMaxBits) - 1];
  uint8_t code[1 << kMaxBits];
};

// The table of the nearest of the 2^bits values of normalized coefficients (the paper's binary search tree).
void NearestCodes(const float* coefficients, int bits, CodeTable* table);

// The table of intervals with equal shares of the elements. `sorted` is the row in ascending order.
void BalancedCodes(const float* sorted, int64_t n, int bits, CodeTable* table);

// The coefficients of uniform and balanced codes.
void UniformCoefficients(float max_magnitude, int bits, float* coefficients);

// The two coefficients of the exact 2-bit optimum. Sorts `magnitudes`, which are |w|.
void OptimalCoefficients(float* magnitudes, int64_t n, float* coefficients);

void SortAscending(float* values, int64_t n);

// The index of the first NaN or infinity, or -1.
int64_t FirstNonFinite(const float* values, int64_t n);

}  // namespace multibit

#include "row_math.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace multibit {
namespace {

constexpr float kLargestUnscaled = 0x1p60f;
constexpr float kSmallestUnscaled = 0x1p-60f;
constexpr float kLargestSum = 0x1.ffffep127f;
constexpr double kDependent = 1e-9;

// Plane 0 as the most significant of `bits` bits.
int Reversed(int code, int bits) {
  int reversed = 0;
  for (int i = 0; i < bits; ++i) reversed |= (code >> i & 1) << (bits - 1 - i);
  return reversed;
}

}  // namespace

RowScale ScaleFor(float max_magnitude) {
  RowScale scale = {false, {1, 1}, {1, 1}};
  if (max_magnitude == 0 || (max_magnitude >= kSmallestUnscaled && max_magnitude <= kLargestUnscaled)) return scale;
  const int exponent = std::ilogb(max_magnitude);
  const int half = exponent / 2;
  scale.needed = true;
  scale.down[0] = std::ldexp(1.0f, -half);
  scale.down[1] = std::ldexp(1.0f, half - exponent);
  scale.up[0] = std::ldexp(1.0f, half);
  scale.up[1] = std::ldexp(1.0f, exponent - half);
  return scale;
}

float SquaresUnit(float max_magnitude) { return max_magnitude == 0 ? 1 : std::ldexp(1.0f, -std::ilogb(max_magnitude)); }

void ScaleBack(const RowScale& scale, int bits, float* coefficients) {
  float sum = 0;
  for (int i = 0; i < bits; ++i) {
    coefficients[i] = std::min(coefficients[i] * scale.up[0] * scale.up[1], std::max(0.0f, kLargestSum - sum));
    sum += coefficients[i];
  }
}

void SolveLeastSquares(const NormalEquations& equations, int count, int64_t n, float* coefficients) {
  double l[kMaxBits][kMaxBits] = {};  // Cholesky factor; the column and row of a dropped plane are 0
  bool dropped[kMaxBits];
  double x[kMaxBits];
  for (int j = 0; j < count; ++j) {
    double d = equations.gram[j][j];
    for (int p = 0; p < j; ++p) d -= l[j][p] * l[j][p];
    dropped[j] = d <= static_cast<double>(n) * kDependent;
    if (dropped[j]) {
      for (int p = 0; p < j; ++p) l[j][p] = 0;
      continue;
    }
    l[j][j] = std::sqrt(d);
    for (int i = j + 1; i < count; ++i) {
      double s = equations.gram[i][j];
      for (int p = 0; p < j; ++p) s -= l[i][p] * l[j][p];
      l[i][j] = s / l[j][j];
    }
  }
  for (int j = 0; j < count; ++j) {
    double s = equations.projection[j];
    for (int p = 0; p < j; ++p) s -= l[j][p] * x[p];
    x[j] = dropped[j] ? 0 : s / l[j][j];
  }
  for (int j = count - 1; j >= 0; --j) {
    double s = x[j];
    for (int p = j + 1; p < count; ++p) s -= l[p][j] * x[p];
    x[j] = dropped[j] ? 0 : s / l[j][j];
    coefficients[j] = static_cast<float>(x[j]);
  }
}

PlaneOrder Normalize(float* coefficients, int bits) {
  PlaneOrder order;
  for (int i = 0; i < bits; ++i) {
    const bool negative = coefficients[i] < 0;
    const float magnitude = negative ? -coefficients[i] : coefficients[i];
    int at = i;  // insertion sort: stable
    for (; at > 0 && coefficients[at - 1] < magnitude; --at) {
      coefficients[at] = coefficients[at - 1];
      order.from[at] = order.from[at - 1];
      order.flipped[at] = order.flipped[at - 1];
    }
    coefficients[at] = magnitude;
    order.from[at] = i;
    order.flipped[at] = negative;
  }
  return order;
}

void NearestCodes(const float* coefficients, int bits, CodeTable* table) {
  const int count = 1 << bits;
  float values[1 << kMaxBits];
  // In the order of the reversed patterns, so that a stable order by value breaks ties by them.
  for (int reversed = 0; reversed < count; ++reversed) {
    const int code = Reversed(reversed, bits);
    float value = code & 1 ? coefficients[0] : -coefficients[0];
    for (int i = 1; i < bits; ++i) value += code >> i & 1 ? coefficients[i] : -coefficients[i];
    int at = reversed;  // few, and nearly sorted already
    for (; at > 0 && values[at - 1] > value; --at) {
      values[at] = values[at - 1];
      table->code[at] = table->code[at - 1];
    }
    values[at] = value;
    table->code[at] = static_cast<uint8_t>(code);
  }
  table->thresholds = count - 1;
  for (int t = 0; t < count - 1; ++t) table->threshold[t] = values[t] * 0.5f + values[t + 1] * 0.5f;
}

void BalancedCodes(const float* sorted, int64_t n, int bits, CodeTable* table) {
  const int levels = 1 << bits;
  table->thresholds = levels - 1;
  table->code[0] = 0;
  for (int level = 1; level < levels; ++level) {
    const int64_t index = (level * n + levels - 1) / levels;
    table->threshold[level - 1] = index < n ? sorted[index] : std::numeric_limits<float>::infinity();
    table->code[level] = static_cast<uint8_t>(Reversed(level, bits));
  }
}

void UniformCoefficients(float max_magnitude, int bits, float* coefficients) {
  const float top = static_cast<float>((1 << bits) - 1);
  for (int i = 0; i < bits; ++i) {
    coefficients[i] = max_magnitude * (static_cast<float>(1 << (bits - 1 - i)) / top);
  }
}

void OptimalCoefficients(float* magnitudes, int64_t n, float* coefficients) {
  SortAscending(magnitudes, n);
  double sum = 0;
  for (int64_t j = 0; j < n; ++j) sum += magnitudes[j];
  // The best split of the magnitudes into a low and a high part, each replaced by its mean.
  double best = sum * sum / n;
  double low = sum / n;
  double high = low;
  double prefix = 0;
  for (int64_t s = 1; s < n; ++s) {
    prefix += magnitudes[s - 1];
    const double rest = sum - prefix;
    const double gain = prefix * prefix / s + rest * rest / (n - s);
    if (gain > best) {
      best = gain;
      low = prefix / s;
      high = rest / (n - s);
    }
  }
  coefficients[0] = static_cast<float>((high + low) * 0.5);
  coefficients[1] = static_cast<float>((high - low) * 0.5);
}

void SortAscending(float* values, int64_t n) { std::sort(values, values + n); }

int64_t FirstNonFinite(const float* values, int64_t n) {
  for (int64_t j = 0; j < n; ++j) {
    if (!std::isfinite(values[j])) return j;
  }
  return -1;
}

}  // namespace multibit

// Softmax and its logarithm.
#include <cmath>

#include "simd/exponential.h"

namespace multibit {
namespace {

float Max(const float* x, int64_t n) {
  Floats max = hn::Set(kFloats, -INFINITY);
  for (int64_t j = 0; j < n; j += kFloatLanes) max = hn::Max(max, LoadUpTo(x + j, n - j, -INFINITY));
  return hn::GetLane(hn::MaxOfLanes(kFloats, max));
}

// The sum of e^(x - max), each also written to `out` unless that is null. Floats add up to at most 1024 elements, so
// that the error does not grow with n.
double SumExp(const float* x, int64_t n, float max, float* out) {
  constexpr int64_t kChunk = 1024;
  double total = 0;
  for (int64_t start = 0; start < n; start += kChunk) {
    const int64_t end = n - start < kChunk ? n : start + kChunk;
    Floats sum = hn::Zero(kFloats);
    for (int64_t j = start; j < end; j += kFloatLanes) {
      const Floats e = Exp(hn::Sub(LoadUpTo(x + j, end - j, -INFINITY), hn::Set(kFloats, max)));
      sum = hn::Add(sum, e);
      if (out != nullptr) StoreUpTo(e, out + j, end - j);
    }
    total += SumTree(kFloats, sum);
  }
  return total;
}

}  // namespace

namespace MULTIBIT_TIER_SPACE {

double LogSumExp(const float* logits, int64_t n) {
  const float max = Max(logits, n);
  return max + std::log(SumExp(logits, n, max, nullptr));
}

void Softmax(float* logits, int64_t rows, int64_t classes, const int32_t* labels, float* losses) {
  for (int64_t r = 0; r < rows; ++r) {
    float* row = logits + r * classes;
    const float max = Max(row, classes);
    const float right = labels ? row[labels[r]] : 0;
    const double sum = SumExp(row, classes, max, row);
    const float inverse = static_cast<float>(1 / sum);
    for (int64_t j = 0; j < classes; j += kFloatLanes) {
      StoreUpTo(hn::Mul(LoadUpTo(row + j, classes - j, 0), hn::Set(kFloats, inverse)), row + j, classes - j);
    }
    if (labels) {
      losses[r] = static_cast<float>(max + std::log(sum) - right);
      row[labels[r]] -= 1;
    }
  }
}

}  // namespace MULTIBIT_TIER_SPACE
}  // namespace multibit

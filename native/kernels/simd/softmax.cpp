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

// The sums over a row of distillation: of e^z, e^(z/T) and e^(y/T), each with its maximum taken out, and of
// e^(y/T) (y/T - z/T).
struct DistillationSums {
  double student, tempered, teacher, difference;
};

// Chunks as in SumExp. e^(y/T) replaces y.
DistillationSums SumDistillation(const float* z, float max_z, float* y, float max_y, int64_t n, float inverse) {
  constexpr int64_t kChunk = 1024;
  DistillationSums total = {0, 0, 0, 0};
  const Floats scale = hn::Set(kFloats, inverse);
  for (int64_t start = 0; start < n; start += kChunk) {
    const int64_t end = n - start < kChunk ? n : start + kChunk;
    Floats student = hn::Zero(kFloats), tempered = student, teacher = student, difference = student;
    for (int64_t j = start; j < end; j += kFloatLanes) {
      const Floats of_z = hn::Sub(LoadUpTo(z + j, end - j, -INFINITY), hn::Set(kFloats, max_z));
      const Floats of_y = hn::Sub(LoadUpTo(y + j, end - j, -INFINITY), hn::Set(kFloats, max_y));
      const Floats e = Exp(hn::Mul(of_y, scale));
      student = hn::Add(student, Exp(of_z));
      tempered = hn::Add(tempered, Exp(hn::Mul(of_z, scale)));
      teacher = hn::Add(teacher, e);
      // What the teacher rules out counts nothing, whatever the student says.
      const Floats term = hn::Mul(e, hn::Mul(hn::Sub(of_y, of_z), scale));
      difference = hn::Add(difference, hn::IfThenElseZero(hn::Gt(e, hn::Zero(kFloats)), term));
      StoreUpTo(e, y + j, end - j);
    }
    total.student += SumTree(kFloats, student);
    total.tempered += SumTree(kFloats, tempered);
    total.teacher += SumTree(kFloats, teacher);
    total.difference += SumTree(kFloats, difference);
  }
  return total;
}

}  // namespace

namespace MULTIBIT_TIER_SPACE {

double LogSumExp(const float* logits, int64_t n) {
  const float max = Max(logits, n);
  return max + std::log(SumExp(logits, n, max, nullptr));
}

void Softmax(float* logits, int64_t first_row, int64_t last_row, int64_t classes, const int32_t* labels,
             float* losses) {
  for (int64_t r = first_row; r < last_row; ++r) {
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

void SoftmaxBlock(float* logits, int64_t rows, int64_t classes, float* max, double* sums, float* rescale) {
  for (int64_t r = 0; r < rows; ++r) {
    float* row = logits + r * classes;
    const float of_block = Max(row, classes);
    rescale[r] = 1;
    if (!(of_block <= max[r])) {
      const double grown = std::exp(static_cast<double>(max[r]) - of_block);
      sums[r] *= grown;
      rescale[r] = static_cast<float>(grown);
      max[r] = of_block;
    }
    sums[r] += SumExp(row, classes, max[r], row);
  }
}

void SoftmaxColumns(const float* exponentials, int64_t rows, int64_t classes, const float* scales, float* out,
                    float* sums) {
  ForEachPlace(classes, [&](int64_t j, int64_t left) ALWAYS_INLINE {
    Floats sum = hn::Zero(kFloats);
    for (int64_t r = 0; r < rows; ++r) {
      const int64_t at = r * classes + j;
      const Floats y = hn::Mul(LoadUpTo(exponentials + at, left, 0), hn::Set(kFloats, scales[r]));
      StoreUpTo(y, out + at, left);
      sum = hn::Add(sum, y);
    }
    StoreUpTo(sum, sums + j, left);
  });
}

// e^z and e^(z/T) are computed twice: there is no place to keep them until their sums are known.
void Distill(float* logits, float* teacher, int64_t first_row, int64_t last_row, int64_t classes, const int32_t* labels,
             float weight, float temperature, float* losses) {
  const Floats scale = hn::Set(kFloats, 1 / temperature);
  for (int64_t r = first_row; r < last_row; ++r) {
    float* z = logits + r * classes;
    float* y = teacher + r * classes;
    const float max = Max(z, classes);
    const float right = z[labels[r]];
    const DistillationSums sums = SumDistillation(z, max, y, Max(y, classes), classes, 1 / temperature);
    const Floats of_student = hn::Set(kFloats, static_cast<float>((1 - weight) / sums.student));
    const Floats of_tempered = hn::Set(kFloats, static_cast<float>(weight * temperature / sums.tempered));
    const Floats of_teacher = hn::Set(kFloats, static_cast<float>(weight * temperature / sums.teacher));
    for (int64_t j = 0; j < classes; j += kFloatLanes) {
      const Floats x = hn::Sub(LoadUpTo(z + j, classes - j, 0), hn::Set(kFloats, max));
      const Floats soft = hn::Mul(of_teacher, LoadUpTo(y + j, classes - j, 0));
      const Floats apart = hn::Sub(hn::Mul(of_tempered, Exp(hn::Mul(x, scale))), soft);
      StoreUpTo(hn::MulAdd(of_student, Exp(x), apart), z + j, classes - j);
    }
    z[labels[r]] -= 1 - weight;
    const double cross_entropy = max + std::log(sums.student) - right;
    const double divergence = sums.difference / sums.teacher + std::log(sums.tempered / sums.teacher);
    losses[r] = static_cast<float>((1 - weight) * cross_entropy + weight * temperature * temperature * divergence);
  }
}

}  // namespace MULTIBIT_TIER_SPACE
}  // namespace multibit

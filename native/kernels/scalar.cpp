// The kernels in plain C++: what every other tier must equal, and the one to read first. No thought is given to speed.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "row_math.h"
#include "tier.h"

namespace multibit {
namespace {

int64_t Words(int64_t cols) { return (cols + 63) / 64; }

// Where row r starts in the interleave; word w of its plane i is at [(w * bits + i) * lanes] from there.
int64_t PlaneStart(int64_t row, int64_t cols, int bits, int lanes) {
  return row / lanes * Words(cols) * bits * lanes + row % lanes;
}

// The same for coefficients; that of plane i is at [i * lanes].
int64_t CoefficientStart(int64_t row, int bits, int lanes) { return row / lanes * bits * lanes + row % lanes; }

// sum of x(0), ..., x(n-1) in the one order that every tier keeps.
template <typename Element>
float FixedOrderSum(int64_t n, const Element& x) {
  float s[16] = {};
  for (int64_t j = 0; j < n; ++j) s[j % 16] += x(j);
  for (int half = 8; half > 0; half /= 2) {
    for (int l = 0; l < half; ++l) s[l] += s[l + half];
  }
  return s[0];
}

// One row on its way to codes and coefficients.
struct Row {
  const float* w;
  int64_t n;
  int bits;
  uint8_t* codes;  // bit i: plane i is +1
  uint8_t* spare;  // n codes, for a method to compare with
  float* work;     // n floats
  float a[kMaxBits];

  // +1 or -1 times x, as plane i says at element j.
  float Signed(int i, int64_t j, float x) const { return codes[j] >> i & 1 ? x : -x; }
};

float MaxMagnitude(const Row& row) {
  float max = 0;
  for (int64_t j = 0; j < row.n; ++j) max = std::fmax(max, std::fabs(row.w[j]));
  return max;
}

// Codes by the number of thresholds that are not above the element.
void Encode(const CodeTable& table, Row* row) {
  for (int64_t j = 0; j < row->n; ++j) {
    int low = 0;
    int high = table.thresholds;
    while (low < high) {
      const int middle = (low + high) / 2;
      if (table.threshold[middle] <= row->w[j]) {
        low = middle + 1;
      } else {
        high = middle;
      }
    }
    row->codes[j] = table.code[low];
  }
}

// Plane i becomes the sign of the residual in row->work.
void TakeSigns(int i, Row* row) {
  for (int64_t j = 0; j < row->n; ++j) {
    if (row->work[j] >= 0) row->codes[j] |= static_cast<uint8_t>(1 << i);
  }
}

// The best coefficients of planes 0..count-1.
void LeastSquares(int count, Row* row) {
  NormalEquations equations;
  for (int i = 0; i < count; ++i) {
    for (int j = 0; j <= i; ++j) {
      int64_t differ = 0;
      for (int64_t e = 0; e < row->n; ++e) differ += (row->codes[e] >> i ^ row->codes[e] >> j) & 1;
      equations.gram[i][j] = static_cast<double>(row->n - 2 * differ);
    }
    equations.projection[i] = FixedOrderSum(row->n, [&](int64_t e) { return row->Signed(i, e, row->w[e]); });
  }
  SolveLeastSquares(equations, count, row->n, row->a);
}

void Uniform(Row* row) {
  const float max = MaxMagnitude(*row);
  const int top = (1 << row->bits) - 1;
  for (int64_t j = 0; j < row->n; ++j) {
    const float x = max == 0 ? 0 : row->w[j] / max;
    const float level = std::floor((x + 1) * 0.5f * static_cast<float>(top) + 0.5f);
    const int q = level < 0 ? 0 : level > static_cast<float>(top) ? top : static_cast<int>(level);
    row->codes[j] = 0;
    for (int i = 0; i < row->bits; ++i) row->codes[j] |= static_cast<uint8_t>((q >> (row->bits - 1 - i) & 1) << i);
  }
  UniformCoefficients(max, row->bits, row->a);
}

void Balanced(Row* row) {
  std::memcpy(row->work, row->w, row->n * sizeof(float));
  SortAscending(row->work, row->n);
  CodeTable table;
  BalancedCodes(row->work, row->n, row->bits, &table);
  Encode(table, row);
  UniformCoefficients(MaxMagnitude(*row), row->bits, row->a);
}

// What planes 0..count-1 leave over, into row->work.
void SetResidual(int count, Row* row) {
  for (int64_t j = 0; j < row->n; ++j) {
    row->work[j] = row->w[j];
    for (int i = 0; i < count; ++i) row->work[j] -= row->Signed(i, j, row->a[i]);
  }
}

// Plane i, the best for what the planes before leave over.
void AddPlane(int i, Row* row) {
  SetResidual(i, row);
  row->a[i] = FixedOrderSum(row->n, [&](int64_t j) { return std::fabs(row->work[j]); }) / static_cast<float>(row->n);
  TakeSigns(i, row);
}

void Greedy(Row* row) {
  std::memset(row->codes, 0, row->n);
  for (int i = 0; i < row->bits; ++i) AddPlane(i, row);
}

// Normalizes planes and coefficients.
void NormalizePlanes(Row* row) {
  const PlaneOrder order = Normalize(row->a, row->bits);
  for (int64_t j = 0; j < row->n; ++j) {
    int code = 0;
    for (int i = 0; i < row->bits; ++i) code |= ((row->codes[j] >> order.from[i] & 1) ^ order.flipped[i]) << i;
    row->codes[j] = static_cast<uint8_t>(code);
  }
}

void Refined(Row* row) {
  std::memset(row->codes, 0, row->n);
  for (int i = 0; i < row->bits; ++i) {
    SetResidual(i, row);
    TakeSigns(i, row);
    LeastSquares(i + 1, row);
  }
  NormalizePlanes(row);
}

void EncodeTwoBits(Row* row) {
  for (int64_t j = 0; j < row->n; ++j) {
    const bool first = row->w[j] >= 0;
    const bool second = (first ? row->w[j] - row->a[0] : row->w[j] + row->a[0]) >= 0;
    row->codes[j] = static_cast<uint8_t>(first | second << 1);
  }
}

void Cycle(Row* row) {
  LeastSquares(row->bits, row);
  Normalize(row->a, row->bits);
  if (row->bits == 2) {
    EncodeTwoBits(row);
  } else {
    CodeTable table;
    NearestCodes(row->a, row->bits, &table);
    Encode(table, row);
  }
}

// With one bit, greedy is the optimum already.
void AlternatingFromGreedy(int cycles, Row* row) {
  Greedy(row);
  for (int cycle = 0; cycle < cycles && row->bits > 1; ++cycle) Cycle(row);
}

float SquaredError(const Row& row, float unit) {
  return FixedOrderSum(row.n, [&](int64_t j) {
    float value = row.Signed(0, j, row.a[0]);
    for (int i = 1; i < row.bits; ++i) value += row.Signed(i, j, row.a[i]);
    const float difference = (row.w[j] - value) * unit;
    return difference * difference;
  });
}

// Takes the codes and coefficients of `other` if their error is lower.
bool TakeIfLower(const Row& other, float unit, float* error, Row* row) {
  const float other_error = SquaredError(other, unit);
  if (!(other_error < *error)) return false;
  *error = other_error;
  std::memcpy(row->codes, other.codes, row->n);
  std::memcpy(row->a, other.a, sizeof(row->a));
  return true;
}

void AlternatingFromBestStart(int cycles, Row* row) {
  const int bits = row->bits;
  const float unit = SquaresUnit(MaxMagnitude(*row));
  row->bits = kGreedyStart;
  AlternatingFromGreedy(cycles, row);
  Row other = *row;
  other.codes = row->spare;
  while (row->bits < bits) {
    AddPlane(row->bits++, row);
    float error = SquaredError(*row, unit);
    other.bits = row->bits;
    Greedy(&other);
    TakeIfLower(other, unit, &error, row);
    Uniform(&other);
    TakeIfLower(other, unit, &error, row);
    bool lower = true;
    for (int cycle = 0; cycle < cycles && lower; ++cycle) {
      std::memcpy(other.codes, row->codes, row->n);
      Cycle(&other);
      lower = TakeIfLower(other, unit, &error, row);
    }
  }
  NormalizePlanes(row);
}

void Alternating(int cycles, float scale, Row* row) {
  if (row->bits <= kGreedyStart || cycles == 0) {
    AlternatingFromGreedy(cycles, row);
  } else {
    AlternatingFromBestStart(cycles, row);
  }
  if (scale != 1) {
    for (int i = 0; i < row->bits; ++i) row->a[i] *= scale;
  }
}

void Optimal(Row* row) {
  if (row->bits == 1) {
    Greedy(row);
    return;
  }
  for (int64_t j = 0; j < row->n; ++j) row->work[j] = std::fabs(row->w[j]);
  OptimalCoefficients(row->work, row->n, row->a);
  EncodeTwoBits(row);
}

void QuantizeRow(const Quantizer& quantizer, Row* row) {
  switch (quantizer.method) {
    case kUniform:
      return Uniform(row);
    case kBalanced:
      return Balanced(row);
    case kGreedy:
      return Greedy(row);
    case kRefined:
      return Refined(row);
    case kAlternating:
      return Alternating(quantizer.cycles, quantizer.scale, row);
    case kOptimal:
      return Optimal(row);
  }
}

// A copy of the row, the work of a method, codes and spare ones.
}  // namespace

namespace MULTIBIT_TIER_SPACE {

size_t QuantizeScratch(int64_t cols, int) { return cols * (2 * sizeof(float) + 2 * sizeof(uint8_t)); }

int64_t Quantize(const Quantizer& quantizer, const float* w, int64_t rows, int64_t cols, int64_t first_row,
                 int64_t last_row, int bits, int lanes, uint64_t* planes, float* coefficients, void* scratch) {
  float* copy = static_cast<float*>(scratch);
  uint8_t* codes = reinterpret_cast<uint8_t*>(copy + 2 * cols);
  Row row = {copy, cols, bits, codes, codes + cols, copy + cols, {}};
  for (int64_t r = first_row; r < last_row; ++r) {
    const int64_t bad = FirstNonFinite(w + r * cols, cols);
    if (bad >= 0) return r * cols + bad;
    std::memcpy(copy, w + r * cols, cols * sizeof(float));
    const RowScale scale = ScaleFor(MaxMagnitude(row));
    for (int64_t j = 0; scale.needed && j < cols; ++j) copy[j] = copy[j] * scale.down[0] * scale.down[1];
    QuantizeRow(quantizer, &row);
    if (scale.needed) ScaleBack(scale, bits, row.a);
    uint64_t* row_planes = planes + PlaneStart(r, cols, bits, lanes);
    float* row_coefficients = coefficients + CoefficientStart(r, bits, lanes);
    for (int i = 0; i < bits; ++i) {
      row_coefficients[i * lanes] = row.a[i];
      for (int64_t word = 0; word < Words(cols); ++word) {
        uint64_t plane = 0;
        for (int64_t j = word * 64; j < cols && j < word * 64 + 64; ++j) {
          plane |= static_cast<uint64_t>(row.codes[j] >> i & 1) << (j % 64);
        }
        row_planes[(word * bits + i) * lanes] = plane;
      }
    }
  }
  for (int64_t r = last_row; last_row == rows && r % lanes != 0; ++r) {
    for (int64_t i = 0; i < Words(cols) * bits; ++i) planes[PlaneStart(r, cols, bits, lanes) + i * lanes] = 0;
    for (int i = 0; i < bits; ++i) coefficients[CoefficientStart(r, bits, lanes) + i * lanes] = 0;
  }
  return -1;
}

// The element at column j of the row that starts at `planes` and `coefficients`.
static float Value(const uint64_t* planes, const float* coefficients, int64_t j, int bits, int lanes) {
  float value = 0;
  for (int i = 0; i < bits; ++i) {
    const float a = coefficients[i * lanes];
    const float term = planes[(j / 64 * bits + i) * lanes] >> (j % 64) & 1 ? a : -a;
    value = i == 0 ? term : value + term;
  }
  return value;
}

void Dequantize(const uint64_t* planes, const float* coefficients, int64_t first_row, int64_t last_row, int64_t cols,
                int bits, int lanes, float* out) {
  for (int64_t r = first_row; r < last_row; ++r) {
    for (int64_t j = 0; j < cols; ++j) {
      out[r * cols + j] = Value(planes + PlaneStart(r, cols, bits, lanes),
                                coefficients + CoefficientStart(r, bits, lanes), j, bits, lanes);
    }
  }
}

void Gemv(const uint64_t* weight_planes, const float* weight_coefficients, int64_t first_row, int64_t last_row,
          int64_t cols, int weight_bits, const uint64_t* activation_planes, const float* activation_coefficients,
          int activation_bits, float* out) {
  for (int64_t r = first_row; r < last_row; ++r) {
    const uint64_t* planes = weight_planes + PlaneStart(r, cols, weight_bits, 8);
    const float* a = weight_coefficients + CoefficientStart(r, weight_bits, 8);
    float y = 0;
    for (int i = 0; i < weight_bits; ++i) {
      for (int j = 0; j < activation_bits; ++j) {
        int64_t differ = 0;
        for (int64_t word = 0; word < Words(cols); ++word) {
          differ += __builtin_popcountll(planes[(word * weight_bits + i) * 8] ^
                                         activation_planes[word * activation_bits + j]);
        }
        y += a[i * 8] * activation_coefficients[j] * static_cast<float>(cols - 2 * differ);
      }
    }
    out[r] = y;
  }
}

void PackedGemm(const uint64_t* weight_planes, const float* weight_coefficients, int64_t first_row, int64_t last_row,
                int64_t cols, int weight_bits, const uint64_t* activation_planes, const float* activation_coefficients,
                int activation_bits, int64_t batch, float* out, int64_t out_stride) {
  for (int64_t b = 0; b < batch; ++b) {
    Gemv(weight_planes, weight_coefficients, first_row, last_row, cols, weight_bits,
         activation_planes + b * Words(cols) * activation_bits, activation_coefficients + b * activation_bits,
         activation_bits, out + b * out_stride);
  }
}

void PackedGemvFloat(const uint64_t* weight_planes, const float* weight_coefficients, int64_t first_row,
                     int64_t last_row, int64_t cols, int weight_bits, const float* x, float* out) {
  for (int64_t r = first_row; r < last_row; ++r) {
    const uint64_t* planes = weight_planes + PlaneStart(r, cols, weight_bits, 8);
    const float* a = weight_coefficients + CoefficientStart(r, weight_bits, 8);
    out[r] = FixedOrderSum(cols, [&](int64_t j) { return Value(planes, a, j, weight_bits, 8) * x[j]; });
  }
}

void GemmRows(const float* weights, int64_t first_row, int64_t last_row, int64_t cols, const float* x, int64_t batch,
              float* out, int64_t out_stride) {
  for (int64_t b = 0; b < batch; ++b) {
    for (int64_t r = first_row; r < last_row; ++r) {
      out[b * out_stride + r] = FixedOrderSum(cols, [&](int64_t j) { return weights[r * cols + j] * x[b * cols + j]; });
    }
  }
}

// At least e^-40: simd/exponential.h says why.
static float Sigmoid(float x) { return 1 / (1 + std::exp(std::min(-x, 40.f))); }

void LstmStep(const float* input, const float* recurrent, int64_t units, float* state, float* hidden) {
  for (int64_t j = 0; j < units; ++j) {
    const auto sum = [&](int gate) { return recurrent[gate * units + j] + input[gate * units + j]; };
    const float input_gate = Sigmoid(sum(kFileGates.input));
    const float forget = Sigmoid(sum(kFileGates.forget));
    const float candidate = std::tanh(sum(kFileGates.candidate));
    const float output = Sigmoid(sum(kFileGates.output));
    state[j] = forget * state[j] + input_gate * candidate;
    hidden[j] = output * std::tanh(state[j]);
  }
}

// Makes a GRU's sums at one unit its gates, in place of the input's, and returns the next hidden state.
static float GruUnit(float* gates, const float* recurrent, int64_t units, float previous) {
  gates[0] = Sigmoid(gates[0] + recurrent[0]);
  gates[units] = Sigmoid(gates[units] + recurrent[units]);
  gates[2 * units] = std::tanh(gates[2 * units] + gates[0] * recurrent[2 * units]);
  return gates[2 * units] + gates[units] * (previous - gates[2 * units]);
}

void GruStep(const float* input, const float* recurrent, int64_t units, float*, float* h) {
  for (int64_t j = 0; j < units; ++j) {
    float gates[3] = {input[j], input[units + j], input[2 * units + j]};
    const float sums[3] = {recurrent[j], recurrent[units + j], recurrent[2 * units + j]};
    h[j] = GruUnit(gates, sums, 1, h[j]);
  }
}

static float Max(const float* x, int64_t n) {
  float max = -INFINITY;
  for (int64_t j = 0; j < n; ++j) max = std::fmax(max, x[j]);
  return max;
}

double LogSumExp(const float* logits, int64_t n) {
  const double max = Max(logits, n);
  double sum = 0;
  for (int64_t j = 0; j < n; ++j) sum += std::exp(logits[j] - max);
  return max + std::log(sum);
}

void Softmax(float* logits, int64_t first_row, int64_t last_row, int64_t classes, const int32_t* labels,
             float* losses) {
  for (int64_t r = first_row; r < last_row; ++r) {
    float* row = logits + r * classes;
    const double log_sum = LogSumExp(row, classes);
    if (labels) losses[r] = static_cast<float>(log_sum - row[labels[r]]);
    for (int64_t j = 0; j < classes; ++j) row[j] = static_cast<float>(std::exp(row[j] - log_sum));
    if (labels) row[labels[r]] -= 1;
  }
}

void SoftmaxBlock(float* logits, int64_t rows, int64_t classes, float* max, double* sums, float* rescale) {
  for (int64_t r = 0; r < rows; ++r) {
    float* row = logits + r * classes;
    const float before = max[r];
    for (int64_t j = 0; j < classes; ++j) max[r] = row[j] > max[r] ? row[j] : max[r];
    rescale[r] = max[r] == before ? 1 : std::exp(before - max[r]);
    sums[r] *= rescale[r];
    for (int64_t j = 0; j < classes; ++j) {
      row[j] = std::exp(row[j] - max[r]);
      sums[r] += row[j];
    }
  }
}

void SoftmaxColumns(const float* exponentials, int64_t rows, int64_t classes, const float* scales, float* out,
                    float* sums) {
  std::memset(sums, 0, classes * sizeof(float));
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t j = 0; j < classes; ++j) {
      const int64_t at = r * classes + j;
      out[at] = scales[r] * exponentials[at];
      sums[j] += out[at];
    }
  }
}

void Distill(float* logits, float* teacher, int64_t first_row, int64_t last_row, int64_t classes, const int32_t* labels,
             float weight, float temperature, float* losses) {
  const double t = temperature;
  for (int64_t r = first_row; r < last_row; ++r) {
    float* z = logits + r * classes;
    float* y = teacher + r * classes;
    const double log_sum = LogSumExp(z, classes);
    const double right = z[labels[r]];
    const double max_z = Max(z, classes), max_y = Max(y, classes);
    double sum_z = 0, sum_y = 0, difference = 0;
    for (int64_t j = 0; j < classes; ++j) {
      const double of_z = (z[j] - max_z) / t, of_y = (y[j] - max_y) / t;
      const double e = std::exp(of_y);
      sum_z += std::exp(of_z);
      sum_y += e;
      if (e > 0) difference += e * (of_y - of_z);
    }
    for (int64_t j = 0; j < classes; ++j) {
      const double apart = std::exp((z[j] - max_z) / t) / sum_z - std::exp((y[j] - max_y) / t) / sum_y;
      z[j] = static_cast<float>((1 - weight) * std::exp(z[j] - log_sum) + weight * t * apart);
    }
    z[labels[r]] -= 1 - weight;
    const double divergence = difference / sum_y + std::log(sum_z / sum_y);
    losses[r] = static_cast<float>((1 - weight) * (log_sum - right) + weight * t * t * divergence);
  }
}

void PackedGemmMasked(const uint64_t* weight_planes, const float* weight_coefficients, int64_t first_row,
                      int64_t last_row, int64_t cols, int weight_bits, const uint64_t* activation_planes,
                      const float* activation_coefficients, int activation_bits, const uint64_t* masks, int64_t batch,
                      const float* bias, float* out, int64_t out_stride) {
  for (int64_t b = 0; b < batch; ++b) {
    const uint64_t* mask = masks ? masks + b * Words(cols) : nullptr;
    const uint64_t* x = activation_planes + b * Words(cols) * activation_bits;
    int64_t retained = 0;
    for (int64_t word = 0; mask && word < Words(cols); ++word) retained += __builtin_popcountll(mask[word]);
    const int64_t n = mask ? retained : cols;
    for (int64_t r = first_row; r < last_row; ++r) {
      const uint64_t* planes = weight_planes + PlaneStart(r, cols, weight_bits, 8);
      const float* a = weight_coefficients + CoefficientStart(r, weight_bits, 8);
      float y = 0;
      for (int i = 0; i < weight_bits; ++i) {
        for (int j = 0; j < activation_bits; ++j) {
          int64_t differ = 0;
          for (int64_t word = 0; word < Words(cols); ++word) {
            const uint64_t places = planes[(word * weight_bits + i) * 8] ^ x[word * activation_bits + j];
            differ += __builtin_popcountll(mask ? places & mask[word] : places);
          }
          y += a[i * 8] * activation_coefficients[b * activation_bits + j] * static_cast<float>(n - 2 * differ);
        }
      }
      float* target = out + b * out_stride + r;
      *target = (bias ? bias[r] : *target) + y;
    }
  }
}

// SplitMix64's next().
static uint64_t Mix(uint64_t z) {
  z += 0x9E3779B97F4A7C15;
  z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9;
  z = (z ^ z >> 27) * 0x94D049BB133111EB;
  return z ^ z >> 31;
}

void DropoutMasks(uint64_t key, uint64_t threshold, int64_t first_row, int64_t last_row, int64_t cols,
                  uint64_t* masks) {
  for (int64_t r = first_row; r < last_row; ++r) {
    uint64_t* mask = masks + r * Words(cols);
    std::memset(mask, 0, Words(cols) * sizeof(uint64_t));
    for (int64_t j = 0; j < cols; ++j) {
      const uint64_t random = Mix(key + static_cast<uint64_t>(r * cols + j) * 0x9E3779B97F4A7C15) >> 1;
      mask[j / 64] |= static_cast<uint64_t>(random < threshold) << (j % 64);
    }
  }
}

void Drop(const uint64_t* masks, float factor, int64_t first_row, int64_t last_row, int64_t cols, float* x) {
  for (int64_t r = first_row; r < last_row; ++r) {
    for (int64_t j = 0; j < cols; ++j) {
      const bool retained = masks[r * Words(cols) + j / 64] >> (j % 64) & 1;
      x[r * cols + j] = retained ? x[r * cols + j] * factor : 0;
    }
  }
}

bool Add(const float* x, int64_t n, float* into) {
  bool finite = true;
  for (int64_t j = 0; j < n; ++j) {
    into[j] += x[j];
    finite &= std::isfinite(into[j]);
  }
  return finite;
}

void Scale(float factor, int64_t n, float* x) {
  for (int64_t j = 0; j < n; ++j) x[j] *= factor;
}

void Clip(float bound, int64_t n, float* x) {
  for (int64_t j = 0; j < n; ++j) x[j] = x[j] > bound ? bound : x[j] < -bound ? -bound : x[j];
}

double SumOfSquares(const float* x, int64_t n) {
  double sum = 0;
  for (int64_t j = 0; j < n; ++j) sum += static_cast<double>(x[j]) * x[j];
  return sum;
}

void RoundToBfloat16(const float* x, int64_t n, uint16_t* out) {
  for (int64_t j = 0; j < n; ++j) {
    uint32_t bits;
    std::memcpy(&bits, x + j, sizeof(bits));
    if (std::isnan(x[j])) {
      out[j] = static_cast<uint16_t>(bits >> 16 | 0x40);
      continue;
    }
    const uint32_t half = 0x8000, below = bits & 0xFFFF;
    const bool odd = bits >> 16 & 1;
    out[j] = static_cast<uint16_t>((bits >> 16) + (below > half || (below == half && odd)));
  }
}

void LstmForward(const CellStates& s, int64_t first_row, int64_t last_row) {
  for (int64_t r = first_row; r < last_row; ++r) {
    for (int64_t j = 0; j < s.units; ++j) {
      float* z = s.gates + r * 4 * s.units + j;
      float& candidate = z[kTrainingGates.candidate * s.units];
      float& forget = z[kTrainingGates.forget * s.units];
      float& output = z[kTrainingGates.output * s.units];
      float& input = z[kTrainingGates.input * s.units];
      candidate = std::tanh(candidate);
      forget = Sigmoid(forget);
      output = Sigmoid(output);
      input = Sigmoid(input);
      const int64_t at = r * s.units + j;
      const int64_t next = at + s.batch * s.units;
      s.cell[next] = forget * s.cell[at] + input * candidate;
      s.cell_tanh[at] = std::tanh(s.cell[next]);
      s.hidden[next] = output * s.cell_tanh[at];
    }
  }
}

void LstmBackward(const CellStates& s, const CellGradients& d, int64_t first_row, int64_t last_row) {
  constexpr LstmGates gate = kTrainingGates;
  for (int64_t r = first_row; r < last_row; ++r) {
    for (int64_t j = 0; j < s.units; ++j) {
      const float* z = s.gates + r * 4 * s.units + j;
      float* dz = d.gates + r * 4 * s.units + j;
      const int64_t at = r * s.units + j;
      float& carried = d.carried[r % s.batch * s.units + j];
      const float candidate = z[gate.candidate * s.units], forget = z[gate.forget * s.units],
                  output = z[gate.output * s.units], input = z[gate.input * s.units];
      const float tanh = s.cell_tanh[at];
      const float dh = d.hidden[at];
      const float dc = dh * output * (1 - tanh * tanh) + carried;
      dz[gate.candidate * s.units] = dc * input * (1 - candidate * candidate);
      dz[gate.forget * s.units] = dc * s.cell[at] * forget * (1 - forget);
      dz[gate.output * s.units] = dh * tanh * output * (1 - output);
      dz[gate.input * s.units] = dc * candidate * input * (1 - input);
      carried = dc * forget;
    }
  }
}

void GruForward(const CellStates& s, int64_t first_row, int64_t last_row) {
  for (int64_t r = first_row; r < last_row; ++r) {
    for (int64_t j = 0; j < s.units; ++j) {
      const int64_t at = r * 3 * s.units + j;
      s.hidden[(r + s.batch) * s.units + j] =
          GruUnit(s.gates + at, s.recurrent + at, s.units, s.hidden[r * s.units + j]);
    }
  }
}

void GruBackward(const CellStates& s, const CellGradients& d, int64_t first_row, int64_t last_row) {
  for (int64_t r = first_row; r < last_row; ++r) {
    for (int64_t j = 0; j < s.units; ++j) {
      const float* z = s.gates + r * 3 * s.units + j;
      float* dz = d.gates + r * 3 * s.units + j;
      float* du = d.recurrent + r * 3 * s.units + j;
      const int64_t at = r * s.units + j;
      float& carried = d.carried[r % s.batch * s.units + j];
      const float reset = z[0], update = z[s.units], candidate = z[2 * s.units];
      const float dh = d.hidden[at] + carried;
      dz[2 * s.units] = dh * (1 - update) * (1 - candidate * candidate);
      dz[s.units] = dh * (s.hidden[at] - candidate) * update * (1 - update);
      dz[0] = dz[2 * s.units] * s.recurrent[r * 3 * s.units + 2 * s.units + j] * reset * (1 - reset);
      du[0] = dz[0];
      du[s.units] = dz[s.units];
      du[2 * s.units] = dz[2 * s.units] * reset;
      carried = dh * update;
    }
  }
}

void Gemm(const GemmArgs& p, int64_t first_row, int64_t last_row) {
  for (int64_t r = first_row; r < last_row; ++r) {
    for (int64_t j = 0; j < p.cols; ++j) {
      const float* b = p.b + j / kPanelColumns * p.b_panel + j % kPanelColumns;
      float sum = 0;
      for (int64_t k = 0; k < p.inner; ++k) sum += p.a[r * p.a_row + k * p.a_inner] * b[k * p.b_inner];
      float* c = p.c + r * p.c_row + j;
      *c = (p.add ? *c : p.bias ? p.bias[j] : 0) + p.alpha * sum;
    }
  }
}

}  // namespace MULTIBIT_TIER_SPACE
}  // namespace multibit
